// A backend for tests: slow, obvious, deterministic, without a GPU or wasm. It reads the ONNX files of
// backend-models.ts and supports Identity, Add, Mul, ConstantOfShape, and a Loop that never ends. The test controls the
// faults: it may delay, hang or fail any call by `beforeCall`, and call `onLost` at any time.
import { SelvedgeError } from "../core/errors.ts";
import { decodeModel } from "../compress/onnx/model.ts";
import type { ValueInfoProto } from "../compress/onnx/onnx.gen.js";
import { ELEMENT_TYPES } from "./backend-models.ts";
import type { Dtype, Port, Tensor } from "../core/tensor.ts";
import type { Backend, BackendFacts, ModelFacts, ModelFiles, StartOptions, StateCall } from "../rpc/backend.ts";
import { checkFeeds } from "../core/check-inputs.ts";

const DTYPES = Object.keys(ELEMENT_TYPES) as Dtype[];

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
    removeState(stateId: number): Promise<void> {
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
  return { dtype, dims: [...dims], data: data.slice() } as Tensor;
}

function valueOf(values: ReadonlyMap<string, Tensor>, name: string): Tensor {
  const value = values.get(name);
  if (value === undefined) throw new SelvedgeError("model-invalid", `Nothing computes "${name}".`);
  return value;
}

async function readModel(files: ModelFiles["files"], states: ReferenceModel["states"]): Promise<ReferenceModel> {
  const first = files[0];
  if (first === undefined) throw new SelvedgeError("model-invalid", "A model needs at least one file.");
  const { graph } = decodeModel(new Uint8Array(await first.data.arrayBuffer()));
  const nodes = graph.nodes.map(({ opType, input, output }) => ({ operator: opType, inputs: input, outputs: output }));
  for (const { operator } of nodes) {
    if (!OPERATORS.has(operator)) throw new SelvedgeError("model-invalid", `There is no operator ${operator}.`);
  }
  const constants = new Map<string, Tensor>();
  for (const { name, externalData } of graph.proto.initializer) {
    const path = externalData.find((x) => x.key === "location")?.value;
    const file = files.find((each) => each.path === path);
    if (path !== undefined && file === undefined) {
      throw new SelvedgeError("model-invalid", `The external data "${path}" is missing.`);
    }
    const raw = file === undefined ? new Uint8Array(4) : new Uint8Array(await file.data.arrayBuffer());
    if (raw.byteLength < 4) throw new SelvedgeError("model-invalid", `The external data "${path}" is too short.`);
    constants.set(name, { dtype: "float32", dims: [], data: new Float32Array(raw.buffer.slice(0, 4)) });
  }
  const [inputs, outputs] = [graph.proto.input.map(readPort), graph.proto.output.map(readPort)];
  return { inputs, outputs, nodes, constants, states };
}

function readPort({ name, type }: ValueInfoProto): Port {
  const tensor = type?.value.case === "tensorType" ? type.value.value : undefined;
  const dtype = DTYPES.find((x) => ELEMENT_TYPES[x] === tensor?.elemType);
  if (dtype === undefined) throw new SelvedgeError("model-invalid", "An input or output has no dtype.");
  const dims = (tensor?.shape?.dim ?? []).map(({ value }) =>
    value.case === "dimValue" ? Number(value.value) : (value.value ?? ""),
  );
  return { name, dtype, dims, batchAxis: typeof dims[0] === "string" ? 0 : null };
}
