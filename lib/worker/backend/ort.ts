// The production backend: ONNX Runtime Web. `ort` is passed in, so that only each worker's entry names a build.
//
// One provider at a time: with a list of two, a session may silently run on the second. The GPUDevice is our own, since
// a lost device can be silent: a run with GPU outputs resolved after the loss. Nor does a validation error reject a
// run; it shows only as `uncapturederror`, with wrong outputs, so a run that saw one fails here.
import type * as Ort from "onnxruntime-web";
import type { Assignment } from "../../core/bundle.ts";
import { adapterFacts } from "../../core/device.ts";
import type { AdapterFacts } from "../../core/device.ts";
import { SelvedgeError } from "../../core/errors.ts";
import type { Port, Tensor } from "../../core/tensor.ts";
import { assignmentFromLog } from "../../core/assignment-log.ts";
import type {
  Backend,
  BackendFacts,
  LocalBackend,
  DeviceTensor,
  ModelFacts,
  ModelFiles,
  StartOptions,
  StateCall,
  WasmModules,
} from "../../rpc/backend.ts";
import { loadAtOnce, NO_BINARY, shareModule } from "./shared-module.ts";
import { compileFile, isStall } from "./wasm-file.ts";
import { failureOf, isOutOfMemory, startFailureOf } from "./classify-error.ts";
import { externalize } from "./externalize.ts";
import { weightsFirst } from "./order-nodes.ts";
import { rewriteForWebGpu } from "./rewrite-model.ts";
import { hasRareOperator } from "./operators.ts";
import { rowsMix } from "./read-rows.ts";
import { checkIds, tablesOf } from "./table-rows.ts";
import type { Table } from "./table-rows.ts";
import { withoutWrongPasses } from "./wrong-passes.ts";
import { watchDeviceMemory, watchWasmMemory } from "./memory.ts";
import { checkFeeds } from "../../core/check-inputs.ts";
import { freeBuffer } from "../../rpc/free-buffer.ts";
import { STARTER } from "./identity-model.ts";
import { fromOrt, onDevice, portOf } from "./ort-values.ts";
import { createNextTask } from "./next-task.ts";
import { askForThreads } from "./threads.ts";

/** The part of onnxruntime-web that is used; every build has it. */
export type OrtModule = Pick<typeof Ort, "InferenceSession" | "Tensor" | "env">;

/** Returns the backend that computes with ONNX Runtime Web. */
export function createOrtBackend(ort: OrtModule): Backend {
  return new OrtBackend(ort);
}

/** Optional GPU features that ONNX Runtime's kernels use. */
const FEATURES = ["shader-f16", "subgroups"] as const;
const LIMITS = [
  "maxBindGroups",
  "maxBufferSize",
  "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupSizeX",
  "maxComputeWorkgroupSizeY",
  "maxComputeWorkgroupSizeZ",
  "maxComputeWorkgroupStorageSize",
  "maxComputeWorkgroupsPerDimension",
  "maxStorageBufferBindingSize",
  "maxStorageBuffersPerShaderStage",
] as const;

/** How long a failed run waits for the event that its device was lost. */
const LOSS_MS = 500;

/** So much of a model is looked through ahead of its load; its nodes come before its weights. */
const HEAD_BYTES = 2 ** 20;

/** Path by which a rewritten graph names the file that it was made from. */
const ITSELF = "the-model-itself";

interface LoadedSession {
  readonly session: Ort.InferenceSession;
  readonly inputs: readonly Port[];
  readonly states: Readonly<Record<string, string>>;
  readonly tables: ReadonlyMap<string, Table>;
}

/** A new session, and what its graph says: whether the rows of a batch influence each other, and the tables of ids. */
interface Created {
  readonly session: Ort.InferenceSession;
  readonly mixesRows: boolean;
  readonly tables: ReadonlyMap<string, Table>;
}

/** A state between two runs: on the device, or in the worker's memory, by the names of its inputs. */
interface Kept {
  readonly modelId: number;
  readonly tensors: Readonly<Record<string, Ort.Tensor>>;
}

