// The engine of a React provider, and the loads on it, which its components share (react.ts has the hooks).
//
// StrictMode and Fast Refresh run every effect's clean-up and the effect again in one task. A load without
// users is therefore released some microtasks later: the engine and the loads survive both, and no load starts twice.
import type { ReactNode } from "react";
import { createEngine } from "selvedge";
import type { Engine, EngineOptions, LoadOptions, Model, ModelSource, Progress, RepositorySource } from "selvedge";

/** Props of `EngineProvider`. */
export interface EngineProviderProps {
  /** Options of the engine, read when it is created; a new `key` on the provider creates another. Default: none. */
  readonly options?: EngineOptions | undefined;
  /**
   * An engine of the app's own, which the provider does not close. Models are loaded anew where another one comes: keep
   * it in state. Default: the provider creates one.
   */
  readonly engine?: Engine | Promise<Engine> | undefined;
  /** The components that use it. */
  readonly children?: ReactNode;
}

/** State of a load; `status` narrows `model` and `error`. */
export type ModelState =
  | { readonly status: "idle"; readonly model: null; readonly progress: null; readonly error: null }
  | { readonly status: "loading"; readonly model: null; readonly progress: Progress | null; readonly error: null }
  | { readonly status: "ready"; readonly model: Model; readonly progress: Progress | null; readonly error: null }
  | { readonly status: "failed"; readonly model: null; readonly progress: Progress | null; readonly error: unknown };

/** State of a hook without a source. */
export const IDLE: ModelState = { status: "idle", model: null, progress: null, error: null };
/** State of a load that has begun. */
export const LOADING: ModelState = { ...IDLE, status: "loading" };
/** Time after which a suspended component is rendered again, to see whether it is still there, in ms. */
export const ASK_MS = 2_000;
/** Number of sources of one size in a row, each in one render alone, after which they are taken for an endless loop. */
const MAX_NEW = 20;

/** Source of a load by a hook. */
export type Source = ModelSource | RepositorySource;

/** One load, shared by the components that want the same source with the same options. */
export class Load {
  // `declare`: a field without a value costs bytes.
  declare state: ModelState;
  /** Settles with the load, never rejects. */
  declare settled: Promise<void>;
  /** Those of its users. */
  readonly listeners: Set<() => void> = new Set();
  /** The failed state whose error a render threw, and the one whose error has reached an error boundary. */
  declare thrown?: ModelState;
  declare reported?: ModelState;
  readonly #begin: (options: LoadOptions) => Promise<Model>;
  #stop!: AbortController;

  constructor(begin: (options: LoadOptions) => Promise<Model>) {
    this.#begin = begin;
    this.start();
  }

  /** Loads, or loads again after a failure, which a render may ask for: the listeners hear of it later. */
  start(): void {
    const { signal } = (this.#stop = new AbortController());
    this.state = LOADING;
    const notify = (): void => {
      for (const listener of this.listeners) listener();
    };
    queueMicrotask(notify);
    const set = (change: Partial<ModelState>): void => {
      if (signal.aborted) return;
      this.state = { ...this.state, ...change } as ModelState;
      notify();
    };
    this.settled = this.#begin({
      signal,
      onProgress: (progress) => {
        set({ progress });
      },
    }).then(
      (model) => {
        if (signal.aborted) model.unload();
        set({ status: "ready", model });
      },
      (error: unknown) => {
        set({ status: "failed", error });
      },
    );
  }

  /** Aborts the load, or frees the model. */
  end(): void {
    this.#stop.abort();
    this.state.model?.unload();
  }
}

/** The engine of a provider, and the loads on it. */
export class EngineHost {
  /** Number of times that a suspended component was rendered. */
  asks = 0;
  /** Pending until the provider is mounted: on the server for ever. */
  declare engine: Promise<Engine>;
  /** Loads by their keys. */
  readonly loads: Map<string, Load> = new Map();
  readonly #ids: WeakMap<object, number> = new WeakMap();
  /** Number of sources by size that were new, since the last one that was not. */
  readonly #new: Map<number, number> = new Map();
  #nextId = 0;
  /** Number of times that it was mounted. */
  #mounts = 0;
  #settle: ((engine: Engine | Promise<Engine>) => void) | null = null;

