// `selvedge check`: a bundle against its own known answers, and outputs that no check can compare.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { withGolden } from "../compress/bundle/golden.ts";
import { writeBundle } from "../compress/bundle/pack.ts";
import { writeSafetensors } from "../compress/bundle/safetensors.ts";
import { TensorProto_DataType } from "../compress/onnx/onnx.gen.js";
import type { Bundle } from "../core/bundle.ts";
import type { Tensor } from "../core/tensor.ts";
import { captureOutput } from "../test-support/capture-output.ts";
import { smallModel, twoLayers } from "../test-support/compress/fixtures.ts";
import { main } from "./cli.ts";

let folder: string;
let said: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "selvedge-check-"));
  said = "";
  captureOutput((text) => {
    said += text;
  });
});
afterEach(() => {
  vi.restoreAllMocks();
  rmSync(folder, { recursive: true, force: true });
});

/** Writes a bundle of two layers; `change` edits the known outputs. */
async function bundle(change: (value: number, i: number) => number = (x) => x, isRandom = false): Promise<string> {
  const bytes = twoLayers({ opset: 17, inputs: 8, units: 16, outputs: 4 }).write();
  const port = { dtype: "float32", batchAxis: 0 } as const;
  const model: Bundle["model"] = {
    ...{ name: "small", version: "1", licence: "MIT" },
    inputs: [{ ...port, name: "x", dims: ["n", 8] }],
    outputs: [{ ...port, name: "y", dims: ["n", 4], ...(isRandom && { isRandom }) }],
  };
  const variant = await withGolden({ id: "f32", needs: [], files: [{ path: "m.onnx", bytes, isModel: true }] }, model);
  const { golden } = variant;
  if (golden === undefined) throw new Error("no golden");
  const known = golden.outputs.bytes;
  const values = new Float32Array(known.slice(known.length - 16).buffer); // one row
  const y: Tensor = { dtype: "float32", dims: [1, 4], data: values.map(change) };
  const outputs = { ...golden.outputs, bytes: writeSafetensors({ y }) ?? known };
  await writeBundle(join(folder, "bundle"), { model, variants: [{ ...variant, golden: { ...golden, outputs } }] });
  return join(folder, "bundle");
}

describe("check --golden", () => {
  test("compares each variant with its known answers (tool-check-golden)", async () => {
    expect(await main(["check", "--golden", await bundle(), "--targets", "wasm"]), said).toBe(0);
    expect(said).toMatch(/^f32 on wasm: passed; y error \d\.\de[+-]\d+ of 0\.001\n$/);
  });

  test.each([
    [
      "a value that is off",
      (x: number, i: number): number => (i === 1 ? x + 9 : x),
      /; error [\d.]+ above 0\.001; y error/,
    ],
    ["other values", (x: number): number => 2 * x, /; error 0\.5 above 0\.001; y error/],
  ])("fails for %s (tool-check-golden)", async (_, change, expected) => {
    expect(await main(["check", "--golden", await bundle(change), "--targets", "wasm"])).toBe(2);
    expect(said).toContain("f32 on wasm: failed");
    expect(said).toMatch(expected);
  });

  test("warns of outputs that are declared random, and does not compare them (tool-check-golden)", async () => {
    const path = await bundle((x) => 2 * x, true);
    expect(await main(["check", "--golden", path, "--targets", "wasm"])).toBe(0);
    expect(said).toContain('warning: "y" is random: no check compares the values');
  });

  test("names what it needs (tool-check-golden)", async () => {
    const path = join(folder, "model.onnx");
    writeFileSync(path, "");
    expect(await main(["check", "--golden", path])).toBe(1);
    expect(said).toContain(`--golden needs the folder of a bundle, got ${path}`);
  });
});

test("an output with random numbers is not compared, and warned of; its neighbour is (tool-random)", async () => {
  const model = smallModel({
    opset: 17,
    inputs: { x: [2, 3] },
    outputs: ["noisy", "sizes", "plain"],
    types: { sizes: TensorProto_DataType.INT64 },
    nodes: [
      { opType: "RandomNormalLike", input: ["x"], output: ["noise"] },
      { opType: "Add", input: ["x", "noise"], output: ["noisy"] },
      { opType: "Shape", input: ["noisy"], output: ["sizes"] },
      { opType: "Neg", input: ["x"], output: ["plain"] },
    ],
  });
  const path = join(folder, "model.onnx");
  writeFileSync(path, model.write());
  expect(await main(["check", path, "--targets", "wasm"]), said).toBe(0);
  expect(said).toMatch(/wasm: passed.*\nwarning: "noisy" is random: no check/);
});
