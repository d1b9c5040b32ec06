// Types and dims of a graph's values, from those of its inputs: for the memory of a run (run-bytes.ts). The toolchain asks
// ONNX Runtime, which no browser can be asked. Integers that shapes are computed from are followed; what depends on data,
// and the outputs of operators that are not known here, have no dims, and count as large as the largest input.
import type { ValueFacts } from "../core/plan-buffers.ts";
import { FOLDS } from "./fold-integers.ts";
import { count, NodeView, rangeOf, UNKNOWN, VALUES_MAX, within } from "./node-view.ts";
import type { Constant, Dims, KnownValue, SizedNode } from "./node-view.ts";

/** Returns the dims of each output of a node. */
type ShapeRule = (view: NodeView) => readonly Dims[];

const words = (text: string): readonly string[] => text.split(" ");

const broadcast: ShapeRule = (view) => [
  view.inputs
    .map((_, i) => view.dims(i))
    .reduce((a, b) => {
      const rank = Math.max(a.length, b.length);
      return Array.from({ length: rank }, (_, i) => {
        const [x = 1, y = 1] = [a[a.length - rank + i], b[b.length - rank + i]];
        return x === 1 ? y : x;
      });
    }),
];

const pooled =
  (channels: (view: NodeView) => number, kernelOf: (view: NodeView) => Dims): ShapeRule =>
  (view) => {
    const [rows = 1, , ...sizes] = view.dims();
    const kernel = kernelOf(view);
    const at = (name: string, i: number, fallback: number): number => view.integers(name)?.[i] ?? fallback;
    const auto = view.node.attributes.get("auto_pad");
    const isSame = typeof auto === "string" && auto.startsWith("SAME");
    const round = view.integer("ceil_mode", 0) === 1 ? Math.ceil : Math.floor;
    const spread = sizes.map((size, i) => {
      const [stride, window] = [at("strides", i, 1), (at("dilations", i, 1) || 1) * ((kernel[i] ?? 1) - 1) + 1];
      const pads = at("pads", i, 0) + at("pads", i + sizes.length, 0);
      return isSame ? Math.ceil(size / stride) : round((size + pads - window) / stride) + 1;
    });
    return [[rows, channels(view), ...spread]];
  };

const kernelShape = (view: NodeView): Dims => view.integers("kernel_shape") ?? view.dims(1).slice(2);

const transposedConv: ShapeRule = (view) => {
  const [rows = 1, , ...sizes] = view.dims();
  const [, channels = 1] = view.dims(1);
  const kernel = kernelShape(view);
  const at = (name: string, i: number, fallback: number): number => view.integers(name)?.[i] ?? fallback;
  const auto = String(view.node.attributes.get("auto_pad") ?? "");
  const spread = sizes.map((size, i) => {
    const stride = at("strides", i, 1);
    const given = view.integers("output_shape")?.[i];
    if (given !== undefined || auto.startsWith("SAME")) return given ?? size * stride;
    const window = at("dilations", i, 1) * ((kernel[i] ?? 1) - 1) + 1;
    const pads = at("pads", i, 0) + at("pads", i + sizes.length, 0);
    return stride * (size - 1) + at("output_padding", i, 0) + window - pads;
  });
  return [[rows, channels * view.integer("group", 1), ...spread]];
};

const product: ShapeRule = (view) => {
  const [a, b] = [view.dims(0), view.dims(1)];
  const [left, right] = [a.length === 1 ? [1, ...a] : a, b.length === 1 ? [...b, 1] : b];
  const rank = Math.max(left.length, right.length) - 2;
  const batch = Array.from({ length: rank }, (_, i) => {
    const [x = 1, y = 1] = [left[left.length - 2 - rank + i], right[right.length - 2 - rank + i]];
    return x === 1 ? y : x;
  });
  const ends = [...(a.length === 1 ? [] : left.slice(-2, -1)), ...(b.length === 1 ? [] : right.slice(-1))];
  return [[...batch, ...ends]];
};

