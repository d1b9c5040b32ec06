// Estimates the memory that one run takes beside the weights: the values between nodes (activations), inputs and outputs.
// For the toolchain (compress/check/activation-bytes.ts), where ONNX Runtime infers the sizes of values, and for the fetch
// worker (cache/run-bytes.ts), which infers them itself.
//
// Buffers are planned as ONNX Runtime's memory planner does: in the order of the nodes, in place where an operator allows
// that, else in the buffer of a dead value of the same shape. In WebAssembly a buffer is freed with its last value. On
// WebGPU buffers have the sizes of ONNX Runtime 1.30's buckets, are kept for later ones of their bucket, and can be reused
// only once the commands before them were submitted.

/** Type and dims of a value. */
export interface ValueFacts {
  /** Element type by ONNX Runtime's name, as "float32". */
  readonly type: string;
  /** A number for a fixed size, a text for a symbolic one; undefined where the rank is not known. */
  readonly dims: readonly (number | string)[] | undefined;
}

/** A node of a graph that is run. */
export interface RunNode {
  readonly opType: string;
  readonly domain: string;
  readonly input: readonly string[];
  readonly output: readonly string[];
  /** Names that it reads, those that its subgraphs read among them. */
  readonly reads: Iterable<string>;
}

/** A graph that is run, its nodes in their order. */
export interface RunGraph {
  readonly nodes: readonly RunNode[];
  /** Names of the inputs that have no value in the file. */
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /** Dims of the constants in the file, by name. */
  readonly constants: ReadonlyMap<string, readonly number[]>;
  readonly facts: ReadonlyMap<string, ValueFacts>;
}

/** Bytes of a run on each backend. */
export interface RunBytes {
  readonly webgpu: number;
  readonly wasm: number;
}

/** Operators whose output is their first input under other dims. */
const ALIASES: ReadonlySet<string> = new Set("Reshape Squeeze Unsqueeze Flatten Identity Dropout".split(" "));
/** Operators that write over a dead input of the same size, or are fused with the node before. */
const ACTIVATIONS: ReadonlySet<string> = new Set(
  "Relu LeakyRelu Clip Sigmoid Tanh HardSigmoid HardSwish BatchNormalization".split(" "),
);
const IN_PLACE: ReadonlySet<string> = new Set([
  ...ACTIVATIONS,
  ..."Add Sub Mul Div Pow Sqrt Erf Exp Log Neg Abs Elu Selu Softplus Not And Or Gelu Mish Softmax LogSoftmax".split(
    " ",
  ),
]);
/** Bytes of an element where not 4; WebAssembly computes float16 in float32. */
const BYTES: Readonly<Record<string, number>> = {
  ...{ float16: 2, bfloat16: 2, int16: 2, uint16: 2, int8: 1, uint8: 1, bool: 1, float64: 8, int64: 8, uint64: 8 },
  ...{ int4: 0.5, uint4: 0.5 },
};
/** Sizes of buffers on WebGPU, and how many of each are kept; larger ones are as large as their value. */
const BUCKETS: readonly (readonly [bytes: number, kept: number])[] = [
  ...[64, 128, 256, 512, 2_048, 4_096].map((bytes) => [bytes, 200] as const),
  ...[8_192, 16_384, 32_768, 65_536, 131_072, 262_144, 524_288, 1_048_576].map((bytes) => [bytes, 50] as const),
  ...([
    [2_097_152, 30],
    [4_194_304, 20],
    [8_388_608, 10],
    [12_582_912, 10],
    [16_777_216, 10],
  ] as const),
  ...([
    [26_214_400, 15],
    [33_554_432, 22],
    [44_236_800, 2],
    [58_982_400, 6],
    [67_108_864, 6],
  ] as const),
  ...([
    [134_217_728, 6],
    [167_772_160, 6],
  ] as const),
];
/** Number of commands that are submitted together. */
const COMMANDS = 16;

/** A buffer of a plan, and the indices of the nodes before and after which it is allocated and freed. */
interface Buffer {
  readonly bytes: number;
  readonly shape: string;
  readonly from: number;
  to: number;
  /** Number of values in it that are used later. */
  values: number;
}

/**
 * Estimates the bytes of a run.
 * @param folds - for each backend, whether the session expands quantized weights while loading
 */
export function bytesOfRun(graph: RunGraph, folds: { readonly webgpu: boolean; readonly wasm: boolean }): RunBytes {
  const sum = (names: readonly string[], isWasm: boolean): number =>
    names.reduce((total, name) => total + (bytesOf(graph.facts.get(name), isWasm) ?? 0), 0);
  // Inputs are copied on their way: to the worker, to the runtime and, on a GPU, to a buffer for the upload.
  const ends = (isWasm: boolean): number => 2 * sum(graph.inputs, isWasm) + sum(graph.outputs, isWasm);
  const wasm = new Planner(graph, true, folds.wasm);
  const webgpu = new Planner(graph, false, folds.webgpu);
  return {
    wasm: Math.round(liveBytes(wasm.plan(), wasm.scratch) + ends(true)),
    webgpu: Math.round(pooledBytes(webgpu.plan(), webgpu.commands) + ends(false)),
  };
}

