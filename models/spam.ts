// The spam classifier: wide and deep, a linear model and a small transformer, trained here on the SpamAssassin mails
// (see spam/train.py). It reads the text of a mail: its subject, an empty line, its body, as returned by
// demo/spam/mail.ts.
//
// Tokens are int32 and the mask float32, so that on WebGPU nothing stays on the CPU; texts of any length up to 2,048
// tokens share a batch, since padding is masked out of every sum, product and maximum. The tables of the wide part hold
// whole multiples of a step each, so that every variant stores them in 8 bits and computes the same.
import { create } from "@bufbuild/protobuf";
import { join } from "node:path";
import type { BundleInput, BundleOutput } from "../lib/core/bundle.ts";
import { FOLD } from "../lib/compress/forms/forms.ts";
import type { Form, FormId } from "../lib/compress/forms/forms.ts";
import type { NodeSpec } from "../lib/compress/onnx/graph.ts";
import { strip } from "../lib/compress/simplify/strip.ts";
import type { OnnxModel, Transform } from "../lib/compress/onnx/model.ts";
import { TensorProto_DataType, TensorProtoSchema } from "../lib/compress/onnx/onnx.gen.js";
import type { TensorProto } from "../lib/compress/onnx/onnx.gen.js";
import { packConstants } from "../lib/compress/simplify/pack-constants.ts";
import type { PackVariant } from "../lib/compress/bundle/pack.ts";
import { quantizeBlocks } from "../lib/compress/quantize/quantize-blocks.ts";
import { quantizeDynamic } from "../lib/compress/quantize/quantize-dynamic.ts";
import { quantizeWeights } from "../lib/compress/quantize/quantize-weights.ts";
import { floatsOf, int64Tensor } from "../lib/compress/onnx/tensor-proto.ts";
import { buildGraph, readWeights } from "./graph.ts";
import type { Weights } from "./graph.ts";
import { makeVariants, readBytes } from "./recipe.ts";
import type { Recipe } from "./recipe.ts";

const FOLDER = join(import.meta.dirname, "spam");
const WEIGHTS = join(FOLDER, "weights.npz");
const TOKENIZER = join(FOLDER, "tokenizer.json");
const LAYERS = 2;
const HEADS = 4;
/** Maximum tokens of a mail; the transformer reads the first `DEEP_LENGTH` of them. */
export const SPAM_MAX_LENGTH = 2048;
const DEEP_LENGTH = 512;
/** The id of a pair of tokens is (first · factor + second) mod pairs, a prime: below 2³¹ for 8,192 tokens. */
export const PAIR_FACTOR = 7919;
/** Number of ids for pairs of tokens. */
export const PAIRS = 65_521;
/**
 * Bits of the wide part's tables in int4: their values stay whole multiples of a step, so that fewer bytes are sent,
 * though a file holds them in 8 bits. The weight tables, summed over all tokens or pairs, tolerate coarser steps than
 * the others.
 */
const TABLE_BITS: Readonly<Record<string, number>> = { single: 6, piece: 6, pair: 5, size: 5, pairSize: 4 };
/** Added at padding: as low as float16 allows with some margin. */
const FAR = -1e4;
/** Run time of integer products relative to float32, measured with ONNX Runtime Web: they are 1.4 times as fast. */
const SPEED = { wasm: 0.7 } as const;

/** Inputs of the classifier: the tokens of a mail, and a mask that is 1 where there is one. */
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

/** Output of the classifier: log odds of both classes. */
export const SPAM_OUTPUT: BundleOutput = {
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
  goldenDims: { length: 16 },
  async build() {
    return {
      model: {
        name: "spam",
        version: "1.0.0",
        licence: "MIT",
        description:
          "How likely a mail is spam: a wide linear model over pieces and pairs of them, and a transformer; trained on the SpamAssassin mails.",
        inputs: SPAM_INPUTS,
        outputs: [SPAM_OUTPUT],
        exampleDims: { batch: 1, length: 256 },
      },
      variants: await spamVariants(),
      assets: [
        { path: "labels.txt", bytes: new TextEncoder().encode("ham\nspam\n") },
        { path: "tokenizer.json", bytes: readBytes(TOKENIZER) },
      ],
    };
  },
};