const gemm: ShapeRule = (view) => {
  const [a, b] = [view.dims(0), view.dims(1)];
  return [[a[view.integer("transA", 0)] ?? 1, b[1 - view.integer("transB", 0)] ?? 1]];
};

const reduced: ShapeRule = (view) => {
  const dims = view.dims();
  const given = view.either("axes", 1);
  if (given === undefined && view.integer("noop_with_empty_axes", 0) === 1) return [dims];
  const axes = new Set((given ?? [...dims.keys()]).map((x) => within(x, dims.length)));
  if (view.integer("keepdims", 1) === 1) return [dims.map((x, i) => (axes.has(i) ? 1 : x))];
  return [dims.filter((_, i) => !axes.has(i))];
};

const argued: ShapeRule = (view) => {
  const axis = view.axis(0);
  const isKept = view.integer("keepdims", 1) === 1;
  return [view.dims().flatMap((x, i) => (i === axis ? (isKept ? [1] : []) : [x]))];
};

const reshaped: ShapeRule = (view) => {
  const dims = view.dims();
  const given = view.values(1) ?? [];
  const zeroStays = view.integer("allowzero", 0) === 1;
  const sizes = given.map((x, i) => (x === 0 && !zeroStays ? (dims[i] ?? 1) : x));
  const known = count(sizes.filter((x) => x !== -1));
  return [sizes.map((x) => (x === -1 ? count(dims) / known : x))];
};

const sliced: ShapeRule = (view) => {
  const dims = [...view.dims()];
  const [starts = [], ends = []] = [view.either("starts", 1), view.either("ends", 2)];
  const axes = view.either("axes", 3) ?? [...starts.keys()];
  const steps = view.values(4) ?? [];
  for (const [i, given] of axes.entries()) {
    const axis = within(given, dims.length);
    const [from, to, step] = rangeOf(dims[axis] ?? 0, starts[i] ?? 0, ends[i] ?? 0, steps[i] ?? 1);
    dims[axis] = Math.max(0, Math.ceil((to - from) / step));
  }
  return [dims];
};

const gathered: ShapeRule = (view) => {
  const [dims, indices] = [view.dims(0), view.dims(1)];
  const axis = view.axis(view.node.opType === "Gather" ? 0 : view.integer("gather_axis", 0));
  return [[...dims.slice(0, axis), ...indices, ...dims.slice(axis + 1)]];
};

const concatenated: ShapeRule = (view) => {
  const axis = view.axis(0);
  const total = view.inputs.reduce((sum, _, i) => sum + (view.dims(i)[axis] ?? 0), 0);
  return [view.dims().map((x, i) => (i === axis ? total : x))];
};

const split: ShapeRule = (view) => {
  const [dims, axis, { output }] = [view.dims(), view.axis(0), view.node];
  const each = Math.ceil((dims[axis] ?? 0) / output.length);
  const sizes = view.either("split", 1) ?? output.map((_, i) => Math.min(each, (dims[axis] ?? 0) - i * each));
  return sizes.map((size) => dims.map((x, i) => (i === axis ? size : x)));
};

const squeezed: ShapeRule = (view) => {
  const dims = view.dims();
  const axes = view.either("axes", 1)?.map((x) => within(x, dims.length));
  return [dims.filter((x, i) => (axes === undefined ? x !== 1 : !axes.includes(i)))];
};

const unsqueezed: ShapeRule = (view) => {
  const given = view.either("axes", 1) ?? [];
  const dims = view.dims();
  const axes = new Set(given.map((x) => within(x, dims.length + given.length)));
  const rest = [...dims];
  return [Array.from({ length: dims.length + given.length }, (_, i) => (axes.has(i) ? 1 : (rest.shift() ?? 1)))];
};

