import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { twoLayers } from "../test-support/compress/fixtures.ts";
import { compress } from "./compress.ts";
import { readModel } from "./onnx/model.ts";
import type { Target } from "./forms/forms.ts";

test.each([
  [["wasm"], 75],
  [["webgpu", "wasm"], 76],
] as const satisfies readonly (readonly [readonly Target[], number])[])(
  "for %s a quarter of 100 units is pruned to %i: a multiple of 4 where a GPU is a target",
  { timeout: 60_000 },
  async (targets, left) => {
    const folder = mkdtempSync(join(tmpdir(), "selvedge-fours-"));
    try {
      const path = join(folder, "model.onnx");
      writeFileSync(path, twoLayers({ opset: 13, inputs: 16, units: 100, outputs: 8 }).write());
      const out = join(folder, "out");
      await compress(path, { out, targets, forms: [], prune: { share: 0.25 }, sensitivityMs: 0 });
      const { graph } = readModel(new Uint8Array(readFileSync(join(out, "pruned.onnx"))));
      expect(graph.proto.initializer.flatMap((x) => x.dims.map(Number))).toContain(left);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
);
