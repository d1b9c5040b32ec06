// `npm test`: installs browsers that are missing, builds, and runs a slice of every suite: unit tests, integration tests,
// the simulation, known faults brought back (mutants), the build with ONNX Runtime's binary in one part, then the
// browsers. The last line is `N passed, N failed`; a skipped test counts as failed, and so does a suite that broke before
// it could count. The failed tests are listed above that line, since a log of an hour is read from its end. Words after
// `--` name suites: `unit`, `integration`, `simulation`, `mutants`, `whole`, or file names and options of Playwright.
// soak.ts runs the same with full counts.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ensureBrowsers } from "./support/browsers.ts";
import { ensureLavapipe } from "./support/lavapipe/lavapipe.ts";
import { commit, machine } from "./support/origin.ts";
import { prepare, ROOT } from "./support/prepare.ts";
import { isSoak, slice } from "../lib/test-support/slice.ts";
import { addCounts, playwrightCounts, playwrightFailures, playwrightMeasured, settled } from "./support/tally.ts";
import { vitestCounts, vitestFailures } from "./support/tally.ts";
import { addToTrend, COMMITTED_TREND, LOCAL_TREND, readTrend, slowSuites } from "./support/trend.ts";
import type { Counts, PlaywrightReport, VitestReport } from "./support/tally.ts";

const REPORTS = join(ROOT, "test-results");
/**
 * The browsers' tests end this long after the start, in ms, with what they have: a run that others end, after 90 minutes
 * or a part of the soak after 45, would show none of its failures and leave its servers on their ports.
 */
const LIMIT_MS = (isSoak ? 44 : 83) * 60_000;
/** How long each suite took, in seconds. */
const seconds: Record<string, number> = {};
/** Suites that are not files of browser tests. */
const OWN_SUITES = ["unit", "integration", "simulation", "mutants", "mutants-auto", "whole"];
/** The build with ONNX Runtime's binaries in one part, apart from dist/. */
const WHOLE = "e2e/.cache/whole";

/** Result of a suite: its counts and measurements. */
interface Outcome {
  readonly counts: Counts;
  readonly measured: readonly Record<string, unknown>[];
  /** The failed tests, each with the beginning of its error. */
  readonly failures: readonly string[];
}

/** Result of a suite that broke before it could count. */
const BROKEN: Outcome = { counts: { passed: 0, failed: 1 }, measured: [], failures: [] };

/** Runs a suite and reads its report; a suite without one has failed. */
function run(
  title: string,
  command: readonly string[],
  report: string,
  read: (report: unknown) => Outcome,
  env: NodeJS.ProcessEnv = {},
): Outcome {
  const path = join(REPORTS, report);
  rmSync(path, { force: true });
  console.log(`\n${title}`);
  const startMs = performance.now();
  const { status } = spawnSync("npx", command, { cwd: ROOT, stdio: "inherit", env: { ...process.env, ...env } });
  seconds[title] = Math.round((performance.now() - startMs) / 1_000);
  console.log(`${title}: ${seconds[title]} s`);
  if (!existsSync(path)) return { ...BROKEN, failures: [`${title}: no report (exit status ${status})`] };
  const { counts, measured, failures } = read(JSON.parse(readFileSync(path, "utf8")));
  const all = settled(counts, status);
  const silent = all.failed > counts.failed ? [`${title}: exit status ${status}, ${counts.passed} passed`] : [];
  return { counts: all, measured, failures: [...failures, ...silent] };
}

/** Runs the tests of Vitest's projects whose names begin so. */
function runInNode(title: string, name: "unit" | "integration"): Outcome {
  const file = `${name}.json`;
  const json = ["--reporter=default", "--reporter=json", `--outputFile.json=test-results/${file}`];
  return run(title, ["vitest", "run", `--project=${name}*`, ...json], file, (report) => ({
    counts: vitestCounts(report as VitestReport),
    measured: [],
    failures: vitestFailures(report as VitestReport),
  }));
}

/** Counts as one test: it fails if a story broke. The mutations among the unit tests show that it would notice. */
function runSimulation(): Outcome {
  const seeds = String(slice(2_000, 200_000));
  const command = [
    "tsx",
    "lib/test-support/simulate/cli.ts",
    "--seeds",
    seeds,
    "--report",
    "test-results/simulation.json",
  ];
  return run("Simulation", command, "simulation.json", (report) => {
    const { broken, failures } = report as { broken: number; failures: readonly string[] };
    return {
      counts: { passed: Number(broken === 0), failed: broken },
      measured: [{ test: "simulation", ...(report as object) }],
      failures,
    };
  });
}

/** Brings every n-th known fault back; counts those that a test notices. */
function runMutants(): Outcome {
  const command = [
    "tsx",
    "e2e/mutants/run.ts",
    "--every",
    String(slice(12, 1)),
    "--report",
    "test-results/mutants.json",
  ];
  return run("Mutants", command, "mutants.json", (report) => {
    const { failures, ...counts } = report as Counts & { failures: readonly string[] };
    return { counts, measured: [], failures };
  });
}