/** Returns the bytes of a value; undefined where they depend on data. */
function bytesOf(facts: ValueFacts | undefined, isWasm: boolean): number | undefined {
  if (facts?.dims === undefined) return undefined;
  const elements = facts.dims.reduce<number>((product, x) => (typeof x === "number" ? product * x : Number.NaN), 1);
  const isHalf = facts.type === "float16" || facts.type === "bfloat16";
  const bytes = elements * (isWasm && isHalf ? 4 : (BYTES[facts.type] ?? 4));
  return Number.isNaN(bytes) ? undefined : bytes;
}

/** Plans the buffers of a graph on one backend. */
class Planner {
  readonly #graph: RunGraph;
  readonly #facts: ReadonlyMap<string, ValueFacts>;
  readonly #isWasm: boolean;
  readonly #foldsDequantize: boolean;
  readonly #constants: Set<string>;
  readonly #outputs: ReadonlySet<string>;
  readonly #bytes: Map<string, number> = new Map();
  readonly #buffers: Map<string, Buffer> = new Map();
  /** Buffers without a value by their shape, the latest last. */
  readonly #free: Map<string, Buffer[]> = new Map();
  readonly #last: Map<string, number> = new Map();
  /** Bytes that a kernel allocates for itself, by the index of its node. */
  readonly scratch: number[] = [];
  /** Whether a node is a command to the GPU, by its index. */
  readonly commands: boolean[] = [];

  constructor(graph: RunGraph, isWasm: boolean, foldsDequantize: boolean) {
    this.#graph = graph;
    this.#facts = graph.facts;
    this.#isWasm = isWasm;
    this.#foldsDequantize = foldsDequantize;
    this.#constants = new Set(graph.constants.keys());
    this.#outputs = new Set(graph.outputs);
  }

