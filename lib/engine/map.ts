// Many inputs through one model: the check of the source. The iteration itself is imported with the first map, since
// most pages never use one.
import { show } from "../core/check-inputs.ts";
import type { Inputs } from "./inputs.ts";
import type { AskOptions, MapOptions } from "./options.ts";
import type { RunResult } from "./result.ts";

/** The answer to one input of a map. */
export interface MapResult extends RunResult {
  /** Index of its input, counted from 0. */
  readonly index: number;
}

/** An input of a map that failed, where `errors` is `"yield"`. */
export interface MapFailure {
  /** Index of the failed input, counted from 0. */
  readonly index: number;
  /** Reason with which its run was rejected. */
  readonly error: unknown;
}

/** Collaborators of a map. */
export interface MapParts {
  readonly run: (inputs: Inputs, options: AskOptions) => Promise<RunResult>;
  /** Minimum number of inputs in flight, and the maximum where they are small. */
  readonly atLeast: number;
  readonly atMost: number;
  /** Resolves in a later macrotask, so that timers and input events run in between. Default: no pauses. */
  readonly pause?: () => Promise<void>;
}

/**
 * Runs a model over a source. An error of the source comes after the answers to the inputs before it; `closed` ends the
 * iteration whatever `errors` says, since every later input would fail too.
 * @throws TypeError for a source that can't be iterated
 */
export function mapRuns(
  parts: MapParts,
  source: Iterable<Inputs> | AsyncIterable<Inputs>,
  options: MapOptions,
): AsyncGenerator<MapResult | MapFailure, void, undefined> {
  const given = source as unknown;
  const can = (key: symbol): boolean => typeof Reflect.get(given as object, key) === "function";
  if (Object(given) !== given || !(can(Symbol.asyncIterator) || can(Symbol.iterator)))
    throw new TypeError(`map: expected an (async) iterable of inputs, got ${show(given)}`);
  return imported(parts, source, options);
}

async function* imported(
  parts: MapParts,
  source: Iterable<Inputs> | AsyncIterable<Inputs>,
  options: MapOptions,
): AsyncGenerator<MapResult | MapFailure, void, undefined> {
  const { answersOf } = await import("./map-answers.ts");
  yield* answersOf(parts, source, options);
}