class OrtBackend implements Backend {
  onLost: ((reason: string) => void) | null = null;
  onLog: ((line: string) => void) | null = null;
  onThread: ((port: MessagePort) => void) | null = null;
  onRest: ((port: MessagePort) => void) | null = null;
  onLinking: (() => void) | null = null;
  onLinked: ((rest: WebAssembly.Module | null) => void) | null = null;

  readonly #ort: OrtModule;
  readonly #models: Map<number, LoadedSession> = new Map();
  readonly #states: Map<number, Kept> = new Map();
  readonly #nextTask: () => Promise<void> = createNextTask();
  #backend: LocalBackend = "wasm";
  #verbose = false;
  /** Whether the compiled modules stay here. */
  #isKept = false;
  #device: GPUDevice | null = null;
  #lost: string | null = null;
  /** The first GPU error since the current call began. */
  #gpuError: GPUError | null = null;
  #log: string[] = [];
  /** The second part of the wasm binary, and its URL; null where this binary has one part. */
  #rest: WebAssembly.Module | null = null;
  #restUrl: string | null = null;
  /** The page's answer to the question for it. */
  #asked: Promise<WebAssembly.Module | null> | null = null;
  readonly #wasmBytes: () => number = watchWasmMemory();
  #deviceBytes = (): number => 0;

  constructor(ort: OrtModule) {
    this.#ort = ort;
  }

  get memoryBytes(): number {
    return this.#wasmBytes() + this.#deviceBytes();
  }

  get device(): GPUDevice | null {
    return this.#device;
  }

