// Rewrites of a graph for ONNX Runtime's WebGPU provider: operators without a kernel there become others with the same
// result, and layers that a faulty kernel would compute wrongly are changed so that another kernel runs. All hold for
// any model and any input, so they are applied to a model as it comes, while it loads, and by `selvedge compress`.
//
// Pure functions on the nodes of one graph, without a protobuf library: rewrite-model.ts applies them to a file in a
// worker, compress/simplify/legalize.ts to a decoded model. A rewrite has the versions of ONNX Runtime that it is for:
// raise `before` from undefined once upstream mends the cause.

/** A node of the graph; its `input` and `output` may be changed in place. */
export interface RewriteNode {
  readonly opType: string;
  readonly domain: string;
  input: string[];
  output: string[];
  readonly attribute: readonly { readonly name: string; readonly i: bigint; readonly ints: readonly bigint[] }[];
}

/** A node to be made. */
export interface NewNode {
  readonly opType: string;
  readonly input: readonly string[];
  readonly output: readonly string[];
  readonly attributes?: Readonly<Record<string, number | readonly number[]>>;
}

/** One graph as the rewrites see and change it. */
export interface RewriteGraph<N extends RewriteNode> {
  /** Version of the default operator set. */
  readonly opset: number;
  /** The nodes in execution order; changed in place. */
  readonly nodes: N[];
  /** Names that other graphs or the caller read. */
  readonly outputs: ReadonlySet<string>;
  /** Returns the dims of a constant, and of no other value. */
  dimsOf(name: string): readonly number[] | undefined;
  /** Returns a name that is not in use. */
  freshName(stem: string): string;
  makeNode(node: NewNode): N;
  /** Adds an int64 constant of one axis. */
  addIntegers(name: string, values: readonly number[]): void;
}

/** A rewrite, and the reason for it. */
export interface Rewrite {
  readonly id: "cast-before-expand" | "is-nan-as-equal" | "pad-conv-channels" | "check-positions";
  /** First version of ONNX Runtime that does not need it, as [major, minor]; undefined while none is known. */
  readonly before: readonly [number, number] | undefined;
  /** Issue or cause upstream. */
  readonly upstream: string;
  /** Changes a graph, and returns the number of places. */
  apply<N extends RewriteNode>(graph: RewriteGraph<N>): number;
}

/** Element types of TensorProto.DataType that WebGPU's Expand has a kernel for. */
const EXPANDABLE: ReadonlySet<number> = new Set([1, 6, 10, 12]);
/** Minimum operator set: Equal takes floats, and Pad its sizes as an input, since 11. */
const OPSET_MIN = 11;

/** All rewrites, in the order in which they are applied. */
export const REWRITES: readonly Rewrite[] = [
  {
    id: "cast-before-expand",
    before: undefined,
    upstream: "WebGPU has no Expand of int64 and bool, as exported attention masks have",
    apply: castBeforeExpand,
  },
  {
    id: "is-nan-as-equal",
    before: undefined,
    upstream: "WebGPU has no IsNaN, as the guard after the softmax of exported decoders has",
    apply: isNanAsEqual,
  },
  {
    id: "pad-conv-channels",
    before: undefined,
    upstream: "microsoft/onnxruntime#29651: Conv is wrong for input channels divisible by 3 and not by 4",
    apply: padConvChannels,
  },
  {
    id: "check-positions",
    before: undefined,
    upstream: "WebGPU's Gather reads another row for an index beyond its table",
    apply: checkPositions,
  },
];

/** Operators by which exported graphs make positions of counts. */
const COUNTS: ReadonlySet<string> = new Set(["Range", "CumSum"]);
const POSITION_STEPS: ReadonlySet<string> = new Set([
  "Add",
  "Cast",
  "Expand",
  "Identity",
  "Mul",
  "Reshape",
  "Slice",
  "Squeeze",
  "Sub",
  "Unsqueeze",
]);
/** Longest table of positions, as the list of its rows is added to the graph. */
const POSITIONS_MAX = 2 ** 16;

