// Decides from a graph whether the rows of a batch influence each other, so that a request's answer would depend on its
// company: activations quantized by the largest value of the whole batch, reductions over the batch axis, recurrent
// layers whose steps are the rows. Follows the batch axis from the inputs through the nodes. Pure, without a protobuf
// library: worker/backend/read-rows.ts applies it to a file that is loaded, the toolchain to a decoded model.
//
// An axis that can't be followed (a computed Reshape of a moved axis) is not reported: only operators that cover a whole
// tensor count there. Ranks are not known, so an axis that is counted from the end is taken for another than the batch's.

/** A node; the toolchain's NodeProto is one. */
export interface RowNode {
  readonly opType: string;
  readonly domain: string;
  readonly input: readonly string[];
  readonly output: readonly string[];
  readonly attribute: readonly { readonly name: string; readonly i: bigint; readonly ints: readonly bigint[] }[];
}

/** A main graph. */
export interface RowGraph<N extends RowNode> {
  /** Version of the default operator set. */
  readonly opset: number;
  /** Names of the inputs whose first dim is open: their rows form a batch. */
  readonly batched: readonly string[];
  /** In execution order. */
  readonly nodes: readonly N[];
  /** Returns the values of an integer constant of at most `CONSTANT_MAX` elements, and of no other value. */
  integersOf(name: string): readonly number[] | undefined;
  /** Returns the nodes of the function that a node calls, the same list each time; undefined for an operator. */
  calledBy(node: N): readonly N[] | undefined;
  /** Returns the nodes of a node's subgraphs, without those of subgraphs in them. */
  subgraphNodes(node: N): readonly N[];
}

/** Most elements of a constant that is read: axes and shapes are short. */
export const CONSTANT_MAX = 64;

/** Axis of the batch in a value; null where it is there and its axis is unknown. Values without it are not listed. */
type Axis = number | null;

/** Operators that compute something of a whole tensor. */
const WHOLE: ReadonlySet<string> = new Set([
  "DynamicQuantizeLinear",
  "com.microsoft:DynamicQuantizeMatMul",
  "com.microsoft:DynamicQuantizeLSTM",
]);
/** Operators whose result depends on sizes alone. */
const SIZES: ReadonlySet<string> = new Set(["Shape", "Size"]);
const REDUCTION = /^(?:Reduce(?:L1|L2|LogSum|LogSumExp|Max|Mean|Min|Prod|Sum|SumSquare)|ArgM(?:ax|in))$/;
const SOFTMAX: ReadonlySet<string> = new Set(["Softmax", "LogSoftmax", "Hardmax"]);
/** Operators that compute along their attribute `axis`, or join and part what lies along it. */
const ALONG: ReadonlySet<string> = new Set(["LpNormalization", "TopK", "Concat"]);
const RECURRENT: ReadonlySet<string> = new Set(["LSTM", "GRU", "RNN"]);
/** Layers whose axis 0 holds the rows, and whose others are channels and places. */
const SPATIAL =
  /^(?:(?:QLinear)?Conv|ConvInteger|ConvTranspose|(?:Max|Average|Lp)Pool|Global\w+Pool|InstanceNormalization)$/;

/** Whether a row's answer depends on the other rows of its batch. */
export function mixesRows<N extends RowNode>(graph: RowGraph<N>): boolean {
  const axes = new Map<string, Axis>(graph.batched.map((name) => [name, 0]));
  for (const node of graph.nodes) {
    const inner = innerNodes(node, graph, new Set());
    if (inner.some(isWhole)) return true;
    const found = inner.length === 0 ? axisAfter(node, graph, axes) : afterInner([node, ...inner], axes);
    if (found === "mixed") return true;
    for (const [i, name] of node.output.entries()) {
      const axis = found.length > 1 ? found[i] : found[0];
      if (axis !== undefined && name !== "") axes.set(name, axis);
    }
  }
  return false;
}

