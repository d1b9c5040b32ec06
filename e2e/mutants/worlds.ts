// Faults that the worlds of the simulation catch (lib/simulate/worlds/), beside the tests of the parts. A world that is
// not enabled yet has no mutant: its fault is in the code.
import type { Mutant } from "./mutant.ts";

const WORLDS = "lib/simulate/worlds.test.ts";

/** The mutants of this area. */
export const MUTANTS: readonly Mutant[] = [
  {
    fault: "core-A1",
    breaks: "world of long runs: a model that takes longer than a second counts as not run of late after a second",
    file: "lib/schedule/lanes.ts",
    from: "Math.max(STALE_MIN_MS, STALE_TIMES * soonest)",
    to: "STALE_MIN_MS / 4",
    test: WORLDS,
    title: "(core-A1)",
  },
  {
    fault: "core-A2",
    breaks: "world of a GPU with a slower fallback: idle slower lanes end the step as soon as the fast one",
    file: "lib/schedule/scheduler.ts",
    from: "Math.max(x.endMs, startMs + x.ms)",
    to: "startMs + aloneMs",
    test: WORLDS,
    title: "(core-A2)",
  },
  {
    fault: "core-A6",
    breaks: "world of unmeetable deadlines: they keep batches short",
    file: "lib/schedule/urgency.ts",
    from: "lengthMs === Infinity || !isMet) return;",
    to: "lengthMs === Infinity) return;",
    test: WORLDS,
    title: "(core-A6)",
  },
  {
    fault: "core-A8",
    breaks: "world of coarse clocks: runs that the clock shows as 0 ms cost nothing",
    file: "lib/schedule/estimate.ts",
    from: "if (sorted[0] !== 0) return",
    to: "if (sorted[0] !== -1) return",
    test: WORLDS,
    title: "(core-A8)",
  },
  {
    fault: "core-B5",
    breaks: "world of a lost GPU: single requests never have it load the model again",
    file: "lib/schedule/scheduler.ts",
    from: "if (lostMs <= 0) continue;",
    to: "if (lostMs >= 0) continue;",
    test: WORLDS,
    title: "(core-B5)",
  },
  {
    fault: "core-B10",
    breaks: "world of a first run that hangs: steps staged behind it stay there",
    file: "lib/schedule/scheduler.ts",
    from: "if (ids.length === 0) continue;",
    to: "if (ids.length >= 0) continue;",
    test: WORLDS,
    title: "(core-B10)",
  },
];
