// `npm run mutants:auto [-- lib/schedule/heap.ts …] [--minutes 30] [--report file]`: mutants that Stryker makes of the
// schedule, the pool and the cache, each tried on the unit tests of its area (areas.ts) that are quick (test-runner.ts).
// Without names: all files that have no result, area by area, the smallest first. e2e/results/mutants-auto.json keeps the result of each file with its
// survivors, so a run that was cut short is resumed. A result stands while the file and the tests that killed its mutants
// are as they were: changes elsewhere, and new tests beside, do not void it. Fails while a file has no result, or where
// fewer than nine in ten mutants are killed, without those that no test can notice (equivalent.ts).
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { transformSync } from "esbuild";
import { ROOT } from "../support/prepare.ts";
import { areaOf, AREAS } from "./areas.ts";
import { EQUIVALENT } from "./equivalent.ts";

const RESULTS = join(ROOT, "e2e/results/mutants-auto.json");
/** Stryker's own files: its configuration and its report. */
const WORK = join(ROOT, "test-results/stryker");
/** Share of the mutants that must be killed. */
const SHARE_MIN = 0.9;
/** Bytes of the files in one run of Stryker, which takes half a minute to start and to run all tests once; other files have one of their own. */
const BATCH_MAX_BYTES = 20_000;
/** Longest text of a mutant that is written. */
const TEXT_MAX = 70;

/** The result of one file. */
interface Result {
  readonly date: string;
  /** Hash of the file. */
  readonly sha256: string;
  /** Hash of each file of tests that killed a mutant. */
  readonly tests: Readonly<Record<string, string>>;
  readonly mutants: number;
  readonly killed: number;
  /** Those of the killed that ended by a limit of time or repetitions. */
  readonly timedOut: number;
  /** Mutants that no test noticed: number of the line, replaced text, replacement, line. */
  readonly survivors: readonly string[];
}

interface Place {
  readonly line: number;
  readonly column: number;
}

interface ReportedMutant {
  readonly status: string;
  readonly replacement?: string;
  readonly killedBy?: readonly string[];
  readonly location: { readonly start: Place; readonly end: Place };
}

/** The part of Stryker's report that is read here (mutation-testing-report-schema). */
interface Report {
  readonly files: Readonly<Record<string, { readonly source: string; readonly mutants: readonly ReportedMutant[] }>>;
  readonly testFiles?: Readonly<Record<string, { readonly tests: readonly { readonly id: string }[] }>>;
}

const hash = (text: string): string => createHash("sha256").update(text).digest("hex").slice(0, 16);

/** Returns the hash of a file; empty where there is none. */
function hashOf(file: string): string {
  const path = join(ROOT, file);
  return existsSync(path) ? hash(readFileSync(path, "utf8")) : "";
}

function readResults(): Record<string, Result> {
  return existsSync(RESULTS) ? (JSON.parse(readFileSync(RESULTS, "utf8")) as Record<string, Result>) : {};
}

/** Whether a file holds more than types. */
const hasCode = (file: string): boolean =>
  transformSync(readFileSync(join(ROOT, file), "utf8"), { loader: "ts" }).code !== "";

const sizeOf = (file: string): number => statSync(join(ROOT, file)).size;

/** Lists the files of all areas that hold code of the product: area by area, the smallest first. */
function allFiles(): string[] {
  return AREAS.flatMap((area) =>
    readdirSync(join(ROOT, area), { encoding: "utf8", recursive: true })
      // The entry of a worker runs in browsers alone.
      .filter((x) => x.endsWith(".ts") && !/\.(test|conformance|gen)\.ts$|^worker-cache\.ts$/.test(x))
      .map((x) => `${area}/${x}`)
      .filter(hasCode)
      .sort((a, b) => sizeOf(a) - sizeOf(b)),
  );
}

/** Puts files of one area into the runs of Stryker; a run that is cut short has no result. */
function batchesOf(files: readonly string[]): string[][] {
  const batches: string[][] = [];
  for (const file of files) {
    const last = batches.at(-1) ?? [];
    const size = [...last, file].reduce((sum, x) => sum + sizeOf(x), 0);
    if (last.length > 0 && areaOf(last[0] as string) === areaOf(file) && size <= BATCH_MAX_BYTES) last.push(file);
    else batches.push([file]);
  }
  return batches;
}

/** Runs Stryker on files; returns null where it made no report, such as when a test fails without a mutant. */
function tryFiles(files: readonly string[]): Report | null {
  rmSync(WORK, { recursive: true, force: true });
  mkdirSync(WORK, { recursive: true });
  const report = join(WORK, "report.json");
  const config = join(WORK, "config.json");
  const options = {
    testRunner: "kept",
    plugins: ["./e2e/mutants/test-runner.ts"],
    mutate: files,
    coverageAnalysis: "perTest",
    concurrency: 1,
    reporters: ["json", "progress-append-only"],
    jsonReporter: { fileName: report },
    // The tests need lib/ and e2e/; the caches of the browsers' tests are gigabytes.
    ignorePatterns: [".git", "demo", "dist", "docs", "models", "e2e/.cache", "e2e/results", "test-results"],
    dryRunTimeoutMinutes: 30,
    timeoutMS: 5000, // beside half as long again as the tests take
    tempDirName: join(WORK, "sandbox"),
  };
  writeFileSync(config, JSON.stringify(options));
  // A fixed seed of the property-based tests, so that a mutant that was killed once is killed again.
  const env = { ...process.env, NODE_OPTIONS: "--import tsx", SELVEDGE_MUTATED: files.join(" "), SELVEDGE_SEED: "1" };
  spawnSync("npx", ["stryker", "run", config], { cwd: ROOT, env, stdio: "inherit" });
  return existsSync(report) ? (JSON.parse(readFileSync(report, "utf8")) as Report) : null;
}