/** Lists the rewrites that a version of ONNX Runtime needs; all for a version that can't be read. */
export function rewritesFor(version: string): readonly Rewrite[] {
  const [major = 0, minor = 0] = (/^\D*(\d+)\.(\d+)/.exec(version) ?? []).slice(1).map(Number);
  const isBefore = ([x, y]: readonly [number, number]): boolean => major < x || (major === x && minor < y);
  return REWRITES.filter((x) => x.before === undefined || isBefore(x.before));
}

/** Applies rewrites to a graph, and returns how many places each changed. */
export function rewriteGraph<N extends RewriteNode>(
  graph: RewriteGraph<N>,
  rewrites: readonly Rewrite[],
): Partial<Record<Rewrite["id"], number>> {
  const places: Partial<Record<Rewrite["id"], number>> = {};
  for (const { id, apply } of graph.opset < OPSET_MIN ? [] : rewrites) {
    const count = apply(graph);
    if (count > 0) places[id] = count;
  }
  return places;
}

/** Expand, then Cast: the Cast comes first, on fewer values, where the Expand serves Casts to such types alone. */
function castBeforeExpand<N extends RewriteNode>(graph: RewriteGraph<N>): number {
  const { nodes, outputs } = graph;
  const readers = readersOf(nodes);
  let count = 0;
  for (const expand of nodes.filter((x) => isPlain(x, "Expand"))) {
    const [from = "", shape = ""] = expand.input;
    const [wide = ""] = expand.output;
    const casts = readers.get(wide) ?? [];
    const isCast = (x: N): boolean => isPlain(x, "Cast") && EXPANDABLE.has(attributeOf(x, "to"));
    if (casts.length === 0 || outputs.has(wide) || !casts.every(isCast)) continue;
    for (const cast of casts) {
      const [result = ""] = cast.output;
      const narrow = graph.freshName(`${result}/narrow`);
      nodes.splice(nodes.indexOf(cast), 1);
      const at = nodes.indexOf(expand);
      cast.input = [from];
      cast.output = [narrow];
      nodes.splice(at, 0, cast, graph.makeNode({ opType: "Expand", input: [narrow, shape], output: [result] }));
    }
    nodes.splice(nodes.indexOf(expand), 1);
    count += 1;
  }
  return count;
}

/** IsNaN(x) is Not(Equal(x, x)): NaN alone differs from itself. */
function isNanAsEqual<N extends RewriteNode>(graph: RewriteGraph<N>): number {
  const { nodes } = graph;
  const found = nodes.filter((x) => isPlain(x, "IsNaN"));
  for (const node of found) {
    const [x = ""] = node.input;
    const equal = graph.freshName(`${node.output[0] ?? ""}/equal`);
    nodes.splice(
      nodes.indexOf(node),
      1,
      graph.makeNode({ opType: "Equal", input: [x, x], output: [equal] }),
      graph.makeNode({ opType: "Not", input: [equal], output: node.output }),
    );
  }
  return found.length;
}

/**
 * Pads input channels with zeros to a multiple of 4, in the values and in the weights: the kernel for 3 components at a
 * time is wrong. ONNX Runtime pads the weights once, while loading.
 */
function padConvChannels<N extends RewriteNode>(graph: RewriteGraph<N>): number {
  const { nodes } = graph;
  const makers = new Map(nodes.flatMap((node) => node.output.map((x) => [x, node] as const)));
  let count = 0;
  for (const conv of nodes.filter((x) => isPlain(x, "Conv"))) {
    const [x = "", weight = "", ...bias] = conv.input;
    const dims = graph.dimsOf(weight) ?? dequantizedDims(graph, makers.get(weight));
    if (dims === undefined || !isFaultyConv(conv, dims)) continue;
    const at = nodes.indexOf(conv);
    const padded = [x, weight].map((name) => {
      const output = graph.freshName(`${name}/padded`);
      const pads = graph.freshName(`${output}/pads`);
      const missing = 4 - ((dims[1] ?? 0) % 4);
      graph.addIntegers(
        pads,
        Array.from({ length: 2 * dims.length }, (_, i) => (i === dims.length + 1 ? missing : 0)),
      );
      return graph.makeNode({ opType: "Pad", input: [name, pads], output: [output] });
    });
    conv.input = [...padded.map((node) => node.output[0] ?? ""), ...bias];
    nodes.splice(at, 0, ...padded);
    count += 1;
  }
  return count;
}

