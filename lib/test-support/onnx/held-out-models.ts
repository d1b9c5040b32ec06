// Models of one common operator each, and a few of two that ONNX Runtime fuses, by which the split of its binary is judged.
// The profile (profile-cases.ts) knows none of them: shapes, types and operator sets are others.
import type { NodeSpec } from "../../compress/onnx/graph.ts";
import { modelOf } from "./onnx-graphs.ts";
import type { NumericType, ConstantValues } from "./onnx-graphs.ts";

/** A model, its inputs, and a title. */
export interface HeldOutModel {
  readonly title: string;
  readonly bytes: Uint8Array;
  readonly inputs: Readonly<Record<string, ConstantValues>>;
}

const X = [2, 6, 5, 7] as const;
const f = (...dims: readonly number[]): ConstantValues => ({ dtype: "float32", dims });
const ints = (...values: readonly number[]): ConstantValues => ({ dtype: "int64", dims: [values.length], values });
const float = (value: number): ConstantValues => ({ dtype: "float32", dims: [], values: [value] });

interface One {
  readonly x?: ConstantValues;
  readonly others?: readonly ConstantValues[];
  readonly constants?: readonly (ConstantValues | null)[];
  readonly attributes?: NodeSpec["attributes"];
  readonly outputs?: number;
  readonly opset?: number;
}

/** A model of one operator; constants come after the inputs. */
function one(
  opType: string,
  { x = f(...X), others = [], constants = [], attributes = {}, outputs = 1, opset = 16 }: One = {},
): HeldOutModel {
  const inputs = Object.fromEntries([x, ...others].map((values, i) => [`x${i}`, values]));
  const given = Object.fromEntries(constants.flatMap((values, i) => (values === null ? [] : [[`c${i}`, values]])));
  const names = [...Object.keys(inputs), ...constants.map((values, i) => (values === null ? "" : `c${i}`))];
  const output = Array.from({ length: outputs }, (_, i) => `y${i}`);
  const model = modelOf({
    inputs,
    constants: given,
    outputs: output,
    nodes: [{ opType, input: names, output, attributes }],
    opset,
  });
  return { title: `${opType} ${x.dtype} [${x.dims.join(", ")}], operator set ${opset}`, bytes: model.write(), inputs };
}

/** A chain of operators over one value, each with constants of its own. */
function chain(
  title: string,
  x: ConstantValues,
  steps: readonly (readonly [
    opType: string,
    constants: readonly ConstantValues[],
    attributes?: NodeSpec["attributes"],
  ])[],
): HeldOutModel {
  const constants: Record<string, ConstantValues> = {};
  const nodes = steps.map(([opType, own, attributes = {}], i): NodeSpec => {
    const names = own.map((values, k) => {
      constants[`c${i}.${k}`] = values;
      return `c${i}.${k}`;
    });
    return { opType, input: [i === 0 ? "x" : `v${i}`, ...names], output: [`v${i + 1}`], attributes };
  });
  const model = modelOf({ inputs: { x }, constants, outputs: [`v${steps.length}`], nodes, opset: 16 });
  return { title, bytes: model.write(), inputs: { x } };
}

const UNARY = [
  ...[
    "Abs",
    "Atan",
    "Ceil",
    "Cos",
    "Elu",
    "Erf",
    "Exp",
    "Floor",
    "HardSigmoid",
    "HardSwish",
    "Identity",
    "LeakyRelu",
    "Log",
  ],
  ...[
    "LogSoftmax",
    "Neg",
    "Reciprocal",
    "Relu",
    "Round",
    "Selu",
    "Sigmoid",
    "Sign",
    "Sin",
    "Softmax",
    "Softplus",
    "Softsign",
  ],
  ...[
    "Sqrt",
    "Tan",
    "Tanh",
    "ThresholdedRelu",
    "Flatten",
    "Shape",
    "Size",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "NonZero",
  ],
] as const;
const BINARY = ["Add", "Sub", "Mul", "Div", "Pow", "Min", "Max", "Greater", "Less", "Equal", "GreaterOrEqual"] as const;
const REDUCTIONS = [
  "ReduceMean",
  "ReduceMax",
  "ReduceMin",
  "ReduceL2",
  "ReduceProd",
  "ReduceSumSquare",
  "ReduceLogSumExp",
] as const;
const WHOLE_NUMBERS: readonly NumericType[] = ["int32", "int64"];