function resultOf(file: string, { files, testFiles = {} }: Report): Result {
  const { source, mutants } = files[file] ?? { source: "", mutants: [] };
  const count = (...statuses: string[]): number => mutants.filter((x) => statuses.includes(x.status)).length;
  const killers = new Set(mutants.flatMap((x) => (x.status === "Killed" ? (x.killedBy ?? []) : [])));
  const tests = Object.entries(testFiles)
    .filter(([, x]) => x.tests.some(({ id }) => killers.has(id)))
    .map(([name]) => [name, hashOf(name)] as const);
  return {
    date: new Date().toISOString().slice(0, 10),
    sha256: hash(source), // as it was tried
    tests: Object.fromEntries(tests.sort()),
    mutants: count("Killed", "Timeout", "Survived", "NoCoverage"),
    killed: count("Killed", "Timeout"),
    timedOut: count("Timeout"),
    survivors: mutants
      .filter((x) => x.status === "Survived" || x.status === "NoCoverage")
      .sort((a, b) => a.location.start.line - b.location.start.line)
      .map((x) => `${x.location.start.line}: ${describe(source, x)}`),
  };
}

/** Describes a mutant by what it replaces, and the line that it begins on. */
function describe(source: string, { replacement = "", location: { start, end } }: ReportedMutant): string {
  const lines = source.split("\n").slice(start.line - 1, end.line);
  const whole = lines.join("\n");
  const tail = (lines.at(-1) ?? "").length - (end.column - 1);
  const short = (text: string): string => text.trim().replaceAll(/\s+/g, " ").slice(0, TEXT_MAX);
  return `${short(whole.slice(start.column - 1, whole.length - tail))} → ${short(replacement)} in ${short(lines[0] ?? "")}`;
}

const isEquivalent = (file: string, survivor: string): boolean =>
  EQUIVALENT[file]?.[survivor.replace(/^\d+: /, "")] !== undefined;

const { values, positionals } = parseArgs({
  options: { minutes: { type: "string" }, report: { type: "string" } },
  allowPositionals: true,
});
const all = allFiles();
const wrong = positionals.find((x) => !all.includes(x));
if (wrong !== undefined) throw new TypeError(`${wrong} is no file of ${AREAS.join(", ")} with code`);
const until = Date.now() + Number(values.minutes ?? "Infinity") * 60_000;
const results = readResults();
const isDone = (file: string): boolean => {
  const result = results[file];
  const hashes = Object.entries({ [file]: result?.sha256, ...result?.tests });
  return hashes.every(([name, hash]) => hash === hashOf(name));
};

function keep(file: string, result: Result): void {
  results[file] = result;
  const kept = Object.entries(results).filter(([name]) => all.includes(name));
  writeFileSync(RESULTS, `${JSON.stringify(Object.fromEntries(kept.sort()), null, 2)}\n`);
  const survivors = result.survivors.filter((x) => !isEquivalent(file, x));
  console.log(`${file}: ${result.killed} of ${result.mutants} killed, ${survivors.length} survive`);
  for (const line of survivors) console.log(`  ${line}`);
}

const failures: string[] = [];
for (const files of batchesOf(positionals.length > 0 ? positionals : all.filter((x) => !isDone(x)))) {
  if (Date.now() > until) break;
  const report = tryFiles(files);
  if (report === null) failures.push(`${files.join(", ")}: Stryker came to no result`);
  else for (const file of files) keep(file, resultOf(file, report));
}

const done = all.filter(isDone);
const sum = (count: (result: Result, file: string) => number): number =>
  done.reduce((total, file) => total + count(results[file] as Result, file), 0);
const equivalent = sum(({ survivors }, file) => survivors.filter((x) => isEquivalent(file, x)).length);
const [killed, of] = [sum((x) => x.killed), sum((x) => x.mutants) - equivalent];
const percent = `${killed} of ${of} mutants killed (${((killed / Math.max(1, of)) * 100).toFixed(1)} %)`;
console.log(`\n${done.length} of ${all.length} files tried: ${percent}, ${equivalent} more are equivalent`);
const left = all.length - done.length;
if (left > 0) failures.push(`${left} of ${all.length} files are not tried yet: run again`);
if (killed < SHARE_MIN * of) failures.push(`Only ${percent}: at least ${SHARE_MIN * 100} % are to be`);
for (const failure of failures) console.error(failure);
if (values.report !== undefined)
  writeFileSync(join(ROOT, values.report), JSON.stringify({ passed: done.length, failed: failures.length, failures }));
process.exitCode = failures.length === 0 ? 0 : 1;
