// `npm run mutants [-- words]`: brings each known fault back, one at a time, and expects the named test to fail. Words
// select mutants by a part of their name, as `core-A` or `store`; `--every N` runs each N-th, `--from N` those from the
// N-th on (from 1), to resume a run. A mutant that no test notices, and one whose text is no longer in the code, fails
// the run. The last line is `N passed, N failed`: passed means noticed.
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { ROOT } from "../support/prepare.ts";
import { mutate, MUTANT_VARIABLE } from "./mutant.ts";
import type { Mutant } from "./mutant.ts";
import { readMutants } from "./read-mutants.ts";

/** Mutants that run in parallel: one per core of the machines that run this. */
const PARALLEL = 2;
/** A test that runs longer with a mutant is ended, and the mutant counts as missed: tests must end where the code does not. */
const LONGEST_MS = 300_000;

const all = await readMutants();
const { values, positionals: words } = parseArgs({
  allowPositionals: true,
  options: {
    every: { type: "string", default: "1" },
    from: { type: "string", default: "1" },
    report: { type: "string" },
  },
});
const named = words.length === 0 ? all : all.filter((x) => words.some((word) => x.fault.includes(word)));
const chosen = named.slice(Number(values.from) - 1).filter((_, n) => n % Number(values.every) === 0);
const reports = mkdtempSync(join(tmpdir(), "mutants-"));

/** Runs the test of a mutant; returns null where it fails as it should, else why the mutant counts as missed. */
async function missed(mutant: Mutant, n: number): Promise<string | null> {
  try {
    mutate(mutant, readFileSync(join(ROOT, mutant.file), "utf8"));
  } catch (error) {
    return String(error);
  }
  const report = join(reports, `${n}.json`);
  const title = mutant.title === undefined ? [] : ["-t", mutant.title.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")];
  const args = [
    join(ROOT, "node_modules/vitest/vitest.mjs"),
    "run",
    mutant.test,
    ...title,
    "--bail=1",
    "--reporter=json",
    `--outputFile=${report}`,
  ];
  const env = { ...process.env, [MUTANT_VARIABLE]: JSON.stringify(mutant) };
  const limit = { timeout: LONGEST_MS, killSignal: "SIGKILL" } as const;
  const child = spawn(process.execPath, args, { cwd: ROOT, env, stdio: "ignore", ...limit });
  const status = await new Promise((resolve) => child.on("exit", resolve));
  if (status === 0) return `${mutant.test} passes`;
  try {
    const { numFailedTests } = JSON.parse(readFileSync(report, "utf8")) as { numFailedTests: number };
    return numFailedTests > 0 ? null : `${mutant.test}: no test failed, the file did`;
  } catch {
    return `${mutant.test} left no report: does it hang?`;
  }
}

const failures: string[] = [];
const waiting = chosen.entries();
async function work(): Promise<void> {
  for (const [n, mutant] of waiting) {
    const reason = await missed(mutant, n);
    console.log(`${reason === null ? "noticed" : "MISSED "}  ${mutant.fault}  ${mutant.breaks}`);
    if (reason === null) continue;
    failures.push(`mutant ${mutant.fault} ${mutant.breaks}: ${reason}`);
    console.log(`  ${reason}`);
  }
}
try {
  await Promise.all(Array.from({ length: PARALLEL }, work));
} finally {
  rmSync(reports, { recursive: true, force: true });
}
const counts = { passed: chosen.length - failures.length, failed: failures.length };
if (values.report !== undefined) writeFileSync(values.report, JSON.stringify({ ...counts, failures }));
console.log(`\n${counts.passed} passed, ${counts.failed} failed`);
process.exitCode = counts.failed === 0 && chosen.length > 0 ? 0 : 1;