/** Lists the nodes of a node's subgraphs, or of the function that it calls, at any depth; a function's nodes once. */
function innerNodes<N extends RowNode>(node: N, graph: RowGraph<N>, entered: Set<readonly N[]>): readonly N[] {
  const called = graph.calledBy(node);
  if (called !== undefined && entered.has(called)) return [];
  if (called !== undefined) entered.add(called);
  return (called ?? graph.subgraphNodes(node)).flatMap((x) => [x, ...innerNodes(x, graph, entered)]);
}

function isWhole({ opType, domain }: RowNode): boolean {
  return WHOLE.has(isOwn(domain) ? opType : `${domain}:${opType}`);
}

function isOwn(domain: string): boolean {
  return domain === "" || domain === "ai.onnx";
}

/** Returns the batch axis among a node's inputs: null where they disagree, undefined where none has it. */
function axisOf({ input }: RowNode, axes: ReadonlyMap<string, Axis>): Axis | undefined {
  const found = new Set(input.flatMap((name) => axes.get(name) ?? (axes.has(name) ? null : [])));
  const [first] = found;
  return found.size > 1 ? null : first;
}

/** Returns the batch axis of the outputs of a node with subgraphs: unknown where any node reads a value that has one. */
function afterInner(nodes: readonly RowNode[], axes: ReadonlyMap<string, Axis>): readonly Axis[] {
  return nodes.some((x) => axisOf(x, axes) !== undefined) ? [null] : [];
}

/** Returns the batch axis of a node's outputs, one for all or one for each; "mixed" where it joins the rows. */
function axisAfter<N extends RowNode>(
  node: N,
  graph: RowGraph<N>,
  axes: ReadonlyMap<string, Axis>,
): "mixed" | readonly (Axis | undefined)[] {
  const axis = axisOf(node, axes);
  if (axis === undefined || (isOwn(node.domain) && SIZES.has(node.opType))) return [];
  if (isWhole(node)) return "mixed";
  if (!isOwn(node.domain)) return [axis];
  const { opType } = node;
  if (REDUCTION.test(opType)) return afterReduction(node, graph, axis);
  if (axis === null) return [null];
  if (RECURRENT.has(opType)) return afterRecurrent(node, axes);
  if (joinsAlong(node, graph, axis)) return "mixed";
  if (opType === "Gather") return afterGather(node, graph, axes);
  const moved: Readonly<Record<string, () => Axis>> = {
    Transpose: () => afterTranspose(node, axis),
    Reshape: () => afterReshape(graph.integersOf(node.input[1] ?? ""), axis),
    Flatten: () => (axis === 0 && integer(node, "axis", 1) > 0 ? 0 : null),
    Squeeze: () => afterSqueeze(listOf(node, graph), axis),
    Unsqueeze: () => afterUnsqueeze(listOf(node, graph), axis),
  };
  const move = moved[opType];
  return [move === undefined ? axis : move()];
}

/** Whether a node computes along the batch axis. */
function joinsAlong<N extends RowNode>(node: N, graph: RowGraph<N>, axis: number): boolean {
  const { opType } = node;
  if (SOFTMAX.has(opType)) {
    // Until operator set 13 all axes from `axis` on are one.
    const own = integer(node, "axis", graph.opset < 13 ? 1 : -1);
    return graph.opset < 13 ? own >= 0 && axis >= own : axis === own;
  }
  if (ALONG.has(opType)) return integer(node, "axis", -1) === axis;
  if (opType === "Split") return integer(node, "axis", 0) === axis;
  if (opType === "Squeeze") return listOf(node, graph)?.includes(axis) === true;
  if (opType === "CumSum") return graph.integersOf(node.input[1] ?? "")?.[0] === axis;
  if (opType === "MeanVarianceNormalization") return (integers(node, "axes") ?? [0, 2, 3]).includes(axis);
  if (opType === "LayerNormalization") return axis >= integer(node, "axis", -1) && integer(node, "axis", -1) >= 0;
  if (opType === "BatchNormalization") return integer(node, "training_mode", 0) === 1;
  return axis > 0 && SPATIAL.test(opType);
}

