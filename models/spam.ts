// The spam classifier: a linear model and a small transformer, trained here on the SpamAssassin mails (spam/train.py
// says how it is made). It reads the text of a mail: its subject, an empty line, its body, as demo/spam/mail.ts gives
// them.
//
// Pieces come as int32 and the mask as float32, so that on WebGPU nothing stays on the CPU; texts of any length
// up to 1,024 pieces run together, since padding is masked out of every sum, product and maximum.
import { join } from "node:path";
import type { BundleInput, BundleOutput } from "../lib/bundle.ts";
import type { NodeSpec } from "../lib/compress/graph.ts";
import { readModel, tensorBorders } from "../lib/compress/onnx.ts";
import type { OnnxModel, Transform } from "../lib/compress/onnx.ts";
import { TensorProto_DataType } from "../lib/compress/onnx.gen.js";
import type { PackVariant } from "../lib/compress/pack.ts";
import { quantizeBlocks } from "../lib/compress/quantize-blocks.ts";
import { quantizeDynamic } from "../lib/compress/quantize-dynamic.ts";
import { quantizeWeights } from "../lib/compress/quantize-weights.ts";
import { int64Tensor } from "../lib/compress/weights.ts";
import { buildGraph, readWeights } from "./graph.ts";
import type { Weights } from "./graph.ts";
import { FOLD_WEIGHTS, readBytes } from "./recipe.ts";
import type { Recipe } from "./recipe.ts";

const FOLDER = join(import.meta.dirname, "spam");
const WEIGHTS = join(FOLDER, "weights.npz");
const TOKENIZER = join(FOLDER, "tokenizer.json");
const LAYERS = 2;
const HEADS = 4;
/** The most pieces that are read of a mail. */
export const SPAM_MAX_LENGTH = 1024;
/** Added where there is no piece: as far down as float16 can go with room to spare. */
const FAR = -1e4;

/** What the classifier takes: the pieces of a mail, and 1 where there is one. */
export const SPAM_INPUTS: readonly BundleInput[] = [
  {
    name: "text",
    dtype: "int32",
    dims: ["batch", "length"],
    batchAxis: 0,
    text: { tokenizer: "tokenizer.json", maxLength: SPAM_MAX_LENGTH, mask: "mask" },
    pad: { axis: 1, upTo: 1 },
  },
  { name: "mask", dtype: "float32", dims: ["batch", "length"], batchAxis: 0, pad: { axis: 1, upTo: 1 } },
];

const OUTPUT: BundleOutput = {
  name: "logits",
  dtype: "float32",
  dims: ["batch", 2],
  batchAxis: 0,
  decode: { op: "labels", asset: "labels.txt", top: 2, logits: true },
};

/** Builds the bundle spam. */
export const spam: Recipe = {
  name: "spam",
  sources: [WEIGHTS, TOKENIZER],
  build() {
    const bytes = buildSpam().write();
    const make = (id: string, needs: readonly string[], ...transforms: Transform[]): PackVariant => {
      const made =
        transforms.length === 0
          ? bytes
          : readModel(bytes)
              .transform(...transforms)
              .write();
      const files = [{ path: "model.onnx", bytes: made, borders: tensorBorders(made) }];
      return { id, needs, ...(transforms.length > 0 && { session: FOLD_WEIGHTS }), files };
    };
    return {
      model: {
        name: "spam",
        version: "1.0.0",
        licence: "MIT",
        description:
          "How likely a mail is spam: a linear model and a transformer, 1.4 million weights, trained on the SpamAssassin mails.",
        inputs: SPAM_INPUTS,
        outputs: [OUTPUT],
        typical: { batch: 1, length: 256 },
      },
      variants: [
        make("int4", ["webgpu"], quantizeBlocks(), quantizeWeights()),
        // Its speed as measured with ONNX Runtime Web on one thread at 400 pieces, interleaved with float32.
        { ...make("int8-dynamic", ["wasm"], quantizeDynamic(), quantizeWeights()), speed: { wasm: 0.7 } },
        make("int8", [], quantizeWeights()),
        make("f32", []),
      ],
      assets: [
        { path: "labels.txt", bytes: new TextEncoder().encode("ham\nspam\n") },
        { path: "tokenizer.json", bytes: readBytes(TOKENIZER) },
      ],
    };
  },
};

