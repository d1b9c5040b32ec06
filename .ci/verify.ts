// The one gate: `npm run verify`. Gates of a group run side by side, as many as there are cores; a group begins when the
// one before it has passed. A gate that fails shows what it said and ends the run after its group. With `--all` the run
// goes on, so that one look shows everything. With `--record-sizes` the sizes of this build are those to compare with.
import { spawn, spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";

/** A gate: its name, and a command of node_modules/.bin or of the shell, or a function. */
type Gate = readonly [name: string, run: string | (() => string | Promise<string>)];

const RECORDED_SIZES = ".ci/recorded-sizes.json";

/** The slowest of a group stands first. */
const GROUPS: readonly (readonly Gate[])[] = [
  [
    ["unit tests", "vitest run --project=unit*"],
    ["lint", "eslint --max-warnings 0 ."],
    ["types", "tsc -p tsconfig.json"],
    ["format", "prettier --check ."],
    ["unused", "knip"],
    ["lock file", checkLockfile],
  ],
  [["build", "npm run build"]],
  [
    [
      "package types",
      "attw --pack . --profile strict --ignore-rules cjs-resolves-to-esm --no-emoji --no-definitely-typed",
    ],
    ["size", checkSize],
    ["package", "publint run --strict --pack npm"],
  ],
];

/** Fails where the lock file names a registry's host: an install then asks that host, whatever the user configured. */
function checkLockfile(): string {
  const lock = readFileSync("package-lock.json", "utf8");
  const lines = lock.split("\n").filter((line) => line.includes('"resolved": "http'));
  return lines.length === 0 ? "" : `package-lock.json names a host, on ${lines.length} lines:\n${lines[0]}\n`;
}

/** Fails where a part is above its limit; says where one has grown by a tenth since its size was recorded. */
async function checkSize(): Promise<string> {
  const said = await check("size-limit");
  if (said !== "") return said;
  const { stdout } = spawnSync("size-limit --json", { shell: true, encoding: "utf8" });
  const sizes = JSON.parse(stdout) as readonly { name: string; size: number }[];
  if (process.argv.includes("--record-sizes")) {
    const entries = Object.fromEntries(sizes.map((x) => [x.name, x.size]));
    writeFileSync(RECORDED_SIZES, `${JSON.stringify(entries, null, 2)}\n`);
  }
  const recorded = JSON.parse(readFileSync(RECORDED_SIZES, "utf8")) as Readonly<Record<string, number>>;
  for (const { name, size } of sizes) {
    const before = recorded[name] ?? 0;
    if (size > 1.1 * before) console.log(`warn ${name}: ${size} bytes, recorded ${before}`);
  }
  return "";
}

/** Runs a command; returns what it said, or "" where it went well. */
async function check(command: string): Promise<string> {
  const child = spawn(command, { shell: true, stdio: ["ignore", "pipe", "pipe"] });
  let said = "";
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding("utf8").on("data", (text: string) => {
      said += text;
    });
  const ended = await new Promise<number | string | null>((resolve) => {
    child.once("close", (status, signal) => {
      resolve(status ?? signal);
    });
  });
  return ended === 0 ? "" : `$ ${command}\n${said}\nended with ${ended}\n`;
}

/** Runs gates side by side and prints each when it ends; returns how many failed. */
async function runGroup(gates: readonly Gate[]): Promise<number> {
  let failed = 0;
  const waiting = gates.values();
  const work = async (): Promise<void> => {
    for (const [name, run] of waiting) {
      const start = performance.now();
      const said = typeof run === "string" ? await check(run) : await run();
      const seconds = ((performance.now() - start) / 1000).toFixed(1);
      console.log(`${said === "" ? "ok  " : "FAIL"} ${name} (${seconds} s)`);
      if (said === "") continue;
      console.log(said);
      failed += 1;
    }
  };
  await Promise.all(Array.from({ length: availableParallelism() }, work));
  return failed;
}

const goesOn = process.argv.includes("--all");
let failed = 0;
for (const gates of GROUPS) {
  failed += await runGroup(gates);
  if (failed > 0 && !goesOn) break;
}
console.log(failed === 0 ? "verify: all gates passed" : `verify: ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