  plan(): readonly Buffer[] {
    const nodes = this.#inOrder();
    for (const [i, node] of nodes.entries())
      for (const name of [...node.output, ...node.reads]) this.#last.set(name, i);
    for (const name of this.#graph.outputs) this.#last.set(name, nodes.length);
    // Inputs are the caller's: nothing is written over them.
    for (const name of this.#graph.inputs)
      this.#buffers.set(name, { bytes: 0, shape: "", from: 0, to: 0, values: Infinity });
    const all = new Set<Buffer>();
    for (const [i, node] of nodes.entries()) {
      this.scratch.push(this.#scratchOf(node));
      const isConstant = this.#isConstant(node);
      this.commands.push(!isConstant && !ALIASES.has(node.opType));
      for (const name of node.output) {
        if (name === "") continue;
        if (isConstant) this.#constants.add(name);
        else all.add(this.#allocate(name, node, i));
      }
      for (const name of new Set([...node.output, ...node.reads]))
        if (this.#last.get(name) === i) this.#release(name, i);
    }
    for (const buffer of this.#buffers.values()) if (buffer.values > 0) buffer.to = nodes.length;
    return [...all];
  }

  /** Returns the nodes as they run: weights are dequantized right before their reader (worker/backend/order-nodes.ts). */
  #inOrder(): readonly RunNode[] {
    const { nodes } = this.#graph;
    const late = new Map<string, RunNode>();
    for (const node of nodes)
      if (node.opType === "DequantizeLinear" && node.input.every((x) => x === "" || this.#constants.has(x)))
        late.set(node.output[0] ?? "", node);
    const taken = (name: string): readonly RunNode[] => {
      const found = late.get(name);
      late.delete(name);
      return found === undefined ? [] : [found];
    };
    const own = new Set(late.values());
    const ordered = nodes.filter((x) => !own.has(x)).flatMap((node) => [...[...node.reads].flatMap(taken), node]);
    return [...ordered, ...late.values()];
  }

  #allocate(name: string, node: RunNode, i: number): Buffer {
    const bytes = this.#sizeOf(name, node);
    const facts = this.#facts.get(name);
    const shape = `${facts?.type}:${facts?.dims?.join("×") ?? name}`;
    const found = this.#inPlace(node, bytes, i) ?? (this.#outputs.has(name) ? undefined : this.#free.get(shape)?.pop());
    const buffer = found ?? { bytes, shape, from: i, to: i, values: 0 };
    buffer.values += 1;
    this.#buffers.set(name, buffer);
    return buffer;
  }

  /** Returns the buffer of an input that the output takes over. */
  #inPlace({ opType, domain, input }: RunNode, bytes: number, i: number): Buffer | undefined {
    const first = this.#buffers.get(input[0] ?? "");
    if (domain !== "") return undefined;
    if (ALIASES.has(opType)) return first;
    const isFused = ACTIVATIONS.has(opType) || (opType === "Add" && input.some((x) => this.#constants.has(x)));
    if (!(this.#isWasm ? IN_PLACE.has(opType) : isFused)) return undefined;
    const dead = input.find((name) => {
      const buffer = this.#buffers.get(name);
      return buffer?.bytes === bytes && buffer.values === 1 && this.#last.get(name) === i;
    });
    return dead === undefined ? undefined : this.#buffers.get(dead);
  }

  #release(name: string, i: number): void {
    const buffer = this.#buffers.get(name);
    if (buffer === undefined) return;
    buffer.values -= 1;
    if (buffer.values > 0) return;
    buffer.to = i;
    add(this.#free, buffer.shape, buffer);
  }

  /** Returns the bytes of a value; those of the largest input where they are not known. */
  #sizeOf(name: string, node: RunNode): number {
    const inputs = node.input.map((x) => this.#bytes.get(x) ?? bytesOf(this.#facts.get(x), this.#isWasm) ?? 0);
    const bytes = bytesOf(this.#facts.get(name), this.#isWasm) ?? Math.max(0, ...inputs);
    this.#bytes.set(name, bytes);
    return bytes;
  }

  /** Whether ONNX Runtime computes a node while loading. */
  #isConstant({ opType, domain, input }: RunNode): boolean {
    if (opType === "Constant") return true;
    if (domain !== "" || (opType === "DequantizeLinear" && !this.#foldsDequantize)) return false;
    return input.length > 0 && input.every((x) => x === "" || this.#constants.has(x));
  }

  /** Returns the bytes that a kernel in WebAssembly allocates: a transposed convolution makes a column for each pixel. */
  #scratchOf({ opType, input }: RunNode): number {
    if (!this.#isWasm || opType !== "ConvTranspose") return 0;
    const sizes = this.#facts.get(input[0] ?? "")?.dims ?? [];
    const [, channels = 1, ...kernel] = this.#graph.constants.get(input[1] ?? "") ?? [];
    const product = (numbers: readonly unknown[]): number => numbers.reduce<number>((a, b) => a * (Number(b) || 1), 1);
    return 4 * channels * product(kernel) * product(sizes.slice(2));
  }
}

/** Adds a buffer to those of a key. */
function add<K>(lists: Map<K, Buffer[]>, key: K, buffer: Buffer): void {
  const own = lists.get(key);
  if (own === undefined) lists.set(key, [buffer]);
  else own.push(buffer);
}

/** Returns the buffers that are allocated before each node, and those that are freed after it. */
function byNode(buffers: readonly Buffer[]): readonly [begun: Map<number, Buffer[]>, ended: Map<number, Buffer[]>] {
  const [begun, ended] = [new Map<number, Buffer[]>(), new Map<number, Buffer[]>()];
  for (const buffer of buffers) {
    add(begun, buffer.from, buffer);
    add(ended, buffer.to, buffer);
  }
  return [begun, ended];
}

/** Returns the most bytes of buffers that are allocated at once, with what kernels allocate. */
function liveBytes(buffers: readonly Buffer[], scratch: readonly number[]): number {
  const [begun, ended] = byNode(buffers);
  let [live, most] = [0, 0];
  for (const [i, own] of scratch.entries()) {
    for (const { bytes } of begun.get(i) ?? []) live += bytes;
    most = Math.max(most, live + own);
    for (const { bytes } of ended.get(i) ?? []) live -= bytes;
  }
  return most;
}

/** Returns the most bytes of buffers that ONNX Runtime holds on a GPU at once, those that it keeps among them. */
function pooledBytes(buffers: readonly Buffer[], commands: readonly boolean[]): number {
  const [begun, ended] = byNode(buffers);
  const kept = new Map<number, number>();
  let pending: number[] = [];
  let [held, most, count] = [0, 0, 0];
  for (const [i, isCommand] of commands.entries()) {
    for (const { bytes } of begun.get(i) ?? []) {
      const size = bucketOf(bytes);
      const free = kept.get(size) ?? 0;
      if (free > 0) kept.set(size, free - 1);
      else held += size;
    }
    most = Math.max(most, held);
    for (const { bytes } of ended.get(i) ?? []) pending.push(bucketOf(bytes));
    if (isCommand) count += 1;
    if (!isCommand || count % COMMANDS !== 0) continue;
    for (const size of pending) {
      const free = kept.get(size) ?? 0;
      if (free < (BUCKETS.find(([bytes]) => bytes === size)?.[1] ?? 0)) kept.set(size, free + 1);
      else held -= size;
    }
    pending = [];
  }
  return most;
}

function bucketOf(bytes: number): number {
  return bytes === 0 ? 0 : (BUCKETS.find(([size]) => size >= bytes)?.[0] ?? bytes);
}
