// Finds out which functions of ONNX Runtime's wasm run usually, for the build to put them into the part that is fetched at
// once (lib/build/split.ts):
//
//     npm run usual
//     npm run usual -- lstm      only cases with that in their title; adds to what is known
//
// Runs the cases of profile-cases.ts and profile-blocks.ts in Chromium on both builds, on wasm and on WebGPU; writes
// lib/build/usual-<build>.json and lib/worker/backend/usual-operators.ts. It needs no built package, so it serves a new version
// of ONNX Runtime Web, which the build refuses until this has run.
import { createHash } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { chromium } from "@playwright/test";
import type { Browser, Page } from "@playwright/test";
import { build } from "esbuild";
import { format, resolveConfig } from "prettier";
import { startServer } from "../../lib/compress/check/local-server.ts";
import type { LocalServer } from "../../lib/compress/check/local-server.ts";
import type { BackendName } from "../../lib/rpc/backend.ts";
import { operatorName } from "../../lib/worker/backend/operators.ts";
import { USUAL_OPERATORS } from "../../lib/worker/backend/usual-operators.ts";
import { markWasm } from "../../lib/build/instrument.ts";
import { chromiumLaunch } from "./browsers.ts";
import { ROOT } from "./prepare.ts";
import { blockCases } from "./profile-blocks.ts";
import { exportCases } from "./profile-exports.ts";
import { pairCases } from "./profile-pairs.ts";
import { shapeCases } from "./profile-shapes.ts";
import { operatorCases, wireOf } from "./profile-cases.ts";
import type { Case } from "./profile-cases.ts";
import type { UsualAsk, UsualTold } from "./profile-worker.ts";

const ORT = dirname(createRequire(import.meta.url).resolve("onnxruntime-web/jspi"));
const BUILDS = { jspi: "ort-wasm-simd-threaded.jspi.wasm", wasm: "ort-wasm-simd-threaded.wasm" } as const;
/** How long a case may take before its worker is given up: an endless loop, or a shader that does not compile. */
const SILENT_MS = 60_000;
type Build = keyof typeof BUILDS;

const [only = ""] = process.argv.slice(2);
const cases = [...blockCases(), ...exportCases(), ...shapeCases(), ...pairCases(), ...operatorCases()];

/** Bundles the worker for a build of ONNX Runtime. */
async function bundleWorker(name: Build): Promise<Uint8Array> {
  const { outputFiles } = await build({
    entryPoints: [join(ROOT, "e2e/support/profile-worker.ts")],
    alias: { "onnxruntime-web": `onnxruntime-web/${name}` },
    bundle: true,
    write: false,
    format: "iife",
    define: { "import.meta.url": "self.location.href" },
    logLevel: "error",
  });
  return outputFiles[0]?.contents ?? new Uint8Array();
}

async function serveCases(): Promise<LocalServer> {
  const files = new Map<string, readonly [type: string, bytes: string | Uint8Array]>([
    ["/", ["text/html", "<!doctype html><title>Usual functions</title>"]],
  ]);
  for (const [name, file] of Object.entries(BUILDS)) {
    files.set(`/worker-${name}.js`, ["text/javascript", await bundleWorker(name as Build)]);
    files.set(`/ort-${name}.wasm`, ["application/wasm", markWasm(readFileSync(join(ORT, file)))]);
  }
  return startServer(({ url = "/" }, response) => {
    const [, number] = /^\/case\/(\d+)$/.exec(url) ?? [];
    const [type, bytes] =
      number === undefined
        ? (files.get(url) ?? ["text/plain", ""])
        : ["application/json", JSON.stringify(wireOf(makeCase(Number(number))))];
    response.writeHead(200, { "content-type": type }).end(bytes);
  });
}

/** Makes a case; null where its variant does not exist or can't be written. */
function makeCase(number: number): Case | null {
  try {
    return cases[number]?.make() ?? null;
  } catch (error) {
    console.log(`not made: ${cases[number]?.title ?? ""}: ${String(error)}`);
    return null;
  }
}