/** Lists the models. */
export function heldOut(): HeldOutModel[] {
  return [
    ...UNARY.map((opType) => one(opType)),
    ...BINARY.map((opType) => one(opType, { others: [f(6, 1, 7)] })),
    ...WHOLE_NUMBERS.flatMap((dtype) =>
      ["Add", "Sub", "Mul"].map((opType) =>
        one(opType, { x: { dtype, dims: [3, 4] }, constants: [{ dtype, dims: [4] }] }),
      ),
    ),
    ...REDUCTIONS.map((opType) => one(opType, { attributes: { axes: [1, 3], keepdims: 0 } })),
    one("ReduceSum", { constants: [ints(2)] }),
    one("ArgMax", { attributes: { axis: 1, keepdims: 0 } }),
    one("ArgMin", { attributes: { axis: -1 }, opset: 12 }),
    one("AveragePool", { attributes: { kernel_shape: [3, 2], strides: [2, 2], pads: [1, 0, 1, 0] } }),
    one("MaxPool", { attributes: { kernel_shape: [2, 3], ceil_mode: 1 } }),
    one("BatchNormalization", { constants: [f(6), f(6), f(6), { ...f(6), values: [1, 2, 3, 4, 5, 6] }] }),
    one("InstanceNormalization", { constants: [f(6), f(6)] }),
    one("LayerNormalization", { constants: [f(7), f(7)], attributes: { axis: -1 }, opset: 18 }),
    one("Cast", { attributes: { to: 7 } }),
    one("Cast", { x: { dtype: "bool", dims: [5] }, attributes: { to: 1 } }),
    one("Clip", { constants: [float(-0.5), float(0.25)] }),
    one("Concat", { others: [f(2, 1, 5, 7)], attributes: { axis: 1 } }),
    one("Conv", { constants: [f(9, 6, 3, 3), f(9)], attributes: { pads: [1, 1, 1, 1], strides: [2, 1] } }),
    one("Conv", { constants: [f(6, 1, 5, 5), f(6)], attributes: { group: 6, pads: [2, 2, 2, 2] } }),
    one("Conv", { x: f(1, 5, 19), constants: [f(4, 5, 3)], attributes: { dilations: [2] } }),
    one("ConvTranspose", { constants: [f(6, 4, 3, 3), f(4)], attributes: { strides: [2, 2], output_padding: [1, 1] } }),
    one("CumSum", { constants: [{ dtype: "int64", dims: [], values: [1] }] }),
    one("DepthToSpace", { x: f(1, 12, 3, 5), attributes: { blocksize: 2, mode: "CRD" } }),
    one("Einsum", { x: f(3, 4, 5), others: [f(3, 5, 2)], attributes: { equation: "bij,bjk->bik" } }),
    one("Expand", { x: f(3, 1), constants: [ints(2, 3, 4)] }),
    one("Gather", { constants: [ints(3, 0, -1)], attributes: { axis: 1 } }),
    one("GatherElements", { x: f(3, 4), constants: [{ dtype: "int64", dims: [1, 4], values: [2, 1, 0, 2] }] }),
    one("GatherND", { x: f(3, 4, 2), constants: [{ dtype: "int64", dims: [2, 2], values: [2, 1, 0, 3] }] }),
    one("Gemm", { x: f(3, 8), constants: [f(5, 8), f(5)], attributes: { transB: 1, alpha: { float: 0.5 } } }),
    one("MatMul", { x: f(2, 3, 17), constants: [f(17, 9)] }),
    one("MatMul", { x: f(2, 3, 4, 5), others: [f(2, 3, 5, 4)] }),
    one("Mod", { x: { dtype: "int64", dims: [7] }, constants: [ints(3)] }),
    one("Not", { x: { dtype: "bool", dims: [3, 5] } }),
    one("OneHot", {
      x: ints(0, 2, 1),
      constants: [
        { dtype: "int64", dims: [], values: [4] },
        { dtype: "float32", dims: [2], values: [0, 1] },
      ],
    }),
    one("PRelu", { constants: [f(6, 1, 1)] }),
    one("Pad", { constants: [ints(0, 0, 2, 1, 0, 0, 1, 3)], attributes: { mode: "reflect" } }),
    one("Pad", { constants: [ints(0, 0, 2, 1, 0, 0, 1, 3), float(0.5)] }),
    one("Range", {
      x: { dtype: "int64", dims: [], values: [2] },
      constants: [
        { dtype: "int64", dims: [], values: [11] },
        { dtype: "int64", dims: [], values: [3] },
      ],
    }),
    one("Reshape", { constants: [ints(2, -1, 7)] }),
    one("Resize", {
      constants: [null, { dtype: "float32", dims: [4], values: [1, 1, 2, 3] }],
      attributes: { mode: "linear" },
    }),
    one("Resize", {
      constants: [null, null, ints(2, 6, 9, 11)],
      attributes: { mode: "nearest", coordinate_transformation_mode: "half_pixel" },
    }),
    one("ScatterND", { x: f(5, 3), constants: [{ dtype: "int64", dims: [2, 1], values: [4, 1] }, f(2, 3)] }),
    one("ScatterElements", { x: f(3, 3), constants: [{ dtype: "int64", dims: [1, 2], values: [1, 0] }, f(1, 2)] }),
    one("Slice", { constants: [ints(1, 0), ints(5, 4), ints(1, 3), ints(2, 1)] }),
    one("SpaceToDepth", { x: f(1, 3, 4, 6), attributes: { blocksize: 2 } }),
    one("Split", { constants: [ints(1, 2, 3)], attributes: { axis: 1 }, outputs: 3 }),
    one("Squeeze", { x: f(1, 4, 1, 3), constants: [ints(0, 2)] }),
    one("Unsqueeze", { x: f(4, 3), constants: [ints(0, 3)] }),
    one("Sum", { others: [f(...X), f(7)] }),
    one("Tile", { x: f(2, 3), constants: [ints(2, 3)] }),
    one("TopK", { constants: [ints(3)], outputs: 2 }),
    one("Transpose", { attributes: { perm: [0, 3, 1, 2] } }),
    one("Trilu", { x: f(5, 5), attributes: { upper: 0 } }),
    one("Where", { x: { dtype: "bool", dims: [5, 7] }, others: [f(5, 7), f(7)] }),
    one("DynamicQuantizeLinear", { x: f(3, 9), outputs: 3 }),
    one("QuantizeLinear", { constants: [float(0.02), { dtype: "uint8", dims: [], values: [128] }] }),
    one("DequantizeLinear", { x: { dtype: "int8", dims: [4, 6] }, constants: [float(0.02)] }),
    one("MatMulInteger", { x: { dtype: "uint8", dims: [3, 16] }, constants: [{ dtype: "int8", dims: [16, 4] }] }),
    one("GRU", {
      x: f(4, 2, 3),
      constants: [f(1, 15, 3), f(1, 15, 5), f(1, 30)],
      attributes: { hidden_size: 5 },
      outputs: 2,
    }),
    one("LSTM", {
      x: f(4, 2, 3),
      constants: [f(1, 20, 3), f(1, 20, 5), f(1, 40)],
      attributes: { hidden_size: 5 },
      outputs: 3,
    }),
    chain("Conv, BatchNormalization, Relu", f(1, 3, 9, 11), [
      ["Conv", [f(8, 3, 3, 3)]],
      ["BatchNormalization", [f(8), f(8), f(8), { ...f(8), values: [1, 2, 3, 4, 5, 6, 7, 8] }]],
      ["Relu", []],
    ]),
    chain("MatMul, Add, Tanh, Softmax", f(3, 20), [
      ["MatMul", [f(20, 12)]],
      ["Add", [f(12)]],
      ["Tanh", []],
      ["Softmax", []],
    ]),
    // Sequences that ONNX Runtime rewrites; graphs as deep, and layers as wide, as a model's.
    ...BETWEEN_TRANSPOSES.map(([opType, constants, attributes = {}]) =>
      chain(`Transpose, ${opType}, Transpose`, f(1, 10, 6, 12), [
        ["Transpose", [], { perm: [0, 2, 3, 1] }],
        [opType, constants, attributes],
        ["Transpose", [], { perm: [0, 3, 1, 2] }],
      ]),
    ),
    ...["Sigmoid", "HardSigmoid", "Elu", "LeakyRelu", "Softplus", "Relu", "Tanh"].map((opType) =>
      chain(`Gemm of [700, 1100], ${opType}`, f(1, 700), [
        ["Gemm", [f(1_100, 700), f(1_100)], { transB: 1 }],
        [opType, []],
      ]),
    ),
    chain("Sigmoid, Identity, Relu, Clip", f(2, 9, 4), [
      ["Sigmoid", []],
      ["Identity", []],
      ["Relu", []],
      ["Clip", [float(0), float(0.75)]],
    ]),
    chain(
      "450 operators",
      f(2, 7),
      Array.from({ length: 450 }, (_, i) => (i % 3 === 0 ? ["Mul", [f(7)]] : [i % 3 === 1 ? "Tanh" : "HardSwish", []])),
    ),
    one("Reshape", { x: f(2, 6, 7), constants: [ints(2, 42)], opset: 13 }),
    one("Gather", { x: f(9, 5), constants: [{ dtype: "int32", dims: [2, 3], values: [8, 0, 4, 4, 1, 2] }] }),
    one("Resize", {
      constants: [f(0), { ...f(4), values: [1, 1, 2, 2] }],
      attributes: { mode: "nearest", coordinate_transformation_mode: "asymmetric", nearest_mode: "floor" },
      opset: 12,
    }),
  ];
}

/** Operators through which a transpose can be moved, with their constants and attributes. */
const BETWEEN_TRANSPOSES: readonly (readonly [string, readonly ConstantValues[], NodeSpec["attributes"]?])[] = [
  ["Softmax", [], { axis: -1 }],
  ["Pad", [ints(0, 1, 1, 0, 0, 1, 1, 0)]],
  ["Gather", [ints(3, 1)], { axis: 2 }],
  ["Slice", [ints(0), ints(4), ints(1)]],
  ["MaxPool", [], { kernel_shape: [2, 2] }],
  ["Resize", [f(0), { ...f(4), values: [1, 2, 2, 1] }], { mode: "nearest" }],
  ["ReduceMean", [], { axes: [1], keepdims: 1 }],
  ["LeakyRelu", []],
  ["Mul", [f(10)]],
];