  readonly #props: EngineProviderProps;

  constructor(props: EngineProviderProps) {
    this.#props = props;
    this.#reset();
  }

  /** Returns the key of a load: the same for equal sources and options. */
  keyOf(source: Source, options: LoadOptions): string {
    return JSON.stringify([typeof source === "object" ? this.#nameOf(source) : source, sorted(options)]);
  }

  /** Returns the load under a key, begun where there is none. */
  load(key: string, source: Source, options: LoadOptions): Load {
    let load = this.loads.get(key);
    if (!load) {
      load = new Load(async (more) => {
        const engine = await this.engine;
        return engine.load(source, { ...options, ...more });
      });
      this.loads.set(key, load);
      void this.#expire(key, load);
    }
    return load;
  }

  /** Ends a load that no component uses. */
  drop(key: string, load: Load): void {
    afterAborts(() => {
      if (load.listeners.size || this.loads.get(key) !== load) return;
      this.loads.delete(key);
      load.end();
    });
  }

  /**
   * Ends a load that no component uses once none waits any more. React does not say when it gives a suspended component
   * up, but it renders those that wait whenever their promise settles; and what one boundary holds is mounted when all of
   * it is ready, so any that waits keeps all loads. One that waits for no model (`lazy`, `use`) is not seen: a load that
   * this ends meanwhile begins anew.
   */
  async #expire(key: string, load: Load): Promise<void> {
    for (let seen = -1; seen !== this.asks;) {
      seen = this.asks;
      // Two timers: in a hidden tab those that are due run together, before React renders.
      await after(ASK_MS);
      await after(ASK_MS);
    }
    this.drop(key, load);
  }

  /** Creates the engine. The returned function closes it, unless the provider is mounted again in the same task. */
  mount(): () => void {
    const { engine, options } = this.#props;
    const mount = ++this.#mounts;
    this.#settle?.(engine ?? createEngine(options));
    this.#settle = null;
    return () => {
      afterAborts(() => {
        if (mount !== this.#mounts) return;
        for (const load of this.loads.values()) load.end();
        this.loads.clear();
        if (!engine) this.engine.then((own) => own.close()).catch(() => undefined);
        this.#reset();
      });
    };
  }

  #reset(): void {
    this.engine = new Promise((resolve) => {
      this.#settle = resolve;
    });
    this.engine.catch(() => undefined); // reported by the hooks
  }

  #nameOf(source: Exclude<Source, string>): unknown {
    if (source instanceof URL) return source.href;
    if ("repo" in source) return sorted(source);
    const size = (source as Partial<Blob>).size ?? (source as ArrayBuffer).byteLength;
    const count = this.#ids.has(source) ? 0 : (this.#new.get(size) ?? 0) + 1;
    this.#new.set(size, count);
    const id = this.#ids.get(source) ?? this.#nextId++;
    this.#ids.set(source, id);
    if (count > MAX_NEW) {
      // Later, since React renders once more before it reports an error.
      setTimeout(() => this.#new.delete(size), ASK_MS);
      throw new TypeError("useModel: the source is new at each render. Keep it in state: with suspense, a parent's");
    }
    return id;
  }
}

function sorted(options: object): unknown {
  return Object.entries(options).sort();
}

/**
 * Calls back, for a clean-up, once each `useRun` that is unmounted with it has aborted its runs, in a microtask of its own:
 * those that are queued would else fail with `closed`, and count as failed.
 */
function afterAborts(callback: () => void): void {
  queueMicrotask(() => {
    queueMicrotask(callback);
  });
}

/** Waits, in ms. */
export function after(ms: number): Promise<void> {
  return new Promise((done) => void setTimeout(done, ms));
}