  async start(options: StartOptions): Promise<BackendFacts> {
    const began = performance.now();
    this.#backend = options.backend as LocalBackend;
    this.#verbose = options.verbose;
    this.#isKept = options.isKept === true;
    const { env } = this.#ort;
    env.logLevel = options.verbose ? "verbose" : "fatal";
    const { wasmUrl, restUrl, threads } = options;
    env.wasm.numThreads = threads;
    env.wasm.proxy = false;
    if (options.verbose) this.#listen();
    const gpu = options.backend === "webgpu" ? await this.#openDevice() : null;
    let { first, rest } = options.modules ?? { first: null, rest: null };
    try {
      this.#restUrl = restUrl === wasmUrl ? null : restUrl;
      // Each thread has its own instance and can't wait for the second part.
      const needsBoth = threads > 1 && this.#restUrl !== null;
      const missing = first === null || (needsBoth && rest === null);
      const second = needsBoth ? compileFile(restUrl, rest) : Promise.resolve(rest);
      const fetching = Promise.all([compileFile(wasmUrl, first), second]);
      [first, rest] = await (missing ? this.#unwatched(fetching) : fetching);
      if (threads > 1) askForThreads(rest ?? first, (port) => this.onThread?.(port));
      this.#rest ??= rest;
      shareModule(first, () => this.#rest ?? this.#linkAtOnce(restUrl));
      env.wasm.wasmBinary = NO_BINARY;
      const session = await this.#ort.InferenceSession.create(STARTER, this.#sessionOptions({}));
      await session.release();
    } catch (error) {
      throw startFailureOf(error, options.backend, wasmUrl);
    }
    const modules: WasmModules | null = this.#isKept ? null : { first, rest: this.#rest };
    const version = env.versions.web ?? env.versions.common;
    const startMs = performance.now() - began;
    return { backend: options.backend, gpu, version, startMs, modules };
  }

  async foresee(model: Blob): Promise<void> {
    const head = new Uint8Array(await model.slice(0, HEAD_BYTES).arrayBuffer());
    if (this.#rest === null && hasRareOperator(head)) this.#rest ??= await this.#askForRest();
  }

  async load(modelId: number, model: ModelFiles): Promise<ModelFacts> {
    const began = performance.now();
    await this.unload(modelId);
    this.#beginCall();
    let created: Created;
    try {
      created = (await this.#createOverFile(model)) ?? (await this.#create(model));
    } catch (error) {
      // The runtime's error for unreadable external data does not name the cause: so the files are read here.
      throw this.#failure((await lostOf(model.files)) ?? error, "load", model.files[0]?.path);
    }
    const { session, mixesRows, tables } = created;
    try {
      await this.#settleGpu("load");
      const inputs = session.inputMetadata.map((each) => portOf(each));
      const outputs = session.outputMetadata.map((each) => portOf(each));
      this.#models.set(modelId, { session, inputs, tables, states: model.states ?? {} });
      const assignment = this.#assignment();
      return { inputs, outputs, loadMs: performance.now() - began, assignment, mixesRows };
    } catch (error) {
      await session.release();
      throw error;
    }
  }

  async run(
    modelId: number,
    feeds: Readonly<Record<string, Tensor | DeviceTensor>>,
    state?: StateCall,
  ): Promise<Record<string, Tensor>> {
    const model = this.#models.get(modelId);
    if (model === undefined) throw new SelvedgeError("internal", `Model ${modelId} is not loaded here.`, { modelId });
    const kept = state === undefined ? {} : this.#takeState(state);
    const done = new Set<Ort.Tensor>(Object.values(kept));
    try {
      const ports = model.inputs.filter(({ name }) => !Object.hasOwn(kept, name));
      checkFeeds(ports, feeds);
      checkIds(model.tables, feeds);
      this.#beginCall();
      const values: Record<string, Ort.Tensor> = { ...kept };
      for (const [name, tensor] of Object.entries(feeds)) values[name] = this.#toOrt(tensor);
      const outputs: Record<string, Tensor> = {};
      const next: Record<string, Ort.Tensor> = {};
      try {
        const results = await model.session.run(values, { logSeverityLevel: this.#severity() });
        for (const value of Object.values(results)) done.add(value);
        for (const [name, value] of Object.entries(results)) {
          const input = state && model.states[name];
          if (input !== undefined) next[input] = value;
          if (input !== undefined && state?.checkpoint !== true) continue;
          if (value.location === "gpu-buffer") await value.getData(true); // now on the CPU, to be copied and kept
          const output = fromOrt(value);
          outputs[name] = input === undefined ? output : ({ ...output, data: output.data.slice() } as Tensor);
        }
      } catch (error) {
        await this.#settleLoss();
        throw this.#failure(error, "run");
      }
      await this.#settleGpu("run");
      for (const value of Object.values(next)) done.delete(value);
      if (state !== undefined) this.#states.set(state.stateId, { modelId, tensors: next });
      return outputs;
    } finally {
      for (const value of done) value.dispose();
    }
  }

  async unload(modelId: number): Promise<void> {
    const model = this.#models.get(modelId);
    if (model === undefined) return;
    this.#models.delete(modelId);
    for (const [stateId, kept] of this.#states) if (kept.modelId === modelId) await this.removeState(stateId);
    await model.session.release();
  }

  removeState(stateId: number): Promise<void> {
    for (const value of Object.values(this.#states.get(stateId)?.tensors ?? {})) value.dispose();
    this.#states.delete(stateId);
    return Promise.resolve();
  }

  /**
   * Creates a session whose weights ONNX Runtime reads from the model's own file; null where the file is not suited, or
   * fails other than for want of memory: then it must fail, or load, as it is.
   */
  async #createOverFile(model: ModelFiles): Promise<Created | null> {
    const [first, ...others] = model.files;
    if (first === undefined || others.some(({ path }) => path === ITSELF)) return null;
    const graph = await externalize(first.data, ITSELF);
    if (graph === null) return null;
    const apart = { path: first.path, data: new Blob([graph]) };
    try {
      return await this.#create({ ...model, files: [apart, ...others, { path: ITSELF, data: first.data }] });
    } catch (error) {
      if (this.#lost !== null || this.#gpuError !== null || isOutOfMemory(error)) throw error;
      return null;
    }
  }

  async #create({ files, session, states = {}, ...stated }: ModelFiles): Promise<Created> {
    const [first, ...others] = files;
    if (first === undefined) throw new SelvedgeError("model-invalid", "A model needs at least one file.");
    let bytes = new Uint8Array(await first.data.arrayBuffer());
    const mixesRows = stated.mixesRows ?? rowsMix(bytes);
    const tables = tablesOf(bytes);
    if (this.#device !== null) bytes = rewriteForWebGpu(bytes, this.#ort.env.versions.web ?? "") ?? bytes;
    bytes = weightsFirst(bytes) ?? bytes;
    const entries = withoutWrongPasses(bytes, session);
    try {
      if (this.#rest === null && this.#restUrl !== null && hasRareOperator(bytes)) {
        const url = this.#restUrl;
        // If both fail, the call of the missing function reports why.
        this.#rest ??= (await this.#askForRest()) ?? (await this.#fetchRest(url));
      }
      // The JSPI build reads Blobs directly; the other one copies them.
      const externalData = others.map(({ path, data }) => ({ path, data }));
      const created = await this.#ort.InferenceSession.create(bytes, {
        ...this.#sessionOptions(entries),
        externalData,
        ...(this.#device === null ? {} : { preferredOutputLocation: onDevice(states) }),
      });
      return { session: created, mixesRows, tables };
    } finally {
      freeBuffer(bytes);
    }
  }

  /** Fetches the second part; null where that fails, unless the server stalls: the call would wait for it again. */
  #fetchRest(url: string): Promise<WebAssembly.Module | null> {
    return this.#unwatched(compileFile(url)).catch((error: unknown) => {
      if (isStall(error)) throw error;
      return null;
    });
  }

  /** Has the page's watchdogs paused during a fetch, which has a watch of its own: a slow line takes its time. */
  async #unwatched<T>(fetching: Promise<T>): Promise<T> {
    this.onLinking?.();
    try {
      return await fetching;
    } finally {
      this.onLinked?.(null);
    }
  }

  /** Asks the page for the second part, which it compiles once for all workers; null where it can't. */
  #askForRest(): Promise<WebAssembly.Module | null> {
    this.#asked ??= new Promise<WebAssembly.Module | null>((resolve) => {
      if (this.onRest === null) {
        resolve(null);
        return;
      }
      const { port1, port2 } = new MessageChannel();
      port1.onmessage = ({ data }: MessageEvent<WebAssembly.Module | null>): void => {
        port1.close();
        if (data === null) this.#asked = null; // the next model may have better luck
        resolve(data);
      };
      this.onRest(port2);
    });
    return this.#asked;
  }

  #linkAtOnce(url: string): WebAssembly.Module {
    this.onLinking?.();
    try {
      this.#rest = loadAtOnce(url);
      return this.#rest;
    } finally {
      this.onLinked?.(this.#isKept ? null : this.#rest);
    }
  }

  /** Removes a state for a run that continues from it; the caller disposes of it. */
  #takeState({ stateId, restore }: StateCall): Readonly<Record<string, Ort.Tensor>> {
    const kept = this.#states.get(stateId);
    if (restore === null) {
      if (kept === undefined)
        throw new SelvedgeError("internal", `State ${stateId} is not held by this worker.`, { stateId });
      this.#states.delete(stateId);
      return kept.tensors;
    }
    void this.removeState(stateId);
    return Object.fromEntries(Object.entries(restore).map(([name, tensor]) => [name, this.#toOrt(tensor)]));
  }

  async #openDevice(): Promise<AdapterFacts> {
    try {
      const adapter = await navigator.gpu.requestAdapter({ powerPreference: "high-performance" });
      if (adapter === null) throw new Error("no adapter");
      const requiredLimits: Record<string, number> = {};
      for (const limit of LIMITS) requiredLimits[limit] = adapter.limits[limit];
      const device = await adapter.requestDevice({
        requiredFeatures: FEATURES.filter((feature) => adapter.features.has(feature)),
        requiredLimits,
      });
      device.addEventListener("uncapturederror", (event) => {
        event.preventDefault(); // the failed call reports it, not the console
        this.#gpuError ??= event.error;
      });
      void device.lost.then((info) => {
        this.#lost = info.message === "" ? info.reason : info.message;
        this.onLost?.(this.#lost);
      });
      this.#device = device;
      this.#deviceBytes = watchDeviceMemory(device);
      // Otherwise ONNX Runtime requests an adapter of its own, only to check that there is one.
      // eslint-disable-next-line @typescript-eslint/no-deprecated -- there is no other way to hand it over
      this.#ort.env.webgpu.adapter = adapter;
      return adapterFacts(adapter);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw new SelvedgeError("no-backend", `WebGPU is not available here: ${reason}.`, { backend: "webgpu" }, error);
    }
  }

  #sessionOptions(session: Readonly<Record<string, string>>): Ort.InferenceSession.SessionOptions {
    const provider = this.#device === null ? { name: "wasm" } : { name: "webgpu", device: this.#device };
    return {
      executionProviders: [provider],
      logSeverityLevel: this.#severity(),
      extra: { ...session },
    };
  }

  /** Verbose, or silent: the failed call reports the error, not the console. */
  #severity(): 0 | 4 {
    return this.#verbose ? 0 : 4;
  }

  #beginCall(): void {
    this.#gpuError = null;
    this.#log = [];
  }

