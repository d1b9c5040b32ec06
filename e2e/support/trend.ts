// Times of suites and sizes of the shipped files, run by run. Each run is kept in e2e/.cache, so that a checkout stays
// clean; `npm run trend` adds them to e2e/results/suites.jsonl, which is committed with what lands. Both are
// read: a machine that starts from a fresh checkout compares with the committed runs. `npm run soak` commits dated rows
// of its own.
import { appendFileSync, existsSync, mkdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { quantile } from "../../lib/core/quantile.ts";
import { ROOT } from "./prepare.ts";

/** One run: seconds of each suite, and bytes of each file that ships. */
export interface TrendRow {
  /** ISO 8601. */
  readonly at: string;
  readonly commit: string;
  /** Processor, cores and memory; times are compared on equal machines alone. */
  readonly machine: string;
  readonly seconds: Readonly<Record<string, number>>;
  readonly bytes: Readonly<Record<string, number>>;
}

/** Runs of this checkout. */
export const LOCAL_TREND: string = join(ROOT, "e2e/.cache/trend.jsonl");
/** Runs of clean commits, added by `npm run trend`. */
export const COMMITTED_TREND: string = join(ROOT, "e2e/results/suites.jsonl");

/** A suite is too slow where two runs in a row took more than so many times the median of the runs before. */
const TIMES = 2;
/** Below so many runs before those two nothing is known. */
const LEAST = 3;
/** Suites below so many seconds differ by what else the machine does. */
const LEAST_SECONDS = 10;

/** Appends a run to a file. */
export function addToTrend(path: string, row: TrendRow): void {
  mkdirSync(dirname(path), { recursive: true });
  appendFileSync(path, `${JSON.stringify(row)}\n`);
}

/** Reads the runs of several files, oldest first, each once; a line that is torn is left out. */
export function readTrend(...paths: readonly string[]): TrendRow[] {
  const rows = new Map(paths.flatMap(rowsOf).map((row) => [`${row.at} ${row.machine}`, row]));
  return [...rows.values()].sort((a, b) => a.at.localeCompare(b.at));
}

function rowsOf(path: string): TrendRow[] {
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

/** Returns a sentence for each suite of the latest run that was too slow twice in a row, on that run's machine. */
export function slowSuites(rows: readonly TrendRow[]): string[] {
  const last = rows.at(-1);
  const alike = rows.filter((row) => row.machine === last?.machine);
  return Object.keys(last?.seconds ?? {}).flatMap((suite) => {
    const times = alike.flatMap((row) => row.seconds[suite] ?? []);
    const before = times.slice(0, -2);
    const recent = times.slice(-2);
    const usual = Math.max(LEAST_SECONDS, quantile(before, 0.5) ?? Infinity);
    if (before.length < LEAST || !recent.every((seconds) => seconds > TIMES * usual)) return [];
    return [
      `${suite}: ${recent.join(" and ")} s in the last two runs, ${usual} s is the median of ${before.length} before`,
    ];
  });
}
