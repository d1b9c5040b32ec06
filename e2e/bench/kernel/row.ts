// A row of the benchmark: the measurement, its provenance, and whether it met its goal. The schema is the last gate
// before a row is stored: one without the backend that really ran, or without samples, is rejected.
import * as v from "valibot";
import { quantile } from "../../../lib/core/quantile.ts";

/** Scenarios of `npm run bench`: a module each in ../scenarios, and a file of rows in e2e/results. */
export const SCENARIOS = [
  "overhead",
  "faults",
  "compress",
  "scheduling",
  "delivery",
  "split",
  "streams",
  "memory",
  "prediction",
  "remote",
  "models",
  "builds",
] as const;

/** Statistic that gives a row's value from its samples. */
export type Statistic = "mean" | "median" | "min" | "max" | "p90" | "p95" | "p99";

const STATISTICS = ["mean", "median", "min", "max", "p90", "p95", "p99"] as const;
const QUANTILES: Readonly<Record<Exclude<Statistic, "mean" | "median">, number>> = {
  min: 0,
  p90: 0.9,
  p95: 0.95,
  p99: 0.99,
  max: 1,
};

const text = v.pipe(v.string(), v.minLength(1));
const finite = v.pipe(v.number(), v.finite());

/**
 * Schema of a row. `backend` is "none" if no model ran; `goal` reads as "ratio <= 1.03"; `interval` is that of the
 * ratio, at 95 % (interval.ts).
 */
const ROW = v.pipe(
  v.strictObject({
    scenario: text,
    case: text,
    subject: text,
    unit: text,
    samples: v.pipe(v.array(finite), v.minLength(1)),
    value: finite,
    statistic: v.picklist(STATISTICS),
    ratio: v.optional(finite),
    interval: v.optional(v.tuple([finite, finite])),
    of: v.optional(text),
    goal: v.optional(text),
    pass: v.optional(v.boolean()),
    n: v.pipe(v.number(), v.integer(), v.minValue(1)),
    command: text,
    commit: text,
    date: v.pipe(v.string(), v.isoTimestamp()),
    machine: text,
    browser: text,
    adapter: text,
    backend: v.picklist(["webgpu", "wasm", "remote", "wasm and remote", "node", "none"]),
    model: text,
    variant: text,
    versions: v.record(v.string(), text),
  }),
  v.check((row) => row.n === row.samples.length, "n is not the number of samples"),
  v.check((row) => (row.ratio === undefined) === (row.of === undefined), "ratio and of come together"),
  v.check((row) => row.interval === undefined || row.ratio !== undefined, "an interval is a ratio's"),
  v.check((row) => (row.goal === undefined) === (row.pass === undefined), "goal and pass come together"),
  v.check(
    (row) => Math.abs(row.value - statistic(row.samples, row.statistic)) <= 1e-9 * Math.abs(row.value),
    "value is not that statistic of the samples",
  ),
);

/** One row of `e2e/results/<scenario>.jsonl`. */
export type Row = v.InferOutput<typeof ROW>;

/**
 * Validates a row from outside or from a scenario.
 * @throws TypeError naming the field
 */
export function checkRow(row: unknown): Row {
  const result = v.safeParse(ROW, row);
  if (result.success) return result.output;
  const [issue] = result.issues;
  const path = v.getDotPath(issue) ?? "row";
  throw new TypeError(`invalid row: ${path}: ${issue.message}`);
}

/** Returns a statistic of samples: percentiles by nearest rank; the median of an even count is the middle two's mean. */
export function statistic(samples: readonly number[], name: Statistic): number {
  if (samples.length === 0) throw new RangeError("statistic: no samples");
  if (name === "mean") return samples.reduce((sum, value) => sum + value, 0) / samples.length;
  if (name !== "median") return quantile(samples, QUANTILES[name]) ?? Number.NaN;
  // Not core/quantile.ts's, which is the lower one of the middle two: new rows are compared with the recorded ones.
  const sorted = [...samples].sort((a, b) => a - b);
  const [low = Number.NaN, high = Number.NaN] = [sorted[(sorted.length - 1) >> 1], sorted[sorted.length >> 1]];
  return low + (high - low) / 2;
}

/** A bound on a row's ratio or value. */
export interface Bound {
  readonly on: "ratio" | "value";
  readonly atMost?: number;
  readonly atLeast?: number;
  /** Whether it suffices that the ratio's interval reaches the bound: for subjects that may be equal. Default false. */
  readonly byInterval?: boolean;
}

/** Formats a bound as a row's goal, such as "ratio <= 1.03". */
export function goalText({ on, atMost, atLeast, byInterval }: Bound): string {
  const parts: string[] = [];
  const what = byInterval === true ? `interval of ${on}` : on;
  if (atLeast !== undefined) parts.push(`${what} >= ${atLeast}`);
  if (atMost !== undefined) parts.push(`${what} <= ${atMost}`);
  if (parts.length === 0) throw new TypeError("a goal needs atMost or atLeast");
  return parts.join(", ");
}

/** Whether a row meets a bound. */
export function meets(
  { on, atMost, atLeast, byInterval }: Bound,
  row: Pick<Row, "value" | "ratio" | "interval">,
): boolean {
  const measured = on === "ratio" ? row.ratio : row.value;
  if (measured === undefined) return false;
  const [low, high] = (byInterval === true ? row.interval : undefined) ?? [measured, measured];
  return (atMost === undefined || low <= atMost) && (atLeast === undefined || high >= atLeast);
}