  /** Fails the call where the GPU reported an error meanwhile; its event is a separate task, so waits for that task. */
  async #settleGpu(during: "load" | "run"): Promise<void> {
    if (this.#device === null) return;
    await this.#nextTask();
    if (this.#lost !== null || this.#gpuError !== null) throw this.#failure(this.#gpuError, during);
  }

  /**
   * Waits for the loss of the device before the run is blamed: Firefox reports the loss only after the run that it
   * spoiled.
   */
  async #settleLoss(): Promise<void> {
    if (this.#device === null || this.#lost !== null) return;
    const late = new Promise((resolve) => setTimeout(resolve, LOSS_MS));
    await Promise.race([this.#device.lost, late]);
  }

  #failure(error: unknown, during: "load" | "run", file?: string): Error {
    if (this.#lost !== null) {
      const details = { message: this.#lost };
      return new SelvedgeError("device-lost", `The GPU device was lost: ${this.#lost}`, details, error);
    }
    if (this.#gpuError === null) return failureOf(error, during, file);
    const { message } = this.#gpuError;
    const code = this.#gpuError instanceof GPUOutOfMemoryError ? "out-of-memory" : "internal";
    return new SelvedgeError(code, `The GPU reported an error during a ${during}: ${message}`, { message }, error);
  }

  #toOrt(tensor: Tensor | DeviceTensor): Ort.Tensor {
    const { dtype, dims } = tensor;
    if ("buffer" in tensor)
      return this.#ort.Tensor.fromGpuBuffer(tensor.buffer, { dataType: dtype as "float32", dims });
    const { data } = tensor;
    return new this.#ort.Tensor(dtype as "float32", data as Float32Array, dims);
  }

  #assignment(): Assignment | null {
    return this.#verbose ? assignmentFromLog(this.#log, this.#backend) : null;
  }

  /** ONNX Runtime's log has no hook: it writes to the console, whose methods its glue binds when it starts. */
  #listen(): void {
    for (const level of ["debug", "log", "info", "warn", "error"] as const) {
      // eslint-disable-next-line no-console -- the console is where ONNX Runtime writes
      console[level] = (...parts: unknown[]): void => {
        const line = parts.map(String).join(" ");
        this.#log.push(line);
        this.onLog?.(line);
      };
    }
  }
}

const READ_BYTES = 2 ** 22;

/** Returns the browser's error where it can't read a file; null where all files are readable. */
async function lostOf(files: ModelFiles["files"]): Promise<unknown> {
  try {
    // Not as streams: Chromium's fail with just "network error".
    for (const { data } of files)
      for (let at = 0; at < data.size; at += READ_BYTES) await data.slice(at, at + READ_BYTES).arrayBuffer();
    return null;
  } catch (error) {
    return error;
  }
}
