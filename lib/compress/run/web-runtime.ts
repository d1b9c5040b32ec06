// ONNX Runtime's WebAssembly in Node: the glue is bundled into the toolchain, and the binary is the one that the package
// ships for browsers, in its two parts. So wasm is checked with the very functions that pages run, and the package
// onnxruntime-web need not be installed.
//
// In the repository, where this file is not bundled, the binary is that of the development dependency onnxruntime-web.
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import * as ort from "onnxruntime-web/wasm";
import { STARTER } from "../../worker/backend/identity-model.ts";
import { NO_BINARY, shareModule } from "../../worker/backend/shared-module.ts";

/** ONNX Runtime Web, as its entry for WebAssembly exports it. */
export type WebRuntime = typeof ort;

/** Address of this module, for a process of its own; a loader of TypeScript may add a query. */
export const WEB_RUNTIME: string = import.meta.url.replace(/[?].*$/, "");

let started: Promise<WebRuntime> | null = null;

/** Starts ONNX Runtime's WebAssembly on one thread, once in a process. */
export function startWebRuntime(): Promise<WebRuntime> {
  return (started ??= start());
}

async function start(): Promise<WebRuntime> {
  const { wasm } = ort.env;
  wasm.numThreads = 1;
  wasm.wasmBinary = NO_BINARY;
  ort.env.logLevel = "fatal";
  const { first, rest } = binary();
  const { instantiate, instantiateStreaming } = WebAssembly;
  try {
    shareModule(await WebAssembly.compile(readFileSync(first)), () => new WebAssembly.Module(readFileSync(rest)));
    const session = await ort.InferenceSession.create(STARTER, { executionProviders: ["wasm"] });
    await session.release();
    return ort;
  } finally {
    Object.assign(WebAssembly, { instantiate, instantiateStreaming });
  }
}

/** Returns the paths of the binary's two parts; of one that was not split, the second is not read. */
function binary(): { readonly first: string; readonly rest: string } {
  const own = (name: string): string => fileURLToPath(new URL(`./${name}`, import.meta.url));
  const first = own("ort-wasm.wasm");
  if (existsSync(first)) return { first, rest: own("ort-wasm-rest.wasm") };
  const whole = createRequire(import.meta.url).resolve("onnxruntime-web/ort-wasm-simd-threaded.wasm");
  return { first: whole, rest: whole };
}
