// A backend for tests: slow, obvious, deterministic, without a GPU or wasm. It reads the ONNX files of
// backend-models.ts and supports Identity, Add, Mul, ConstantOfShape, and a Loop that never ends. The test controls the
// faults: it may delay, hang or fail any call by `beforeCall`, and call `onLost` at any time.
import { SelvedgeError } from "../core/errors.ts";
import type { Dtype, Port, Tensor } from "../core/tensor.ts";
import type { Backend, BackendFacts, ModelFacts, ModelFiles, StartOptions, StateCall } from "../rpc/backend.ts";
import { checkFeeds } from "../core/check-inputs.ts";

/** Controls of the reference backend. */
export interface ReferenceOptions {
  /** Awaited before each call: delays it, never settles to hang it, rejects to fail it. */
  readonly beforeCall?: (call: "start" | "load" | "run" | "unload", modelId: number) => Promise<void> | void;
}

/** Makes a backend that computes in plain JavaScript. */
export function createReferenceBackend(options: ReferenceOptions = {}): Backend {
  const models = new Map<number, ReferenceModel>();
  const kept = new Map<number, Kept>();
  const before = async (call: "start" | "load" | "run" | "unload", modelId = 0): Promise<void> => {
    await options.beforeCall?.(call, modelId);
  };
  return {
    onLost: null,
    onLog: null,
    async start({ backend }: StartOptions): Promise<BackendFacts> {
      await before("start");
      return { backend, gpu: null, version: "reference", startMs: 0 };
    },
    async load(modelId: number, { files, states = {} }: ModelFiles): Promise<ModelFacts> {
      await before("load", modelId);
      const model = await readModel(files, states);
      models.set(modelId, model);
      return { inputs: model.inputs, outputs: model.outputs, loadMs: 0, assignment: null };
    },
    async run(modelId, feeds: Readonly<Record<string, Tensor>>, state): Promise<Record<string, Tensor>> {
      await before("run", modelId);
      const model = models.get(modelId);
      if (model === undefined) throw new SelvedgeError("internal", `Model ${modelId} is not loaded here.`);
      const restored = state === undefined ? {} : takeState(kept, state);
      const ports = model.inputs.filter(({ name }) => !Object.hasOwn(restored, name));
      checkFeeds(ports, feeds);
      const outputs = await compute(model, { ...feeds, ...restored });
      if (state === undefined) return outputs;
      const next: Record<string, Tensor> = {};
      for (const [output, input] of Object.entries(model.states)) {
        next[input] = copy(outputs[output] as Tensor);
        if (!state.checkpoint) Reflect.deleteProperty(outputs, output);
      }
      kept.set(state.stateId, { modelId, tensors: next });
      return outputs;
    },
    async unload(modelId: number): Promise<void> {
      await before("unload", modelId);
      models.delete(modelId);
      for (const [stateId, state] of kept) if (state.modelId === modelId) kept.delete(stateId);
    },
    forget(stateId: number): Promise<void> {
      kept.delete(stateId);
      return Promise.resolve();
    },
  };
}

/** A state between two runs, by the names of its inputs. */
interface Kept {
  readonly modelId: number;
  readonly tensors: Readonly<Record<string, Tensor>>;
}

function takeState(kept: Map<number, Kept>, { stateId, restore }: StateCall): Readonly<Record<string, Tensor>> {
  const before = restore ?? kept.get(stateId)?.tensors;
  kept.delete(stateId);
  if (before === undefined)
    throw new SelvedgeError("internal", `State ${stateId} is not held by this worker.`, { stateId });
  return before;
}

interface ReferenceNode {
  readonly operator: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
}

interface ReferenceModel {
  readonly inputs: readonly Port[];
  readonly outputs: readonly Port[];
  readonly nodes: readonly ReferenceNode[];
  readonly constants: ReadonlyMap<string, Tensor>;
  readonly states: Readonly<Record<string, string>>;
}

const OPERATORS: ReadonlySet<string> = new Set(["Identity", "Add", "Mul", "ConstantOfShape", "Loop"]);
const OUTPUT_MAX = 2 ** 30;

async function compute(
  model: ReferenceModel,
  feeds: Readonly<Record<string, Tensor>>,
): Promise<Record<string, Tensor>> {
  const values = new Map<string, Tensor>([...model.constants, ...Object.entries(feeds)]);
  for (const node of model.nodes) {
    const given = node.inputs.filter((name) => name !== "").map((name) => valueOf(values, name));
    const output = node.outputs[0] ?? "";
    if (node.operator === "Loop") await new Promise<never>(() => undefined);
    values.set(output, apply(node.operator, given));
  }
  return Object.fromEntries(model.outputs.map((port) => [port.name, copy(valueOf(values, port.name))]));
}

function apply(operator: string, [a, b]: readonly Tensor[]): Tensor {
  if (a === undefined) throw new SelvedgeError("model-invalid", `${operator} needs an input.`);
  if (operator === "Identity") return a;
  if (operator === "ConstantOfShape") return zeros(Array.from(a.data, Number));
  if (b === undefined) throw new SelvedgeError("model-invalid", `${operator} needs two inputs.`);
  const result = copy(a);
  const left = a.data as Float32Array;
  const right = b.data as Float32Array;
  const out = result.data as Float32Array;
  for (let i = 0; i < out.length; i++) {
    const x = left[i] as number;
    const y = right[right.length === 1 ? 0 : i] as number;
    out[i] = operator === "Add" ? x + y : x * y; // BigInts add and multiply by the same signs
  }
  return result;
}

