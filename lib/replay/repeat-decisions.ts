// Repeats the recorded decisions: each event, with its time and lanes, goes to a scheduler that starts in the recorded
// state. The decisions must be equal, or the bug report is worthless.
import { write } from "../observe/trace-json.ts";
import { Scheduler } from "../schedule/scheduler.ts";
import type { TraceFile } from "./file.ts";

/** Result of repeating the decisions. */
export interface RepeatResult {
  readonly events: number;
  readonly decisions: number;
  /** The first event with a different decision; null without one. */
  readonly difference: Difference | null;
}

/** An event with a different decision. */
export interface Difference {
  readonly index: number;
  readonly type: string;
  /** Time from the start of the record. */
  readonly atMs: number;
  /** The recorded decisions and the new ones, as JSON. */
  readonly recorded: string;
  readonly again: string;
}

/** Repeats a trace's decisions up to the first difference. */
export function repeatDecisions({ saved, told, startMs }: Pick<TraceFile, "saved" | "told" | "startMs">): RepeatResult {
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
