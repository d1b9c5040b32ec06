// Names of files, as errors show them.
import { expect, test } from "vitest";
import { fileNameOf } from "./names.ts";

test("a file is named by the end of its path; a data: URL has no name", () => {
  expect(fileNameOf("https://a.test/m/cat.onnx?v=2#x")).toBe("cat.onnx");
  expect(fileNameOf(`data:application/octet-stream;base64,${"AAAA/".repeat(2_000)}AA`)).toBe("model");
});
