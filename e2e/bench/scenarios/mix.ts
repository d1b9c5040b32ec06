// The cases of `scheduling` with a mix of classes: requests on time at fractions of an Offline run's rate, beside the
// bound, beside two busy processes, beside a stream of long runs.
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import type { Page } from "@playwright/test";
import { bestPolicy, upperBound } from "../../../lib/test-support/simulate/bound.ts";
import type { Job, ModelCosts, Workload } from "../../../lib/test-support/simulate/workload.ts";
import { arrivalTimes, classOf } from "../../pages/mix.ts";
import type { Class } from "../../pages/mix.ts";
import type { Measured, PeerName } from "../../pages/peers.ts";
import type { MixTold, SchedulingPage } from "../../pages/scheduling.ts";
import type { Case, Goal, Subject } from "../kernel/kernel.ts";
import { onceARound } from "../kernel/once-a-round.ts";
import type { OnceARound } from "../kernel/once-a-round.ts";
import type { Bench } from "../kernel/run.ts";

/** Duration of a mix. */
const MIX_MS = 1_200;
/** Busy processes beside the browser. */
const BUSY = 2;
/** Batch sizes whose costs are measured for the bound; between them costs are interpolated. */
const SIZES = [1, 2, 4, 8, 16, 32, 64];
const LANES = ["wasm", "wasm"];
/** Subjects of the mixes. */
const NAMES = ["selvedge", "raw two workers, batched", "raw two workers"] as const;
/** Subjects of the cases beside a stream. */
const BESIDE_STREAM = ["selvedge", "raw three workers, one apart", "raw two workers"] as const;
const BEST = "best policy on the measured costs";

/**
 * The mix of classes at fractions of its offline rate, and beside a stream of ocr-rec; compared with first in, first
 * out.
 */
export async function* mixCases(
  page: Page,
  bench: Bench,
  classes: readonly Class[],
  stream: Measured,
): AsyncGenerator<Case> {
  const full = await fullRate(page, classes);
  const costs: ModelCosts[] = [];
  for (const model of modelsOf(classes)) costs.push(await measureCosts(page, model));
  for (const share of [0.9, 2]) {
    const told = measuredOnce(page, NAMES, `mix ${share}`, classes, share * full, MIX_MS, null);
    for (const [i, { model, deadlineMs }] of classes.entries()) {
      yield {
        name: `mix at ${100 * share} %: ${model.name} within ${deadlineMs} ms`,
        unit: "% on time",
        statistic: "mean",
        subjects: NAMES.map((name) => told.subject(name, ({ onTime }) => onTime[i] ?? 0)),
        of: "raw two workers",
        // The bound covers all classes together.
        goals: [],
        rounds: bench.rounds(6),
        warmups: 0,
      };
    }
    yield boundCase(bench, classes, costs, told, share, share * full);
  }
  yield* busyCases(page, bench, classes);
  const urgent = classes.slice(0, 1);
  const beside = measuredOnce(page, BESIDE_STREAM, "beside ocr-rec", urgent, 20, 2_000, stream);
  yield {
    name: "fashion-cnn within 10 ms, beside a stream of ocr-rec",
    unit: "% on time",
    statistic: "mean",
    subjects: BESIDE_STREAM.map((name) => beside.subject(name, ({ onTime }) => onTime[0] ?? 0)),
    of: "raw two workers",
    goals: [{ subject: "selvedge", on: "value", atLeast: 98 }],
    rounds: bench.rounds(6),
    warmups: 0,
  };
  const keeping = [...BESIDE_STREAM].slice(0, 2);
  const alone = measuredOnce(page, keeping, "ocr-rec alone", urgent, 0.001, 2_000, stream);
  for (const name of keeping) {
    const of = `${name}, alone`;
    yield {
      name: `a stream of ocr-rec, beside fashion-cnn and alone${name === "selvedge" ? "" : `: ${name}`}`,
      unit: "requests/s",
      statistic: "median",
      subjects: [beside.subject(name, (x) => x.beside), { ...alone.subject(name, (x) => x.beside), name: of }],
      of,
      goals: name === "selvedge" ? [{ subject: name, on: "ratio", atLeast: 0.85 }] : [],
      rounds: bench.rounds(6),
      warmups: 0,
    };
  }
}

/** Measures a mix once a round for each peer, however many cases use it. */
function measuredOnce(
  page: Page,
  names: readonly PeerName[],
  seed: string,
  classes: readonly Class[],
  rate: number,
  ms: number,
  beside: Measured | null,
): { subject(name: PeerName, pick: (told: MixTold) => number): Subject } {
  const told = new Map(
    names.map((name) => [
      name,
      onceARound((round) => call(page, "mix", name, classes, `${seed} ${round}`, rate, ms, beside)),
    ]),
  );
  return {
    subject(name, pick) {
      const own = told.get(name) as OnceARound<MixTold>;
      const variant = `f32, ${Math.round(rate)} requests/s`;
      return own.subject(name, (x) => ({ value: pick(x), backend: x.backend, model: "mix", variant }));
    },
  };
}

