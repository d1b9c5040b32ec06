// The benchmark's kernel: interleaves the subjects of a case in rounds of shuffled order, converts samples to rows, and
// checks itself: one subject of each case may be slowed by 20 % on purpose, and a run that does not detect that is
// void. Independent of browsers and scenarios: run.ts supplies both.
import { Random } from "../../../lib/test-support/random.ts";
import { intervalOf } from "./interval.ts";
import { checkRow, goalText, meets, statistic } from "./row.ts";
import type { Bound, Row, Statistic } from "./row.ts";

/** One measurement, with the backend and variant that really ran. */
export interface Sample {
  readonly value: number;
  readonly backend: string;
  readonly model: string;
  readonly variant: string;
}

/** A measured subject; `slowBy` is 0, or the share by which it must slow itself down. */
export interface Subject {
  readonly name: string;
  sample(slowBy: number): Promise<Sample>;
}

/** A goal of one subject. With `minus`, it bounds the paired difference of the two subjects, which gets its own row. */
export interface Goal extends Bound {
  readonly subject: string;
  readonly minus?: string;
}

/** Subjects measured in turns on the same work. */
export interface Case {
  readonly name: string;
  readonly unit: string;
  readonly statistic: Statistic;
  readonly subjects: readonly Subject[];
  /** Subject that ratios are relative to. */
  readonly of?: string;
  /** Whether the ratio is value over that of `of`, or under it (for rates, where more is better). Default "over". */
  readonly ratio?: "over" | "under";
  /** Whether values are rates, so that the ratio of a slowed control is the one under. Default false. */
  readonly isRate?: boolean;
  readonly goals: readonly Goal[];
  /** Subject that is also measured slowed by 20 %, in every round. */
  readonly control?: string;
  readonly rounds: number;
  /** Warm-up rounds, whose samples are discarded. Default 1. */
  readonly warmups?: number;
}

/** Context of a row besides its measurement. */
export type Setting = Pick<
  Row,
  "scenario" | "command" | "commit" | "date" | "machine" | "browser" | "adapter" | "versions"
>;

/** Slowdown of the control, and the minimum ratio that detects it. */
export const CONTROL = { slowBy: 0.2, atLeast: 1.1 } as const;

/** Runs a case and returns its rows; every subject is sampled once in every round. */
export async function runCase(item: Case, setting: Setting, random: Random): Promise<Row[]> {
  const runs = item.subjects.map((subject) => ({ name: subject.name, subject, slowBy: 0, samples: [] as Sample[] }));
  const control = runs.find(({ name }) => name === item.control);
  if (item.control !== undefined && control === undefined) {
    throw new TypeError(`case ${item.name}: the control "${item.control}" is not one of its subjects`);
  }
  if (control !== undefined) {
    runs.push({ name: slowedName(control.name), subject: control.subject, slowBy: CONTROL.slowBy, samples: [] });
  }
  const warmups = item.warmups ?? 1;
  for (let round = 0; round < warmups + item.rounds; round++) {
    for (const run of shuffled(runs, random)) {
      const sample = await run.subject.sample(run.slowBy);
      if (round >= warmups) run.samples.push(sample);
    }
  }
  const values = new Map(runs.map(({ name, samples }) => [name, samples.map(({ value }) => value)]));
  const rows = runs.map(({ name, samples, slowBy }) => {
    const ran = sameOrigin(`${item.name}, ${name}`, samples);
    const of = slowBy > 0 ? item.control : item.of === name ? undefined : item.of;
    const row = { ...measured(item, name, list(values, name)), ...ran };
    return judged(
      of === undefined
        ? row
        : { ...row, ...ratioOf(slowBy > 0 ? slowedCase(item) : item, row.samples, list(values, of), of) },
      goalOf(item, name, slowBy),
    );
  });
  const differences = item.goals.flatMap((goal) => {
    if (goal.minus === undefined) return [];
    const other = list(values, goal.minus);
    const samples = list(values, goal.subject).map((value, at) => value - (other[at] ?? Number.NaN));
    const ran = sameOrigin(goal.subject, runs.find(({ name }) => name === goal.subject)?.samples ?? []);
    return [judged({ ...measured(item, `${goal.subject} minus ${goal.minus}`, samples), ...ran }, goal)];
  });
  return [...rows, ...differences].map((row) => checkRow({ ...setting, ...row }));
}

