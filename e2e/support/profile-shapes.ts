// Cases of common operators in the shapes and types that models have, for the profile (profile-cases.ts): ONNX's own cases are
// small and of one shape each, while kernels have ways of their own for scalars, rows, and neighbouring or distant axes.
import type { NumericType, ConstantValues } from "../../lib/test-support/onnx/onnx-graphs.ts";
import type { NodeSpec } from "../../lib/compress/onnx/graph.ts";
import type { LazyCase } from "./profile-cases.ts";
import { nodeCase } from "./profile-node.ts";

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
    ...TYPES.flatMap((dtype) => [
      ...moves(dtype),
      // Sizes and indices are numbers, and lists of a few.
      ...BINARY.flatMap((opType) => SMALL.flatMap(([dims, other]) => small(opType, dtype, dims, other))),
    ]),
    ...UNARY.flatMap((opType) => [
      wide(opType, WIDE),
      wide(
        opType,
        WIDE.flatMap((x) => Array<number>(300).fill(x)),
      ),
    ]),
    ...TYPES.flatMap((dtype) => BINARY.flatMap((opType) => DEEP.map((dims) => deep(opType, dtype, dims)))),
    ...TYPES.slice(0, 3).flatMap((dtype) => counts(dtype)),
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

/** Numbers for which functions go ways of their own. */
const WIDE = [
  0,
  -0,
  1e-30,
  -1e-7,
  0.7,
  -1.5,
  3,
  -7,
  11,
  40,
  -95,
  720,
  -5e4,
  3e6,
  1e9,
  -1e20,
  3e38,
  Infinity,
  -Infinity,
  NaN,
];

function wide(opType: string, values: readonly number[]): LazyCase {
  const made = one(opType, [{ dtype: "float32", dims: [values.length], values }]);
  return { ...made, title: `${made.title}, wide values` };
}

/** Dims of a second operand of six. */
const DEEP: readonly (readonly number[])[] = [
  [1, 2, 1, 3, 1, 2],
  [2, 1, 3, 1, 1, 2],
  [3, 1, 2, 1],
  [2, 2, 1, 1, 2, 1],
];

function deep(opType: string, dtype: NumericType, dims: readonly number[]): LazyCase {
  const x = { dtype, dims: [2, 2, 3, 3, 2, 2] };
  const attributes = opType === "Mod" && dtype === "float32" ? { fmod: 1 } : {};
  const values = Array.from({ length: count(dims) }, (_, i) => 1 + (i % 3));
  const made =
    opType === "Where"
      ? one(opType, [{ dtype: "bool", dims }, x, { dtype, dims: [1] }])
      : one(opType, [x, { dtype, dims, values }], [], attributes);
  return { ...made, title: `${made.title}, six dims` };
}

/** Dims of operands that a graph computes sizes and indices with. */
const SMALL: readonly (readonly [dims: readonly number[], other: readonly number[]])[] = [
  [[], []],
  [[1], [1]],
  [[3], []],
  [[], [3]],
  [[3], [3]],
];

function small(
  opType: string,
  dtype: NumericType,
  dims: readonly number[],
  other: readonly number[],
): readonly LazyCase[] {
  const x = { dtype, dims };
  if (opType === "Where") return [one(opType, [{ dtype: "bool", dims }, x, { dtype, dims: other }])];
  const values = Array.from({ length: count(other) }, (_, i) => 1 + (i % 3));
  const attributes = opType === "Mod" && dtype === "float32" ? { fmod: 1 } : {};
  return [
    one(opType, [x, { dtype, dims: other, values }], [], attributes),
    one(opType, [x], [{ dtype, dims: other, values }], attributes),
  ];
}

const NARROWER: readonly (readonly number[])[] = [
  [],
  [1],
  [8],
  [1, 8],
  [4, 1, 1],
  [2, 4, 1, 8],
  [1, 1, 3, 1],
  [2, 1, 1, 1],
];
const PERMS: readonly (readonly number[])[] = [
  ...[
    [0, 2, 1, 3],
    [0, 1, 3, 2],
    [0, 2, 3, 1],
    [0, 3, 1, 2],
    [1, 0, 2, 3],
    [2, 0, 3, 1],
    [3, 2, 1, 0],
    [1, 2, 3, 0],
  ],
  ...[
    [0, 1, 3, 2, 4, 5],
    [0, 2, 1, 4, 3, 5],
    [2, 0, 3, 1, 4],
    [0, 1, 3, 4, 2],
    [1, 0, 2],
    [0, 2, 1],
    [2, 0, 1],
    [1, 0],
  ],
];