const resized: ShapeRule = (view) => {
  const dims = view.dims();
  const isOld = view.node.opType === "Upsample";
  const axes = view.integers("axes")?.map((x) => within(x, dims.length)) ?? [...dims.keys()];
  const sizes = isOld ? undefined : view.values(3);
  const scales = sizes === undefined ? view.values(isOld ? 1 : view.node.input.length > 2 ? 2 : 1) : undefined;
  return [
    dims.map((x, i) => {
      const at = axes.indexOf(i);
      return sizes?.[at] ?? Math.floor(x * (scales?.[at] ?? 1));
    }),
  ];
};

const padded: ShapeRule = (view) => {
  const [dims, pads = []] = [view.dims(), view.either("pads", 1)];
  const axes = view.values(3)?.map((x) => within(x, dims.length)) ?? [...dims.keys()];
  return [
    dims.map((x, i) => {
      const at = axes.indexOf(i);
      return at === -1 ? x : x + (pads[at] ?? 0) + (pads[at + axes.length] ?? 0);
    }),
  ];
};

const recurrent: ShapeRule = (view) => {
  const [steps = 1, rows = 1] = view.dims();
  const hidden = view.integer("hidden_size", 1);
  const [directions = 1] = view.dims(1);
  const last = [directions, rows, hidden];
  return [[steps, directions, rows, hidden], last, last];
};

const summed: ShapeRule = (view) => {
  const [terms = "", wanted] = String(view.node.attributes.get("equation")).replaceAll(" ", "").split("->");
  const sizes = new Map<string, number>();
  for (const [i, term] of terms.split(",").entries())
    for (const [axis, letter] of [...term].entries()) sizes.set(letter, view.dims(i)[axis] ?? 1);
  if (wanted === undefined || sizes.has(".")) throw UNKNOWN;
  return [[...wanted].map((letter) => sizes.get(letter) ?? 1)];
};

/** The dims of the first input, for each output. */
const same: ShapeRule = (view) => view.node.output.map(() => view.dims());

const blocks =
  (isDeeper: boolean): ShapeRule =>
  (view) => {
    const [rows = 1, channels = 1, height = 1, width = 1] = view.dims();
    const size = view.integer("blocksize", 1);
    return isDeeper
      ? [[rows, channels * size * size, height / size, width / size]]
      : [[rows, channels / (size * size), height * size, width * size]];
  };