/** Returns why a run is void, or null: no case had a control, or a deliberate slowdown was not detected. */
export function voidReason(rows: readonly Row[]): string | null {
  const controls = rows.filter(({ subject }) => subject.endsWith(SLOWED));
  if (controls.length === 0) return "void: no subject was slowed on purpose, so the run's sensitivity is unknown";
  const hidden = controls.find(({ ratio }) => ratio === undefined || ratio < CONTROL.atLeast);
  if (hidden === undefined) return null;
  const measuredRatio = hidden.ratio?.toFixed(3) ?? "unknown";
  return `void: ${hidden.case}: "${hidden.subject}" shows as ${measuredRatio}, below ${CONTROL.atLeast}`;
}

/** Formats a row for the terminal: `case  value  ratio  goal  pass|miss`. */
export function rowLine(row: Row): string {
  const spread = row.interval === undefined ? "" : ` (${row.interval.map((x) => x.toFixed(3)).join(" to ")})`;
  const ratio = row.ratio === undefined ? "–" : row.ratio.toFixed(3) + spread;
  const verdict = row.pass === undefined ? "–" : row.pass ? "pass" : "miss";
  const value = `${Number(row.value.toPrecision(4))} ${row.unit} ${row.statistic}`;
  return [`${row.case} · ${row.subject} · ${row.browser}`, value, ratio, row.goal ?? "–", verdict].join("  ");
}

const SLOWED = " slowed by 20 %";
const slowedName = (name: string): string => name + SLOWED;

type Draft = Omit<Row, keyof Setting>;

function measured(item: Case, subject: string, samples: number[]): Omit<Draft, "backend" | "model" | "variant"> {
  const value = statistic(samples, item.statistic);
  return { case: item.name, subject, unit: item.unit, samples, value, statistic: item.statistic, n: samples.length };
}

/** A slowed subject shows as a ratio above 1. */
function slowedCase(item: Case): Case {
  return item.isRate === true ? { ...item, ratio: "under" } : item;
}

function ratioOf(
  { name, statistic: kind, ratio: side }: Case,
  samples: readonly number[],
  others: readonly number[],
  of: string,
): Pick<Draft, "ratio" | "of" | "interval"> {
  const over = (own: readonly number[], other: readonly number[]): number => {
    const [a, b] = [statistic(own, kind), statistic(other, kind)];
    return side === "under" ? b / a : a / b;
  };
  const ratio = over(samples, others);
  // A rate of 0 % has no ratio: a peer may answer nothing in time.
  if (!Number.isFinite(ratio)) return {};
  const pick = (from: readonly number[], drawn: readonly number[]): number[] => drawn.map((i) => from[i] ?? Number.NaN);
  const drawnRatio = (drawn: readonly number[]): number => over(pick(samples, drawn), pick(others, drawn));
  const interval = intervalOf(samples.length, drawnRatio, new Random(`${name} ${of}`));
  return { ratio, of, ...(interval && { interval: [...interval] }) };
}

function goalOf(item: Case, name: string, slowBy: number): Bound | undefined {
  if (slowBy > 0) return { on: "ratio", atLeast: CONTROL.atLeast };
  return item.goals.find((goal) => goal.subject === name && goal.minus === undefined);
}

function judged(draft: Draft, goal: Bound | undefined): Draft {
  return goal === undefined ? draft : { ...draft, goal: goalText(goal), pass: meets(goal, draft) };
}

/** A subject that ran on two backends in one case has measured neither. */
function sameOrigin(what: string, samples: readonly Sample[]): Pick<Draft, "backend" | "model" | "variant"> {
  const [first] = samples;
  if (first === undefined) throw new TypeError(`${what}: no samples`);
  const { backend, model, variant } = first;
  for (const sample of samples) {
    if (sample.backend !== backend || sample.model !== model || sample.variant !== variant) {
      throw new TypeError(
        `${what}: ran on ${backend} ${variant} and on ${sample.backend} ${sample.variant} in one run`,
      );
    }
  }
  return { backend: backend as Row["backend"], model, variant };
}

function list(values: ReadonlyMap<string, number[]>, name: string): number[] {
  const found = values.get(name);
  if (found === undefined) throw new TypeError(`there is no subject "${name}"`);
  return found;
}

function shuffled<T>(items: readonly T[], random: Random): T[] {
  const order = [...items];
  for (let at = order.length - 1; at > 0; at--) {
    const other = random.whole(0, at);
    const a = order[at];
    const b = order[other];
    if (a !== undefined && b !== undefined) [order[at], order[other]] = [b, a];
  }
  return order;
}