/** Builds the variants of the classifier, from the committed weights or those of another split. */
export async function spamVariants(path: string = WEIGHTS): Promise<PackVariant[]> {
  const form = (id: FormId, needs: readonly string[], ...transforms: Transform[]): Form => ({
    id,
    targets: needs.includes("wasm") ? ["wasm"] : ["webgpu", "wasm"],
    needs,
    session: FOLD,
    make: async (model) =>
      void model.transform(...transforms, packConstants(), ...(needs.includes("wasm") ? [strip()] : [])),
  });
  const forms = [
    form("int4", ["webgpu"], coarserTables, quantizeBlocks({ block: 64 }), quantizeWeights()),
    form("int8-dynamic", ["wasm"], quantizeDynamic(), quantizeWeights()),
    form("int8", [], quantizeWeights()),
  ];
  return makeVariants(buildSpam(path), [...forms, "f32"], { "int8-dynamic": SPEED });
}

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

  // Tokens are sliced as float32, which represents them exactly: WebGPU slices integers on the CPU.
  const cast = (output: string, input: string, to: TensorProto_DataType): string =>
    add("Cast", output, [input], { to });
  const float = cast("text/float", "text", TensorProto_DataType.FLOAT);
  const first = (name: string, of: string): string => add("Slice", name, [of, "from0", "deepEnd", "axis1"]);
  const deepText = cast("deep/text", first("deep/text/float", float), TensorProto_DataType.INT32);
  const deepMask = first("deep/mask", "mask");
  const mask = add("Unsqueeze", "mask/column", [deepMask, "axis2"]);
  const absent = add("Mul", "absent", [add("Sub", "mask/none", ["one", deepMask]), "far"]);
  const absentColumn = add("Unsqueeze", "absent/column", [absent, "axis2"]);
  const absentRow = add("Unsqueeze", "absent/row", [absent, "axes12"]);
  const count = add("ReduceSum", "count", [deepMask, "axis1"], { keepdims: 1 });
  const pool = (name: string, x: string): string[] => {
    const sum = add("ReduceSum", `${name}/sum`, [add("Mul", `${name}/kept`, [x, mask]), "axis1"], { keepdims: 0 });
    const most = add("ReduceMax", `${name}/most`, [add("Add", `${name}/near`, [x, absentColumn])], {
      axes: [1],
      keepdims: 0,
    });
    return [add("Div", `${name}/mean`, [sum, count]), most];
  };

  const embedded = add("Gather", "embedded", [take("embed", trained("embed.weight")), deepText], { axis: 0 });
  const kept = add("Mul", "embedded/kept", [embedded, mask]);
  // A 1D convolution over tokens, written as a 2D one over a picture of one row: quantizers know that form.
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

  // The wide part: occurrences are counted by comparing each token with all; 1 + log(count) is shared among equal ones.
  const countSame = (name: string, ids: string, present: string): { share: string; squared: string } => {
    const same = add("Equal", `${name}/same`, [
      add("Unsqueeze", `${name}/column`, [ids, "axis2"]),
      add("Unsqueeze", `${name}/row`, [ids, "axis1"]),
    ]);
    const asFloat = cast(`${name}/same/float`, same, TensorProto_DataType.FLOAT);
    const column = add("Unsqueeze", `${name}/present`, [present, "axis2"]);
    const likes = add("Squeeze", `${name}/likes`, [add("MatMul", `${name}/likes/column`, [asFloat, column]), "axis2"]);
    const alike = add("Add", `${name}/alike`, [likes, add("Sub", `${name}/absent`, ["one", present])]);
    const frequent = add("Add", `${name}/frequent`, [add("Log", `${name}/log`, [alike]), "one"]);
    const share = add("Div", `${name}/share`, [add("Mul", `${name}/kept`, [frequent, present]), alike]);
    return { share, squared: add("Mul", `${name}/squared`, [share, frequent]) };
  };
  const sum = (table: string, ids: string, by: string): string => {
    const name = `linear.${table}`;
    const weight = take(`${name}/table`, { dims: trained(name).dims, data: scaled(trained(name), step(table)).data });
    const looked = add("Gather", `${name}/looked`, [weight, ids]);
    return add("ReduceSum", `${name}/sum`, [add("Mul", `${name}/each`, [looked, by]), "axis1"], { keepdims: 1 });
  };
  const step = (table: string): number => short(trained(`linear.${table}.step`).data[0] ?? 0);
  // The next token of each, and whether it exists: after the last comes padding.
  const shifted = (name: string, input: string, last: string): string =>
    add("Slice", name, [add("Concat", `${name}/longer`, [input, last], { axis: 1 }), "from1", "end", "axis1"]);
  const start = (name: string): string => add("Slice", `${name}/start`, [name, "from0", "from1", "axis1"]);
  const firstMask = start("mask");
  const next = cast("next", shifted("next/float", float, start(float)), TensorProto_DataType.INT32);
  const hasNext = shifted("hasNext", "mask", add("Sub", "mask/zero", [firstMask, firstMask]));
  const paired = add("Mul", "paired", ["mask", hasNext]);
  const joint = add("Add", "joint", [add("Mul", "joint/first", ["text", "pair/factor"]), next]);
  const over = add("Mul", "joint/over", [add("Div", "joint/times", [joint, "pair/count"]), "pair/count"]);
  const hashed = add("Sub", "hashed", [joint, over]);
  const [alone, together] = [countSame("piece", "text", "mask"), countSame("pair", hashed, paired)];
  const size = sum("size", "text", alone.squared);
  const whole = add("Add", "wide/size", [size, sum("pairSize", hashed, together.squared)]);
  const single = add("Div", "single", [sum("single", "text", alone.share), add("Sqrt", "single/root", [size])]);
  const weighed = add("Add", "both/sum", [sum("piece", "text", alone.share), sum("pair", hashed, together.share)]);
  const both = add("Div", "both", [weighed, add("Sqrt", "both/root", [whole])]);
  const wide = add("Add", "wide", [single, both]);
  const sides = add("Mul", "wide/sides", [wide, take("sides", { dims: [1, 2], data: Float32Array.of(-0.5, 0.5) })]);
  add("Add", SPAM_OUTPUT.name, [deep, sides]);
  return buildGraph({ inputs: SPAM_INPUTS, outputs: [SPAM_OUTPUT] }, nodes, weights, [
    int64Tensor("from0", [1], [0]),
    int64Tensor("from1", [1], [1]),
    int64Tensor("end", [1], [SPAM_MAX_LENGTH + 1]),
    int64Tensor("deepEnd", [1], [DEEP_LENGTH]),
    int32Scalar("pair/factor", PAIR_FACTOR),
    int32Scalar("pair/count", PAIRS),
    int64Tensor("axis1", [1], [1]),
    int64Tensor("axis2", [1], [2]),
    int64Tensor("axes12", [2], [1, 2]),
    int64Tensor("split", [4], [0, 0, HEADS, width / HEADS]),
    int64Tensor("merge", [3], [0, 0, width]),
  ]);
}

