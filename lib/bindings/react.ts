// `selvedge/react`: hooks over one engine of a page. Imports the package by its name, so an alias (`selvedge/wasm`)
// or a mock of it applies here too. The provider's context holds engine and loads, not the module, so a hot update of a
// module leaves no engine behind.
//
// StrictMode and Fast Refresh run every effect's clean-up and the effect again in one task. A load without
// users is therefore released in a microtask: the engine and the loads survive both, and no load starts twice.
import {
  createContext,
  createElement,
  useCallback,
  useContext,
  useEffect,
  useRef,
  useState,
  useSyncExternalStore,
} from "react";
import type { ReactElement, ReactNode } from "react";
import { createEngine } from "selvedge";
import type { Engine, EngineOptions, Inputs, LoadOptions, Model, ModelSource, Progress } from "selvedge";
import type { RunOptions, RunResult } from "selvedge";
import { eitherOf } from "../core/abort.ts";

/** Props of `EngineProvider`. */
export interface EngineProviderProps {
  /** Options of the engine, read when it is created; a new `key` on the provider creates another. Default: none. */
  readonly options?: EngineOptions | undefined;
  /** An engine of the app's own, which the provider does not close. Default: the provider creates one. */
  readonly engine?: Engine | Promise<Engine> | undefined;
  /** The components that use it. */
  readonly children?: ReactNode;
}

/** Options of `useModel`: those of `engine.load`, with abort and progress handled by the hook. */
export interface UseModelOptions extends Omit<LoadOptions, "signal" | "onProgress"> {
  /** Whether the component suspends until the model is ready, and throws the error of a failed load. Default false. */
  readonly suspense?: boolean | undefined;
}

/** State of a load; `status` narrows `model` and `error`. */
export type ModelState =
  | { readonly status: "idle"; readonly model: null; readonly progress: null; readonly error: null }
  | { readonly status: "loading"; readonly model: null; readonly progress: Progress | null; readonly error: null }
  | { readonly status: "ready"; readonly model: Model; readonly progress: Progress | null; readonly error: null }
  | { readonly status: "failed"; readonly model: null; readonly progress: Progress | null; readonly error: unknown };

/** Result of `useModel`. */
export type UseModel = ModelState & {
  /** Loads again after a failure; does nothing otherwise. */
  readonly retry: () => void;
};

/** Options of `useRun`. */
export interface UseRunOptions {
  /** Whether a newer run aborts those before it. Default true. */
  readonly abortPrevious?: boolean | undefined;
}

/** State of the newest run that was started. */
export type RunState =
  | { readonly status: "idle"; readonly result: null; readonly error: null }
  | { readonly status: "running"; readonly result: RunResult | null; readonly error: null }
  | { readonly status: "done"; readonly result: RunResult; readonly error: null }
  | { readonly status: "failed"; readonly result: null; readonly error: unknown };

/** Result of `useRun`; `result` stays that of the last run while the next one is running. */
export type UseRun = RunState & {
  /**
   * Runs the model. Never rejects: resolves to the result, or to null where the run failed (`error` says why), was
   * aborted by a newer run or by unmounting. The same function for as long as the model is the same.
   */
  readonly run: (inputs: Inputs, options?: RunOptions) => Promise<RunResult | null>;
};

const IDLE: ModelState = { status: "idle", model: null, progress: null, error: null };
const LOADING: ModelState = { status: "loading", model: null, progress: null, error: null };
const NO_RUN: RunState = { status: "idle", result: null, error: null };
/** Time that a model is kept for a component that suspended on it and did not mount, in ms. */
const KEPT_MS = 5_000;

/** One load, shared by the components that want the same source with the same options. */
class Load {
  state: ModelState = LOADING;
  /** Settles with the load, never rejects. */
  settled: Promise<void> = Promise.resolve();
  readonly #host: Host;
  readonly #start: (engine: Engine, options: LoadOptions) => Promise<Model>;
  readonly #listeners: Set<() => void> = new Set();
  #stop: AbortController = new AbortController();

  constructor(host: Host, start: (engine: Engine, options: LoadOptions) => Promise<Model>) {
    this.#host = host;
    this.#start = start;
    this.start();
  }

  get isUsed(): boolean {
    return this.#listeners.size > 0;
  }

