// `npm run mutants:auto [-- lib/schedule/heap.ts …] [--minutes 30]`: mutants that Stryker makes of the schedule, the pool
// and the cache, each tried on the unit tests of its area (areas.ts). Without names: all files, those first whose last
// result is the oldest. The result of each file is kept in e2e/results/mutants-auto.json with its survivors, so a run that
// was cut short is resumed: a file that has not changed since is left out unless it is named, and in a changed one Stryker
// tries only what changed.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { parseArgs } from "node:util";
import { ROOT } from "../support/prepare.ts";
import { AREAS } from "./areas.ts";

const RESULTS = join(ROOT, "e2e/results/mutants-auto.json");
/** Stryker's own files: its report, and for each file its record of the mutants tried before. */
const WORK = join(ROOT, "test-results/stryker");

/** The result of one file. */
interface Result {
  /** Hash of the tested file. */
  readonly sha256: string;
  readonly date: string;
  readonly killed: number;
  /** Number of mutants, without those that don't compile. */
  readonly of: number;
  /** Mutants that no test noticed: place, kind, replacement. */
  readonly survivors: readonly string[];
}

/** The part of Stryker's report that is read here (mutation-testing-report-schema). */
interface Report {
  readonly files: Readonly<
    Record<
      string,
      {
        readonly mutants: readonly {
          readonly status: string;
          readonly mutatorName: string;
          readonly replacement?: string;
          readonly location: { readonly start: { readonly line: number; readonly column: number } };
        }[];
      }
    >
  >;
}

const hashOf = (file: string): string =>
  createHash("sha256")
    .update(readFileSync(join(ROOT, file)))
    .digest("hex");
const areaOf = (file: string): string => AREAS.find((x) => file.startsWith(`${x}/`)) ?? "";

function readResults(): Record<string, Result> {
  return existsSync(RESULTS) ? (JSON.parse(readFileSync(RESULTS, "utf8")) as Record<string, Result>) : {};
}

/** Lists the files of all areas that hold code of the product. */
function allFiles(): string[] {
  return AREAS.flatMap((area) =>
    readdirSync(join(ROOT, area), { encoding: "utf8" })
      .filter((x) => x.endsWith(".ts") && !/\.(test|conformance|gen)\.ts$/.test(x) && !x.startsWith("worker-"))
      .map((x) => `${area}/${x}`),
  );
}

/** Runs Stryker on one file; returns null where it made no report, such as when a test fails without a mutant. */
function tryFile(file: string): Result | null {
  mkdirSync(WORK, { recursive: true });
  const name = file.replaceAll("/", "-");
  const report = join(WORK, `${name}.report.json`);
  const config = join(WORK, `${name}.config.json`);
  rmSync(report, { force: true });
  const options = {
    testRunner: "vitest",
    plugins: ["@stryker-mutator/vitest-runner"],
    mutate: [file],
    coverageAnalysis: "perTest",
    concurrency: 1,
    reporters: ["json"],
    jsonReporter: { fileName: report },
    incremental: true,
    incrementalFile: join(WORK, `${name}.incremental.json`),
    ignorePatterns: ["dist", "demo-dist", "models/dist", "e2e/results", "test-results", ".git"],
    vitest: { configFile: "e2e/mutants/vitest.config.ts", related: false },
    dryRunTimeoutMinutes: 30,
    timeoutMS: 20_000,
    tempDirName: join(WORK, "sandbox"),
  };
  writeFileSync(config, JSON.stringify(options));
  const env = { ...process.env, SELVEDGE_AREA: areaOf(file) };
  spawnSync("npx", ["stryker", "run", config], { cwd: ROOT, env, stdio: "inherit" });
  return existsSync(report) ? resultOf(file, JSON.parse(readFileSync(report, "utf8")) as Report) : null;
}

function resultOf(file: string, report: Report): Result {
  const mutants = Object.values(report.files).flatMap((x) => x.mutants);
  const isCounted = (status: string): boolean => ["Killed", "Timeout", "Survived", "NoCoverage"].includes(status);
  const counted = mutants.filter((x) => isCounted(x.status));
  const missed = counted.filter((x) => x.status === "Survived" || x.status === "NoCoverage");
  const survivors = missed.map(
    ({ mutatorName, replacement = "", location: { start } }) =>
      `${start.line}:${start.column} ${mutatorName}: ${replacement.replaceAll(/\s+/g, " ").slice(0, 80)}`,
  );
  const [of, killed] = [counted.length, counted.length - missed.length];
  return { sha256: hashOf(file), date: new Date().toISOString().slice(0, 10), killed, of, survivors };
}

const { values, positionals } = parseArgs({ options: { minutes: { type: "string" } }, allowPositionals: true });
const wrong = positionals.find((x) => areaOf(x) === "" || !existsSync(join(ROOT, x)));
if (wrong !== undefined) throw new TypeError(`${wrong} is no file of ${AREAS.join(", ")}`);
const until = Date.now() + Number(values.minutes ?? "Infinity") * 60_000;
const results = readResults();
const waiting = allFiles()
  .filter((x) => results[x]?.sha256 !== hashOf(x))
  .sort((a, b) => (results[a]?.date ?? "").localeCompare(results[b]?.date ?? ""));

let failed = 0;
for (const file of positionals.length > 0 ? positionals : waiting) {
  if (Date.now() > until) break;
  const result = tryFile(file);
  if (result === null) {
    failed += 1;
    console.log(`${file}: Stryker came to no result`);
    continue;
  }
  results[file] = result;
  writeFileSync(RESULTS, `${JSON.stringify(Object.fromEntries(Object.entries(results).sort()), null, 2)}\n`);
  console.log(`${file}: ${result.killed} of ${result.of} killed`);
  for (const line of result.survivors) console.log(`  ${basename(file)}:${line}`);
}
const known = Object.values(results);
const sum = (x: (result: Result) => number): number => known.reduce((a, each) => a + x(each), 0);
const [killed, of] = [sum((x) => x.killed), sum((x) => x.of)];
console.log(
  `\n${known.length} of ${allFiles().length} files tried: ${killed} of ${of} mutants killed (${((killed / Math.max(1, of)) * 100).toFixed(1)} %)`,
);
process.exitCode = failed === 0 ? 0 : 1;
