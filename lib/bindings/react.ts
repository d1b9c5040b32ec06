// `selvedge/react`: hooks over one engine of a page. Imports the package by its name, so an alias (`selvedge/wasm`)
// or a mock of it applies here too. The provider's context holds engine and loads, not the module, so a hot update of a
// module leaves no engine behind.
import {
  createContext,
  createElement,
  useCallback,
  useContext,
  useEffect,
  useMemo,
  useState,
  useSyncExternalStore,
} from "react";
import type { ReactElement } from "react";
import type {
  Engine,
  Inputs,
  LoadOptions,
  Model,
  ModelSource,
  RepositorySource,
  RunOptions,
  RunResult,
} from "selvedge";
import { eitherOf } from "../core/abort.ts";
import { after, ASK_MS, EngineHost, IDLE, LOADING } from "./react-host.ts";
import type { EngineProviderProps, ModelState, Source } from "./react-host.ts";

export type { EngineProviderProps, ModelState };

/** Options of `useModel`: those of `engine.load`, with abort and progress handled by the hook. */
export interface UseModelOptions extends Omit<LoadOptions, "signal" | "onProgress"> {
  /** Whether the component suspends until the model is ready, and throws the error of a failed load. Default false. */
  readonly suspense?: boolean | undefined;
}

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

const NO_RUN: RunState = { status: "idle", result: null, error: null };

/** The runs of one `useRun`. */
interface Runs {
  /** Those that have not ended, with the model that the hook had when they began. */
  readonly started: Map<AbortController, Model | null>;
  newest?: AbortController;
  /** Whether the hook's effects are cleaned up: also between the two that StrictMode and a hot update run. */
  isAway: boolean;
}

/** State of a run, and the model that it was started on. */
type OfModel = RunState & { readonly of?: Model | null };

const HostContext = createContext<EngineHost | null>(null);

function useHost(hook: string): EngineHost {
  const host = useContext(HostContext);
  if (!host) throw new TypeError(`${hook}: no EngineProvider is above it.`);
  return host;
}

/**
 * Provides one engine to the components below it: creates it when mounted in a browser, and closes it when unmounted.
 * Rendered on the server it creates nothing. One per page, near the root: each has workers of its own.
 * @throws TypeError with React 17 and older
 * @example
 * createRoot(root).render(<EngineProvider options={{ workers: 2 }}><App /></EngineProvider>);
 */
export function EngineProvider(props: EngineProviderProps): ReactElement {
  // npm installs the package beside any React, of which 17 lacks the hook.
  if (!useSyncExternalStore) throw new TypeError("EngineProvider needs React 18");
  // The engine outlives changes of the other props.
  const host = useMemo(() => new EngineHost(props), [props.engine]);
  // It is created in an effect: none is created on the server, nor by a render that React discards.
  useEffect(() => host.mount(), [host]);
  return createElement(HostContext.Provider, { value: host }, props.children);
}

/**
 * Returns the provider's engine; null until it is created, and on the server.
 * @throws the error of `createEngine`, for an error boundary; TypeError without an `EngineProvider`
 */
export function useEngine(): Engine | null {
  const host = useHost("useEngine");
  const [state, setState] = useState<{ readonly of: EngineHost; readonly read: () => Engine } | null>(null);
  useEffect(() => {
    let set: typeof setState | null = setState;
    void host.engine
      .then(
        (engine) => () => engine,
        (error: unknown) => () => {
          throw error;
        },
      )
      .then((read) => set?.({ of: host, read }));
    return () => {
      set = null;
    };
  }, [host]);
  // That of an engine that was replaced is of no use: it may be closed.
  return state?.of === host ? state.read() : null;
}

/**
 * Loads a model for a component in a Suspense boundary, which is below the provider: suspends until the model is ready.
 * On the server the boundary's fallback is rendered.
 * @throws the error of the load, for an error boundary; a boundary that renders anew loads anew
 */
export function useModel(
  source: ModelSource | RepositorySource,
  options: UseModelOptions & { readonly suspense: true },
): Extract<UseModel, { readonly status: "ready" }>;
/**
 * Loads a model, shared by all components that ask for the same source with the same options: aborted when the last of
 * them unmounts, and unloaded then if it was loaded. Null as the source loads nothing. Functions among the options are
 * those of the component that came first. A URL and a repository are compared by what they say, bytes and Blobs as
 * objects: keep them in state.
 * @throws TypeError without an `EngineProvider`, and where bytes or a Blob are a new object at each render
 * @example
 * const { model, status, progress, error, retry } = useModel("/models/ocr-rec/bundle.json");
 */
