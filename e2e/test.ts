// `npm test`: installs browsers that are missing, builds, and runs every suite: unit tests, the simulation, then the
// browsers, one at a time. `npm run soak` is the same with full counts, and writes what was measured to e2e/results. The
// last line is `N passed, N failed`; what was skipped counts as failed, and so does a suite that broke before it could
// count. Words after `--` name suites, `unit`, `simulation` or such as Playwright knows: then only those run, and a
// soak's report says so.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ensureBrowsers } from "./browsers.ts";
import { commit, machine, versions } from "./origin.ts";
import { prepare, ROOT } from "./prepare.ts";
import { isSoak, slice } from "./slice.ts";
import { addCounts, playwrightCounts, playwrightMeasured, settled, vitestCounts } from "./tally.ts";
import type { Counts, PlaywrightReport, VitestReport } from "./tally.ts";

const REPORTS = join(ROOT, "test-results");

/** What came of a suite: how many passed, and what it measured. */
interface Outcome {
  readonly counts: Counts;
  readonly measured: readonly Record<string, unknown>[];
}

/** Runs a suite and reads the report that it leaves; one that leaves none has failed. */
function run(title: string, command: readonly string[], report: string, read: (report: unknown) => Outcome): Outcome {
  const path = join(REPORTS, report);
  rmSync(path, { force: true });
  console.log(`\n${title}`);
  const startMs = performance.now();
  const { status } = spawnSync("npx", command, { cwd: ROOT, stdio: "inherit" });
  console.log(`${title}: ${Math.round((performance.now() - startMs) / 1_000)} s`);
  const { counts, measured } = existsSync(path)
    ? read(JSON.parse(readFileSync(path, "utf8")))
    : { counts: { passed: 0, failed: 0 }, measured: [] };
  return { counts: settled(counts, status), measured };
}

function runUnitTests(): Outcome {
  const json = ["--reporter=default", "--reporter=json", "--outputFile.json=test-results/vitest.json"];
  return run("Unit tests", ["vitest", "run", ...json], "vitest.json", (report) => ({
    counts: vitestCounts(report as VitestReport),
    measured: [],
  }));
}

/** Counts as one test: it fails where a story broke. The mutations among the unit tests show that it would notice. */
function runSimulation(): Outcome {
  const seeds = String(slice(10_000, 200_000));
  const command = ["tsx", "lib/simulate/cli.ts", "--seeds", seeds, "--report", "test-results/simulation.json"];
  return run("Simulation", command, "simulation.json", (report) => {
    const { broken } = report as { broken: number };
    return {
      counts: { passed: Number(broken === 0), failed: broken },
      measured: [{ test: "simulation", ...(report as object) }],
    };
  });
}

function runBrowsers(names: readonly string[]): Outcome {
  return run("Browsers", ["playwright", "test", ...names], "playwright.json", (report) => ({
    counts: playwrightCounts(report as PlaywrightReport),
    measured: playwrightMeasured(report as PlaywrightReport),
  }));
}

ensureBrowsers();
prepare();
mkdirSync(REPORTS, { recursive: true });
const suites = process.argv.slice(2);
const inBrowsers = suites.filter((name) => name !== "unit" && name !== "simulation");
const outcomes: Outcome[] = [];
if (suites.length === 0 || suites.includes("unit")) outcomes.push(runUnitTests());
if (suites.length === 0 || suites.includes("simulation")) outcomes.push(runSimulation());
if (suites.length === 0 || inBrowsers.length > 0) outcomes.push(runBrowsers(inBrowsers));
const { passed, failed } = addCounts(...outcomes.map(({ counts }) => counts));

if (isSoak) {
  const date = new Date().toISOString();
  const soak = {
    date,
    suites: suites.length === 0 ? "all" : suites,
    commit: commit(),
    machine: machine(),
    versions: versions(),
    passed,
    failed,
    measured: outcomes.flatMap(({ measured }) => measured),
  };
  const folder = join(ROOT, "e2e", "results");
  mkdirSync(folder, { recursive: true });
  const path = join(folder, `soak-${date.slice(0, 10)}.json`);
  const before = existsSync(path) ? (JSON.parse(readFileSync(path, "utf8")) as unknown[]) : [];
  writeFileSync(path, `${JSON.stringify([...before, soak], null, 2)}\n`);
}

console.log(`\n${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 && passed > 0 ? 0 : 1;