/**
 * Only on request, as in the soak: automatic mutants for half an hour; the next run resumes from there. Fails until each
 * file has a result.
 */
function runAutoMutants(): Outcome {
  const command = ["tsx", "e2e/mutants/auto.ts", "--minutes", "30", "--report", "test-results/mutants-auto.json"];
  return run("Automatic mutants", command, "mutants-auto.json", (report) => {
    const { failures, ...counts } = report as Counts & { failures: readonly string[] };
    return { counts, measured: [], failures };
  });
}

/** Runs what depends on ONNX Runtime's binary with the binary in one part: its operators, and each build in each browser. */
function runWhole(): Outcome {
  const startMs = performance.now();
  const words = ["run", "--silent", "build", "--", "--whole", "--out", WHOLE];
  const { status } = spawnSync("npm", words, { cwd: ROOT, stdio: "inherit" });
  seconds["Whole binary, build"] = Math.round((performance.now() - startMs) / 1_000);
  if (status !== 0) return { ...BROKEN, failures: [`Whole binary: the build failed (exit status ${status})`] };
  // The results of a failed test stay, in a folder that the browsers' next run does not empty.
  const specs = ["engine/backend.spec", "engine/operators", "engine/wasm-split", "--output=e2e/.cache/whole-results"];
  return runBrowsers("Whole binary", specs, { SELVEDGE_DIST: WHOLE });
}

function runBrowsers(title: string, names: readonly string[], env: NodeJS.ProcessEnv = {}): Outcome {
  const limit = `--global-timeout=${Math.round(Math.max(60_000, LIMIT_MS - performance.now()))}`;
  const read = (report: unknown): Outcome => ({
    counts: playwrightCounts(report as PlaywrightReport),
    measured: playwrightMeasured(report as PlaywrightReport),
    failures: playwrightFailures(report as PlaywrightReport),
  });
  return run(title, ["playwright", "test", limit, ...names], "playwright.json", read, env);
}

ensureBrowsers();
/** In the gate, tests without float16 on the GPU are a failure. */
const isAdapterMissing = await ensureLavapipe();
prepare();
mkdirSync(REPORTS, { recursive: true });
const suites = process.argv.slice(2);
const isWanted = (name: string): boolean => suites.length === 0 || suites.includes(name);
const inBrowsers = suites.filter((name) => !OWN_SUITES.includes(name));
const outcomes: Outcome[] = [];
if (isWanted("unit")) outcomes.push(runInNode("Unit tests", "unit"));
if (isWanted("integration")) outcomes.push(runInNode("Integration tests", "integration"));
if (isWanted("simulation")) outcomes.push(runSimulation());
if (suites.includes("mutants-auto")) outcomes.push(runAutoMutants());
if (isWanted("mutants")) outcomes.push(runMutants());
if (isWanted("whole")) outcomes.push(runWhole());
if (suites.length === 0 || inBrowsers.length > 0) outcomes.push(runBrowsers("Browsers", inBrowsers));
const counts = outcomes.map((x) => x.counts);
const { passed, failed } = addCounts(...counts, { passed: 0, failed: Number(isAdapterMissing) });
const measured = outcomes.flatMap((x) => x.measured);
writeFileSync(join(REPORTS, "outcome.json"), JSON.stringify({ passed, failed, measured }));
const failures = outcomes.flatMap((x) => x.failures);
if (isAdapterMissing) failures.push("Chromium has no WebGPU adapter with float16 (lavapipe)");
if (failures.length > 0) console.log(`\nFailed:\n${failures.join("\n")}`);
const slow = slowNow();
for (const sentence of slow) console.log(`Twice as slow, two runs in a row: ${sentence}`);
console.log(
  `\nSeconds: ${Object.entries(seconds)
    .map((x) => x.join(" "))
    .join(", ")}`,
);
console.log(`\n${passed} passed, ${failed + slow.length} failed`);
process.exitCode = failed + slow.length === 0 && passed > 0 ? 0 : 1;

/** Records the run, and returns a sentence for each suite that is too slow. Chosen files of browser tests say nothing. */
function slowNow(): string[] {
  if (isSoak || inBrowsers.length > 0) return [];
  addToTrend(LOCAL_TREND, {
    at: new Date().toISOString(),
    commit: commit(),
    machine: machine(),
    seconds,
    bytes: sizes(),
  });
  return slowSuites(readTrend(COMMITTED_TREND, LOCAL_TREND));
}

/** Returns the bytes of each worker, wasm and bundle that ships, and of all files together. */
function sizes(): Record<string, number> {
  const dist = join(ROOT, "dist");
  const bytesOf = (file: string): number => statSync(join(dist, file)).size;
  const files = readdirSync(dist, { recursive: true, encoding: "utf8" }).filter((x) => /\.(js|wasm)$/.test(x));
  const named = files.filter((x) => /^(worker-[^/]*|[^/]*\.min)\.js$|\.wasm$/.test(x));
  const all = files.reduce((sum, file) => sum + bytesOf(file), 0);
  return { ...Object.fromEntries(named.map((file) => [file, bytesOf(file)])), all };
}
