// Load of a model that servers may answer for. A server's model is used once it has answered the bundle's golden as one
// of the bundle's variants does, or where the app vouches for it: answers of two models never mix. With `auto` the load
// resolves as soon as either side can answer. The other one goes on in the background, and this device takes over when
// it is ready. Imported when a model is loaded.
import type { BackendDecision } from "./backend-chooser.ts";
import type { Plan, RemoteCandidate } from "../cache/messages.ts";
import { inTime, untilAborted } from "../core/abort.ts";
import type { Candidate } from "../core/choose-variant.ts";
import { isServer } from "../core/device.ts";
import type { Placement } from "../core/device.ts";
import { codeOf, isSelvedgeError, SelvedgeError } from "../core/errors.ts";
import { isOnline } from "../effects/online.ts";
import type { Why } from "../core/reasons.ts";
import type { Hedging } from "./hedging.ts";
import type { LoadHost } from "./load-plan.ts";
import type { Loader, Servers } from "./loader.ts";
import type { Model } from "./model.ts";
import type { CascadeOptions, RemoteEngineOptions } from "./options.ts";
import { RemoteCheck } from "./remote-check.ts";
import { failuresIn } from "./remote-lane.ts";
import type { LoadParts, Wanted } from "./remote-lanes.ts";
import { keyOf } from "./routes.ts";
import type { ModelRoute, ModelRoutes } from "./routes.ts";
import type { Lane } from "../pool/lane.ts";
import type { LoadMessage } from "../rpc/messages.ts";

/** Wait before a server, or this device, is tried again in the background: doubled each time, in ms. */
export const AGAIN_MIN_MS = 5_000;
const AGAIN_MAX_MS = 300_000;
/** How long a load that is done waits for the description of its cascade's model, in ms. */
const CASCADE_MS = 2_000;
/** How much sooner a server must answer than this device to be asked, in ms. */
const COST_MS = 100;

/** How a model runs on this device. */
interface Local {
  readonly routes: ModelRoutes;
  readonly decision: BackendDecision;
}

/** Loads one model. */
export class RemoteLoad {
  readonly #host: LoadHost;
  readonly #options: RemoteEngineOptions;
  readonly #wanted: Wanted;
  readonly #parts: LoadParts;
  readonly #placement: Placement;
  readonly #loader: Loader;
  readonly #candidate: RemoteCandidate;
  readonly #check: RemoteCheck;
  /** Key of the estimates of its servers. */
  readonly #key: string;
  /** Ends what goes on in the background: with the load, the model and the engine. */
  readonly #stop: AbortController;
  #connecting: Promise<LoadMessage> | null = null;
  /** The message of a model that a server was found to have; null before. */
  #message: LoadMessage | null = null;
  /** The latest load on this device; null where it is not tried. */
  #local: Promise<Local> | null = null;
  #isLocal = false;

