// e2e/results/apps.json: the last result of each row in each browser. The soak writes it; the table in
// docs/browsers.md is made from it.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "../support/prepare.ts";
import type { AppBrowser } from "./row.ts";

/** Path of the results. */
export const RESULTS: string = join(ROOT, "e2e/results/apps.json");

/** Result of a row in a browser. */
export interface AppResult {
  readonly row: string;
  readonly browser: AppBrowser;
  readonly browserVersion: string;
  readonly packages: Readonly<Record<string, string>>;
  /** "passed", or the first line of what failed. */
  readonly result: string;
  /** Bytes of all files that the build emitted, the model included; null where nothing is built. */
  readonly emittedBytes: number | null;
  /** Time to build, serve, open and read, without installing. */
  readonly seconds: number;
  readonly commit: string;
  readonly date: string;
}

/** Reads the results. */
export function readResults(): AppResult[] {
  return existsSync(RESULTS) ? (JSON.parse(readFileSync(RESULTS, "utf8")) as AppResult[]) : [];
}

/** Writes a result in the place of the row's last one in that browser; ordered by row and browser. */
export function keepResult(result: AppResult): void {
  const others = readResults().filter((x) => x.row !== result.row || x.browser !== result.browser);
  const all = [...others, result].sort((a, b) => (`${a.row} ${a.browser}` < `${b.row} ${b.browser}` ? -1 : 1));
  writeFileSync(RESULTS, `${JSON.stringify(all, null, 2)}\n`);
}