  start(): void {
    const { signal } = (this.#stop = new AbortController());
    const set = (state: ModelState): void => {
      if (signal.aborted) return;
      this.state = state;
      for (const listener of this.#listeners) listener();
    };
    const onProgress = (progress: Progress): void => {
      if (this.state.status === "loading") set({ ...this.state, progress });
    };
    set(LOADING);
    this.settled = this.#host.engine
      .then((engine) => {
        signal.throwIfAborted();
        return this.#start(engine, { signal, onProgress });
      })
      .then(
        (model) => {
          if (signal.aborted) model.unload();
          set({ status: "ready", model, progress: this.state.progress, error: null });
        },
        (error: unknown) => {
          set({ status: "failed", model: null, progress: this.state.progress, error });
        },
      );
  }

  /** Adds a user; the returned function removes it. */
  use(listener: () => void, onUnused: () => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
      queueMicrotask(onUnused);
    };
  }

  /** Aborts the load, or frees the model. */
  end(): void {
    this.#stop.abort(new DOMException("No component uses the model any more.", "AbortError"));
    this.state.model?.unload();
  }
}

/** The engine of a provider, and the loads on it. */
class Host {
  /** Pending until the provider is mounted: on the server for ever. */
  engine: Promise<Engine>;
  readonly #loads: Map<string, Load> = new Map();
  readonly #ids: WeakMap<object, number> = new WeakMap();
  #nextId = 0;
  #users = 0;
  #settle: ((engine: Promise<Engine>) => void) | null = null;

  constructor() {
    this.engine = this.#pending();
  }