function afterReduction<N extends RowNode>(
  node: N,
  graph: RowGraph<N>,
  axis: Axis,
): "mixed" | readonly (Axis | undefined)[] {
  const isArg = node.opType.startsWith("Arg");
  const given = node.input[1] ?? "";
  const isAll = integers(node, "axes") === undefined && given === "";
  if (!isArg && isAll) return integer(node, "noop_with_empty_axes", 0) === 1 ? [axis] : "mixed";
  const list = isArg ? [integer(node, "axis", 0)] : listOf(node, graph);
  if (axis === null || list === undefined) return [null];
  if (list.includes(axis)) return "mixed";
  return [integer(node, "keepdims", 1) === 1 ? axis : afterSqueeze(list, axis)];
}

/** Recurrent layers: [length, batch, …], or with layout 1 [batch, length, …]. */
function afterRecurrent(node: RowNode, axes: ReadonlyMap<string, Axis>): "mixed" | readonly (Axis | undefined)[] {
  const axis = axes.get(node.input[0] ?? "");
  const isBatchFirst = integer(node, "layout", 0) === 1;
  if (axis == null) return [null];
  if (axis !== (isBatchFirst ? 0 : 1)) return "mixed";
  return isBatchFirst ? [0, 0, 0] : [2, 1, 1];
}

/**
 * A lookup in a table keeps the axes of the indices; one in a value with a batch moves those behind its own axis. Constant
 * indices along the batch pick one row for all; computed ones may pick each row's own.
 */
function afterGather<N extends RowNode>(
  node: N,
  graph: RowGraph<N>,
  axes: ReadonlyMap<string, Axis>,
): "mixed" | readonly (Axis | undefined)[] {
  const [data, indices] = node.input.map((x) => axes.get(x));
  const along = integer(node, "axis", 0);
  if (data === undefined) return [indices == null || along < 0 ? null : along + indices];
  if (indices !== undefined || data === null) return [null];
  if (along === data) return graph.integersOf(node.input[1] ?? "") === undefined ? [null] : "mixed";
  return [along < data && (along >= 0 || data > 0) ? null : data];
}

function afterTranspose(node: RowNode, axis: number): Axis {
  const at = integers(node, "perm")?.indexOf(axis) ?? -1;
  return at === -1 ? null : at;
}

/** Rows that come first in memory stay first. */
function afterReshape(shape: readonly number[] | undefined, axis: number): Axis {
  if (axis !== 0) return null;
  const at = shape?.findIndex((x) => x !== 1) ?? 0;
  return at === -1 || (shape?.[at] ?? 0) > 0 ? null : at;
}

function afterSqueeze(list: readonly number[] | undefined, axis: number): Axis {
  if (list === undefined) return axis === 0 ? 0 : null;
  // An axis that is counted from the end lies behind the first.
  if (axis > 0 && list.some((x) => x < 0)) return null;
  return axis - list.filter((x) => x >= 0 && x < axis).length;
}

function afterUnsqueeze(list: readonly number[] | undefined, axis: number): Axis {
  if (list === undefined || (axis > 0 && list.some((x) => x < 0))) return null;
  let at = axis;
  for (const x of list.filter((x) => x >= 0).sort((a, b) => a - b)) if (x <= at) at += 1;
  return at;
}

/** Returns the axes of a node: its attribute, or its second input; undefined where they are computed. */
function listOf<N extends RowNode>(node: N, graph: RowGraph<N>): readonly number[] | undefined {
  return integers(node, "axes") ?? graph.integersOf(node.input[1] ?? "");
}

function integer({ attribute }: RowNode, name: string, usual: number): number {
  const found = attribute.find((x) => x.name === name);
  return found === undefined ? usual : Number(found.i);
}

function integers({ attribute }: RowNode, name: string): readonly number[] | undefined {
  return attribute.find((x) => x.name === name)?.ints.map(Number);
}