/** Returns the rate of a mix in requests per second when all are queued at once: the median of three. */
async function fullRate(page: Page, classes: readonly Class[]): Promise<number> {
  const rates: number[] = [];
  for (let i = 0; i < 3; i += 1) rates.push((await call(page, "mixOffline", "selvedge", classes, 1_000)).value);
  return rates.sort((a, b) => a - b)[1] ?? 0;
}

/**
 * All classes of a mix together, beside the best policy that knows the costs, and the upper bound, on the same
 * arrivals.
 */
function boundCase(
  bench: Bench,
  classes: readonly Class[],
  costs: readonly ModelCosts[],
  told: ReturnType<typeof measuredOnce>,
  share: number,
  rate: number,
): Case {
  const models = modelsOf(classes);
  const bound = (name: string, goodput: (workload: Workload) => number): Subject => {
    let round = 0;
    return {
      name,
      sample: async () => {
        const jobs = arrivalTimes(`mix ${share} ${round++}`, rate, MIX_MS).map((atMs, id): Job => {
          const { model, deadlineMs } = classOf(classes, id);
          return { id, atMs, dueMs: atMs + deadlineMs, model: models.indexOf(model), factor: 1 };
        });
        const rest = { isLearned: true, countsFromMs: 0, endMs: MIX_MS, clockMs: 0, noise: 0 };
        const value = (100 * goodput({ lanes: LANES, models: costs, jobs, ...rest })) / jobs.length;
        return { value, backend: "none", model: "mix", variant: "f32" };
      },
    };
  };
  return {
    name: `mix at ${100 * share} %: all classes, beside the bound`,
    unit: "% on time",
    statistic: "mean",
    subjects: [
      ...(["selvedge", "raw two workers, batched"] as const).map((name) =>
        told.subject(name, ({ asked, answered }) => (100 * answered) / asked),
      ),
      bound(BEST, (workload) => bestPolicy(workload).goodput),
      bound("upper bound", upperBound),
    ],
    of: BEST,
    goals: [{ subject: "selvedge", on: "ratio", atLeast: 0.9 }],
    rounds: bench.rounds(6),
    warmups: 0,
  };
}

/** Returns the models of a mix, each once. */
function modelsOf(classes: readonly Class[]): readonly Measured[] {
  return [...new Set(classes.map(({ model }) => model))];
}

/** Measures the duration of a model's batches in hand-written workers, both at work. */
async function measureCosts(page: Page, model: Measured): Promise<ModelCosts> {
  const ms: number[] = [];
  for (const rows of SIZES) ms.push(await call(page, "cost", model, rows));
  const msOf = (rows: number): number => {
    const size = Math.log2(rows);
    const low = Math.floor(size);
    const [from = 0, to = from] = [ms[low], ms[low + 1]];
    return from + ((rows - 2 ** low) / 2 ** low) * (to - from);
  };
  return { maxRows: SIZES.at(-1) ?? 1, msOn: { wasm: msOf } };
}

/**
 * The mix beside two busy processes: at the rate that the browser reaches then, and at half of it, where hand-written
 * workers keep up.
 */
async function* busyCases(page: Page, bench: Bench, classes: readonly Class[]): AsyncGenerator<Case> {
  const busy = Array.from({ length: BUSY }, (): ChildProcess => spawn(process.execPath, ["-e", "for (;;);"]));
  try {
    const full = await fullRate(page, classes);
    for (const share of [0.45, 0.9]) {
      const told = measuredOnce(page, NAMES, `busy ${share}`, classes, share * full, MIX_MS, null);
      const caseOf = (name: string, of: PeerName, pick: (told: MixTold) => number, goals: readonly Goal[]): Case => ({
        name: `mix at ${100 * share} %, ${BUSY} busy processes beside: ${name}`,
        unit: "% on time",
        statistic: "mean",
        subjects: NAMES.map((peer) => told.subject(peer, pick)),
        of,
        goals,
        rounds: bench.rounds(6),
        warmups: 0,
      });
      const all = ({ asked, answered }: MixTold): number => (100 * answered) / asked;
      const ratio = { subject: "selvedge", on: "ratio", atLeast: 0.9 } as const;
      yield caseOf("all classes", "raw two workers, batched", all, [ratio]);
      // A ratio is meaningless where they answer almost nothing: the difference in percent is used.
      const difference = { subject: "selvedge", minus: "raw two workers", on: "value", atLeast: -10 } as const;
      for (const [i, { model, deadlineMs }] of classes.entries()) {
        const own = ({ onTime }: MixTold): number => onTime[i] ?? 0;
        yield caseOf(`${model.name} within ${deadlineMs} ms`, "raw two workers", own, [difference]);
      }
    }
  } finally {
    for (const child of busy) child.kill("SIGKILL");
  }
}

/** Calls a function of the page. */
export function call<N extends keyof SchedulingPage>(
  page: Page,
  name: N,
  ...args: Parameters<SchedulingPage[N]>
): Promise<Awaited<ReturnType<SchedulingPage[N]>>> {
  return page.evaluate(
    ([name, args]) => {
      const { bench } = globalThis as unknown as { bench: Record<string, (...args: unknown[]) => unknown> };
      return bench[name]?.(...args);
    },
    [name, args] as const,
  ) as Promise<Awaited<ReturnType<SchedulingPage[N]>>>;
}
