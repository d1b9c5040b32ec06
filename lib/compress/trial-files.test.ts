// Disk that the trials of a form take. The size from which a model lies on disk is lowered, so that a small one shows it.
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { seededFloats, smallModel } from "../test-support/compress/fixtures.ts";
import { compress } from "./compress.ts";
import { floatTensor } from "./onnx/tensor-proto.ts";

vi.mock("./onnx/stored-bytes.ts", async (original) => ({ ...(await original<object>()), LARGE_BYTES: 2 ** 17 }));

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "selvedge-trials-"));
  vi.stubEnv("TMPDIR", folder);
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true, force: true });
});

/** Bytes of temporary models on disk, or of the weights kept from form to form; a file with several names counts once. */
function scratchBytes(isKept: boolean): number {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((x) => x.isFile() && x.parentPath.includes("selvedge-models-") && (x.name === "rounded-codes") === isKept)
    .map((x) => statSync(join(x.parentPath, x.name)));
  return [...new Map(files.map((x) => [x.ino, x.size])).values()].reduce((a, b) => a + b, 0);
}

test("a trial that is dropped leaves no files", { timeout: 120_000 }, async () => {
  const units = 160;
  const names = ["a", "b", "c", "d", "e"];
  const nodes = names.map((name, i) => ({
    opType: "MatMul",
    input: [i === 0 ? "x" : `t${i}`, name],
    output: [i === names.length - 1 ? "y" : `t${i + 1}`],
  }));
  const initializers = names.map((name, i) => floatTensor(name, [units, units], seededFloats(units * units, i + 1)));
  const model = smallModel({ opset: 13, inputs: { x: ["n", units] }, outputs: ["y"], nodes, initializers });
  const path = join(folder, "model.onnx");
  writeFileSync(path, model.write());
  const models: number[] = [];
  const codes: number[] = [];
  await compress(path, {
    ...{ out: join(folder, "out"), targets: ["webgpu"], forms: ["int8"], maxDrop: "150dB", sensitivityMs: 0 },
    onProgress: (line) => {
      if (!/^making (int8|mixed) again/.test(line)) return;
      models.push(scratchBytes(false));
      codes.push(scratchBytes(true));
    },
  });
  expect(models.length).toBeGreaterThan(2);
  expect(Math.max(...models)).toBeLessThan(1.1 * model.byteLength);
  // A byte for each weight of four.
  expect(Math.max(...codes)).toBeLessThan(0.26 * model.byteLength);
  expect(scratchBytes(true)).toBe(0);
});
