// Loads one model onto lanes: fetches each variant once, and loads each candidate once, on the lane that serves it
// first. Other lanes of the backend load it themselves when their first request arrives.
import type { BackendName, LocalBackend, ModelFacts } from "../rpc/backend.ts";
import type { BundleFile } from "../core/bundle.ts";
import type { CacheClient, FetchOptions } from "./cache-client.ts";
import type { CheckNotes } from "./check-gpu.ts";
import type { Plan } from "../cache/messages.ts";
import type { Candidate, BackendChoice } from "../core/choose-variant.ts";
import { isServer } from "../core/device.ts";
import type { DeviceFacts, Placement } from "../core/device.ts";
import type { BackendDecision } from "./backend-chooser.ts";
import type { Effects } from "../effects/effects.ts";
import type { Executor } from "./executor.ts";
import type { Opener } from "./opener.ts";
import type { SourceOptions } from "./options.ts";
import { keyOf, whyFallback } from "./routes.ts";
import type { RunResult } from "./result.ts";
import type { ModelRoutes, ModelRoute, Work } from "./routes.ts";
import { isSelvedgeError, SelvedgeError } from "../core/errors.ts";
import type { Lane } from "../pool/lane.ts";
import type { LoadMessage } from "../rpc/messages.ts";
import type { Port } from "../core/tensor.ts";

/** A candidate that is loaded on a lane. */
export interface OnLane {
  readonly candidate: Candidate;
  readonly message: LoadMessage;
  readonly lane: Lane;
  readonly facts: ModelFacts;
  /** Throws if the model was unloaded meanwhile: a run would load it again. */
  readonly assertWanted: () => void;
}

/** Collaborators of a loader. */
export interface LoaderHost {
  readonly executor: Executor;
  readonly cache: CacheClient;
  readonly opener: Opener;
  readonly effects: Effects;
  readonly device: DeviceFacts;
  /** Aborts when the engine is closed. */
  readonly closed: AbortSignal;
}

/** The servers of a model (remote-load.ts). */
export interface Servers {
  /** The route to them, the last of all; empty where it is the only one. */
  routes: readonly ModelRoute[];
  /** Their part of the message that a lane gets. */
  readonly message: Pick<LoadMessage, "remote" | "check">;
  /** Returns the routes that a request's own placement allows. */
  readonly place: (current: ModelRoutes, placement: Placement) => Promise<ModelRoutes>;
  /** Queues a request in place of the dispatcher; absent without hedging and cascade. */
  run: ((work: Work) => Promise<RunResult>) | undefined;
  /** Ends what goes on in the background. */
  readonly end: (error: Error) => void;
}

/** Loads one model onto lanes. */
export class Loader {
  #plan: Plan;
  readonly #host: LoaderHost;
  /** Source of the model. */
  readonly #from: string | Blob;
  readonly #options: SourceOptions;
  /** Lets the store evict the files. */
  readonly #free: () => void;
  /** The ids under which lanes may hold it, one per candidate. */
  readonly #ids: Map<string, number> = new Map();
  readonly #files: Map<string, Promise<LoadMessage["files"]>> = new Map();
  readonly #messages: Map<string, Promise<LoadMessage>> = new Map();
  /** Messages whose files have been fetched. */
  readonly #here: Map<string, LoadMessage> = new Map();
  /** The load's own signal and progress until it has finished; the engine's from then on. */
  #download: FetchOptions;
  #assets: Promise<Record<string, string>> | null = null;
  #facts: ModelFacts | null = null;
  #isEnded = false;
  readonly #notes: CheckNotes = {};
  /** Called when the GPU computed a wrong answer. */
  onRefused: ((error: SelvedgeError) => void) | null = null;
  /** Called with other routes for the model, as its weights come after a server answered for it. */
  onRoutes: ((routes: ModelRoutes, decision?: BackendDecision | null) => void) | null = null;
  /** The servers of the model; null where they are not asked. */
  servers: Servers | null = null;

  constructor(host: LoaderHost, plan: Plan, from: string | Blob, options: SourceOptions, download: FetchOptions) {
    this.#plan = plan;
    this.#host = host;
    this.#from = from;
    this.#options = options;
    this.#download = download;
    this.#free = host.cache.use(plan.storedAs ?? plan.identity, plan.data?.size);
  }

