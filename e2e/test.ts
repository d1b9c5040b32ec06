// `npm test`: installs browsers that are missing, builds, and runs every suite: unit tests, then the browsers, one at a
// time. `npm run soak` is the same with full counts, and writes what was measured to e2e/results. The last line is
// `N passed, N failed`; what was skipped counts as failed, and so does a suite that broke before it could count.
// Words after `--` name browser suites: then only those run, and a soak's report says so.
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

function run(suite: string, command: readonly string[], report: string, count: (report: string) => Counts): Counts {
  const path = join(REPORTS, report);
  rmSync(path, { force: true });
  console.log(`\n${suite}`);
  const { status } = spawnSync("npx", command, { cwd: ROOT, stdio: "inherit" });
  return settled(existsSync(path) ? count(readFileSync(path, "utf8")) : { passed: 0, failed: 0 }, status);
}

ensureBrowsers();
prepare();
mkdirSync(REPORTS, { recursive: true });
const suites = process.argv.slice(2);
const counts: Counts[] = [];
if (suites.length === 0) {
  const json = ["--reporter=default", "--reporter=json", "--outputFile.json=test-results/vitest.json"];
  counts.push(
    run("Unit tests", ["vitest", "run", ...json], "vitest.json", (report) =>
      vitestCounts(JSON.parse(report) as VitestReport),
    ),
  );
  console.log("\nSimulation");
  // Only where it can fail by itself: the mutations among the unit tests show that it would notice.
  const stories = ["run", "--silent", "simulate", "--", "--seeds", String(slice(10_000, 200_000))];
  const { status } = spawnSync("npm", stories, { cwd: ROOT, stdio: "inherit" });
  counts.push(status === 0 ? { passed: 1, failed: 0 } : { passed: 0, failed: 1 });
}
counts.push(
  run("Browsers", ["playwright", "test", ...suites], "playwright.json", (report) =>
    playwrightCounts(JSON.parse(report) as PlaywrightReport),
  ),
);
const { passed, failed } = addCounts(...counts);

if (isSoak) {
  const date = new Date().toISOString();
  const report = JSON.parse(readFileSync(join(REPORTS, "playwright.json"), "utf8")) as PlaywrightReport;
  const soak = {
    date,
    suites: suites.length === 0 ? "all" : suites,
    commit: commit(),
    machine: machine(),
    versions: versions(),
    passed,
    failed,
    measured: playwrightMeasured(report),
  };
  const folder = join(ROOT, "e2e", "results");
  mkdirSync(folder, { recursive: true });
  const path = join(folder, `soak-${date.slice(0, 10)}.json`);
  const before = existsSync(path) ? (JSON.parse(readFileSync(path, "utf8")) as unknown[]) : [];
  writeFileSync(path, `${JSON.stringify([...before, soak], null, 2)}\n`);
}

console.log(`\n${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 && passed > 0 ? 0 : 1;
