// Faults of the scheduler: lib/schedule.
import type { Mutant } from "./mutant.ts";

const ADMISSION = "lib/schedule/admission.test.ts";
const ESTIMATE = "lib/schedule/estimate.test.ts";
const FAULTS = "lib/schedule/faults.test.ts";

/** The mutants of this area. */
export const MUTANTS: readonly Mutant[] = [
  {
    fault: "core-A1",
    breaks: "a model that takes longer than a second counts as not run of late after a second",
    file: "lib/schedule/lanes.ts",
    from: "Math.max(STALE_MIN_MS, STALE_TIMES * soonest)",
    to: "STALE_MIN_MS",
    test: ADMISSION,
  },
  {
    fault: "core-A2",
    breaks: "a place that never ran counts as if it took no time",
    file: "lib/schedule/lanes.ts",
    from: "this.#estimate.ms(key, rows) ?? Infinity",
    to: "this.#estimate.ms(key, rows) ?? 0",
    test: ADMISSION,
  },
  {
    fault: "core-A2",
    breaks: "lanes on which a step would be late count for what waits before it",
    file: "lib/schedule/scheduler.ts",
    from: "usual.filter(({ endMs }) => endMs <= step.dueMs)",
    to: "usual.filter(({ endMs }) => endMs <= Infinity)",
    test: ADMISSION,
  },
  {
    fault: "core-A6",
    breaks: "deadlines that can't be met keep batches short",
    file: "lib/schedule/urgency.ts",
    from: "lengthMs === Infinity || !isMet) return;",
    to: "lengthMs === Infinity) return;",
    test: ADMISSION,
  },
  {
    fault: "core-A8",
    breaks: "runs that a coarse clock shows as 0 ms cost nothing",
    file: "lib/schedule/estimate.ts",
    from: "if (sorted[0] !== 0) return",
    to: "if (sorted[0] !== -1) return",
    test: ESTIMATE,
  },
  {
    fault: "core-B4",
    breaks: "too many rows of one shape count for all shapes",
    file: "lib/schedule/estimate.ts",
    from: "this.#limit(`${key} ${shape}`, rows, now);",
    to: "for (const each of [null, 'large', 'small']) this.#limit(`${key} ${each}`, rows, now);",
    test: ESTIMATE,
  },
  {
    fault: "core-B4",
    breaks: "too many rows are never tried again",
    file: "lib/schedule/estimate.ts",
    from: "limit.untilMs > now\n",
    to: "limit.untilMs > 0\n",
    test: ESTIMATE,
  },
  {
    fault: "core-B5",
    breaks: "single requests on a slower backend never have the better one load the model",
    file: "lib/schedule/scheduler.ts",
    from: "if (lostMs <= 0) continue;",
    to: "if (lostMs <= 0 || endMs === freeMs + 99) continue;",
    test: ADMISSION,
  },
  {
    fault: "core-C5",
    breaks: "the models that were seen last are stored, not those that ran last",
    file: "lib/schedule/estimate.ts",
    from: "    this.#curves.delete(key);\n    this.#curves.set(key, cells);",
    to: "    this.#curves.set(key, cells);",
    test: ESTIMATE,
  },
  {
    fault: "core-A5",
    breaks: "a lane that can't load a model still gets its work beside a lane that holds it",
    file: "lib/schedule/lanes.ts",
    from: "found = found.filter(isWell);",
    to: "found = [...found];",
    test: FAULTS,
  },
  {
    fault: "core-A5",
    breaks: "a lane that fails is tried again once a second, however often it failed",
    file: "lib/schedule/lanes.ts",
    from: "Math.min(2 * before.ms, BAR_MAX_MS)",
    to: "BAR_MIN_MS",
    test: FAULTS,
  },
  {
    fault: "core-B10",
    breaks: "steps staged behind a stalled run stay there",
    file: "lib/schedule/scheduler.ts",
    from: "if (ids.length === 0) continue;",
    to: "if (ids.length >= 0) continue;",
    test: FAULTS,
  },
  {
    fault: "core-B10",
    breaks: "steps staged behind a stalled run are not rejected at their deadline",
    file: "lib/schedule/scheduler.ts",
    from: "const expected = endOf(running, now)",
    to: "if (running.rows > 0) continue;\n const expected = endOf(running, now)",
    test: FAULTS,
  },
];
