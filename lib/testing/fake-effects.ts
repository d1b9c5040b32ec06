// The world of a fake engine: no network, no storage, no GPU, and workers in the same thread, each the real worker's
// side of the thread line (worker/serve.ts) over a fake backend, or a fake of the one that fetches models.
import * as Comlink from "comlink";
import type { CacheApi, Plan, ProgressNotice, LoadCriteria } from "../cache/messages.ts";
import { plan } from "../cache/plan.ts";
import type { Bundle } from "../core/bundle.ts";
import { checkTensor, kindOf, show } from "../core/check-inputs.ts";
import { SelvedgeError } from "../core/errors.ts";
import { ARRAY_TYPES } from "../core/tensor.ts";
import type { Port, Tensor } from "../core/tensor.ts";
import type { Effects, WorkerHandle } from "../effects/effects.ts";
import type { Backend } from "../rpc/backend.ts";
import { takeTensor } from "../engine/inputs.ts";
import type { TensorInput } from "../engine/inputs.ts";
import { reply } from "../rpc/reply.ts";
import { serve } from "../worker/serve.ts";
import type { FakeClock, FakeModel, FakePort } from "./index.ts";

const BASE_URL = "http://localhost/";

/** Returns the effects of a fake engine. */
export function fakeEffects(models: Readonly<Record<string, FakeModel>>, clock: FakeClock = systemClock()): Effects {
  const world = new FakeWorld(models, clock);
  const memo = new Map<string, string>();
  return {
    ...{ now: () => clock.now(), wallClock: () => clock.now(), random: () => 0.5 },
    setTimer: (callback, ms) => clock.setTimer(callback, ms),
    fetch: (url) => Promise.reject(new TypeError(`${url}: a fake engine fetches nothing`)),
    createWorker: (url) => world.start(url.toString().endsWith("worker-cache.js")),
    compileWasm: () => Promise.reject(new TypeError("a fake engine compiles nothing")),
    probeGpu: () => Promise.resolve(null),
    activated: () => Promise.resolve(),
    locks: null,
    onLife: () => () => undefined,
    memo: {
      get: (key) => memo.get(key) ?? null,
      set: (key, value) => void (value === null ? memo.delete(key) : memo.set(key, value)),
    },
    keepStorage: () => Promise.resolve(),
    savesData: () => false,
    createImageBitmap: () => Promise.reject(new TypeError("a fake engine decodes no images")),
    facts: {
      cores: 1,
      secure: true,
      isolated: false,
      jspi: false,
      memoryBytes: null,
      wasm: true,
      workers: true,
      baseUrl: BASE_URL,
      page: "fake",
    },
  };
}

/** The global timers, looked up at each call, so that fake ones apply; those of an idle engine don't keep Node running. */
function systemClock(): FakeClock {
  return {
    now: () => Date.now(),
    setTimer(callback, ms) {
      // Longer ones overflow.
      const timer: unknown = setTimeout(callback, Math.min(ms, 2 ** 31 - 1));
      if (ms > 10_000 && typeof timer === "object") (timer as { unref?: () => void }).unref?.();
      return () => {
        clearTimeout(timer as number);
      };
    },
  };
}

interface Known {
  /** As the test has it. */
  readonly name: string;
  readonly address: string;
  readonly model: FakeModel;
  readonly bundle: Bundle;
  readonly identity: string;
}

class FakeWorld {
  readonly #clock: FakeClock;
  readonly #known: readonly Known[];
  /** The model that a file of a fake bundle stands for. */
  readonly #files: WeakMap<Blob, Known> = new WeakMap();

