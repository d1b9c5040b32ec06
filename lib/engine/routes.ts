// Routes of a request: variant and backend, the chosen one first, then the fallbacks. Lists where a step may run now;
// schedule/ decides which of these lanes it gets.
import type { BackendName } from "../rpc/backend.ts";
import type { Assignment } from "../core/bundle.ts";
import type { ResolvedOptions } from "./resolve-options.ts";
import type { StateStep } from "../pool/lane-options.ts";
import type { Feeds, LoadMessage } from "../rpc/messages.ts";
import type { Attempt } from "./result.ts";
import type { BatchLimits, Route } from "../schedule/events.ts";
import type { Shape } from "../core/batch-shape.ts";
import type { Why } from "../core/reasons.ts";

/** A route of a model before its weights have come: a variant on a backend, its reason, and what loads it. */
export interface ModelRoute {
  readonly backend: BackendName;
  readonly variant: string;
  /** Key of its estimates (`keyOf`). */
  readonly key: string;
  readonly why: Why;
  /** Fetches what is missing: the weights of a fallback that was never needed before. */
  readonly message: () => Promise<LoadMessage>;
  /**
   * Returns the same message where its files are already fetched; else null. With `isHelp` also null where its lanes may
   * not help out with a request of another route.
   */
  readonly here: (isHelp?: boolean) => LoadMessage | null;
  /**
   * Makes it the model's first. Only the route of a smaller variant has it, which is taken where the one before it has no
   * memory for a run.
   */
  readonly promote?: () => void;
  /** By how many ms a server must finish sooner than this device; absent for routes on this device. */
  readonly costMs?: number | undefined;
}

/** Current routes of a model. They change when the model has been measured. */
export interface ModelRoutes {
  /** Its routes: the chosen one first, then the fallbacks. */
  readonly routes: readonly [ModelRoute, ...ModelRoute[]];
  readonly message: LoadMessage;
  readonly assignment: Assignment | null;
  /** Whether the rows of a batch influence each other on any route: by the bundle, else by the graph of the first. */
  readonly mixesRows: boolean | undefined;
}

/** A run to execute. */
export interface Work {
  /** Its routes: the chosen one first, then the fallbacks. */
  readonly routes: readonly ModelRoute[];
  /** The first route's message; its files are already fetched. */
  readonly message: LoadMessage;
  readonly feeds: Feeds;
  /** Its batch shape; null where it runs alone. */
  readonly shape: Shape | null;
  readonly batching: BatchLimits;
  /** Number of lanes that the model may run on at once. */
  readonly concurrency: number;
  readonly options: ResolvedOptions;
  /** The step of a recurrent state; else undefined. */
  readonly state?: StateStep | undefined;
  /** Called when a lane to a server begins its run. */
  readonly onBegun?: (() => void) | undefined;
}

/** Routing state of a step. */
interface Routed {
  readonly work: Work;
  readonly attempts: readonly Attempt[];
  /** Index of its current route. */
  readonly route: number;
  /** The message to load it there. */
  readonly message: LoadMessage;
}

/**
 * Returns where a step may run: on its route, and on the fallbacks whose weights are already fetched. A step that
 * failed once keeps to its route, and so does one of a state, which stays on one lane.
 */
export function routesOf({ work, route, message, attempts }: Routed): [Route, ...Route[]] {
  const { routes, state } = work;
  const found: [Route, ...Route[]] = [routeOf(routes[route] as ModelRoute, message)];
  if (state !== undefined || attempts.length > 0) return found;
  for (let i = route + 1; i < routes.length; i += 1) {
    const other = routes[i] as ModelRoute;
    const here = other.promote === undefined ? other.here(true) : null;
    if (here !== null) found.push(routeOf(other, here));
  }
  return found;
}

function routeOf({ backend, key, costMs }: ModelRoute, { modelId }: LoadMessage): Route {
  return { backend, modelId, key, costMs };
}

/** Returns the message with which a lane loads the model of a step. */
export function messageFor({ work, message }: Routed, { backend, modelId }: Route): LoadMessage {
  if (message.modelId === modelId) return message;
  return work.routes.find((route) => route.backend === backend)?.here() ?? message;
}

/** Returns the key of a model's estimates on a backend. */
export function keyOf(identity: string, variant: string, backend: BackendName): string {
  return `${identity} ${variant} ${backend}`;
}

/** Returns the reason for a fallback from the GPU. */
export function whyFallback(backend: BackendName): Why {
  return { code: "gpu-fallback", text: `${backend}: the GPU was lost or failed` };
}
