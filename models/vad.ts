// Silero VAD v5: the probability that 32 ms of sound contain speech. It runs chunk by chunk: `stateN` feeds `state`.
//
// At 16 kHz a chunk is 512 samples, preceded by the last 64 of the previous chunk: 576 values. Without those 64 it runs
// as well, but was a little less sure (mean 0.811 against 0.816 over a sentence). The rate is fixed: the branch for 8
// kHz is half of the file. No GPU has a kernel for its LSTM: wasm only.
//
// Float32 only, too: with weights in 8 bits 999 of 1,000 chunks are classified equally from the same state, but errors
// accumulate over steps, and over a stream the probability was off by up to 0.09.
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fixInputs } from "../lib/compress/simplify/fix-inputs.ts";
import { readModel } from "../lib/compress/onnx/model.ts";
import { setDims } from "../lib/compress/simplify/set-dims.ts";
import { simplify } from "../lib/compress/simplify/simplify.ts";
import { makeVariants, readBytes } from "./recipe.ts";
import type { Recipe } from "./recipe.ts";

const MODEL = join(dirname(createRequire(import.meta.url).resolve("@ricky0123/vad-web")), "silero_vad_v5.onnx");

/** Samples per second, and per chunk including its context. */
const RATE = 16_000;
const CHUNK = 576;

/** Builds the bundle vad. */
export const vad: Recipe = {
  name: "vad",
  sources: [MODEL],
  async build() {
    const dims = setDims({ input: ["batch", CHUNK], state: [2, "batch", 128] });
    const model = readModel(readBytes(MODEL)).transform(fixInputs({ sr: RATE }), dims, simplify());
    return {
      model: {
        name: "vad",
        version: "5.1.0",
        licence: "MIT",
        description: "Silero VAD: probability of speech per 32 ms of sound at 16 kHz.",
        inputs: [
          { name: "input", dtype: "float32", dims: ["batch", CHUNK], batchAxis: 0 },
          { name: "state", dtype: "float32", dims: [2, "batch", 128], batchAxis: 1 },
        ],
        outputs: [
          { name: "output", dtype: "float32", dims: ["batch", 1], batchAxis: 0 },
          { name: "stateN", dtype: "float32", dims: [2, "batch", 128], batchAxis: 1, feeds: "state" },
        ],
        exampleDims: { batch: 1 },
      },
      variants: (await makeVariants(model, ["f32"])).map((x) => ({ ...x, needs: ["wasm"] })),
    };
  },
};