/**
 * Positions pass through a list of the rows first: a Gather of int64 runs on the CPU, where positions are computed, and
 * fails for a row that the table lacks, as too long a text has. Ids are checked before a run (table-rows.ts).
 */
function checkPositions<N extends RewriteNode>(graph: RewriteGraph<N>): number {
  const { nodes } = graph;
  const makers = new Map(nodes.flatMap((node) => node.output.map((x) => [x, node] as const)));
  let count = 0;
  for (const gather of nodes.filter((x) => isPlain(x, "Gather") && attributeOf(x, "axis") === 0)) {
    const [table = "", positions = ""] = gather.input;
    const [rows = 0, ...row] = graph.dimsOf(table) ?? dequantizedDims(graph, makers.get(table)) ?? [];
    if (row.length !== 1 || rows > POSITIONS_MAX || !isCounted(positions, makers)) continue;
    const list = graph.freshName(`${table}/rows`);
    const checked = graph.freshName(`${positions}/checked`);
    graph.addIntegers(
      list,
      Array.from({ length: rows }, (_, i) => i),
    );
    const check = graph.makeNode({ opType: "Gather", input: [list, positions], output: [checked] });
    nodes.splice(nodes.indexOf(gather), 0, check);
    gather.input = [table, checked];
    count += 1;
  }
  return count;
}

/** Whether integers are made of counts by arithmetic alone. */
function isCounted(name: string, makers: ReadonlyMap<string, RewriteNode>): boolean {
  const seen = new Set<string>();
  const open = [name];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const maker = makers.get(next);
    if (maker === undefined || seen.has(next)) continue;
    seen.add(next);
    if (COUNTS.has(maker.opType)) return true;
    if (POSITION_STEPS.has(maker.opType)) open.push(...maker.input);
  }
  return false;
}

/**
 * Whether ONNX Runtime 1.30's WebGPU kernel is wrong for a convolution, by its node and the dims of its weights. One of
 * single pixels is a product, and right.
 */
function isFaultyConv(conv: RewriteNode, [outputs = 0, inputs = 0, ...kernel]: readonly number[]): boolean {
  const isAll = (name: string, value: number): boolean =>
    conv.attribute.find((x) => x.name === name)?.ints.every((x) => Number(x) === value) ?? true;
  const isProduct = kernel.every((x) => x === 1) && isAll("strides", 1) && isAll("pads", 0);
  const isThrees = inputs > 3 && inputs % 3 === 0 && inputs % 4 !== 0 && outputs % 4 === 0;
  return isThrees && !isProduct && (kernel.length === 1 || kernel.length === 2) && attributeOf(conv, "group", 1) === 1;
}

/** Returns the dims of weights that are stored in fewer bits behind a node. */
function dequantizedDims<N extends RewriteNode>(
  graph: RewriteGraph<N>,
  maker: N | undefined,
): readonly number[] | undefined {
  const isElementwise = maker !== undefined && (isPlain(maker, "DequantizeLinear") || isPlain(maker, "Cast"));
  return isElementwise ? graph.dimsOf(maker.input[0] ?? "") : undefined;
}

function readersOf<N extends RewriteNode>(nodes: readonly N[]): Map<string, N[]> {
  const readers = new Map<string, N[]>();
  for (const node of nodes)
    for (const name of new Set(node.input)) {
      const list = readers.get(name);
      if (list === undefined) readers.set(name, [node]);
      else list.push(node);
    }
  return readers;
}

function isPlain({ opType, domain }: RewriteNode, wanted: string): boolean {
  return opType === wanted && (domain === "" || domain === "ai.onnx");
}

function attributeOf({ attribute }: RewriteNode, name: string, fallback = 0): number {
  const found = attribute.find((x) => x.name === name);
  return found === undefined ? fallback : Number(found.i);
}
