// The ways in which a request may be executed: which variant on which backend, the chosen one first, then those to go down
// to. Says where a step may run now; which of these lanes it gets is for schedule/ to decide.
import type { BackendName } from "../rpc/backend.ts";
import type { Assignment } from "../core/bundle.ts";
import type { AskOptions } from "./options.ts";
import type { StateStep } from "../pool/lane-options.ts";
import type { Feeds, LoadMessage } from "../rpc/messages.ts";
import type { Attempt } from "./result.ts";
import type { Batching, Place } from "../schedule/events.ts";
import type { Shape } from "../core/batch-shape.ts";
import type { Why } from "../core/reasons.ts";

/** A way to execute a model: a variant on a backend. */
export interface Route {
  readonly backend: BackendName;
  readonly variant: string;
  /** Names it for what is learnt of it (`keyOf`). */
  readonly key: string;
  readonly why: Why;
  /** Fetches what is not here yet: the weights of a fallback that was never needed before. */
  readonly message: () => Promise<LoadMessage>;
  /** Gives the same where all of it is here already; else null. */
  readonly here: () => LoadMessage | null;
}

/** Where a model runs now. Changes when it has been measured. */
export interface Placed {
  /** The ways to run it: the chosen one first, then those to go down to. */
  readonly routes: readonly [Route, ...Route[]];
  readonly message: LoadMessage;
  readonly assignment: Assignment | null;
}

/** What is to be executed. */
export interface Work {
  /** The ways to do it, the chosen one first, then those to go down to. */
  readonly routes: readonly Route[];
  /** The first route's message, which is here already. */
  readonly message: LoadMessage;
  readonly feeds: Feeds;
  /** What it can run together with; null where it runs alone. */
  readonly shape: Shape | null;
  readonly batching: Batching;
  /** On how many lanes the model may run at once. */
  readonly concurrency: number;
  /** How it is to be scheduled, and when it is no longer wanted. */
  readonly options: AskOptions;
  /** When it was asked for: deadlines count from here. */
  readonly calledMs: number;
  /** Whose it is: callers of one priority get equal time. */
  readonly caller: number;
  /** Present where this is a step of a recurrent state. */
  readonly state?: StateStep | undefined;
}

/** What is known of a step's ways. */
interface Routed {
  readonly work: Work;
  readonly attempts: readonly Attempt[];
  /** Which of its ways it is on. */
  readonly route: number;
  /** What a lane loads there. */
  readonly message: LoadMessage;
}

/**
 * Gives where a step may run: on its route, and on those to go down to whose weights are here. One that failed once
 * keeps to its route, and so does one of a state, which lies on one lane.
 */
export function placesOf({ work, route, message, attempts }: Routed): [Place, ...Place[]] {
  const { routes, state } = work;
  const places: [Place, ...Place[]] = [placeOf(routes[route] as Route, message)];
  if (state !== undefined || attempts.length > 0) return places;
  for (let i = route + 1; i < routes.length; i += 1) {
    const other = routes[i] as Route;
    const here = other.here();
    if (here !== null) places.push(placeOf(other, here));
  }
  return places;
}

function placeOf({ backend, key }: Route, { modelId }: LoadMessage): Place {
  return { backend, modelId, key };
}

/** Gives what a lane loads to run a step there. */
export function messageFor({ work, message }: Routed, { backend, modelId }: Place): LoadMessage {
  if (message.modelId === modelId) return message;
  return work.routes.find((route) => route.backend === backend)?.here() ?? message;
}

/** Names a model on a backend for what is learnt of it. */
export function keyOf(identity: string, variant: string, backend: BackendName): string {
  return `${identity} ${variant} ${backend}`;
}