function zeros(dims: number[]): Tensor {
  const size = dims.reduce((product, dim) => product * dim, 1);
  if (size > OUTPUT_MAX) throw new SelvedgeError("out-of-memory", `Out of memory: an output of ${size} values.`);
  return { dtype: "float32", dims, data: new Float32Array(size) };
}

function copy({ dtype, dims, data }: Tensor): Tensor {
  return { dtype, dims: [...dims], data: data.slice() };
}

function valueOf(values: ReadonlyMap<string, Tensor>, name: string): Tensor {
  const value = values.get(name);
  if (value === undefined) throw new SelvedgeError("model-invalid", `Nothing computes "${name}".`);
  return value;
}

// Parser: as little of protobuf and of onnx.proto as the fixtures need.

type Fields = ReadonlyMap<number, readonly (number | Uint8Array)[]>;

async function readModel(files: ModelFiles["files"], states: ReferenceModel["states"]): Promise<ReferenceModel> {
  const first = files[0];
  if (first === undefined) throw new SelvedgeError("model-invalid", "A model needs at least one file.");
  const graph = messages(fields(new Uint8Array(await first.data.arrayBuffer())), 7)[0];
  if (graph === undefined) throw new SelvedgeError("model-invalid", "No graph was found.");
  const nodes = messages(graph, 1).map((node) => ({
    operator: texts(node, 4)[0] ?? "",
    inputs: texts(node, 1),
    outputs: texts(node, 2),
  }));
  for (const { operator } of nodes) {
    if (!OPERATORS.has(operator)) throw new SelvedgeError("model-invalid", `There is no operator ${operator}.`);
  }
  const constants = new Map<string, Tensor>();
  for (const constant of messages(graph, 5)) {
    const name = texts(constant, 8)[0] ?? "";
    const external = messages(constant, 13).map((entry) => [texts(entry, 1)[0], texts(entry, 2)[0]] as const);
    const path = new Map(external).get("location");
    const file = files.find((each) => each.path === path);
    if (path !== undefined && file === undefined) {
      throw new SelvedgeError("model-invalid", `The external data "${path}" is missing.`);
    }
    const raw = file === undefined ? new Uint8Array(4) : new Uint8Array(await file.data.arrayBuffer());
    if (raw.byteLength < 4) throw new SelvedgeError("model-invalid", `The external data "${path}" is too short.`);
    constants.set(name, { dtype: "float32", dims: [], data: new Float32Array(raw.buffer.slice(0, 4)) });
  }
  const [inputs, outputs] = [messages(graph, 11).map(readPort), messages(graph, 12).map(readPort)];
  return { inputs, outputs, nodes, constants, states };
}

const DTYPES: readonly (Dtype | undefined)[] = [
  undefined,
  "float32",
  "uint8",
  "int8",
  "uint16",
  "int16",
  "int32",
  "int64",
  "string",
  "bool",
  "float16",
  "float64",
  "uint32",
  "uint64",
];

function readPort(value: Fields): Port {
  const type = messages(messages(value, 2)[0] ?? new Map(), 1)[0] ?? new Map<number, number[]>();
  const dims = messages(messages(type, 2)[0] ?? new Map(), 1).map((dim) => {
    const size = dim.get(1)?.[0];
    return typeof size === "number" ? size : (texts(dim, 2)[0] ?? "");
  });
  const dtype = DTYPES[Number(type.get(1)?.[0] ?? 0)];
  if (dtype === undefined) throw new SelvedgeError("model-invalid", "An input or output has no dtype.");
  return { name: texts(value, 1)[0] ?? "", dtype, dims, batchAxis: typeof dims[0] === "string" ? 0 : null };
}

function messages(message: Fields, field: number): Fields[] {
  return (message.get(field) ?? []).map((value) => fields(value));
}

function texts(message: Fields, field: number): string[] {
  return (message.get(field) ?? []).map((value) => (typeof value === "number" ? "" : new TextDecoder().decode(value)));
}

/** Splits a message into its fields: varints as numbers, length-delimited ones as bytes. */
function fields(bytes: number | Uint8Array): Fields {
  const result = new Map<number, (number | Uint8Array)[]>();
  if (typeof bytes === "number") throw broken();
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = bytes[at++];
      if (byte === undefined || scale > 2 ** 49) throw broken();
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const tag = varint();
    let value: number | Uint8Array;
    if ((tag & 7) === 0) value = varint();
    else if ((tag & 7) === 2) {
      const length = varint();
      value = bytes.subarray(at, at + length);
      at += length;
    } else throw broken();
    if (at > bytes.length) throw broken();
    result.set(tag >> 3, [...(result.get(tag >> 3) ?? []), value]);
  }
  return result;
}

function broken(): SelvedgeError {
  return new SelvedgeError("model-invalid", "These bytes are no ONNX model.");
}
