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
  {
    fault: "core-A5",
    breaks:
      "worlds of lanes that fail: a failed load is an attempt of the request, though another lane holds the model",
    file: "lib/dispatcher.ts",
    from: "if ((isUnbegun || isHeld) && step.spared < SPARED_MAX) {",
    to: "if (isUnbegun && step.spared < SPARED_MAX) {",
    test: WORLDS,
    title: "(core-A5)",
  },
  {
    fault: "core-A7",
    breaks: "worlds of sleep: a tick counts for as long as it took, sleep included",
    file: "lib/watchdog.ts",
    from: "this.#countedMs += ms;",
    to: "this.#countedMs += this.#effects.now() - this.#tickAtMs;",
    test: WORLDS,
    title: "(core-A7)",
  },
  {
    fault: "core-B4",
    breaks: "world of out of memory: staged innocents count as begun, and as failed",
    file: "lib/dispatcher.ts",
    from: 'const isUnbegun = phase === null || code === "closed";',
    to: "const isUnbegun = phase === null;",
    test: WORLDS,
    title: "(core-B4)",
  },
  {
    fault: "core-B4",
    breaks: "world of out of memory: too many rows are never tried again",
    file: "lib/schedule/estimate.ts",
    from: "limit.untilMs > now\n",
    to: "limit.untilMs > 0\n",
    test: WORLDS,
    title: "(core-B4)",
  },
  {
    fault: "core-B6",
    breaks: "worlds of loads and unloads: a lane loads a model that was unloaded meanwhile",
    file: "lib/pool/lane.ts",
    from: "if (isUnloaded?.(message.modelId) === true)",
    to: "if (false)",
    test: WORLDS,
    title: "(core-B6)",
  },
];