  constructor(
    host: LoadHost,
    options: RemoteEngineOptions,
    wanted: Wanted,
    parts: LoadParts,
    loader: Loader,
    candidate: RemoteCandidate,
    stop: AbortController,
    hedging: Hedging | null,
  ) {
    this.#stop = stop;
    this.#host = host;
    this.#options = options;
    this.#wanted = wanted;
    this.#parts = parts;
    this.#placement = wanted.options.placement ?? host.placement;
    this.#loader = loader;
    this.#candidate = candidate;
    const { identity, name } = loader.plan;
    this.#key = keyOf(identity, candidate.variant.id, candidate.backend);
    const { model = name, version, verified = false } = options.models?.[name] ?? {};
    const lanes = (): Lane[] => host.executor.pool.usual("remote");
    const isHeld = (endpoint?: string | null): boolean => {
      const modelId = loader.idOf(candidate);
      return lanes().some((x) => x.endpoint === (endpoint ?? x.endpoint) && x.held.get(modelId)?.isReady === true);
    };
    const failuresOf = (endpoint: string | null): number =>
      lanes().reduce((sum, lane) => sum + (lane.endpoint === endpoint ? failuresIn(lane) : 0), 0);
    const onMeasured = (ms: number, endpoint: string | null): void => {
      host.executor.dispatcher.measured(this.#key, ms, endpoint);
    };
    const { now } = host.effects;
    this.#check = new RemoteCheck(loader, candidate, verified, isHeld, failuresOf, onMeasured, now);
    loader.servers = {
      routes: [],
      message: { remote: { model, identity, version, mixesRows: candidate.variant.mixesRows }, check: this.#check },
      place: (current, placement) => this.#place(current, placement),
      run: hedging?.run.bind(hedging),
      end: (error) => {
        stop.abort(error);
      },
    };
  }

  /** Loads on whatever can answer. @throws as `engine.load` */
  load(): Promise<Model> {
    const { plan } = this.#loader;
    return plan.candidates.length === 0 ? this.#onServer(plan) : this.#onEither(plan);
  }

  async #onServer({ remote }: Plan): Promise<Model> {
    await this.connect();
    const code = this.#placement === "remote" ? "remote-only" : "local-failed";
    return this.#modelOf([this.routeOf(whyRemote(code, remote?.why ?? ""))]);
  }

  async #onEither({ candidates }: Plan): Promise<Model> {
    (this.#loader.servers as Servers).routes = [this.routeOf(whyRemote("remote-helps"))];
    const local = this.#loadHere();
    const server = this.connect();
    server.catch(() => {
      void again(this.#host, this.#stop.signal, () => this.connect());
    });
    const isLocal = await Promise.any([local.then(() => true), server.then(() => false)]).catch(() => true);
    if (isLocal) {
      const { routes, decision } = await local;
      return this.#make(routes, decision);
    }
    const coming = this.routeOf(whyRemote("weights-coming"));
    const model = this.#modelOf([coming, this.#pending(candidates[0] as Candidate, local)]);
    local.then(
      (loaded) => {
        this.#takeOver(loaded);
      },
      (error: unknown) => {
        this.#stay(error);
      },
    );
    return model;
  }

  /** Moves the model to this device. */
  #takeOver({ routes, decision }: Local): void {
    this.#loader.onRoutes?.(routes, decision);
  }

  /** Leaves the model on the servers, since it could not be loaded here, and tries that again where it may pass. */
  #stay(error: unknown): void {
    if (codeOf(error) === "closed" || this.#message === null) return;
    const why = whyRemote("local-failed", error instanceof Error ? error.message : String(error));
    this.#loader.onRoutes?.(this.#routesOf(this.#message, [this.routeOf(why)]));
    if (!mayPass(error)) return;
    void again(this.#host, this.#stop.signal, async () => {
      try {
        this.#takeOver(await this.#loadHere());
      } catch (next) {
        if (mayPass(next)) throw next;
        this.#stay(next);
      }
    });
  }

  /** Loads the model on this device: where memory runs out, a smaller variant, as long as there is one. */
  #loadHere(): Promise<Local> {
    const loading = this.#loadFitting();
    this.#local = loading;
    loading.then(
      () => (this.#isLocal = true),
      () => undefined,
    );
    return loading;
  }

