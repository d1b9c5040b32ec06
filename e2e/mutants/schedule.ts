// Faults of the scheduler: lib/schedule.
import type { Mutant } from "./mutant.ts";

const FAULTS = "lib/schedule/faults.test.ts";

/** The mutants of this area. */
export const MUTANTS: readonly Mutant[] = [
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
