import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { ROOT } from "../test-support/read-program.ts";
import { RELEASE } from "./version.ts";

test("the release names the versions of the package and of ONNX Runtime as package.json does", () => {
  const { version, devDependencies } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as {
    version: string;
    devDependencies: Readonly<Record<string, string>>;
  };
  expect(RELEASE).toBe(`${version} ${devDependencies["onnxruntime-web"] ?? ""}`);
});
