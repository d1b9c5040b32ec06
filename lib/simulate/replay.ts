// A story's scheduler, told again: every event that it got, with its time and the lanes as they were then, given to a
// new scheduler in the same order. The same decisions must come out, since a bug report is no more than that.
import { Estimate } from "../schedule/estimate.ts";
import type { Decision, Event, LaneView } from "../schedule/protocol.ts";
import { Scheduler } from "../schedule/scheduler.ts";
import type { Settings } from "../schedule/scheduler.ts";

interface Entry {
  readonly event: Event;
  readonly now: number;
  readonly lanes: readonly LaneView[];
  readonly decisions: string;
}

/** What schedulers were told, and what they decided, from `begin` to `end`. */
export class Recording {
  readonly #entries: Entry[] = [];
  readonly #handle: Scheduler["handle"];

  private constructor(handle: Scheduler["handle"]) {
    this.#handle = handle;
  }

  /** Begins to take down what every scheduler is told; one recording at a time. */
  static begin(): Recording {
    const handle = Object.getOwnPropertyDescriptor(Scheduler.prototype, "handle")?.value as Scheduler["handle"];
    const recording = new Recording(handle);
    Scheduler.prototype.handle = function (event, now, lanes): Decision[] {
      const before = { event: structuredClone(event), now, lanes: copyOf(lanes) };
      const decisions = handle.call(this, event, now, lanes);
      recording.#entries.push({ ...before, decisions: JSON.stringify(decisions) });
      return decisions;
    };
    return recording;
  }

  /** Ends it. */
  end(): void {
    Scheduler.prototype.handle = this.#handle;
  }

  /** Tells it again to a new scheduler; gives the first event that was decided otherwise, or null. */
  differs(settings: Settings): string | null {
    const scheduler = new Scheduler(settings, new Estimate());
    for (const [i, { event, now, lanes, decisions }] of this.#entries.entries()) {
      const again = JSON.stringify(this.#handle.call(scheduler, event, now, lanes));
      if (again !== decisions) return `event ${i} (${event.type}) was decided as ${decisions}, and again as ${again}`;
    }
    return null;
  }
}

/** Copies what the scheduler sees of lanes, which change. */
function copyOf(lanes: readonly LaneView[]): LaneView[] {
  return lanes.map(({ id, backend, isExpress, isOpen, held }) => ({
    id,
    backend,
    isExpress,
    isOpen,
    held: new Map([...held].map(([modelId, { states }]) => [modelId, { states: new Map(states) }])),
  }));
}
