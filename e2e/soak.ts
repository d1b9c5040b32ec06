// `npm run soak`: the full counts, in named parts of at most 45 minutes each. A part that already passed on the same
// sources is not run again, so a soak that was interrupted goes on where it stopped. Each part appends one dated row to
// e2e/results/soak.jsonl.
import { execFileSync, spawn } from "node:child_process";
import { appendFileSync, existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { commit, machine, versions } from "./support/origin.ts";
import { ROOT } from "./support/prepare.ts";
import { PARTS } from "./support/soak-parts.ts";

const HELP = `Runs the suites with their full counts, in parts of at most 45 minutes.

  npm run soak                  runs the parts that have not passed on these sources
  npm run soak -- faults unit   runs the parts whose names begin so

  --list    shows the parts, and when each last passed on these sources
  --again   runs parts again that passed
  --help    this text`;

/** Time limit of a part; a part that exceeds it is ended and has failed. */
const PART_MAX_MS = 45 * 60_000;
const RESULTS = join(ROOT, "e2e", "results", "soak.jsonl");
const OUTCOME = join(ROOT, "test-results", "outcome.json");

/** One part that was run. */
interface Row {
  readonly part: string;
  readonly date: string;
  readonly commit: string;
  /** Hash of the sources that the part ran on. */
  readonly sources: string;
  readonly seconds: number;
  readonly passed: number;
  readonly failed: number;
}

/** Hashes the parts' sources: all files that git tracks except results and texts, including uncommitted changes. */
function hashSources(): string {
  const git = (...args: string[]): string =>
    execFileSync("git", args, { cwd: ROOT, encoding: "utf8", maxBuffer: 1 << 28 });
  const files = git("ls-files", "-z", "lib", "e2e", "models", "demo", "package-lock.json", ":!e2e/results", ":!*.md");
  return execFileSync("git", ["hash-object", "--stdin"], {
    cwd: ROOT,
    encoding: "utf8",
    input: execFileSync("git", ["hash-object", ...files.split("\0").filter((x) => x !== "")], { cwd: ROOT }),
  }).slice(0, 12);
}

function readRows(): Row[] {
  if (!existsSync(RESULTS)) return [];
  const lines = readFileSync(RESULTS, "utf8").split("\n");
  return lines.filter((x) => x !== "").map((x) => JSON.parse(x) as Row);
}

/** Runs one part; returns its counts and measurements. */
async function runPart(words: readonly string[]): Promise<{ passed: number; failed: number; measured: unknown[] }> {
  rmSync(OUTCOME, { force: true });
  const env = { ...process.env, SELVEDGE_SOAK: "1" };
  // A process group of its own, so that browsers and servers end with it.
  const child = spawn("npx", ["tsx", "e2e/test.ts", ...words], { cwd: ROOT, env, stdio: "inherit", detached: true });
  const timer = setTimeout(() => {
    if (child.pid !== undefined) process.kill(-child.pid, "SIGKILL");
  }, PART_MAX_MS);
  await new Promise((resolve) => child.on("exit", resolve));
  clearTimeout(timer);
  if (!existsSync(OUTCOME)) return { passed: 0, failed: 1, measured: [] };
  return JSON.parse(readFileSync(OUTCOME, "utf8")) as { passed: number; failed: number; measured: unknown[] };
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    list: { type: "boolean", default: false },
    again: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});
if (values.help) {
  console.log(HELP);
  process.exit(0);
}
const sources = hashSources();
const isPassed = (part: string): Row | undefined =>
  readRows()
    .filter((x) => x.part === part && x.sources === sources && x.failed === 0)
    .at(-1);
const names = Object.keys(PARTS).filter(
  (name) => positionals.length === 0 || positionals.some((word) => name.startsWith(word)),
);
if (names.length === 0) {
  console.error(`soak: no part begins with ${positionals.join(", ")}; parts: ${Object.keys(PARTS).join(", ")}`);
  process.exit(2);
}
let failed = 0;
let passed = 0;
for (const name of names) {
  const row = isPassed(name);
  if (values.list || (row !== undefined && !values.again)) {
    console.log(
      `${name.padEnd(20)} ${row === undefined ? "not passed on these sources" : `passed ${row.date}, ${row.passed} tests`}`,
    );
    passed += row?.passed ?? 0;
    continue;
  }
  console.log(`\nsoak: ${name}`);
  const startMs = performance.now();
  const outcome = await runPart(PARTS[name] ?? []);
  const seconds = Math.round((performance.now() - startMs) / 1_000);
  const origin = {
    date: new Date().toISOString(),
    commit: commit(),
    sources,
    machine: machine(),
    versions: versions(),
  };
  appendFileSync(RESULTS, `${JSON.stringify({ part: name, ...origin, seconds, ...outcome })}\n`);
  passed += outcome.passed;
  failed += outcome.failed;
}
if (!values.list) console.log(`\n${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