const RULES: ReadonlyMap<string, ShapeRule> = new Map<string, ShapeRule>([
  ...words("Add Sub Mul Div Pow Mod Min Max Sum Mean And Or Xor Equal Greater Less Where BitShift PRelu")
    .concat(words("GreaterOrEqual LessOrEqual"))
    .map((x): [string, ShapeRule] => [x, broadcast]),
  ...words("L1 L2 LogSum LogSumExp Max Mean Min Prod Sum SumSquare").map((x): [string, ShapeRule] => [
    `Reduce${x}`,
    reduced,
  ]),
  ...words("LSTM GRU RNN").map((x): [string, ShapeRule] => [x, recurrent]),
  ...words("ArgMax ArgMin").map((x): [string, ShapeRule] => [x, argued]),
  ...words("MatMul MatMulInteger").map((x): [string, ShapeRule] => [x, product]),
  ...words("Conv ConvInteger").map((x): [string, ShapeRule] => [
    x,
    pooled((view) => view.dims(1)[0] ?? 1, kernelShape),
  ]),
  ...words("MaxPool AveragePool LpPool").map((x): [string, ShapeRule] => [
    x,
    pooled(
      (view) => view.dims()[1] ?? 1,
      (view) => view.integers("kernel_shape") ?? [],
    ),
  ]),
  ...words("GlobalAveragePool GlobalMaxPool").map((x): [string, ShapeRule] => [
    x,
    (view) => [view.dims().map((size, i) => (i < 2 ? size : 1))],
  ]),
  ...words("Gather GatherBlockQuantized").map((x): [string, ShapeRule] => [x, gathered]),
  ...words("Resize Upsample").map((x): [string, ShapeRule] => [x, resized]),
  ["ConvTranspose", transposedConv],
  ["Gemm", gemm],
  ["MatMulNBits", (view) => [[...view.dims().slice(0, -1), view.integer("N", 1)]]],
  ["Reshape", reshaped],
  ["Slice", sliced],
  ["Einsum", summed],
  ["Concat", concatenated],
  ["Split", split],
  ["Squeeze", squeezed],
  ["Unsqueeze", unsqueezed],
  ["Pad", padded],
  ["DepthToSpace", blocks(false)],
  ["SpaceToDepth", blocks(true)],
  ["Flatten", (view) => [[count(view.dims().slice(0, view.axis(1))), count(view.dims().slice(view.axis(1)))]]],
  [
    "Transpose",
    (view) => {
      const dims = view.dims();
      return [(view.integers("perm") ?? [...dims.keys()].reverse()).map((i) => dims[i] ?? 1)];
    },
  ],
  [
    "Expand",
    (view) => {
      const [dims, wanted = []] = [view.dims(), view.values(1)];
      const rank = Math.max(dims.length, wanted.length);
      return [
        Array.from({ length: rank }, (_, i) =>
          Math.max(dims[dims.length - rank + i] ?? 1, wanted[wanted.length - rank + i] ?? 1),
        ),
      ];
    },
  ],
  ["Tile", (view) => [view.dims().map((x, i) => x * (view.values(1)?.[i] ?? 1))]],
  ["GatherElements", (view) => [view.dims(1)]],
  [
    "GatherND",
    (view) => {
      const indices = view.dims(1);
      return [[...indices.slice(0, -1), ...view.dims().slice((indices.at(-1) ?? 0) + view.integer("batch_dims", 0))]];
    },
  ],
  ["Shape", (view) => [[view.dims().slice(view.integer("start", 0), view.integers("end")?.[0]).length]]],
  ["Size", () => [[]]],
  ["ConstantOfShape", (view) => [view.values(0) ?? []]],
  [
    "Range",
    (view) => {
      const [from, to, step] = [0, 1, 2].map((i) => view.values(i)?.[0] ?? 0) as [number, number, number];
      return [[Math.max(0, Math.ceil((to - from) / step))]];
    },
  ],
  [
    "TopK",
    (view) => {
      const axis = view.axis(-1);
      const kept = view.dims().map((x, i) => (i === axis ? (view.either("k", 1)?.[0] ?? x) : x));
      return [kept, kept];
    },
  ],
  [
    "OneHot",
    (view) => {
      const dims = view.dims();
      const at = view.axis(-1, dims.length + 1);
      return [[...dims.slice(0, at), view.values(1)?.[0] ?? 1, ...dims.slice(at)]];
    },
  ],
  ["DynamicQuantizeLinear", (view) => [view.dims(), [], []]],
  ...words(
    "Abs Acos Asin Atan Cast Ceil Celu Clip Cos CumSum DequantizeLinear Elu Erf Exp Floor Gelu HardSigmoid HardSwish Hardmax",
  )
    .concat(words("Identity IsInf IsNaN InstanceNormalization GroupNormalization BatchNormalization LeakyRelu Log"))
    .concat(
      words("LogSoftmax LpNormalization LRN MeanVarianceNormalization Mish Neg Not QuantizeLinear Reciprocal Relu"),
    )
    .concat(words("Round ScatterElements ScatterND Selu Sigmoid Sign Sin Softmax Softplus Softsign Sqrt Tan Tanh"))
    .concat(words("ThresholdedRelu Trilu FastGelu QuickGelu BiasGelu CastLike RotaryEmbedding MultiHeadAttention"))
    .map((x): [string, ShapeRule] => [x, same]),
  ...words("Dropout LayerNormalization SimplifiedLayerNormalization SkipLayerNormalization").map(
    (x): [string, ShapeRule] => [x, (view) => [view.dims()]],
  ),
]);