/** Builds the classifier's graph. */
export function buildSpam(path: string = WEIGHTS): OnnxModel {
  const trained = readWeights(path);
  const weights: Record<string, Weights> = {
    one: scalar(1),
    far: scalar(FAR),
  };
  const take = (name: string, weight: Weights): string => {
    weights[name] = weight;
    return name;
  };
  const nodes: NodeSpec[] = [];
  const add = (
    opType: string,
    output: string,
    input: readonly string[],
    attributes: NonNullable<NodeSpec["attributes"]> = {},
  ): string => {
    nodes.push({ opType, input, output: [output], attributes });
    return output;
  };
  const linear = (output: string, input: string, name: string, factor = 1): string => {
    const product = add("MatMul", `${output}/product`, [
      input,
      take(`${name}.weight`, transposed(trained(`${name}.weight`), factor)),
    ]);
    return add("Add", output, [product, take(`${name}.bias`, scaled(trained(`${name}.bias`), factor))]);
  };
  const norm = (output: string, input: string, name: string): string => {
    const parameters = ["weight", "bias"].map((x) => take(`${name}.${x}`, trained(`${name}.${x}`)));
    return add("LayerNormalization", output, [input, ...parameters], { axis: -1, epsilon: { float: 1e-5 } });
  };

  const mask = add("Unsqueeze", "mask/column", ["mask", "axis2"]);
  const absent = add("Mul", "absent", [add("Sub", "mask/none", ["one", "mask"]), "far"]);
  const absentColumn = add("Unsqueeze", "absent/column", [absent, "axis2"]);
  const absentRow = add("Unsqueeze", "absent/row", [absent, "axes12"]);
  const count = add("ReduceSum", "count", ["mask", "axis1"], { keepdims: 1 });
  const pool = (name: string, x: string): string[] => {
    const sum = add("ReduceSum", `${name}/sum`, [add("Mul", `${name}/kept`, [x, mask]), "axis1"], { keepdims: 0 });
    const most = add("ReduceMax", `${name}/most`, [add("Add", `${name}/near`, [x, absentColumn])], {
      axes: [1],
      keepdims: 0,
    });
    return [add("Div", `${name}/mean`, [sum, count]), most];
  };

  const embedded = add("Gather", "embedded", [take("embed", trained("embed.weight")), "text"], { axis: 0 });
  const kept = add("Mul", "embedded/kept", [embedded, mask]);
  // A convolution over a line of pieces, written as one over a picture of one row: quantizers know that form.
  const lines = add("Unsqueeze", "conv/row", [add("Transpose", "conv/channels", [kept], { perm: [0, 2, 1] }), "axis2"]);
  const filter = trained("conv.weight");
  const conv = add(
    "Conv",
    "conv",
    [
      lines,
      take("conv.weight", { dims: [filter.dims[0] ?? 0, filter.dims[1] ?? 0, 1, 3], data: filter.data }),
      take("conv.bias", trained("conv.bias")),
    ],
    { kernel_shape: [1, 3], pads: [0, 1, 0, 1] },
  );
  const back = add("Transpose", "conv/pieces", [add("Squeeze", "conv/line", [conv, "axis2"])], { perm: [0, 2, 1] });
  let x = add("Add", "pairs", [kept, add("Relu", "conv/relu", [back])]);
  const pooled = pool("before", x);
  const width = filter.dims[0] ?? 0;
  for (let i = 0; i < LAYERS; i++) {
    const name = `layers.${i}`;
    const heads = (output: string, from: string, part: string, perm: number[], factor = 1): string => {
      const all = linear(`${name}/${part}`, from, `${name}.${part}`, factor);
      return add("Transpose", output, [add("Reshape", `${name}/${part}/heads`, [all, "split"])], { perm });
    };
    const y = norm(`${name}/norm1`, x, `${name}.norm1`);
    const query = heads(`${name}/q`, y, "query", [0, 2, 1, 3], 1 / Math.sqrt(width / HEADS));
    const key = heads(`${name}/k`, y, "key", [0, 2, 3, 1]);
    const value = heads(`${name}/v`, y, "value", [0, 2, 1, 3]);
    const score = add("Add", `${name}/score`, [add("MatMul", `${name}/qk`, [query, key]), absentRow]);
    const weight = add("Softmax", `${name}/weight`, [score], { axis: -1 });
    const seen = add("Transpose", `${name}/seen`, [add("MatMul", `${name}/wv`, [weight, value])], {
      perm: [0, 2, 1, 3],
    });
    const out = linear(`${name}/out`, add("Reshape", `${name}/merged`, [seen, "merge"]), `${name}.out`);
    x = add("Add", `${name}/attended`, [x, out]);
    const up = linear(`${name}/up`, norm(`${name}/norm2`, x, `${name}.norm2`), `${name}.up`);
    const down = linear(`${name}/down`, add("Relu", `${name}/relu`, [up]), `${name}.down`);
    x = add("Add", `${name}/x`, [x, down]);
  }
  pooled.push(...pool("after", norm("norm", x, "norm")));
  const features = add("Concat", "features", pooled, { axis: 1 });
  const deep = linear("deep", features, "last");

  // The linear part: pieces counted by comparing each with all, 1 + log(count) shared among those that are the same.
  const same = add("Equal", "same", [
    add("Unsqueeze", "text/column", ["text", "axis2"]),
    add("Unsqueeze", "text/row", ["text", "axis1"]),
  ]);
  const likes = add("MatMul", "likes", [add("Cast", "same/float", [same], { to: TensorProto_DataType.FLOAT }), mask]);
  const alike = add("Add", "alike", [add("Squeeze", "likes/row", [likes, "axis2"]), "mask/none"]);
  const frequent = add("Add", "frequent", [add("Log", "alike/log", [alike]), "one"]);
  const share = add("Div", "share", [add("Mul", "frequent/kept", [frequent, "mask"]), alike]);
  const sum = (name: string, table: string, by: string): string => {
    const looked = add("Gather", `${name}/looked`, [take(`linear.${table}`, trained(`linear.${table}`)), "text"]);
    return add("ReduceSum", name, [add("Mul", `${name}/each`, [looked, by]), "axis1"], { keepdims: 1 });
  };
  const size = sum("size", "size", add("Mul", "share/squared", [share, frequent]));
  const wide = add("Div", "wide", [sum("weighed", "weight", share), add("Sqrt", "size/root", [size])]);
  const sides = add("Mul", "wide/sides", [wide, take("sides", { dims: [1, 2], data: Float32Array.of(-0.5, 0.5) })]);
  add("Add", OUTPUT.name, [deep, sides]);
  return buildGraph({ inputs: SPAM_INPUTS, outputs: [OUTPUT] }, nodes, weights, [
    int64Tensor("axis1", [1], [1]),
    int64Tensor("axis2", [1], [2]),
    int64Tensor("axes12", [2], [1, 2]),
    int64Tensor("split", [4], [0, 0, HEADS, width / HEADS]),
    int64Tensor("merge", [3], [0, 0, width]),
  ]);
}

function scalar(value: number): Weights {
  return { dims: [], data: Float32Array.of(value) };
}

function scaled({ dims, data }: Weights, factor: number): Weights {
  return { dims, data: data.map((x) => x * factor) };
}

/** Turns a weight of [out, in] to [in, out], times a factor. */
function transposed({ dims, data }: Weights, factor: number): Weights {
  const [out = 0, from = 0] = dims;
  const turned = new Float32Array(data.length);
  for (let i = 0; i < out; i++) for (let j = 0; j < from; j++) turned[j * out + i] = (data[i * from + j] ?? 0) * factor;
  return { dims: [from, out], data: turned };
}
