// Cases of operators in sequence, for the profile (profile-cases.ts): ONNX Runtime rewrites a graph by what follows what
// (fusions, transposes that are moved through their neighbours, shapes that are computed), which no case of one operator
// runs. Each operator follows each other one, stands between two transposes and between two convolutions; and graphs are
// as deep and as wide as models are.
import { modelOf } from "../../lib/test-support/onnx/onnx-graphs.ts";
import type { ConstantValues } from "../../lib/test-support/onnx/onnx-graphs.ts";
import type { NodeSpec } from "../../lib/compress/onnx/graph.ts";
import type { Case, LazyCase } from "./profile-cases.ts";

type Dims = readonly number[];

/** A graph that is being written: its nodes and constants, and the name and the dims of the value that comes next. */
class Chain {
  readonly nodes: NodeSpec[] = [];
  readonly constants: Record<string, ConstantValues> = {};
  readonly #opset: number;
  value = "x";
  dims: Dims;

  constructor(dims: Dims, opset: number) {
    this.dims = dims;
    this.#opset = opset;
  }

  get rank(): number {
    return this.dims.length;
  }

  /** Size of an axis, counted from the end where it is negative. */
  size(axis: number): number {
    return this.dims.at(axis) ?? 1;
  }

  /** Adds a node of the value and of more inputs; returns the name of its output. */
  node(opType: string, more: readonly string[] = [], attributes: NodeSpec["attributes"] = {}, of = this.value): string {
    const output = `v${this.nodes.length}`;
    this.nodes.push({ opType, input: [of, ...more], output: [output], attributes });
    return output;
  }

  /** Adds a node with axes, or sizes, that are an input from an operator set on, and an attribute before. */
  listed(opType: string, [name, list, since]: readonly [string, readonly number[], number], of = this.value): string {
    const keepdims = opType.startsWith("Reduce") ? { keepdims: 1 } : {};
    return this.#opset >= since
      ? this.node(opType, [this.integers(list)], keepdims, of)
      : this.node(opType, [], { ...keepdims, [name]: list }, of);
  }