  async #loadFitting(): Promise<Local> {
    const { chooser, opener } = this.#host;
    const { from, options } = this.#wanted;
    const loader = this.#loader;
    const { plan, signal } = loader;
    const load = async (next: Plan): Promise<Local> => {
      if (next.candidates.length === 0) throw new SelvedgeError("does-not-fit", next.remote?.why ?? "");
      loader.replan(next);
      const decision = await chooser.choose(loader);
      const { choice } = decision;
      return {
        routes: await loader.routesOf(next.spared === null ? choice : { ...choice, why: next.spared }),
        decision,
      };
    };
    try {
      return await load(plan);
    } catch (first) {
      if (!isSelvedgeError(first) || first.code !== "out-of-memory") throw first;
      const { loadOther } = await import("./load-other.ts");
      const own = { ...options, identity: plan.identity }; // a server's model is of this version
      const download = { signal, onProgress: undefined };
      return await loadOther({ opener, plan, from, options: own, download, load }, first).catch((last: unknown) => {
        throw codeOf(last) === "does-not-fit" ? first : last;
      });
    }
  }

  /** Finds a server that has the model. */
  connect(): Promise<LoadMessage> {
    if (this.#connecting !== null) return this.#connecting;
    const connecting = this.#ask();
    this.#connecting = connecting;
    connecting.then(
      (message) => (this.#message = message),
      () => (this.#connecting = null),
    );
    return connecting;
  }

  /** Asks a lane of each server for the model. Resolves with the first that has it. */
  async #ask(): Promise<LoadMessage> {
    const lanes = this.#host.executor.pool.usual("remote");
    const firsts = lanes.filter((lane, i) => lanes.findIndex(({ endpoint }) => endpoint === lane.endpoint) === i);
    const asked = firsts.map((lane) => this.#loader.on(this.#candidate, lane));
    try {
      return (await Promise.any(asked)).message;
    } catch (error) {
      throw error instanceof AggregateError ? error.errors[0] : error;
    }
  }

  /** Returns the routes that a request's own placement allows. */
  async #place(current: ModelRoutes, placement: Placement): Promise<ModelRoutes> {
    const own = this.#placement;
    if (own === placement) return current;
    if (own !== "auto")
      throw new TypeError(`placement: "${placement}" for a model that was loaded with "${own}"; load it with "auto"`);
    if (placement === "remote") {
      return this.#routesOf(await this.connect(), [this.routeOf(whyRemote("remote-only"))]);
    }
    const { routes } = current;
    const local = isServer(routes[0]) ? (await this.#here()).routes : current;
    const [first, ...others] = local.routes.filter((x) => !isServer(x));
    return { ...local, routes: [first as ModelRoute, ...others] };
  }

  /** Returns how the model runs here. @throws the error of the last load, SelvedgeError `no-backend` where there is none */
  #here(): Promise<Local> {
    const { name, remote } = this.#loader.plan;
    if (this.#local !== null) return this.#local;
    const text = `${name} runs on servers alone here: ${remote?.why ?? ""}`;
    return Promise.reject(new SelvedgeError("no-backend", text, { model: name, reason: "pinned" }));
  }

  /** Returns the route to servers, with a reason. */
  routeOf(why: Why): ModelRoute {
    const { effects } = this.#host;
    const check = this.#check;
    return {
      ...{ backend: "remote", key: this.#key, why, costMs: this.#options.costMs ?? COST_MS },
      get variant() {
        return check.variant;
      },
      message: () => this.connect(),
      here: (isHelp = false) =>
        isHelp && (!(effects.isOnline ?? isOnline)() || effects.savesData()) ? null : this.#message,
    };
  }

  /**
   * Returns the route of this device while the model is still loading there: a step waits where servers fail, and is sent
   * to them again where the load fails.
   */
  #pending({ backend, variant }: Candidate, local: Promise<Local>): ModelRoute {
    let first: ModelRoute | null = null;
    const found = local.then(
      ({ routes }) => {
        first = routes.routes[0];
        return routes.message;
      },
      (error: unknown) => {
        first = this.routeOf(whyRemote("local-failed", error instanceof Error ? error.message : String(error)));
        return this.connect();
      },
    );
    found.catch(() => undefined); // awaited by the steps
    const route: ModelRoute = {
      get backend() {
        return first?.backend ?? backend;
      },
      get variant() {
        return first?.variant ?? variant.id;
      },
      get key() {
        return first?.key ?? "";
      },
      get why() {
        return first?.why ?? whyRemote("weights-coming");
      },
      get costMs() {
        return first?.costMs;
      },
      message: () => found,
      here: () => null,
    };
    return route;
  }

  #routesOf(message: LoadMessage, routes: ModelRoutes["routes"]): ModelRoutes {
    return { routes, message, assignment: null, mixesRows: this.#candidate.variant.mixesRows };
  }

  #modelOf(routes: ModelRoutes["routes"]): Model {
    const [{ why }] = routes;
    const choice = { ...this.#candidate, why };
    const decision = { choice, measure: null, measuring: null };
    return this.#make(this.#routesOf(this.#message as LoadMessage, routes), decision);
  }

  #make(routes: ModelRoutes, decision: BackendDecision): Model {
    const model = new this.#parts.Model(this.#host, this.#loader, this.#wanted.options, routes, decision, null);
    this.#host.models.add(model);
    return model;
  }
}

function mayPass(error: unknown): boolean {
  return isSelvedgeError(error) && error.retryable;
}

/** Repeats work after a growing wait until it succeeds, or can't. */
export async function again(
  { effects }: Pick<LoadHost, "effects">,
  signal: AbortSignal,
  work: () => Promise<unknown>,
): Promise<void> {
  for (let ms = AGAIN_MIN_MS; !signal.aborted; ms = Math.min(2 * ms, AGAIN_MAX_MS)) {
    let cancel = (): void => undefined;
    const wait = new Promise<void>((resolve) => {
      cancel = effects.setTimer(resolve, ms);
    });
    try {
      await untilAborted(wait, signal).finally(cancel);
      await work();
      return;
    } catch (error) {
      if (!isSelvedgeError(error) || error.code === "closed") return;
    }
  }
}

/** Returns the reason for a server; `cause` is why this device can't run the model. */
export function whyRemote(
  code: "remote-only" | "remote-helps" | "weights-coming" | "local-failed",
  cause: string = "",
): Why {
  const text = {
    "remote-only": 'placement is "remote"',
    "remote-helps": "a server answers what this device can't, or not as soon",
    "weights-coming": "this device is still loading the model",
    "local-failed": `this device can't run the model (${cause})`,
  }[code];
  return { code, text: `remote: ${text}` };
}

/** A load whose model may have a cascade. */
export interface CascadeHost {
  readonly host: LoadHost;
  readonly options: RemoteEngineOptions;
  readonly parts: LoadParts;
  readonly loader: Loader;
  /** Ends with the model. */
  readonly signal: AbortSignal;
}

/** Additions to the requests of a model; null where no option asks for them. */
export interface Additions {
  readonly hedging: Hedging | null;
  /** Adds a larger model on servers. Resolves once that is checked, or can't be yet; rejects where it does not suit. */
  readonly cascade: ((small: CascadeHost, cascade: CascadeOptions) => Promise<unknown>) | null;
}

/** Opens a model, and loads it on whatever can answer. @throws as `engine.load` */
export async function loadRemote(
  host: LoadHost,
  options: RemoteEngineOptions,
  wanted: Wanted,
  parts: LoadParts,
  { hedging, cascade }: Additions = { hedging: null, cascade: null },
): Promise<Model> {
  const { from, options: own, download } = wanted;
  const { signal } = download;
  const plan = await host.opener.open(from, own, download);
  const candidate = plan.remote ?? null;
  if (candidate === null) return parts.loadHere(plan);
  // Work in the background after the load ends with the model and the engine, not with the load's signal.
  const stop = new AbortController();
  const abort = ({ target }: Event): void => {
    stop.abort((target as AbortSignal).reason);
  };
  signal.addEventListener("abort", abort);
  host.closed.addEventListener("abort", abort, { signal: stop.signal });
  let model: Model | null = null;
  const loader = new parts.Loader(host, plan, from, own, { ...download, signal: stop.signal });
  try {
    const load = new RemoteLoad(host, options, wanted, parts, loader, candidate, stop, hedging);
    const larger = own.placement === "auto" ? options.models?.[plan.name]?.cascade : undefined;
    const checked = larger && cascade?.({ host, options, parts, loader, signal: stop.signal }, larger);
    checked?.catch(() => undefined); // awaited below
    model = await load.load();
    if (checked !== undefined) await inTime(checked, CASCADE_MS, host.effects.setTimer);
    signal.throwIfAborted();
    return model;
  } catch (error) {
    if (model === null) loader.end(new SelvedgeError("closed", "The load failed."));
    else model.unload();
    throw error;
  } finally {
    signal.removeEventListener("abort", abort);
  }
}