export function useModel(source: ModelSource | RepositorySource | null, options?: UseModelOptions): UseModel;
export function useModel(source: Source | null, { suspense = false, ...options }: UseModelOptions = {}): UseModel {
  const host = useHost("useModel");
  const key = source === null ? "" : host.keyOf(source, options);
  const subscribe = useCallback(
    (listener: () => void) => {
      if (source === null) return () => undefined;
      const load = host.load(key, source, options);
      load.listeners.add(listener);
      return () => {
        load.listeners.delete(listener);
        host.drop(key, load);
      };
    },
    [host, key],
  );
  const none = source === null ? IDLE : LOADING;
  // Without a load the snapshot is a value of its own for each key: React drops the effects of a render whose snapshot
  // is that of the one before, and the load of another source would never begin.
  const seen = useSyncExternalStore<ModelState | typeof subscribe>(
    subscribe,
    () => host.loads.get(key)?.state ?? subscribe,
    () => none,
  );
  const state = seen === subscribe ? none : (seen as ModelState);
  const retry = useCallback(() => {
    const load = host.loads.get(key);
    if (load?.state.status === "failed") load.start();
  }, [host, key]);
  return { ...(suspense && source !== null ? ready(host, key, source, options) : state), retry };
}

/** Returns the state of a load that is ready; else throws what React's boundaries catch. */
function ready(host: EngineHost, key: string, source: Source, options: LoadOptions): ModelState {
  // The digest has Next.js prerender the fallback of the boundary; without it, its build ends.
  if (typeof document === "undefined")
    throw Object.assign(new TypeError("useModel: in browsers only"), {
      digest: "BAILOUT_TO_CLIENT_SIDE_RENDERING",
    });
  const load = host.load(key, source, options);
  // An error boundary renders anew, and a component beside has kept the load.
  if (load.reported === load.state) load.start();
  const { state, settled } = load;
  if (state.status === "ready") return state;
  host.asks++;
  // A promise that is thrown: React's protocol of Suspense, in 18 and 19.
  if (state.status !== "failed") throw Promise.race([settled, after(ASK_MS)]) as unknown as Error;
  // React renders once more, in this task or a later one, before it reports an error.
  if (load.thrown === state)
    void after(0).then(() => {
      // It may have been retried meanwhile.
      if (load.state !== state) return;
      load.reported = state;
      host.drop(key, load);
    });
  load.thrown = state;
  throw state.error;
}

/**
 * Runs a model and keeps the state of the newest run. A run is aborted when a newer one begins (unless `abortPrevious`
 * is false), when the model changes and when the component unmounts.
 * @example
 * const { model } = useModel("/models/double.onnx");
 * const { run, result, status, error } = useRun(model);
 * // A wrong input too is reported here alone, since `run` never rejects.
 * if (status === "failed") return <p role="alert">{String(error)}</p>;
 */
export function useRun(model: Model | null, options?: UseRunOptions): UseRun;
export function useRun(model: Model | null, { abortPrevious = true }: UseRunOptions = {}): UseRun {
  const [{ of, ...state }, setState] = useState<OfModel>(NO_RUN);
  const [own] = useState<Runs>(() => ({ started: new Map(), isAway: false }));
  // Effects of children, and layout effects, run before this one: what they started on this model goes on.
  useEffect(() => {
    own.isAway = false;
    abortRuns(own, model);
    setState((last) => (last.of === model ? last : NO_RUN));
    return () => {
      own.isAway = true;
      queueMicrotask(() => {
        if (!own.isAway) return;
        abortRuns(own);
        setState(NO_RUN);
      });
    };
  }, [model, own]);
  const run = useCallback<UseRun["run"]>(
    async (inputs, runOptions = {}) => {
      // React may be about to show the component again: then the effect above comes after its children's.
      if (own.isAway) await after(0);
      if (own.isAway) return null;
      if (abortPrevious) abortRuns(own);
      const stop = (own.newest = new AbortController());
      own.started.set(stop, model);
      const set = (change: Partial<RunState>): void => {
        if (!stop.signal.aborted && own.newest === stop)
          setState((last) => ({ ...(last.of === model ? last : NO_RUN), ...change, of: model }) as OfModel);
      };
      set({ status: "running", error: null });
      try {
        if (model === null) throw new TypeError('useRun: the model is null; wait for "ready"');
        const result = await model.run(inputs, { ...runOptions, signal: eitherOf(runOptions.signal, stop.signal) });
        set({ status: "done", result });
        return result;
      } catch (error) {
        set({ status: "failed", result: null, error });
        return null;
      } finally {
        own.started.delete(stop);
      }
    },
    [model, own, abortPrevious],
  );
  // A model that replaces another one has no runs yet, though the effect above comes after this render.
  return { ...(of === model ? state : NO_RUN), run };
}

/** Aborts the runs of other models; without one, all. */
function abortRuns({ started }: Runs, model?: Model | null): void {
  for (const [stop, its] of started) if (its !== model) stop.abort();
}