/** Runs cases in one worker until it ends, fails or stalls; returns the cases that are left. */
function runWorker(
  page: Page,
  name: Build,
  ask: UsualAsk,
  ran: Set<number>,
  failures: Map<number, string>,
): Promise<readonly number[]> {
  return new Promise((resolve, reject) => {
    let began = -1;
    let timer: NodeJS.Timeout;
    const finish = (left: readonly number[]): void => {
      clearTimeout(timer);
      page.removeListener("console", listen);
      page.evaluate("worker.terminate()").then(() => {
        resolve(left);
      }, reject);
    };
    const wait = (): void => {
      clearTimeout(timer);
      timer = setTimeout(() => {
        failures.set(began, `silent for ${SILENT_MS} ms`);
        finish(ask.cases.slice(ask.cases.indexOf(began) + 1));
      }, SILENT_MS);
    };
    const listen = (message: { text(): string }): void => {
      const text = message.text();
      if (!text.startsWith("told ")) return;
      wait();
      const told = JSON.parse(text.slice(5)) as UsualTold;
      if (told.began !== undefined) ({ began } = told as { began: number });
      if (told.failed !== undefined) failures.set(began, told.failed);
      for (const each of told.marks ?? []) ran.add(each);
      if (told.marks !== undefined) console.log(`  ${ran.size} functions after ${cases[began]?.title ?? ""}`);
      if (told.left !== undefined) finish(told.left);
    };
    page.on("console", listen);
    wait();
    const code = `globalThis.worker = new Worker("/worker-${name}.js");
      worker.onmessage = ({ data }) => console.log("told " + JSON.stringify(data));
      worker.onerror = ({ message }) => console.log("told " + JSON.stringify({ failed: message, left: [] }));
      worker.postMessage(${JSON.stringify(ask)});`;
    page.evaluate(code).catch(reject);
  });
}

/** Runs all cases on a build; returns the functions that ran. Adds the operators that ran on the CPU to `operators`. */
async function profile(browser: Browser, address: string, name: Build, operators: Set<string>): Promise<Set<number>> {
  const ran = new Set<number>();
  for (const backend of (name === "jspi" ? ["wasm", "webgpu"] : ["wasm"]) as BackendName[]) {
    const page = await browser.newPage();
    await page.goto(address);
    const failures = new Map<number, string>();
    const all = cases.flatMap(({ title, onGpu }, i) =>
      title.includes(only) && (onGpu || backend === "wasm") ? [i] : [],
    );
    let left: readonly number[] = all;
    console.log(`${name} on ${backend}: ${all.length} cases`);
    while (left.length > 0) {
      const ask: UsualAsk = { backend, wasmUrl: `/ort-${name}.wasm`, cases: left };
      left = await runWorker(page, name, ask, ran, failures);
    }
    console.log(`${name} on ${backend}: ${ran.size} functions so far, ${failures.size} cases refused`);
    const why = Array.from(failures, ([i, message]) => `${cases[i]?.title ?? "start"}: ${message}\n`).join("");
    writeFileSync(join(ROOT, `e2e/.cache/usual-${name}-${backend}.txt`), why);
    if (backend === "wasm") for (const i of all) if (!failures.has(i)) addOperators(i, operators);
    await page.close();
  }
  return ran;
}

function addOperators(number: number, operators: Set<string>): void {
  for (const graph of makeCase(number)?.model.graph.all() ?? [])
    for (const { opType, domain } of graph.nodes) operators.add(operatorName(opType, domain));
}

/** Writes the operators that ran, with those known before where only some cases ran. */
async function writeOperators(operators: ReadonlySet<string>): Promise<void> {
  const path = join(ROOT, "lib/worker/backend/usual-operators.ts");
  const all = [...new Set([...(only === "" ? [] : USUAL_OPERATORS), ...operators])].sort();
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
    .update(readFileSync(join(ORT, BUILDS[name])))
    .digest("hex");
  const path = join(ROOT, `lib/build/usual-${name}.json`);
  const known = existsSync(path) ? (JSON.parse(readFileSync(path, "utf8")) as { sha256: string; bits: string }) : null;
  const before = only !== "" && known?.sha256 === sha256 ? Buffer.from(known.bits, "base64") : Buffer.alloc(0);
  const bits = new Uint8Array(Math.max(before.length, Math.ceil((1 + Math.max(...ran)) / 8)));
  bits.set(before);
  for (const i of ran) bits[i >> 3] = (bits[i >> 3] ?? 0) | (1 << (i & 7));
  const functions = bits.reduce((sum, x) => sum + x.toString(2).replaceAll("0", "").length, 0);
  const told = { sha256, functions, bits: Buffer.from(bits).toString("base64") };
  writeFileSync(path, `${JSON.stringify(told, null, 2)}\n`);
  console.log(`${path}: ${functions} functions`);
}

const server = await serveCases();
const browser = await chromium.launch(chromiumLaunch());
const operators = new Set<string>();
for (const name of Object.keys(BUILDS) as Build[]) write(name, await profile(browser, server.origin, name, operators));
await writeOperators(operators);
await browser.close();
await server.close();