  /** The opened model; names another variant for the GPU once that computed one wrongly. */
  get plan(): Plan {
    return this.#plan;
  }

  /** Replaces the plan by one of a smaller variant, where memory ran out. */
  replan(plan: Plan): void {
    this.#plan = plan;
  }

  /** Signal that aborts fetches: the load's until it has finished, the engine's from then on. */
  get signal(): AbortSignal {
    return this.#download.signal;
  }

  /** Reads files of the bundle, after the load too. */
  read(files: readonly BundleFile[]): Promise<LoadMessage["files"]> {
    return this.#fetch(files, this.#later);
  }

  /** Frees the model on every lane and stops all further loading; rejects its queued steps with the error. */
  end(error: Error): void {
    this.#isEnded = true;
    this.servers?.end(error);
    for (const modelId of this.#ids.values()) this.#host.executor.unload(modelId, error);
    this.#free();
  }

  /** The inputs; for a bare model known once it was loaded. */
  get inputs(): readonly Port[] {
    return this.#plan.declared?.inputs ?? this.#facts?.inputs ?? [];
  }

  /** The outputs; for a bare model known once it was loaded. */
  get outputs(): readonly Port[] {
    return this.#plan.declared?.outputs ?? this.#facts?.outputs ?? [];
  }

  /** Fetches the files that a lane needs to load a candidate, or the next variant where the GPU computes it wrongly. */
  async fetch(candidate: Candidate): Promise<void> {
    await this.#orNext(candidate, (x) => {
      this.#assertWanted();
      return this.#message(x);
    });
  }

  /**
   * Loads a candidate onto a lane, by default one of its backend, or the next variant where the GPU computes it wrongly.
   */
  on(candidate: Candidate, lane?: Lane): Promise<OnLane> {
    return this.#orNext(candidate, (x) => this.#on(x, lane));
  }

  async #orNext<T>(candidate: Candidate, work: (candidate: Candidate) => Promise<T>): Promise<T> {
    try {
      return await work(candidate);
    } catch (error) {
      if (!isSelvedgeError(error) || error.code !== "wrong-result") throw error;
      const next = this.#after(candidate);
      if (next === undefined) throw error;
      return this.#orNext(next, work);
    }
  }

  /** Returns the GPU variant that follows a refused one; undefined where there is none. */
  #after({ variant }: Candidate): Candidate | undefined {
    const { candidates, spares } = this.#plan;
    const current = candidates.find(({ backend }) => backend === "webgpu");
    if (current?.variant.id !== variant.id) return current; // replaced meanwhile
    const [next, ...others] = spares;
    if (next === undefined) return undefined;
    this.#plan = { ...this.#plan, candidates: candidates.map((x) => (x === current ? next : x)), spares: others };
    return next;
  }

  async #on(candidate: Candidate, given?: Lane): Promise<OnLane> {
    const { pool } = this.#host.executor;
    this.#assertWanted();
    const coming = this.#message(candidate);
    pool.warm(
      candidate.backend,
      candidate.variant.files.reduce((sum, x) => sum + x.bytes, 0),
    );
    const message = await coming;
    this.#assertWanted();
    const lane = given ?? pool.pick(candidate.backend, message.modelId);
    if (lane === undefined) throw new SelvedgeError("no-backend", `There is no ${candidate.backend} lane.`);
    const facts = await lane.load(message).catch((error: unknown) => {
      // Retries once in a new worker, unless this one did not answer in time: a model that hangs will hang again.
      const isCrash = isSelvedgeError(error) && error.code === "worker-crashed" && error.details["cause"] === undefined;
      if (isCrash) return lane.load(message);
      if (!isSelvedgeError(error) || error.code !== "out-of-memory") throw error;
      // WebAssembly memory never shrinks. Where other models took some of it, this one may fit in a new worker.
      const isShared = [...lane.held.keys()].some((x) => x !== message.modelId);
      lane.end();
      if (isShared) return lane.load(message);
      throw error;
    });
    this.#assertWanted();
    this.#facts ??= facts;
    const assertWanted = this.#assertWanted.bind(this);
    return { candidate, message, lane, facts, assertWanted };
  }

  /** Loads a model on the chosen backend and returns its routes; the other candidates become its fallbacks. */
  async routesOf(choice: BackendChoice & Candidate): Promise<ModelRoutes> {
    const { candidate, message, facts } = await this.on(choice);
    this.#download = this.#later;
    const { backend, variant } = candidate;
    const chosen = this.#route(candidate, choice.why);
    // The only fallback is from the GPU to wasm: wasm can't be lost, and a model that fails on wasm gains nothing from
    // a GPU.
    const others = backend === "webgpu" ? this.#plan.candidates.filter((x) => x.backend !== backend) : [];
    const down = others.map((x): ModelRoute => {
      // Same weights: this costs nothing, and a lane of the other backend can then help out.
      if (x.variant.id === variant.id) this.#message(x).catch(() => undefined);
      return this.#route(x, whyFallback(x.backend));
    });
    // Requests in flight where the GPU computes the chosen one wrongly.
    const { spares } = this.#plan;
    const next = backend === "webgpu" && others.length === 0 ? spares.map((x) => this.#spare(x, choice.why)) : [];
    const fallbacks = [...others, this.#plan.smaller].map((x) => x?.variant.mixesRows);
    const own = {
      message,
      assignment: facts.assignment,
      mixesRows: [variant.mixesRows ?? facts.mixesRows, ...fallbacks].includes(true),
    };
    const rest = this.servers?.routes ?? [];
    const smaller = this.#smaller((route, alone) => {
      this.onRoutes?.(
        backend === "webgpu" ? { ...own, routes: [chosen, route, ...rest] } : { ...alone, routes: [route, ...rest] },
      );
    });
    return { ...own, routes: [chosen, ...down, ...next, ...smaller, ...rest] };
  }

  /** Returns the route of a further variant for the GPU; requests take it only where the one before it fails. */
  #spare(candidate: Candidate, why: ModelRoute["why"]): ModelRoute {
    return Object.assign(this.#route(candidate, why), { here: () => null });
  }

  /**
   * Returns the route of the variant that takes less memory than the chosen one on wasm, where there is one. `answered` is
   * called once it has answered what the others had no memory for; a GPU stays first, since wasm alone was short of it.
   */
  #smaller(answered: (route: ModelRoute, alone: Omit<ModelRoutes, "routes">) => void): ModelRoute[] {
    const { smaller } = this.#plan;
    if (smaller === null) return [];
    const route = this.#route(smaller, smaller.why);
    const promote = (): void => {
      const message = route.here();
      const { mixesRows } = smaller.variant;
      if (message !== null) answered(route, { message, assignment: null, mixesRows });
    };
    return [{ ...route, promote }];
  }

  /** Options of a fetch after the load. */
  get #later(): FetchOptions {
    return { signal: this.#host.closed, onProgress: undefined };
  }

  #assertWanted(): void {
    if (this.#isEnded) throw new SelvedgeError("closed", `The model "${this.#plan.name}" is unloaded.`);
  }

  #route(candidate: Candidate, why: ModelRoute["why"]): ModelRoute {
    const { backend, variant } = candidate;
    const here = (): LoadMessage | null => this.#here.get(nameOf(candidate)) ?? null;
    const key = keyOf(this.#plan.identity, variant.id, backend);
    const notes = this.#notes;
    const message = (): Promise<LoadMessage> => this.#message(candidate);
    return {
      ...{ backend, variant: variant.id, key, message, here },
      get why() {
        const more = notes.of?.(backend, why.text) ?? "";
        return more === "" ? why : { ...why, text: why.text + more };
      },
    };
  }

  #message(candidate: Candidate): Promise<LoadMessage> {
    const { backend, variant } = candidate;
    const key = nameOf(candidate);
    const known = this.#messages.get(key);
    if (known !== undefined) return known;
    const made = this.#make(this.idOf(candidate), backend, variant);
    this.#messages.set(key, made);
    made.then(
      (message) => this.#here.set(key, message),
      () => this.#messages.delete(key), // rejects for all that wait; the next call retries
    );
    return made;
  }

  /** Returns the id under which lanes may hold a candidate. */
  idOf(candidate: Candidate): number {
    const key = nameOf(candidate);
    const known = this.#ids.get(key);
    if (known !== undefined) return known;
    const { identity, name } = this.#plan;
    const isKeptInMemory = this.#options.keepInMemory === true;
    const modelId = this.#host.executor.register(identity, candidate, { name, isKeptInMemory });
    this.#ids.set(key, modelId);
    return modelId;
  }

  async #make(modelId: number, backend: BackendName, variant: Candidate["variant"]): Promise<LoadMessage> {
    const { states, images, decodes, declared, readers } = this.#plan;
    const check = backend === "webgpu" ? await this.#checkOf(modelId, variant) : undefined;
    const files = this.#filesOf(variant);
    const assets = (this.#assets ??= this.#fetchAssets());
    assets.catch(() => (this.#assets = null));
    const message: LoadMessage = {
      modelId,
      files: await files,
      renew: async (lost) => {
        if (typeof this.#from !== "string") return false; // only the app has them
        message.files = await this.#others(variant, lost);
        return true;
      },
      check,
      session: variant.session?.[backend as LocalBackend] ?? {},
      states,
      images,
      decodes,
      readers,
      assets: await assets,
      declared,
      mixesRows: variant.mixesRows,
      ...(isServer({ backend }) && this.servers?.message),
    };
    return message;
  }

  /** Returns the check of a variant on the GPU; undefined where its code can't be loaded. Throws where it was refused. */
  async #checkOf(modelId: number, variant: Candidate["variant"]): Promise<LoadMessage["check"]> {
    const module = await import("./check-gpu.ts").catch(() => null);
    if (module !== null)
      return module.checkGpu({
        ...{ host: this.#host, options: this.#options, plan: () => this.#plan, variant, modelId, notes: this.#notes },
        inputs: () => this.inputs,
        fetch: (files) => this.read(files),
        on: (candidate) => this.#on(candidate),
        onRefused: (error) => this.onRefused?.(error),
      });
    this.#notes.of = () => "; unverified: golden check not loaded";
    return undefined;
  }

  /** Fetches a variant's files once; again after a failure. */
  #filesOf({ id, files }: Candidate["variant"]): Promise<LoadMessage["files"]> {
    const known = this.#files.get(id);
    if (known !== undefined) return known;
    const coming = this.#fetch(files);
    this.#files.set(id, coming);
    coming.catch(() => this.#files.delete(id));
    return coming;
  }

  /** Returns a variant's files in place of those that the browser has lost, fetched once for all callers. */
  async #others({ id, files }: Candidate["variant"], lost: LoadMessage["files"]): Promise<LoadMessage["files"]> {
    const known = this.#files.get(id);
    if ((await known) === lost && this.#files.get(id) === known) {
      const coming = this.#fetch(files, this.#later, true);
      this.#files.set(id, coming);
      coming.catch(() => this.#files.set(id, Promise.resolve(lost))); // retried by the next call
    }
    return this.#files.get(id) ?? lost;
  }

  async #fetch(
    files: readonly BundleFile[],
    download = this.#download,
    isAgain = false,
  ): Promise<LoadMessage["files"]> {
    const [{ cache, opener }, from] = [this.#host, this.#from];
    const { identity, storedAs = identity, format } = this.#plan;
    const token = await this.#options.token?.();
    const { data } =
      isAgain && this.#plan.data !== null
        ? await opener.open(from, { ...this.#options, identity }, this.#later)
        : this.#plan;
    const blobs =
      data === null && typeof from === "string"
        ? await cache.files({ url: from, identity: storedAs, format, token }, files, download)
        : [data as Blob];
    return files.map(({ path }, i) => ({ path, data: blobs[i] as Blob }));
  }

  async #fetchAssets(): Promise<Record<string, string>> {
    const { assets, texts = {} } = this.#plan;
    const { signal } = this.#download;
    if (assets.length === 0) return texts;
    const read = async (): Promise<(readonly [string, string])[]> => {
      const files = await this.#fetch(assets, { signal, onProgress: undefined });
      const own = await Promise.all(files.map(async ({ path, data }) => [path, await data.text()] as const));
      return [...Object.entries(texts), ...own];
    };
    return Object.fromEntries(
      await read().catch((error: unknown) => {
        if (isSelvedgeError(error) || signal.aborted) throw error;
        // The browser had lost a blob.
        return read().catch(async (again: unknown) => {
          if (signal.aborted) throw again;
          const { unreadableOf } = await import("../core/unreadable.ts");
          throw unreadableOf(again) ?? again;
        });
      }),
    );
  }
}

function nameOf({ backend, variant }: Candidate): string {
  return `${variant.id} ${backend}`;
}
