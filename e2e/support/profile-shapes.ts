// Cases of common operators in the shapes and types that models have, for the profile (profile-cases.ts): ONNX's own cases are
// small and of one shape each, while kernels have ways of their own for scalars, rows, and neighbouring or distant axes.
import { modelOf } from "../../lib/test-support/onnx/onnx-graphs.ts";
import type { NumericType, ConstantValues } from "../../lib/test-support/onnx/onnx-graphs.ts";
import type { NodeSpec } from "../../lib/compress/onnx/graph.ts";
import type { LazyCase } from "./profile-cases.ts";

const UNARY = [
  ..."Abs Ceil Cos Elu Erf Exp Floor HardSigmoid HardSwish Identity LeakyRelu Log LogSoftmax Neg NonZero Not".split(
    " ",
  ),
  ..."Reciprocal Relu Round Shape Sigmoid Sign Sin Size Softmax Softplus Softsign Sqrt Tanh Transpose Flatten".split(
    " ",
  ),
];
const BINARY =
  "Add And Div Equal Greater GreaterOrEqual Less LessOrEqual Max Min Mod Mul Or PRelu Pow Sub Sum Where".split(" ");
const REDUCTIONS =
  "ReduceL1 ReduceL2 ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare".split(" ");
const PLACES = ["ArgMax", "ArgMin"];
const SHAPE: readonly number[] = [2, 4, 3, 8];
/** Shapes of a second operand. */
const OTHERS: readonly (readonly number[])[] = [SHAPE, [], [1], [8], [3, 1], [4, 1, 1], [2, 4, 3, 1], [2, 1, 3, 8]];
const AXES: readonly (readonly number[])[] = [
  [0],
  [1],
  [2],
  [3],
  [0, 1],
  [1, 2],
  [2, 3],
  [0, 2],
  [1, 3],
  [0, 2, 3],
  [1, 2, 3],
  [0, 1, 2, 3],
];
const TYPES: readonly NumericType[] = ["float32", "int32", "int64", "bool"];

/** Lists the cases. */
export function shapeCases(): LazyCase[] {
  return [
    ...TYPES.flatMap((dtype) => [
      ...UNARY.flatMap((opType) => [one(opType, [{ dtype, dims: SHAPE }]), one(opType, [{ dtype, dims: [300] }])]),
      ...BINARY.flatMap((opType) => OTHERS.flatMap((dims) => binary(opType, dtype, dims))),
    ]),
    ...TYPES.slice(0, 3).flatMap((dtype) =>
      REDUCTIONS.flatMap((opType) => AXES.flatMap((axes) => reduction(opType, dtype, axes))),
    ),
    ...PLACES.flatMap((opType) =>
      [0, 1, 2, 3].map((axis) => one(opType, [{ dtype: "float32", dims: SHAPE }], [], { axis, keepdims: axis % 2 })),
    ),
    ...(["int32", "int64"] as const).map((dtype) =>
      one(
        "OneHot",
        [{ dtype, dims: [2, 3], values: [0, 1, 2, 3, 1, 0] }],
        [
          { dtype: "int64", dims: [], values: [5] },
          { dtype: "float32", dims: [2], values: [0, 1] },
        ],
      ),
    ),
  ];
}

function binary(opType: string, dtype: NumericType, dims: readonly number[]): LazyCase[] {
  const [x, y] = [
    { dtype, dims: SHAPE },
    { dtype, dims },
  ];
  if (opType === "Where") return [one(opType, [{ dtype: "bool", dims }, x, { dtype, dims: [] }])];
  const attributes = opType === "Mod" && dtype === "float32" ? { fmod: 1 } : {};
  return [
    one(opType, [x, y], [], attributes),
    one(opType, [x], [{ ...y, values: Array.from({ length: count(dims) }, (_, i) => 1 + (i % 3)) }], attributes),
    one(opType, [y, x], [], attributes),
  ];
}

function reduction(opType: string, dtype: NumericType, axes: readonly number[]): LazyCase[] {
  const x = { dtype, dims: SHAPE };
  const axesInput = { dtype: "int64", dims: [axes.length], values: axes } as const;
  return [
    opType === "ReduceSum" ? one(opType, [x], [axesInput]) : one(opType, [x], [], { axes, keepdims: 0 }),
    one(opType, [x], [axesInput], { keepdims: 1 }, 18),
  ];
}

const count = (dims: readonly number[]): number => dims.reduce((a, b) => a * b, 1);

/** A case of one operator; inputs come before constants. The first dim is free where there is one. */
function one(
  opType: string,
  given: readonly ConstantValues[],
  constants: readonly ConstantValues[] = [],
  attributes: NodeSpec["attributes"] = {},
  opset = 16,
): LazyCase {
  const inputs = Object.fromEntries(given.map((values, i) => [`x${i}`, values]));
  const weights = Object.fromEntries(constants.map((values, i) => [`c${i}`, values]));
  const node = { opType, input: [...Object.keys(inputs), ...Object.keys(weights)], output: ["y"], attributes };
  const title = `${opType} ${given.map(({ dtype, dims }) => `${dtype} [${dims.join(", ")}]`).join(" ")}, ${constants.length} constants`;
  return {
    title,
    onGpu: false,
    make: () => ({
      model: modelOf({ inputs, constants: weights, outputs: ["y"], nodes: [node], opset, isFree: true }),
      inputs,
    }),
  };
}