/** Operators that move elements, and compute none. */
function moves(dtype: NumericType): LazyCase[] {
  const x = { dtype, dims: SHAPE };
  const list = (...values: readonly number[]): ConstantValues => ({ dtype: "int64", dims: [values.length], values });
  const indices = (dims: readonly number[], type: "int32" | "int64" = "int64"): ConstantValues => ({
    dtype: type,
    dims,
    values: Array.from({ length: count(dims) }, (_, i) => i % 2),
  });
  const axes = SHAPE.map((_, axis) => axis);
  return [
    ...NARROWER.flatMap((dims) => [
      one("Expand", [{ dtype, dims }, list(...SHAPE)]),
      one("Expand", [{ dtype, dims }], [list(...SHAPE)]),
      one("Where", [{ dtype: "bool", dims }, x, { dtype, dims: [8] }]),
      one("Where", [{ dtype: "bool", dims: SHAPE }, { dtype, dims }, x]),
      one("Where", [{ dtype: "bool", dims: SHAPE }, x, { dtype, dims }]),
      one("Where", [
        { dtype: "bool", dims: SHAPE },
        { dtype, dims: [] },
        { dtype, dims },
      ]),
    ]),
    ...PERMS.map((perm) => one("Transpose", [{ dtype, dims: perm.map((_, i) => 2 + (i % 3)) }], [], { perm })),
    ...axes.flatMap((axis) => [
      ...[[], [2], [2, 2], [1, 3]].flatMap((dims) => [
        one("Gather", [x, indices(dims)], [], { axis }),
        one("Gather", [x], [indices(dims, "int32")], { axis }),
      ]),
      one("Slice", [x], [list(1), list(3), list(axis)]),
      one("Slice", [x], [list(0), list(100), list(axis), list(2)]),
      one("Slice", [x], [list(-1), list(-100), list(axis), list(-1)]),
      one("Slice", [x, list(0), list(2), list(axis), list(1)]),
      one("Concat", [x, x], [], { axis }),
      one("Concat", [x, x, x], [x], { axis }),
      one("GatherElements", [x, indices(SHAPE)], [], { axis }),
      one("ScatterElements", [x, indices([2, 2, 2, 2]), { dtype, dims: [2, 2, 2, 2] }], [], { axis }),
    ]),
    one("Slice", [x], [list(0, 1), list(2, 3), list(1, 3)]),
    ...[[4], [3], [1]].map((dims) => one("Concat", [{ dtype, dims }], [{ dtype, dims }], { axis: 0 })),
    ...[2, 4].flatMap((parts) => [split(dtype, parts, 1), split(dtype, parts, 3)]),
    ...["constant", "edge", "reflect"].map((mode) => one("Pad", [x], [list(0, 0, 1, 1, 0, 0, 1, 1)], { mode })),
    one("Pad", [x, list(0, 0, 0, 1, 0, 0, 0, 2)]),
    one("Tile", [x], [list(1, 2, 1, 2)]),
    one("Tile", [{ dtype, dims: [1, 3] }], [list(4, 1)]),
    one("GatherND", [x, indices([3, 1])]),
    one("GatherND", [x, indices([2, 3, 2])], [], { batch_dims: 1 }),
    one("ScatterND", [x, indices([1, 2]), { dtype, dims: [1, 3, 8] }]),
    one("Trilu", [x], [], { upper: 1 }),
    one("Trilu", [x], [{ dtype: "int64", dims: [], values: [1] }], { upper: 0 }),
    ...["Identity", "NonZero", "Shape"].map((opType) => one(opType, [{ dtype, dims: [] }])),
    ...[1, 6, 7, 9, 10].flatMap((to) => NARROWER.slice(0, 3).map((dims) => one("Cast", [{ dtype, dims }], [], { to }))),
  ];
}

/** Operators over an axis that few types have. */
function counts(dtype: NumericType): LazyCase[] {
  const x = { dtype, dims: SHAPE };
  const number = (value: number, type: NumericType = dtype): ConstantValues => ({
    dtype: type,
    dims: [],
    values: [value],
  });
  return [
    ...[{}, { exclusive: 1 }, { reverse: 1 }].flatMap((attributes) =>
      [0, 1, 3, -1].flatMap((axis) =>
        (["int32", "int64"] as const).map((type) => one("CumSum", [x], [number(axis, type)], attributes)),
      ),
    ),
    one("CumSum", [{ dtype, dims: [2, 5] }], [number(1, "int64")]),
    ...[1, -1].flatMap((axis) => [0, 1].map((largest) => topK(dtype, { axis, largest }))),
    one("Range", [number(0), number(7), number(1)]),
    one("Clip", [x], [number(0), number(3)]),
    one("Clip", [{ dtype, dims: [] }], [number(0), number(3)]),
    ...PLACES.map((opType) => one(opType, [x], [], { axis: -1, keepdims: 0 })),
  ];
}

function split(dtype: NumericType, parts: number, axis: number): LazyCase {
  const sizes = {
    dtype: "int64",
    dims: [parts],
    values: Array.from({ length: parts }, () => (SHAPE[axis] ?? 0) / parts),
  } as const;
  return one("Split", [{ dtype, dims: SHAPE }], [sizes], { axis }, 16, parts);
}

function topK(dtype: NumericType, attributes: NodeSpec["attributes"]): LazyCase {
  return one("TopK", [{ dtype, dims: SHAPE }], [{ dtype: "int64", dims: [1], values: [2] }], attributes, 16, 2);
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
  inputs: readonly ConstantValues[],
  constants: readonly ConstantValues[] = [],
  attributes: NodeSpec["attributes"] = {},
  opset = 16,
  outputs = 1,
): LazyCase {
  const operands = [...inputs, ...constants.map((x) => ({ ...x, isConstant: true }))];
  return nodeCase(opType, operands, { attributes, opset, outputs, isFree: true });
}