/** Rounds the tables of the wide part to whole multiples of a wider step each. */
function coarserTables({ graph }: OnnxModel): void {
  for (const [name, bits] of Object.entries(TABLE_BITS)) {
    const table = graph.constant(`linear.${name}/table`);
    if (table === undefined) throw new Error(`the model has no table "${name}"`);
    const values = floatsOf(table);
    const [least, most] = values.reduce(([low, high], x) => [Math.min(low, x), Math.max(high, x)], [0, 0]);
    const unit = short(Math.max(most, -least) / (2 ** (least < 0 ? bits - 1 : bits) - 1));
    table.rawData = new Uint8Array(values.map((x) => Math.round(x / unit) * unit).buffer);
  }
}

/** Rounds a number to 12 bits, so that its multiples by 8 bits are exact. */
function short(value: number): number {
  const unit = 2 ** (Math.floor(Math.log2(value)) - 11);
  return Math.round(value / unit) * unit;
}

function int32Scalar(name: string, value: number): TensorProto {
  const rawData = new Uint8Array(Int32Array.of(value).buffer);
  return create(TensorProtoSchema, { name, dataType: TensorProto_DataType.INT32, rawData });
}

function scalar(value: number): Weights {
  return { dims: [], data: Float32Array.of(value) };
}

function scaled({ dims, data }: Weights, factor: number): Weights {
  return { dims, data: data.map((x) => x * factor) };
}

/** Transposes a weight of [out, in] to [in, out], times a factor. */
function transposed({ dims, data }: Weights, factor: number): Weights {
  const [out = 0, from = 0] = dims;
  const turned = new Float32Array(data.length);
  for (let i = 0; i < out; i++) for (let j = 0; j < from; j++) turned[j * out + i] = (data[i * from + j] ?? 0) * factor;
  return { dims: [from, out], data: turned };
}
