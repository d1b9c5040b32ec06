// Finds out which functions of ONNX Runtime's wasm run usually, for the build to put them into the part that is fetched at
// once (lib/build/split.ts). It needs no built package, so it serves a new version of ONNX Runtime Web, which the build
// refuses until this has run.
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { chromium } from "@playwright/test";
import type { Browser } from "@playwright/test";
import { format, resolveConfig } from "prettier";
import type { BackendName } from "../../lib/rpc/backend.ts";
import { operatorName } from "../../lib/worker/backend/operators.ts";
import { USUAL_OPERATORS } from "../../lib/worker/backend/usual-operators.ts";
import { readUsual } from "../../lib/build/hot-functions.ts";
import { chromiumLaunch } from "./browsers.ts";
import { ROOT } from "./prepare.ts";
import { blockCases } from "./profile-blocks.ts";
import { exportCases } from "./profile-exports.ts";
import { modeCases } from "./profile-modes.ts";
import { modelCases } from "./profile-models.ts";
import { pairCases } from "./profile-pairs.ts";
import { binaryOf, BUILDS, runWorker, serveCases } from "./profile-run.ts";
import type { Build, Ran } from "./profile-run.ts";
import { shapeCases } from "./profile-shapes.ts";
import { operatorCases } from "./profile-cases.ts";

const HELP = `Profiles which functions of ONNX Runtime run, in Chromium, on both builds, on wasm and on WebGPU; writes
lib/build/usual-<build>.json and lib/worker/backend/usual-operators.ts. Why cases were refused stands in
e2e/.cache/usual-<build>-<backend>.txt.

  npm run usual                             all cases (profile-*.ts)
  npm run usual -- lstm                     cases with that in their title; adds to what is known
  npm run usual -- --models folder          runs the .onnx files of a folder with synthetic inputs, and names those that run
                                            functions that the profile lacks
  npm run usual -- --models folder --add    adds these functions to what is known

Exits 1 where a model runs functions that the profile lacks and --add is not given, or where one did not run; 2 for wrong
arguments.`;

const { values, only, cases } = readArguments();
const isPart = only !== "" || values.models !== undefined;

/** Reads the arguments, and chooses the cases; ends the process where they are wrong, or ask for help. */
function readArguments() {
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: {
        models: { type: "string" },
        add: { type: "boolean", default: false },
        help: { type: "boolean", default: false },
      },
    });
    const [only = "", ...more] = positionals;
    if (values.help) {
      console.log(HELP);
      process.exit(0);
    }
    if (more.length > 0) throw new Error(`Expected one part of a title, got ${positionals.join(" ")}`);
    if (values.add && values.models === undefined) throw new Error("--add needs --models folder");
    const all =
      values.models === undefined
        ? [...blockCases(), ...exportCases(), ...shapeCases(), ...modeCases(), ...pairCases(), ...operatorCases()]
        : modelCases(values.models);
    const cases = all.filter(({ title }) => title.includes(only));
    if (cases.length === 0) throw new Error(`No case has "${only}" in its title`);
    return { values, only, cases };
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : String(error)}\n\n${HELP}`);
    process.exit(2);
  }
}

/** Runs all cases on a build; returns the functions that ran. Adds the operators that ran on the CPU to `operators`. */
async function profile(browser: Browser, address: string, name: Build, operators: Set<string>): Promise<Set<number>> {
  const functions = new Set<number>();
  for (const backend of (name === "jspi" ? ["wasm", "webgpu"] : ["wasm"]) as BackendName[]) {
    const page = await browser.newPage();
    await page.goto(address);
    const failures = new Map<number, string>();
    const all = cases.flatMap(({ onGpu }, i) => (onGpu || backend === "wasm" ? [i] : []));
    let left: readonly number[] = all;
    console.log(`${name} on ${backend}: ${all.length} cases`);
    const ran: Ran = { functions, failures, onMarks: tellerOf(name, functions) };
    const every = values.models === undefined ? 100 : 1;
    while (left.length > 0) left = await runWorker(page, name, ran, { backend, cases: left, every });
    console.log(`${name} on ${backend}: ${functions.size} functions so far, ${failures.size} cases refused`);
    const why = Array.from(failures, ([i, message]) => `${titleOf(i)}: ${message}\n`);
    mkdirSync(join(ROOT, "e2e/.cache"), { recursive: true });
    writeFileSync(join(ROOT, `e2e/.cache/usual-${name}-${backend}.txt`), why.join(""));
    if (values.models !== undefined) {
      for (const line of why) console.log(`  did not run: ${line.trimEnd()}`);
      for (const i of failures.keys()) refusedModels.add(titleOf(i));
    }
    if (backend === "wasm") for (const i of all) if (!failures.has(i)) await addOperators(i, operators);
    await page.close();
  }
  return functions;
}

/** Returns the title of a case; before the first one it is ONNX Runtime's start. */
function titleOf(number: number): string {
  return cases[number]?.title ?? "start";
}

/** Returns what prints how many functions ran; of models, those that the profile lacks. */
function tellerOf(name: Build, functions: ReadonlySet<number>): Ran["onMarks"] {
  if (values.models === undefined)
    return (_, number) => {
      console.log(`  ${functions.size} functions after ${titleOf(number)}`);
    };
  const { isUsual } = readUsual(name, readFileSync(binaryOf(name)));
  return (ran, number) => {
    const lacking = ran.filter((i) => !isUsual(i));
    if (lacking.length === 0) return;
    lackingModels.add(titleOf(number));
    console.log(`  ${titleOf(number)} runs ${lacking.length} functions that the profile lacks: ${lacking.join(" ")}`);
  };
}

async function addOperators(number: number, operators: Set<string>): Promise<void> {
  const made = await cases[number]?.make();
  for (const graph of made?.model.graph.all() ?? [])
    for (const { opType, domain } of graph.nodes) operators.add(operatorName(opType, domain));
}

/** Writes the operators that ran, with those known before where only some cases ran. */
async function writeOperators(operators: ReadonlySet<string>): Promise<void> {
  const path = join(ROOT, "lib/worker/backend/usual-operators.ts");
  const all = [...new Set([...(isPart ? USUAL_OPERATORS : []), ...operators])].sort();
  const code = `// Operators that the profile of ONNX Runtime's usual functions ran; written by \`npm run usual\`.
