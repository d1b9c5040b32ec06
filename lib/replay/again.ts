// The recorded decisions again: every event with its time and the lanes as they were, given to a scheduler that begins
// where the recorded one was. The same must come out, since a bug report is no more than that.
import { write } from "../observe/written.ts";
import { Scheduler } from "../schedule/scheduler.ts";
import type { TraceFile } from "./file.ts";

/** What came of it. */
export interface Again {
  readonly events: number;
  readonly decisions: number;
  /** The first event that was decided otherwise; null where none was. */
  readonly difference: Difference | null;
}

/** An event that was decided otherwise. */
export interface Difference {
  readonly index: number;
  readonly type: string;
  /** When, from the start of the record. */
  readonly atMs: number;
  /** What was decided, and what is decided now, as JSON. */
  readonly recorded: string;
  readonly again: string;
}

/** Decides a trace again, up to the first difference. */
export function decideAgain({ saved, told, startMs }: Pick<TraceFile, "saved" | "told" | "startMs">): Again {
  const scheduler = Scheduler.restore(saved);
  let count = 0;
  for (const [index, { event, now, lanes, decisions }] of told.entries()) {
    const [recorded, again] = [text(decisions), text(scheduler.handle(event, now, lanes))];
    if (recorded !== again) {
      const difference = { index, type: event.type, atMs: now - startMs, recorded, again };
      return { events: index + 1, decisions: count, difference };
    }
    count += decisions.length;
  }
  return { events: told.length, decisions: count, difference: null };
}

function text(decisions: unknown): string {
  return JSON.stringify(write(decisions));
}