/** Types of outputs that are not the first input's. */
const TYPES: ReadonlyMap<string, string> = new Map([
  ...words("Shape Size ArgMax ArgMin NonZero").map((x): [string, string] => [x, "int64"]),
  ...words("Equal Greater Less GreaterOrEqual LessOrEqual And Or Xor Not IsNaN IsInf").map((x): [string, string] => [
    x,
    "bool",
  ]),
  ...words("MatMulInteger ConvInteger").map((x): [string, string] => [x, "int32"]),
  ["DynamicQuantizeLinear", "uint8"],
]);
/** Number of the input that has the type of the output, where not the first. */
const TYPED: ReadonlyMap<string, number> = new Map([
  ["DequantizeLinear", 1],
  ["QuantizeLinear", 2],
  ["Where", 1],
  ["OneHot", 2],
  ["CastLike", 1],
  ["GatherBlockQuantized", 2],
]);

/**
 * Infers the types and dims of all values but the constants.
 * @param inputs - type and dims of each input
 * @param typeOf - the name of an element type by its number in onnx.proto
 */
export function inferDims(
  nodes: readonly SizedNode[],
  constants: ReadonlyMap<string, Constant>,
  inputs: ReadonlyMap<string, Constant>,
  typeOf: (number: number) => string,
): Map<string, ValueFacts> {
  const known = new Map<string, KnownValue>([...constants, ...inputs]);
  for (const node of nodes) {
    const view = new NodeView(node, known);
    const dims = attempt(() => dimsOf(view)) ?? [];
    const own = node.opType === "Constant" ? node.tensor?.values : undefined;
    const values = attempt(() => FOLDS.get(node.opType)?.(view)) ?? own;
    const type = typeOfOutput(view, typeOf);
    for (const [i, name] of node.output.entries()) {
      const found = dims[i];
      const isFollowed = i === 0 && values !== undefined && values.length <= VALUES_MAX;
      known.set(name, {
        type: typeAt(node, i, type),
        dims: found !== undefined && isPossible(found) ? found : undefined,
        values: isFollowed ? values : undefined,
      });
    }
  }
  const own = [...known].filter(([name]) => !constants.has(name));
  return new Map(own.map(([name, { type, dims }]) => [name, { type, dims }]));
}

/** Whether dims can be those of a value: a hostile graph makes each longer than the one before, or not integers. */
function isPossible(dims: Dims): boolean {
  return dims.length <= VALUES_MAX && dims.every((x) => Number.isInteger(x) && x >= 0);
}

function dimsOf(view: NodeView): readonly Dims[] | undefined {
  const { node } = view;
  if (node.opType === "Constant") return node.tensor && [node.tensor.dims];
  return RULES.get(node.opType)?.(view);
}

function typeOfOutput(view: NodeView, typeOf: (number: number) => string): string {
  const { opType, tensor } = view.node;
  if (opType === "Constant" || opType === "ConstantOfShape") return tensor?.type ?? "float32";
  if (opType === "Cast") return typeOf(view.integer("to", 1));
  if (opType === "QuantizeLinear" && view.inputs[2] === undefined) return "uint8";
  return TYPES.get(opType) ?? view.inputs[TYPED.get(opType) ?? 0]?.type ?? "float32";
}

/** Returns the type of a node's i-th output. */
function typeAt({ opType }: SizedNode, i: number, type: string): string {
  if (i === 0) return type;
  if (opType === "TopK") return "int64";
  if (opType === "DynamicQuantizeLinear") return i === 1 ? "float32" : "uint8";
  return opType === "MaxPool" ? "int64" : type;
}

/** Returns what a function returns; undefined where the dims are not known. */
function attempt<T>(compute: () => T | undefined): T | undefined {
  try {
    return compute();
  } catch (error) {
    if (error === UNKNOWN) return undefined;
    throw error;
  }
}
