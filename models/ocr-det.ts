// PP-OCRv4's detector: converts a page to a map of the same size with each pixel's probability of being text.
import { readModel } from "../lib/compress/onnx/model.ts";
import { setDims } from "../lib/compress/simplify/set-dims.ts";
import { simplify } from "../lib/compress/simplify/simplify.ts";
import { makeHalf, makeVariants, ocrAsset, readBytes } from "./recipe.ts";
import type { Recipe } from "./recipe.ts";

const MODEL = ocrAsset("ch_PP-OCRv4_det_infer.onnx");

/** Builds the bundle ocr-det. */
export const ocrDet: Recipe = {
  name: "ocr-det",
  sources: [MODEL],
  goldenDims: { height: 64, width: 64 },
  async build() {
    const dims = setDims({ x: ["batch", 3, "height", "width"], "sigmoid_0.tmp_0": ["batch", 1, "height", "width"] });
    const model = readModel(readBytes(MODEL)).transform(dims, simplify());
    return {
      model: {
        name: "ocr-det",
        version: "4.0.0",
        licence: "Apache-2.0",
        description: "PP-OCRv4 text detector: a page to a map of text.",
        inputs: [
          {
            name: "x",
            dtype: "float32",
            dims: ["batch", 3, "height", "width"],
            batchAxis: 0,
            image: {
              resize: { mode: "side", maxSide: 1536, multipleOf: 32 },
              channels: "bgr",
              mean: [0.485, 0.456, 0.406],
              std: [0.229, 0.224, 0.225],
              layout: "nchw",
            },
          },
        ],
        outputs: [{ name: "sigmoid_0.tmp_0", dtype: "float32", dims: ["batch", 1, "height", "width"], batchAxis: 0 }],
        exampleDims: { batch: 1, height: 640, width: 480 },
      },
      variants: [await makeHalf(model), ...(await makeVariants(model, ["f32"]))],
    };
  },
};