  /** Returns the key of a load: the same for equal sources and options. */
  keyOf(source: ModelSource, { suspense: _, ...options }: UseModelOptions): string {
    const entries = Object.entries(options).sort(([a], [b]) => (a < b ? -1 : 1));
    return JSON.stringify([typeof source === "string" ? source : this.#nameOf(source), entries]);
  }

  /** Returns the load under a key, if there is one. */
  find(key: string): Load | undefined {
    return this.#loads.get(key);
  }

  /** Returns the load under a key, begun where there is none. */
  load(key: string, source: ModelSource, { suspense: _, ...options }: UseModelOptions): Load {
    const load = this.find(key) ?? new Load(this, (engine, more) => engine.load(source, { ...options, ...more }));
    this.#loads.set(key, load);
    return load;
  }

  /** Ends a load that no component uses. */
  drop(key: string, load: Load): void {
    if (load.isUsed || this.find(key) !== load) return;
    this.#loads.delete(key);
    load.end();
  }

  /** Creates the engine. The returned function closes it, unless the provider is mounted again in the same task. */
  mount({ engine, options }: EngineProviderProps): () => void {
    this.#users += 1;
    this.#settle?.(engine === undefined ? createEngine(options) : Promise.resolve(engine));
    this.#settle = null;
    return () => {
      this.#users -= 1;
      queueMicrotask(() => {
        if (this.#users > 0) return;
        for (const load of this.#loads.values()) load.end();
        this.#loads.clear();
        if (engine === undefined) this.engine.then((own) => own.close()).catch(() => undefined);
        this.engine = this.#pending();
      });
    };
  }

  #pending(): Promise<Engine> {
    const engine = new Promise<Engine>((resolve) => {
      this.#settle = resolve;
    });
    engine.catch(() => undefined); // reported by the hooks
    return engine;
  }

  #nameOf(source: Exclude<ModelSource, string>): string | number {
    if (source instanceof URL) return source.href;
    const id = this.#ids.get(source) ?? this.#nextId++;
    this.#ids.set(source, id);
    return id;
  }
}

const HostContext = createContext<Host | null>(null);

function useHost(hook: string): Host {
  const host = useContext(HostContext);
  if (host === null) throw new TypeError(`${hook}: there is no EngineProvider above this component.`);
  return host;
}

/**
 * Provides one engine to the components below it: creates it when mounted in a browser, and closes it when unmounted.
 * Rendered on the server it creates nothing. One per page, near the root: each has workers of its own.
 * @example
 * createRoot(root).render(<EngineProvider options={{ workers: 2 }}><App /></EngineProvider>);
 */
export function EngineProvider(props: EngineProviderProps): ReactElement {
  const [host] = useState(() => new Host());
  // The engine outlives changes of the props.
  // It is created in an effect: none is created on the server, nor by a render that React discards.
  const first = useRef(props);
  useEffect(() => host.mount(first.current), [host]);
  return createElement(HostContext.Provider, { value: host }, props.children);
}

/**
 * Returns the provider's engine; null until it is created, and on the server.
 * @throws the error of `createEngine`, for an error boundary; TypeError without an `EngineProvider`
 */
export function useEngine(): Engine | null {
  const host = useHost("useEngine");
  const [state, setState] = useState<{ readonly engine: Engine } | { readonly error: unknown } | null>(null);
  useEffect(() => {
    let isMounted = true;
    const set = (next: typeof state): void => {
      if (isMounted) setState(next);
    };
    host.engine.then(
      (engine) => {
        set({ engine });
      },
      (error: unknown) => {
        set({ error });
      },
    );
    return () => {
      isMounted = false;
    };
  }, [host]);
  if (state !== null && "error" in state) throw state.error;
  return state?.engine ?? null;
}

/**
 * Loads a model, shared by all components that ask for the same source with the same options: aborted when the last of
 * them unmounts, and unloaded then if it was loaded. Null as the source loads nothing. Functions among the options are
 * those of the component that came first. A URL is compared by its text, bytes and Blobs as objects.
 * @throws TypeError without an `EngineProvider`
 * @example
 * const { model, status, progress, error, retry } = useModel("/models/ocr-rec/bundle.json");
 */
export function useModel(
  source: ModelSource | null,
  options?: UseModelOptions & { readonly suspense?: false | undefined },
): UseModel;
/**
 * The same for a component in a Suspense boundary, which is below the provider: suspends until the model is ready. On
 * the server the boundary's fallback is rendered.
 * @throws the error of the load, for an error boundary; a boundary that renders anew loads anew
 */
export function useModel(
  source: ModelSource,
  options: UseModelOptions & { readonly suspense: true },
): Extract<UseModel, { readonly status: "ready" }>;
export function useModel(source: ModelSource | null, options: UseModelOptions = {}): UseModel {
  const host = useHost("useModel");
  const key = source === null ? null : host.keyOf(source, options);
  const subscribe = useCallback(
    (listener: () => void) => {
      if (source === null || key === null) return () => undefined;
      const load = host.load(key, source, options);
      return load.use(listener, () => {
        host.drop(key, load);
      });
    },
    [host, key],
  );
  const none = key === null ? IDLE : LOADING;
  const state = useSyncExternalStore(
    subscribe,
    () => (key === null ? undefined : host.find(key)?.state) ?? none,
    () => none,
  );
  const retry = useCallback(() => {
    const load = key === null ? undefined : host.find(key);
    if (load?.state.status === "failed") load.start();
  }, [host, key]);
  if (options.suspense === true && source !== null && key !== null)
    return { ...ready(host, key, source, options), retry };
  return { ...state, retry };
}

/** Returns the state of a load that is ready; else throws what React's boundaries catch. */
function ready(host: Host, key: string, source: ModelSource, options: UseModelOptions): ModelState {
  if (typeof document === "undefined") throw new TypeError("useModel: models are loaded in a browser only.");
  const isNew = host.find(key) === undefined;
  const load = host.load(key, source, options);
  const drop = (ms: number): void => {
    setTimeout(() => {
      host.drop(key, load);
    }, ms);
  };
  // A component that is suspended has no effects yet, so one that goes away meanwhile is never heard of.
  if (isNew)
    void load.settled.then(() => {
      drop(KEPT_MS);
    });
  const { state, settled } = load;
  if (state.status === "ready") return state;
  if (state.status !== "failed") throw settled as unknown as Error; // React's protocol of Suspense, in 18 and 19
  drop(0);
  throw state.error;
}

/**
 * Runs a model and keeps the state of the newest run. A run is aborted when a newer one begins (unless `abortPrevious`
 * is false), when the model changes and when the component unmounts.
 * @example
 * const { model } = useModel("/models/double.onnx");
 * const { run, result, status, error } = useRun(model);
 */
export function useRun(model: Model | null, options: UseRunOptions = {}): UseRun {
  const { abortPrevious = true } = options;
  const [state, setState] = useState(NO_RUN);
  const [runs] = useState(() => new Set<AbortController>());
  const newest = useRef<AbortController>(null);
  const isUnmounted = useRef(false);
  useEffect(() => {
    isUnmounted.current = false;
    setState(NO_RUN);
    return () => {
      isUnmounted.current = true;
      abortAll(runs, "The component is unmounted, or its model has changed.");
    };
  }, [model, runs]);
  const run = useCallback<UseRun["run"]>(
    async (inputs, runOptions = {}) => {
      if (isUnmounted.current) return null;
      if (abortPrevious) abortAll(runs, "A newer run has begun.");
      const stop = new AbortController();
      runs.add(stop);
      newest.current = stop;
      const set = (next: RunState): void => {
        if (!stop.signal.aborted && newest.current === stop) setState(next);
      };
      setState(({ result }) => ({ status: "running", result, error: null }));
      try {
        if (model === null) throw new TypeError('useRun: the model is null; run it once its status is "ready".');
        const result = await model.run(inputs, { ...runOptions, signal: eitherOf(runOptions.signal, stop.signal) });
        set({ status: "done", result, error: null });
        return result;
      } catch (error) {
        set({ status: "failed", result: null, error });
        return null;
      } finally {
        runs.delete(stop);
      }
    },
    [model, runs, abortPrevious],
  );
  return { ...state, run };
}

function abortAll(runs: Set<AbortController>, why: string): void {
  for (const run of runs) run.abort(new DOMException(why, "AbortError"));
  runs.clear();
}
