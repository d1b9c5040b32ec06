// Times of suites and sizes of the shipped files, run by run, on this machine: machines differ too much to compare them.
// Kept in e2e/.cache, so that a checkout stays clean; `npm run soak` commits dated rows of its own.
import { appendFileSync, existsSync, mkdirSync, readFileSync } from "node:fs";
import { dirname } from "node:path";
import { quantile } from "../../lib/core/quantile.ts";

/** One run: seconds of each suite, and bytes of each file that ships. */
export interface TrendRow {
  /** ISO 8601. */
  readonly at: string;
  readonly commit: string;
  readonly seconds: Readonly<Record<string, number>>;
  readonly bytes: Readonly<Record<string, number>>;
}

/** A suite is too slow where two runs in a row took more than so many times the median of the runs before. */
const TIMES = 2;
/** Below so many runs before those two nothing is known. */
const LEAST = 3;
/** Suites below so many seconds differ by what else the machine does. */
const LEAST_SECONDS = 10;

/** Appends a run, and returns all that are known, oldest first. */
export function addToTrend(path: string, row: TrendRow): TrendRow[] {
  mkdirSync(dirname(path), { recursive: true });
  appendFileSync(path, `${JSON.stringify(row)}\n`);
  return readTrend(path);
}

/** Reads the runs that are known, oldest first; a line that is torn is left out. */
export function readTrend(path: string): TrendRow[] {
  if (!existsSync(path)) return [];
  return readFileSync(path, "utf8")
    .split("\n")
    .flatMap((line) => {
      try {
        return line === "" ? [] : [JSON.parse(line) as TrendRow];
      } catch {
        return [];
      }
    });
}

/** Returns a sentence for each suite that was too slow twice in a row. */
export function slowSuites(rows: readonly TrendRow[]): string[] {
  const last = rows.at(-1);
  return Object.keys(last?.seconds ?? {}).flatMap((suite) => {
    const times = rows.flatMap((row) => row.seconds[suite] ?? []);
    const before = times.slice(0, -2);
    const recent = times.slice(-2);
    const usual = Math.max(LEAST_SECONDS, quantile(before, 0.5) ?? Infinity);
    if (before.length < LEAST || !recent.every((seconds) => seconds > TIMES * usual)) return [];
    return [
      `${suite}: ${recent.join(" and ")} s in the last two runs, ${usual} s is the median of ${before.length} before`,
    ];
  });
}