  slice(axis: number, from: number, to: number, of = this.value): string {
    if (this.#opset < 10) return this.node("Slice", [], { axes: [axis], starts: [from], ends: [to] }, of);
    return this.node("Slice", [this.integers([from]), this.integers([to]), this.integers([axis])], {}, of);
  }

  clip(min: number, max: number, of = this.value): string {
    if (this.#opset < 11) return this.node("Clip", [], { min: { float: min }, max: { float: max } }, of);
    return this.node("Clip", [this.floats([], [min]), this.floats([], [max])], {}, of);
  }

  squeeze(axis: number, of = this.value): string {
    return this.listed("Squeeze", ["axes", [axis], 13], of);
  }

  unsqueeze(axis: number, of = this.value): string {
    return this.listed("Unsqueeze", ["axes", [axis], 13], of);
  }

  /** Goes on with a value. */
  next(value: string, dims: Dims = this.dims): void {
    this.value = value;
    this.dims = dims;
  }

  floats(dims: Dims, values?: readonly number[]): string {
    return this.#add({ dtype: "float32", dims, ...(values !== undefined && { values }) });
  }

  integers(values: readonly number[], dims: Dims = [values.length]): string {
    return this.#add({ dtype: "int64", dims, values });
  }

  #add(values: ConstantValues): string {
    const name = `c${Object.keys(this.constants).length}`;
    this.constants[name] = values;
    return name;
  }
}

/** Goes on by an operator, or a usual group of them; returns false for dims that it does not take. */
type Step = (chain: Chain) => boolean | undefined;

const unary =
  (opType: string, attributes: NodeSpec["attributes"] = {}): Step =>
  (x) => {
    x.next(x.node(opType, [], attributes));
    return undefined;
  };

/** A second operand: one number, one for each of the last axis, or one for each channel. */
const binary =
  (opType: string, by: "number" | "last" | "channel"): Step =>
  (x) => {
    const dims = by === "number" ? [] : by === "last" ? [x.size(-1)] : [x.size(1), ...x.dims.slice(2).map(() => 1)];
    x.next(x.node(opType, [x.floats(dims, dims.length === 0 ? [2] : undefined)]));
    return undefined;
  };

const image =
  (step: Step): Step =>
  (x) =>
    x.rank === 4 && x.size(2) >= 4 && x.size(3) >= 4 ? step(x) : false;

const conv = (size: number, isDeep: boolean, hasBias: boolean): Step =>
  image((x) => {
    const channels = x.size(1);
    const weights = x.floats([channels, isDeep ? 1 : channels, size, size]);
    const pad = (size - 1) / 2;
    const attributes = { pads: [pad, pad, pad, pad], kernel_shape: [size, size], group: isDeep ? channels : 1 };
    x.next(x.node("Conv", [weights, ...(hasBias ? [x.floats([channels])] : [])], attributes));
    return undefined;
  });

const transpose =
  (order: (rank: number) => readonly number[]): Step =>
  (x) => {
    const perm = order(x.rank);
    x.next(
      x.node("Transpose", [], { perm }),
      perm.map((axis) => x.size(axis)),
    );
    return undefined;
  };

const axes = (rank: number): number[] => Array.from({ length: rank }, (_, i) => i);
const toLast = (rank: number): number[] => [0, ...axes(rank).slice(2), 1];
const toFirst = (rank: number): number[] => [0, rank - 1, ...axes(rank).slice(1, -1)];
const swapped = (rank: number): number[] => [...axes(rank).slice(0, -2), rank - 1, rank - 2];

const reshape =
  (dims: (x: Chain) => Dims | null): Step =>
  (x) => {
    const to = dims(x);
    if (to === null) return false;
    x.next(x.node("Reshape", [x.integers([0, ...to.slice(1)])]), to);
    return undefined;
  };

const reduce =
  (opType: string, keeps: boolean): Step =>
  (x) => {
    if (x.rank < 3) return false;
    const reduced = x.listed(opType, ["axes", [-1], opType === "ReduceSum" ? 13 : 18]);
    const kept = [...x.dims.slice(0, -1), 1];
    if (keeps) x.next(reduced, kept);
    else x.next(x.squeeze(x.rank - 1, reduced), x.dims.slice(0, -1));
    return undefined;
  };

const slice =
  (axis: number, isOne: boolean): Step =>
  (x) => {
    const size = x.size(axis);
    if (x.rank < 3 || size < 2) return false;
    const end = isOne ? 1 : size / 2;
    const cut = x.slice(axis, 0, end);
    if (isOne)
      x.next(
        x.squeeze(axis, cut),
        x.dims.filter((_, i) => i !== axis),
      );
    else
      x.next(
        cut,
        x.dims.map((size, i) => (i === axis ? end : size)),
      );
    return undefined;
  };

const pool = (opType: string): Step =>
  image((x) => {
    const isGlobal = opType.startsWith("Global");
    const attributes = isGlobal ? {} : { kernel_shape: [2, 2], strides: [2, 2] };
    const [height, width] = isGlobal ? [1, 1] : [Math.floor(x.size(2) / 2), Math.floor(x.size(3) / 2)];
    x.next(x.node(opType, [], attributes), [x.size(0), x.size(1), height, width]);
    return undefined;
  });

/** Dims by the shape of the value, as exporters compute them for a batch of any size. */
const computedShape =
  (isCast: boolean): Step =>
  (x) => {
    if (x.rank < 3) return false;
    const shape = x.node("Shape");
    const part = (axis: number): string => {
      if (!isCast) return x.node("Gather", [x.integers([axis])], { axis: 0 }, shape);
      const cut = x.slice(0, axis, axis + 1, shape);
      const one = x.squeeze(0, cut);
      return x.unsqueeze(0, x.node("Cast", [], { to: 6 }, one));
    };
    const rows = part(0);
    const tail = isCast ? x.node("Cast", [], { to: 6 }, x.integers([-1])) : x.integers([-1]);
    const joined = x.node("Concat", [part(1), tail], { axis: 0 }, rows);
    const wanted = isCast ? x.node("Cast", [], { to: 7 }, joined) : joined;
    x.next(x.node("Reshape", [wanted]), [x.size(0), x.size(1), x.dims.slice(2).reduce((a, b) => a * b, 1)]);
    return undefined;
  };

const STEPS: Readonly<Record<string, Step>> = {
  ...Object.fromEntries(
    "Relu Sigmoid Tanh HardSigmoid HardSwish LeakyRelu Elu Erf Exp Neg Abs Floor Softplus Identity"
      .split(" ")
      .map((opType) => [opType, unary(opType)]),
  ),
  softmax: unary("Softmax", { axis: -1 }),
  logSoftmax: unary("LogSoftmax", { axis: 1 }),
  clip: (x) => {
    x.next(x.clip(0, 6));
    return undefined;
  },
  ...Object.fromEntries(
    "Add Sub Mul Div Max"
      .split(" ")
      .flatMap((opType) =>
        (["number", "last", "channel"] as const).map((by) => [`${opType} ${by}`, binary(opType, by)]),
      ),
  ),
  pow: binary("Pow", "number"),
  twice: (x) => {
    x.next(x.node("Add", [x.value]));
    return undefined;
  },
  swish: (x) => {
    x.next(x.node("Mul", [x.node("Sigmoid")]));
    return undefined;
  },
  gelu: (x) => {
    const erf = x.node("Erf", [], {}, x.node("Div", [x.floats([], [1.4142135])]));
    const one = x.node("Add", [x.floats([], [1])], {}, erf);
    x.next(x.node("Mul", [x.floats([], [0.5])], {}, x.node("Mul", [one])));
    return undefined;
  },
  hardSwish: (x) => {
    const cut = x.clip(0, 6, x.node("Add", [x.floats([], [3])]));
    x.next(x.node("Div", [x.floats([], [6])], {}, x.node("Mul", [cut])));
    return undefined;
  },
  cast: (x) => {
    x.next(x.node("Cast", [], { to: 1 }, x.node("Cast", [], { to: 7 })));
    return undefined;
  },
  embedding: (x) => {
    const ids = x.node("Cast", [], { to: 6 }, x.clip(0, 9));
    if (x.rank > 3) return false;
    x.next(x.node("Gather", [ids], { axis: 0 }, x.floats([10, 8])), [...x.dims, 8]);
    return undefined;
  },
  counted: (x) => {
    const whole = x.node("Cast", [], { to: 6 });
    const sum = x.listed("ReduceSum", ["axes", [1], 13], whole);
    x.next(x.node("Div", [x.node("Cast", [], { to: 1 }, sum)]));
    return undefined;
  },
  from: (x) => {
    x.next(x.node("Sub", [x.value], {}, x.floats([], [1])));
    return undefined;
  },
  argMax: (x) => {
    x.next(x.node("Cast", [], { to: 1 }, x.node("ArgMax", [], { axis: -1, keepdims: 1 })), [...x.dims.slice(0, -1), 1]);
    return undefined;
  },
  toLast: transpose(toLast),
  toFirst: transpose(toFirst),
  swapped: transpose(swapped),
  flat: reshape((x) => [x.size(0), x.dims.slice(1).reduce((a, b) => a * b, 1)]),
  sequence: reshape((x) => (x.rank === 4 ? [x.size(0), x.size(1), x.size(2) * x.size(3)] : null)),
  heads: reshape((x) => (x.rank === 3 && x.size(2) % 2 === 0 ? [...x.dims.slice(0, 2), 2, x.size(2) / 2] : null)),
  sized: (x) => {
    const [rows, channels, ...rest] = x.dims;
    if (rows !== 1 || channels === undefined || rest.length === 0) return false;
    const to = [1, channels * (rest[0] ?? 1), ...rest.slice(1)];
    x.next(x.node("Reshape", [x.integers(to)]), to);
    return undefined;
  },
  open: (x) => {
    const to = [x.size(0), x.dims.slice(1).reduce((a, b) => a * b, 1)];
    x.next(x.node("Reshape", [x.integers([-1, to[1] ?? 1])]), to);
    return undefined;
  },
  flatten: (x) => {
    x.next(x.node("Flatten", [], { axis: 1 }), [x.size(0), x.dims.slice(1).reduce((a, b) => a * b, 1)]);
    return undefined;
  },
  unsqueeze: (x) => {
    if (x.rank > 3) return false;
    x.next(x.unsqueeze(1), [x.size(0), 1, ...x.dims.slice(1)]);
    return undefined;
  },
  squeeze: (x) => {
    const axis = x.dims.indexOf(1, 1);
    if (axis < 0) return false;
    x.next(
      x.squeeze(axis),
      x.dims.filter((_, i) => i !== axis),
    );
    return undefined;
  },
  sliceRows: slice(1, false),
  sliceOne: slice(1, true),
  gather: (x) => {
    if (x.size(1) < 2) return false;
    x.next(x.node("Gather", [x.integers([1, 0])], { axis: 1 }), [x.size(0), 2, ...x.dims.slice(2)]);
    return undefined;
  },
  split: (x) => {
    const half = x.size(1) / 2;
    if (half % 1 !== 0) return false;
    const node = x.listed("Split", ["split", [half, half], 13]);
    const output = [node, `${node}b`];
    Object.assign(x.nodes.at(-1) ?? {}, { output, attributes: { ...x.nodes.at(-1)?.attributes, axis: 1 } });
    x.next(output[0] ?? "", [x.size(0), half, ...x.dims.slice(2)]);
    x.next(x.node("Mul", [output[1] ?? ""]));
    return undefined;
  },
  concat: (x) => {
    x.next(x.node("Concat", [x.node("Relu")], { axis: 1 }), [x.size(0), x.size(1) * 2, ...x.dims.slice(2)]);
    return undefined;
  },
  pad: image((x) => {
    x.next(x.node("Pad", [x.integers([0, 0, 1, 1, 0, 0, 1, 1])]), [
      ...x.dims.slice(0, 2),
      ...x.dims.slice(2).map((size) => size + 2),
    ]);
    return undefined;
  }),
  nearest: image((x) => {
    const attributes = { mode: "nearest", coordinate_transformation_mode: "asymmetric", nearest_mode: "floor" };
    x.next(x.node("Resize", [x.floats([0]), x.floats([4], [1, 1, 2, 2])], attributes), [
      ...x.dims.slice(0, 2),
      ...x.dims.slice(2).map((size) => size * 2),
    ]);
    return undefined;
  }),
  linear: image((x) => {
    x.next(x.node("Resize", [x.floats([0]), x.floats([4], [1, 1, 2, 2])], { mode: "linear" }), [
      ...x.dims.slice(0, 2),
      ...x.dims.slice(2).map((size) => size * 2),
    ]);
    return undefined;
  }),
  toDepth: image((x) => {
    if (x.size(2) % 2 !== 0 || x.size(3) % 2 !== 0) return false;
    x.next(x.node("SpaceToDepth", [], { blocksize: 2 }), [x.size(0), x.size(1) * 4, x.size(2) / 2, x.size(3) / 2]);
    return undefined;
  }),
  ...Object.fromEntries(
    ["ReduceMean", "ReduceSum", "ReduceMax"].flatMap((opType) => [
      [`${opType} kept`, reduce(opType, true)],
      [opType, reduce(opType, false)],
    ]),
  ),
  ...Object.fromEntries(["MaxPool", "AveragePool", "GlobalAveragePool"].map((opType) => [opType, pool(opType)])),
  conv: conv(3, false, false),
  convBias: conv(3, false, true),
  pointwise: conv(1, false, true),
  depthwise: conv(3, true, true),
  batchNorm: (x) => {
    if (x.rank < 3) return false;
    const channel = [x.size(1)];
    const ones = channel.flatMap((size) => Array.from({ length: size }, () => 1));
    const given = [x.floats(channel), x.floats(channel), x.floats(channel), x.floats(channel, ones)];
    x.next(x.node("BatchNormalization", given));
    return undefined;
  },
  instanceNorm: image((x) => {
    x.next(x.node("InstanceNormalization", [x.floats([x.size(1)]), x.floats([x.size(1)])]));
    return undefined;
  }),
  layerNorm: (x) => {
    x.next(x.node("LayerNormalization", [x.floats([x.size(-1)]), x.floats([x.size(-1)])], { axis: -1 }));
    return undefined;
  },
  matMul: (x) => {
    x.next(x.node("MatMul", [x.floats([x.size(-1), 8])]), [...x.dims.slice(0, -1), 8]);
    return undefined;
  },
  dense: (x) => {
    x.next(x.node("Add", [x.floats([8])], {}, x.node("MatMul", [x.floats([x.size(-1), 8])])), [
      ...x.dims.slice(0, -1),
      8,
    ]);
    return undefined;
  },
  gemm: (x) => {
    if (x.rank !== 2) return false;
    x.next(x.node("Gemm", [x.floats([8, x.size(1)]), x.floats([8])], { transB: 1 }), [x.size(0), 8]);
    return undefined;
  },
  wide: (x) => {
    if (x.rank !== 2) return false;
    x.next(x.node("Gemm", [x.floats([x.size(1), 1_536]), x.floats([1_536])]), [x.size(0), 1_536]);
    return undefined;
  },
  attention: (x) => {
    if (x.rank !== 4) return false;
    const keys = x.node("Transpose", [], { perm: [0, 1, 3, 2] });
    const scores = x.node("Softmax", [], { axis: -1 }, x.node("MatMul", [keys]));
    x.next(x.node("MatMul", [x.value], {}, scores));
    return undefined;
  },
  shapeGathered: computedShape(false),
  shapeCast: computedShape(true),
  shapeSliced: (x) => {
    if (x.rank < 3) return false;
    const shape = x.node("Cast", [], { to: 6 }, x.node("Shape"));
    const rows = x.node("Cast", [], { to: 7 }, x.slice(0, 0, 1, shape));
    x.next(x.node("Reshape", [x.node("Concat", [x.integers([-1])], { axis: 0 }, rows)]), [
      x.size(0),
      x.dims.slice(1).reduce((a, b) => a * b, 1),
    ]);
    return undefined;
  },
};

/** Versions of ONNX's operator set: that of pairs, and others, in which an operator may have a kernel of its own. */
const OPSET = 17;
const OPSETS = [9, 10, 11, 12, 13, 14, 15, 18, 19, 20, 21];
/** Those that run on the GPU too, where each operator takes its time to compile. */
const ON_GPU = [13, 21];

/** Dims of the value that a sequence begins with. */
const INPUT_DIMS: readonly Dims[] = [
  [2, 4, 8, 8],
  [1, 4, 8, 8],
  [2, 6, 16],
  [1, 640],
];

/** Lists the cases. */
export function pairCases(): LazyCase[] {
  const names = Object.keys(STEPS);
  const sequences = [
    ...names.flatMap((first) => names.map((second) => [first, second])),
    ...names.flatMap((name) => [
      ["toLast", name, "toFirst"],
      ["toFirst", name, "toLast"],
      ["conv", name, "conv"],
      ["dense", name, "dense"],
    ]),
  ];
  return [
    ...INPUT_DIMS.flatMap((dims) => sequences.map((steps) => sequence(steps, dims))),
    ...INPUT_DIMS.flatMap((dims) =>
      names.flatMap((name) => OPSETS.map((opset) => sequence([name, "Relu"], dims, opset))),
    ),
    ...[300, 1_000].flatMap((depth) =>
      [BLOCK, DIMS_KEEPING].map((steps) => sequence(deep(steps, depth), INPUT_DIMS[0] ?? [])),
    ),
  ];
}

/** Operators that keep the dims of their input: those of a usual block, and all. */
const BLOCK = ["conv", "batchNorm", "Relu", "Mul channel", "Add channel", "hardSwish", "twice"];
const DIMS_KEEPING = Object.keys(STEPS).filter((name) => {
  const chain = new Chain(INPUT_DIMS[0] ?? [], OPSET);
  return STEPS[name]?.(chain) !== false && chain.dims.join() === INPUT_DIMS[0]?.join();
});

/** So many operators that a graph is as deep as a model's. */
function deep(steps: readonly string[], depth: number): string[] {
  return Array.from({ length: depth }, (_, i) => steps[i % steps.length] ?? "Relu");
}

function sequence(steps: readonly string[], dims: Dims, opset = OPSET): LazyCase {
  const title = steps.length > 3 ? `${steps.length} operators` : steps.join(", ");
  return {
    title: `${title} of [${dims.join(", ")}], operator set ${opset}`,
    onGpu: ON_GPU.includes(opset),
    make: () => makeSequence(steps, dims, opset),
  };
}

function makeSequence(steps: readonly string[], dims: Dims, opset: number): Case | null {
  const chain = new Chain(dims, opset);
  for (const name of steps) if (STEPS[name]?.(chain) === false) return null;
  const { nodes, constants, value } = chain;
  const inputs = { x: { dtype: "float32", dims } } as const;
  return { model: modelOf({ inputs, constants, nodes, outputs: [value], opset, isFree: true }), inputs };
}
