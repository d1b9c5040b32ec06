import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { writeModelFile } from "../../lib/compress/onnx/model-file.ts";
import { twoLayers } from "../../lib/test-support/compress/fixtures.ts";
import { modelCases } from "./profile-models.ts";

const model = () => twoLayers({ opset: 13, inputs: 64, units: 64, outputs: 8 });

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "selvedge-profile-"));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

test("models of a folder and of those in it are cases, with their weights in one file", async () => {
  mkdirSync(join(folder, "deep"));
  writeFileSync(join(folder, "one.onnx"), model().write());
  writeFileSync(join(folder, "notes.txt"), "");
  await writeModelFile(join(folder, "deep/two.onnx"), model(), { external: true });
  const cases = modelCases(folder);
  expect(cases.map((x) => x.title)).toEqual(["deep/two.onnx", "one.onnx"]);
  const [two, one] = await Promise.all(cases.map(async (x) => x.make()));
  expect(two?.weights?.length).toBeGreaterThan(64 * 64 * 4);
  expect(two?.weights).toEqual(one?.weights);
  expect(Object.values(one?.inputs ?? {}).map((x) => x.dims.at(-1))).toEqual([64]);
});

test("a folder that does not exist or has no model is refused, and so is a file that is no model", async () => {
  expect(() => modelCases(join(folder, "none"))).toThrow("none does not exist");
  expect(() => modelCases(folder)).toThrow("has no .onnx files");
  writeFileSync(join(folder, "page.onnx"), "<!doctype html>");
  await expect(modelCases(folder)[0]?.make()).rejects.toThrow("page.onnx: not a valid ONNX model");
});
