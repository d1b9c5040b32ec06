// A story's trace as in a bug report: serialised to JSON, parsed with every value validated, and decided again from the
// scheduler's recorded state. The decisions must be equal.
import type { Engine } from "../../engine/engine.ts";
import type { Trace } from "../../observe/trace.ts";
import { repeatDecisions } from "../../replay/repeat-decisions.ts";
import { readTrace } from "../../replay/file.ts";
import type { World } from "./world.ts";

/** The longest trace: a story's busy part is over by then. */
const SECONDS = 600;

/** Imports modules that load on demand, since a story never waits for the real world. */
export async function prepareTraces(): Promise<void> {
  await import("../../observe/recorder.ts");
}

/**
 * Records from `ms` on; returns a function to call after the engine is closed, which returns the first difference or
 * null.
 */
export function traceFrom(world: World, engine: Engine, ms: number): () => Promise<string | null> {
  let tracing: Promise<Trace> | null = null;
  world.at(ms, () => {
    tracing = engine.trace({ seconds: SECONDS });
  });
  return async () => {
    if (tracing === null) return null;
    const { difference } = repeatDecisions(readTrace(JSON.stringify(await tracing)));
    if (difference === null) return null;
    const { index, type, recorded, again } = difference;
    return `event ${index} (${type}) recorded ${recorded}, replayed ${again}`;
  };
}