/** Names of operators whose functions are in the first part of the binary; those of other domains begin with it. */
export const USUAL_OPERATORS: ReadonlySet<string> = new Set(${JSON.stringify(all)});
`;
  writeFileSync(path, await format(code, { ...(await resolveConfig(path)), parser: "typescript" }));
  console.log(`${path}: ${all.length} operators`);
}

/** Writes what ran; with what was found before where only some cases ran on the same binary. */
function write(name: Build, ran: ReadonlySet<number>): void {
  const sha256 = createHash("sha256")
    .update(readFileSync(binaryOf(name)))
    .digest("hex");
  const path = join(ROOT, `lib/build/usual-${name}.json`);
  const known = existsSync(path) ? (JSON.parse(readFileSync(path, "utf8")) as { sha256: string; bits: string }) : null;
  const before = isPart && known?.sha256 === sha256 ? Buffer.from(known.bits, "base64") : Buffer.alloc(0);
  const bits = new Uint8Array(Math.max(before.length, Math.ceil((1 + Math.max(...ran)) / 8)));
  bits.set(before);
  for (const i of ran) bits[i >> 3] = (bits[i >> 3] ?? 0) | (1 << (i & 7));
  const functions = bits.reduce((sum, x) => sum + x.toString(2).replaceAll("0", "").length, 0);
  const told = { sha256, functions, bits: Buffer.from(bits).toString("base64") };
  writeFileSync(path, `${JSON.stringify(told, null, 2)}\n`);
  console.log(`${path}: ${functions} functions`);
}

/** Models that run functions that the profile lacks, and those that did not run somewhere. */
const lackingModels = new Set<string>();
const refusedModels = new Set<string>();
const server = await serveCases(cases);
const browser = await chromium.launch(chromiumLaunch());
const operators = new Set<string>();
const isWritten = values.models === undefined || values.add;
for (const name of BUILDS) {
  const ran = await profile(browser, server.origin, name, operators);
  if (isWritten) write(name, ran);
}
if (isWritten) await writeOperators(operators);
await browser.close();
await server.close();
if (values.models !== undefined) {
  const list = (titles: ReadonlySet<string>): string => [...titles].map((title) => `\n  ${title}`).join("");
  console.log(`${refusedModels.size} of ${cases.length} models did not run everywhere${list(refusedModels)}`);
  console.log(
    `${lackingModels.size} run functions that the profile ${values.add ? "lacked until now" : "lacks"}${list(lackingModels)}`,
  );
  if ((lackingModels.size > 0 && !values.add) || refusedModels.size > 0) process.exitCode = 1;
}
