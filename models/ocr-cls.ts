// PaddleOCR's orientation classifier (PP-OCRv2, used with v4 as well): detects lines that are upside down.
//
// A line longer than 4 : 1 is squeezed to 192 × 48, as in its training, not shrunk to fit: of 200 rendered lines,
// upright and turned, 398 of 400 were classified correctly, against 277.
import { readModel } from "../lib/compress/onnx/model.ts";
import { setDims } from "../lib/compress/simplify/set-dims.ts";
import { simplify } from "../lib/compress/simplify/simplify.ts";
import { makeVariants, ocrAsset, readBytes } from "./recipe.ts";
import type { Recipe } from "./recipe.ts";

const MODEL = ocrAsset("ch_ppocr_mobile_v2.0_cls_infer.onnx");

/** Builds the bundle ocr-cls. */
export const ocrCls: Recipe = {
  name: "ocr-cls",
  sources: [MODEL],
  async build() {
    const dims = setDims({ x: ["batch", 3, 48, 192], "softmax_0.tmp_0": ["batch", 2] });
    const model = readModel(readBytes(MODEL)).transform(dims, simplify());
    return {
      model: {
        name: "ocr-cls",
        version: "2.0.0",
        licence: "Apache-2.0",
        description: "PP-OCR line orientation: upright or turned by 180 degrees.",
        inputs: [
          {
            name: "x",
            dtype: "float32",
            dims: ["batch", 3, 48, 192],
            batchAxis: 0,
            image: {
              resize: { mode: "height", height: 48, minWidth: 192, maxWidth: 192 },
              channels: "bgr",
              mean: [0.5, 0.5, 0.5],
              std: [0.5, 0.5, 0.5],
              layout: "nchw",
            },
          },
        ],
        outputs: [
          {
            name: "softmax_0.tmp_0",
            dtype: "float32",
            dims: ["batch", 2],
            batchAxis: 0,
            decode: { op: "labels", asset: "labels.txt", top: 2 },
          },
        ],
        exampleDims: { batch: 1 },
      },
      variants: await makeVariants(model, ["int8", "f32"]),
      assets: [{ path: "labels.txt", bytes: new TextEncoder().encode("0\n180\n") }],
    };
  },
};
