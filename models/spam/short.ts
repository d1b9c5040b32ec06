// A small classifier before the one of spam.ts, for a cascade: a linear model over the first tokens of a mail, with the
// same tokenizer, inputs and labels. Its 8,192 pairs of numbers are 64 kB; a mail takes a few thousand products.
import { Tokenizer } from "@huggingface/tokenizers";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { BundleInput } from "../../lib/core/bundle.ts";
import type { NodeSpec } from "../../lib/compress/onnx/graph.ts";
import type { OnnxModel } from "../../lib/compress/onnx/model.ts";
import { TensorProto_DataType } from "../../lib/compress/onnx/onnx.gen.js";
import { int64Tensor } from "../../lib/compress/onnx/tensor-proto.ts";
import { buildGraph } from "../graph.ts";
import type { Weights } from "../graph.ts";
import { SPAM_INPUTS, SPAM_OUTPUT } from "../spam.ts";
import { fitLinear } from "./linear.ts";
import type { LabelledMail } from "./mails.ts";
import type { TokenizerFile } from "./tokenizer.ts";

/** Tokens of a mail that it reads. */
const SHORT_LENGTH = 64;

/** Inputs: those of the large one, cut to the first tokens. */
export const SHORT_INPUTS: readonly BundleInput[] = SPAM_INPUTS.map((input) =>
  input.text === undefined ? input : { ...input, text: { ...input.text, maxLength: SHORT_LENGTH } },
);

/** Path of the tokenizer of the committed weights. */
const TOKENIZER = join(import.meta.dirname, "tokenizer.json");

/** Fits the model to mails, and builds its graph. */
export function buildShort(mails: readonly LabelledMail[]): OnnxModel {
  const file = JSON.parse(readFileSync(TOKENIZER, "utf8")) as TokenizerFile;
  const tokenizer = new Tokenizer(file, {});
  const counts = mails.map(({ text }) => {
    const ids = tokenizer.encode(text).ids.slice(0, SHORT_LENGTH);
    const found = new Map<number, number>();
    for (const id of ids) found.set(id, (found.get(id) ?? 0) + 1);
    return found;
  });
  const { feature, bias } = fitLinear(
    counts,
    mails.map((x) => x.isSpam),
  );
  const features = Array.from(Object.keys(file.model.vocab), (_, id) => feature(id) ?? { weight: 0, inverse: 0 });
  const table = (of: (x: (typeof features)[number]) => number): Weights => ({
    dims: [features.length],
    data: Float32Array.from(features, of),
  });
  return graphOf(
    table(({ weight, inverse }) => weight * inverse),
    table(({ inverse }) => inverse ** 2),
    bias,
  );
}

/** Builds the graph of linear.ts: 1 + log(count) times the inverse frequency, scaled to length 1, times the weights. */
function graphOf(weights: Weights, sizes: Weights, bias: number): OnnxModel {
  const nodes: NodeSpec[] = [];
  const add = (opType: string, output: string, input: readonly string[], attributes: NodeSpec["attributes"] = {}) => {
    nodes.push({ opType, input, output: [output], attributes });
    return output;
  };
  // How often each token is there, by comparing it with all; padding counts as one.
  const columns = add("Unsqueeze", "columns", ["text", "axis2"]);
  const rows = add("Unsqueeze", "rows", ["text", "axis1"]);
  const same = add("Cast", "same", [add("Equal", "equal", [columns, rows])], { to: TensorProto_DataType.FLOAT });
  const likes = add("MatMul", "likes/column", [same, add("Unsqueeze", "present", ["mask", "axis2"])]);
  const absent = add("Sub", "absent", ["one", "mask"]);
  const count = add("Add", "count", [add("Squeeze", "likes", [likes, "axis2"]), absent]);
  const frequent = add("Add", "frequent", [add("Log", "log", [count]), "one"]);
  // Shared among equal tokens.
  const share = add("Div", "share", [add("Mul", "kept", [frequent, "mask"]), count]);
  const sum = (name: string, by: string): string => {
    const looked = add("Gather", `${name}/looked`, [name, "text"]);
    return add("ReduceSum", `${name}/sum`, [add("Mul", `${name}/each`, [looked, by]), "axis1"], { keepdims: 1 });
  };
  const size = add("Max", "size", [sum("sizes", add("Mul", "squared", [share, frequent])), "least"]);
  const score = add("Div", "score", [sum("weights", share), add("Sqrt", "root", [size])]);
  const odds = add("Add", "odds", [score, "bias"]);
  add("Mul", SPAM_OUTPUT.name, [odds, "sides"]);
  const scalar = (value: number): Weights => ({ dims: [], data: Float32Array.of(value) });
  return buildGraph(
    { inputs: SHORT_INPUTS, outputs: [SPAM_OUTPUT] },
    nodes,
    {
      ...{ weights, sizes, one: scalar(1), least: scalar(1e-12), bias: scalar(bias) },
      sides: { dims: [1, 2], data: Float32Array.of(-0.5, 0.5) },
    },
    [int64Tensor("axis1", [1], [1]), int64Tensor("axis2", [1], [2])],
  );
}
