// Runs profile cases in Chromium (profile-functions.ts), each in a worker with an instrumented build of ONNX Runtime
// (profile-worker.ts), which is replaced where it ends or stalls.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import type { Page } from "@playwright/test";
import { build } from "esbuild";
import { markWasm } from "../../lib/build/instrument.ts";
import { startServer } from "../../lib/compress/check/local-server.ts";
import type { LocalServer } from "../../lib/compress/check/local-server.ts";
import { ROOT } from "./prepare.ts";
import { wireOf } from "./profile-cases.ts";
import type { LazyCase } from "./profile-cases.ts";
import type { UsualAsk, UsualTold } from "./profile-worker.ts";

const ORT = dirname(createRequire(import.meta.url).resolve("onnxruntime-web/jspi"));
const FILES = { jspi: "ort-wasm-simd-threaded.jspi.wasm", wasm: "ort-wasm-simd-threaded.wasm" } as const;
/** How long a case may take before its worker is given up: an endless loop, or a shader that does not compile. */
const STALL_MS = 60_000;

/** Build of ONNX Runtime. */
export type Build = keyof typeof FILES;
export const BUILDS = Object.keys(FILES) as readonly Build[];

/** Returns the path of a build's binary. */
export const binaryOf = (name: Build): string => join(ORT, FILES[name]);

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

/** Serves the page, the workers of both builds and the cases, by their numbers. */
export async function serveCases(cases: readonly LazyCase[]): Promise<LocalServer> {
  const files = new Map<string, readonly [type: string, bytes: string | Uint8Array]>([
    ["/", ["text/html", "<!doctype html><title>Usual functions</title>"]],
  ]);
  for (const name of BUILDS) {
    files.set(`/worker-${name}.js`, ["text/javascript", await bundleWorker(name)]);
    files.set(`/ort-${name}.wasm`, ["application/wasm", markWasm(readFileSync(binaryOf(name)))]);
  }
  return startServer(({ url = "/" }, response) => {
    const [, number] = /^\/case\/(\d+)$/.exec(url) ?? [];
    const send = (type: string, bytes: string | Uint8Array): void => {
      response.writeHead(200, { "content-type": type }).end(bytes);
    };
    if (number === undefined) send(...(files.get(url) ?? (["text/plain", ""] as const)));
    else
      wireAt(cases[Number(number)]).then(
        (wire) => {
          send("application/json", wire);
        },
        (error: unknown) => response.writeHead(500).end(`not made: ${String(error)}`),
      );
  });
}

/** Makes a case and writes it; `null` where its variant does not exist. */
async function wireAt(given: LazyCase | undefined): Promise<string> {
  return JSON.stringify(wireOf((await given?.make()) ?? null));
}

/** Progress of a run. */
export interface Ran {
  /** Indices of the functions that ran. */
  readonly functions: Set<number>;
  /** Why cases were refused, by their numbers. */
  readonly failures: Map<number, string>;
  /** Called with the functions that ran since the last call, and the last case before. */
  readonly onMarks: (functions: readonly number[], number: number) => void;
}

/** Runs cases in one worker until it ends, fails or stalls; returns the cases that are left. */
export function runWorker(
  page: Page,
  name: Build,
  { functions, failures, onMarks }: Ran,
  asked: Omit<UsualAsk, "wasmUrl">,
): Promise<readonly number[]> {
  const ask: UsualAsk = { ...asked, wasmUrl: `/ort-${name}.wasm` };
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
        failures.set(began, `stalled: no progress for ${STALL_MS / 1_000} s`);
        finish(ask.cases.slice(ask.cases.indexOf(began) + 1));
      }, STALL_MS);
    };
    const listen = (message: { text(): string }): void => {
      const text = message.text();
      if (!text.startsWith("told ")) return;
      wait();
      const told = JSON.parse(text.slice(5)) as UsualTold;
      if (told.began !== undefined) ({ began } = told as { began: number });
      if (told.failed !== undefined) failures.set(began, told.failed);
      if (told.marks !== undefined) {
        for (const each of told.marks) functions.add(each);
        onMarks(told.marks, began);
      }
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
