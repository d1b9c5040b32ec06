// PP-OCRv4's recogniser: converts the picture of one line of text, scaled to 48 pixels high, to Chinese and English
// characters.
//
// Pixels are BGR in −1…1, as in training (PaddleOCR reads pictures with OpenCV). Columns past the picture are 0 after
// normalising; any other padding changes texts, and so does padding of more than a fifth. Its time steps are 8 pixels
// wide.
import { readFileSync } from "node:fs";
import { readModel } from "../lib/compress/onnx/model.ts";
import { setDims } from "../lib/compress/simplify/set-dims.ts";
import { simplify } from "../lib/compress/simplify/simplify.ts";
import { makeVariants, ocrAsset, readBytes } from "./recipe.ts";
import type { Recipe } from "./recipe.ts";

const MODEL = ocrAsset("ch_PP-OCRv4_rec_infer.onnx");
const KEYS = ocrAsset("ppocr_keys_v1.txt");
const CLASSES = 6625;

/** Measured with ONNX Runtime Web on one thread, interleaved with float32: 0.58 in Node, 0.60 and 0.65 in browsers. */
const SPEED = { wasm: 0.55 } as const;

/** Builds the bundle ocr-rec with three variants: integer products for wasm, int8 weights for a GPU. */
export const ocrRec: Recipe = {
  name: "ocr-rec",
  sources: [MODEL, KEYS],
  goldenDims: { width: 64 },
  async build() {
    const dims = setDims({ x: ["batch", 3, 48, "width"], "softmax_11.tmp_0": ["batch", "time", CLASSES] });
    const model = readModel(readBytes(MODEL)).transform(dims, simplify());
    return {
      model: {
        name: "ocr-rec",
        version: "4.0.0",
        licence: "Apache-2.0",
        description: "PP-OCRv4 text recogniser (Chinese, English): one line of text to characters.",
        inputs: [
          {
            name: "x",
            dtype: "float32",
            dims: ["batch", 3, 48, "width"],
            batchAxis: 0,
            image: {
              resize: { mode: "height", height: 48, minWidth: 48, maxWidth: 4096, multipleOf: 8 },
              channels: "bgr",
              mean: [0.5, 0.5, 0.5],
              std: [0.5, 0.5, 0.5],
              layout: "nchw",
            },
            pad: { axis: 3, upTo: 0.2 },
          },
        ],
        outputs: [
          {
            name: "softmax_11.tmp_0",
            dtype: "float32",
            dims: ["batch", "time", CLASSES],
            batchAxis: 0,
            decode: { op: "ctc", asset: "keys.txt" },
            cut: { axis: 1, input: "x", inputAxis: 3, per: 8, plus: 3 },
          },
        ],
        exampleDims: { batch: 1, width: 320, time: 40 },
      },
      variants: await makeVariants(model, ["int8-dynamic", "int8", "f32"], { "int8-dynamic": SPEED }),
      assets: [{ path: "keys.txt", bytes: keys() }],
    };
  },
};

/** Returns the characters, one per line: those of the package, and the space that PaddleOCR adds as the last class. */
function keys(): Uint8Array<ArrayBuffer> {
  const lines = [
    ...readFileSync(KEYS, "utf8")
      .replace(/\r?\n$/, "")
      .split(/\r?\n/),
    " ",
  ];
  // Class 0 is "no character".
  if (lines.length !== CLASSES - 1) throw new Error(`${KEYS} has ${lines.length - 1} characters, not ${CLASSES - 2}`);
  return new TextEncoder().encode(`${lines.join("\n")}\n`);
}
