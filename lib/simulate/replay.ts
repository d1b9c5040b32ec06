// A story's trace, as a bug report would have it: written to JSON, read again with every value looked at, and decided
// again from where the scheduler was when the record began. The same decisions must come out.
import type { Engine } from "../engine.ts";
import type { Trace } from "../observe/trace.ts";
import { decideAgain } from "../replay/again.ts";
import { readTrace } from "../replay/file.ts";
import type { World } from "./world.ts";

/** As long as a trace can be: a story's busy part is over then. */
const SECONDS = 600;

/** Fetches what comes on demand, since a story waits for nothing of the real world. */
export async function prepareTraces(): Promise<void> {
  await import("../observe/recorder.ts");
}

/** Records from a time on; gives what to call when the engine is closed, which gives what was decided otherwise, or null. */
export function traceFrom(world: World, engine: Engine, ms: number): () => Promise<string | null> {
  let tracing: Promise<Trace> | null = null;
  world.at(ms, () => {
    tracing = engine.trace({ seconds: SECONDS });
  });
  return async () => {
    if (tracing === null) return null;
    const { difference } = decideAgain(readTrace(JSON.stringify(await tracing)));
    if (difference === null) return null;
    const { index, type, recorded, again } = difference;
    return `event ${index} (${type}) was decided as ${recorded}, and again as ${again}`;
  };
}
