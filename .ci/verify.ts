// The one gate: `npm run verify`. Quick checks first, one line each; the first that fails shows what it said and ends
// the run. With `--all` the run goes on, so that one look shows everything.
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";

const GATES: readonly (readonly [name: string, command: string])[] = [
  ["format", "prettier --check ."],
  ["types", "tsc -p tsconfig.json"],
  ["lint", "eslint --max-warnings 0 ."],
  ["unused", "knip"],
  ["unit tests, borders, docblocks", "vitest run"],
  ["build", "npm run build"],
  ["package", "publint run --strict --pack npm"],
  ["package types", "attw --pack . --profile esm-only --no-emoji --no-definitely-typed"],
  ["size", "size-limit"],
];

/** Fails where the lock file names a registry's host: an install then asks that host, whatever the user configured. */
function checkLockfile(): string {
  const lock = readFileSync("package-lock.json", "utf8");
  const lines = lock.split("\n").filter((line) => line.includes('"resolved": "http'));
  return lines.length === 0 ? "" : `package-lock.json names a host, on ${lines.length} lines:\n${lines[0]}\n`;
}

/** Runs a command of node_modules/.bin or the shell; returns what it said, or "" where it went well. */
function check(command: string): string {
  const { status, signal, output } = spawnSync(command, { shell: true, encoding: "utf8", maxBuffer: 1 << 28 });
  return status === 0 ? "" : `$ ${command}\n${output.join("")}\nended with ${status ?? signal}\n`;
}

const goesOn = process.argv.includes("--all");
let failed = 0;
for (const [name, run] of [
  ["lock file", checkLockfile] as const,
  ...GATES.map(([x, y]) => [x, () => check(y)] as const),
]) {
  const start = performance.now();
  const said = run();
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  console.log(`${said === "" ? "ok  " : "FAIL"} ${name} (${seconds} s)`);
  if (said === "") continue;
  console.log(said);
  failed += 1;
  if (!goesOn) break;
}
console.log(failed === 0 ? "verify: all gates passed" : `verify: ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
