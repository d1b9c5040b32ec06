// Silero VAD v5: tells how likely 32 ms of sound hold speech. It goes chunk by chunk: `stateN` feeds `state`.
//
// At 16 kHz a chunk is 512 samples, behind the last 64 of the chunk before: 576 values. Without those 64 it runs as well,
// and was a little less sure (mean 0.811 against 0.816 over a sentence). The file goes out as it came: its weights lie in
// the branches of an If over the sample rate, of which 17 operators would stay on the CPU on WebGPU, with 10 copies a run:
// wasm alone.
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { tensorBorders } from "../lib/compress/onnx.ts";
import { readBytes } from "./recipe.ts";
import type { Recipe } from "./recipe.ts";

const MODEL = join(dirname(createRequire(import.meta.url).resolve("@ricky0123/vad-web")), "silero_vad_v5.onnx");

/** Builds the bundle vad. */
export const vad: Recipe = {
  name: "vad",
  sources: [MODEL],
  build() {
    const bytes = readBytes(MODEL);
    return {
      model: {
        name: "vad",
        version: "5.0.0",
        licence: "MIT",
        description: "Silero VAD: probability of speech per 32 ms of sound at 16 kHz.",
        inputs: [
          { name: "input", dtype: "float32", dims: ["batch", 576], batchAxis: 0 },
          { name: "state", dtype: "float32", dims: [2, "batch", 128], batchAxis: 1 },
          { name: "sr", dtype: "int64", dims: [], batchAxis: null },
        ],
        outputs: [
          { name: "output", dtype: "float32", dims: ["batch", 1], batchAxis: 0 },
          { name: "stateN", dtype: "float32", dims: [2, "batch", 128], batchAxis: 1, feeds: "state" },
        ],
        typical: { batch: 1 },
      },
      variants: [{ id: "f32", needs: ["wasm"], files: [{ path: "model.onnx", bytes, borders: tensorBorders(bytes) }] }],
    };
  },
};