  constructor(models: Readonly<Record<string, FakeModel>>, clock: FakeClock) {
    this.#clock = clock;
    this.#known = Object.entries(models).map(([name, model], i) => {
      if (!URL.canParse(name, BASE_URL)) throw new TypeError(`models: ${show(name)} is no address`);
      const address = name === "bytes" ? name : new URL(name, BASE_URL).href;
      return { name, address, model, bundle: bundleOf(address, model), identity: String(i).padStart(64, "0") };
    });
  }

  start(isCache: boolean): WorkerHandle {
    const [page, inside] = [new Set<Listener>(), new Set<Listener>()];
    const ended = new AbortController();
    const post = (to: ReadonlySet<Listener>) => (data: unknown) => {
      void Promise.resolve().then(() => {
        if (!ended.signal.aborted) for (const listener of to) listener({ data } as MessageEvent);
      });
    };
    const endpoint = endpointOf(inside, post(page));
    if (isCache) Comlink.expose(this.#fetcher(endpoint.postMessage, ended.signal), endpoint);
    else
      serve(
        this.#backend(ended.signal),
        endpoint,
        () => this.#clock.now(),
        () => Promise.resolve(),
      );
    return {
      ...(endpointOf(page, post(inside)) as unknown as Omit<WorkerHandle, "terminate">),
      terminate: () => {
        // Its timers would keep Node running.
        ended.abort();
      },
    };
  }

  #find(from: string | Blob): Known {
    const address = typeof from === "string" ? from : "bytes";
    const repo = repositoryOf(address);
    const known = this.#known.find((x) => x.address === address || x.name === repo);
    if (known !== undefined) return known;
    const names = this.#known.map((x) => (x.name.startsWith("/") ? x.address : x.name)).join(", ");
    const message = `${repo ?? address}: the fake engine has no such model, only ${names || "none"}`;
    throw new SelvedgeError("download-failed", message, { url: address, status: 404, reason: "not-found" });
  }

  #pause(ms: number, ...stops: readonly AbortSignal[]): Promise<void> {
    if (ms === 0) return Promise.resolve();
    const cancelled = new SelvedgeError("closed", "cancelled");
    // A queued run begins when the one before it is stopped.
    if (stops.some((x) => x.aborted)) return Promise.reject(cancelled);
    return new Promise((resolve, reject) => {
      const stop = (): void => {
        cancel();
        reject(cancelled);
      };
      const cancel = this.#clock.setTimer(() => {
        for (const signal of stops) signal.removeEventListener("abort", stop);
        resolve();
      }, ms);
      for (const signal of stops) signal.addEventListener("abort", stop);
    });
  }

  /** The worker that fetches models. */
  #fetcher(notify: (notice: ProgressNotice) => void, ended: AbortSignal): CacheApi {
    const running = new Map<number, AbortController>();
    const done = () => Promise.resolve({ ok: true, value: null } as const);
    const none = <T>(value: T) => Promise.resolve({ ok: true, value } as const);
    const open = (from: string | Blob, criteria: LoadCriteria): Plan => {
      const known = this.#find(from);
      const { model, bundle, identity } = known;
      const [option] = Object.keys(criteria.described ?? {});
      if (option !== undefined)
        throw new TypeError(
          `${option}: fake models take and give tensors alone: in this test, have a stub in place of load and run`,
        );
      fail(model.loadError, "load");
      const data = typeof from === "string" ? null : from;
      if (data !== null) this.#files.set(data, known);
      return plan({ bundle, identity, data, seen: null, refused: null }, criteria);
    };
    return {
      ...{ hold: () => none(false), begin: done, unloaded: done, life: done },
      open: (_, from, criteria) => reply(async () => open(from, criteria)),
      files: (ticket, { identity }) =>
        reply(async () => {
          const known = this.#known.find((x) => x.identity === identity) as Known;
          const { model, bundle } = known;
          const stop = new AbortController();
          running.set(ticket, stop);
          const { bytes = 1_000_000, loadMs = 0 } = model;
          const tell = (loadedBytes: number): void => {
            const files = [{ path: bundle.model.name, loadedBytes, totalBytes: bytes }];
            const rest = { cachedBytes: 0, bytesPerSecond: null, secondsLeft: null, files };
            notify({ selvedge: "progress", ticket, loadedBytes, totalBytes: bytes, ...rest });
          };
          for (const share of [0, 0.5]) {
            tell(Math.round(share * bytes));
            await this.#pause(loadMs / 2, stop.signal, ended);
          }
          tell(bytes);
          const file = new Blob([]);
          this.#files.set(file, known);
          return [file];
        }),
      estimate: (_, from, criteria) =>
        reply(async () => {
          const costs = [{ backend: "wasm" as const, bytes: 0, bytesToFetch: 0, isUnderWay: false, fit: null }];
          const facts = { failed: null, unfit: null, freeBytes: null, bytesPerSecond: null, saveData: false };
          return { plan: open(from, criteria), costs, ...facts };
        }),
      update: (_, from) => reply(async () => ({ identity: this.#find(from).identity, isNew: false, fetchedBytes: 0 })),
      wait: (ms) => reply(() => this.#pause(ms, ended).then(() => null)),
      cancel: (ticket) => {
        running.get(ticket)?.abort();
        return done();
      },
      contents: () => none({ kind: "memory" as const, bytes: 0, freeBytes: null, bundles: [] }),
      ...{ find: () => none(null), pin: () => none(false), delete: () => none(0), export: () => none([]) },
    };
  }

  #backend(ended: AbortSignal): Backend {
    const models = new Map<number, Known>();
    return {
      ...{ onLost: null, onLog: null },
      start: ({ backend }) => Promise.resolve({ backend, gpu: null, version: "fake", startMs: 0 }),
      load: (modelId, { files }) => {
        const known = this.#files.get(files[0]?.data as Blob) as Known;
        models.set(modelId, known);
        const { inputs, outputs } = known.bundle.model;
        return Promise.resolve({ inputs, outputs, loadMs: 0, assignment: null });
      },
      run: async (modelId, feeds: Readonly<Record<string, Tensor>>) => {
        const { model, bundle } = models.get(modelId) as Known;
        await this.#pause(model.runMs ?? 0, ended);
        fail(model.runError, "run");
        const { name, outputs } = bundle.model;
        return model.run === undefined
          ? Object.fromEntries(outputs.map((x) => [x.name, zeros(x)]))
          : takeOutputs(`${name}: run returned`, outputs, await model.run(feeds));
      },
      unload: (modelId) => Promise.resolve(void models.delete(modelId)),
      removeState: () => Promise.resolve(),
    };
  }
}

function fail(code: FakeModel["loadError"], what: string): void {
  if (code != null) throw new SelvedgeError(code, `The fake model fails to ${what}: ${code}.`);
}

/** Checks outputs as the engine checks inputs, and copies them: the test's function may keep what it returned. */
function takeOutputs(at: string, ports: readonly Port[], answer: unknown): Record<string, Tensor> {
  if (kindOf(answer) !== "Object") throw new TypeError(`${at} ${show(answer)}: expected its outputs by name`);
  const given = answer as Readonly<Record<string, TensorInput>>;
  const extra = Object.keys(given).find((name) => ports.every((port) => port.name !== name));
  if (extra !== undefined) throw new TypeError(`${at} an output "${extra}", which the model does not declare`);
  return Object.fromEntries(ports.map((port) => [port.name, takeOutput(at, port, given[port.name])]));
}

function takeOutput(at: string, port: Port, tensor: TensorInput | undefined): Tensor {
  if (tensor === undefined) throw new TypeError(`${at} no output "${port.name}"`);
  if (kindOf(tensor) !== "Object")
    throw new TypeError(`${at} output "${port.name}" as ${show(tensor)}: expected { dtype, dims, data }`);
  try {
    checkTensor(port, tensor);
  } catch (error) {
    const { message } = error as Error;
    throw new TypeError(`${at} a wrong tensor: ${message.replace(/^input/, "output")}`, { cause: error });
  }
  return takeTensor(tensor, false);
}

function portOf({ batchAxis = null, ...port }: FakePort): Port {
  return { ...port, batchAxis };
}

function bundleOf(address: string, { inputs, outputs, bytes = 1_000_000 }: FakeModel): Bundle {
  const name = address.slice(address.lastIndexOf("/") + 1).replace(/\.\w+$/, "");
  const ports = { inputs: inputs.map(portOf), outputs: outputs.map(portOf) };
  return {
    format: 2,
    model: { name, version: "0", licence: "none", ...ports },
    variants: [{ id: "fake", needs: [], files: [{ path: name, bytes, chunks: [] }] }],
  };
}

function zeros({ dtype, dims }: FakePort): Tensor {
  const sizes = dims.map((dim) => (typeof dim === "number" ? dim : 1));
  const count = sizes.reduce((product, dim) => product * dim, 1);
  if (dtype === "string") return { dtype, dims: sizes, data: Array.from({ length: count }, () => "") };
  return { dtype, dims: sizes, data: new ARRAY_TYPES[dtype](count) } as Tensor;
}

/** Returns the name of a repository from the address that a load makes of it; null for another address. */
function repositoryOf(address: string): string | null {
  return URL.canParse(address) ? new URLSearchParams(new URL(address).hash.slice(1)).get("repo") : null;
}

type Listener = (event: MessageEvent) => void;

function endpointOf(listeners: Set<Listener>, postMessage: (message: unknown) => void): Comlink.Endpoint {
  return {
    postMessage,
    addEventListener: (type, listener) => {
      if (type === "message") listeners.add(listener as Listener);
    },
    removeEventListener: (_, listener) => {
      listeners.delete(listener as Listener);
    },
  };
}
