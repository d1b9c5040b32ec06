// ONNX Runtime's wasm, compiled once for all workers of an engine (pool/lane.ts): they are handed the module, all but
// the first where the page could not compile it. ONNX Runtime has no option for that; its glue calls
// `WebAssembly.instantiate` where it is given a binary, so the module is put in the binary's place there.
import { linkWhenCalled } from "./link-parts.ts";

/** Stands for the binary, which ONNX Runtime then does not fetch. */
export const NO_BINARY: Uint8Array = new Uint8Array(8);

/** Has `given` instantiated in place of a binary from now on; `loadRest` returns the rest at once. */
export function shareModule(given: WebAssembly.Module, loadRest: () => WebAssembly.Module): void {
  const wasm = WebAssembly;
  const { instantiate } = wasm;
  wasm.instantiate = (async (source: BufferSource | WebAssembly.Module, imports: WebAssembly.Imports = {}) => {
    if (source instanceof WebAssembly.Module) return instantiate(source, imports);
    const instance = await instantiate(given, imports);
    linkWhenCalled(instance, imports, loadRest);
    return { module: given, instance };
  }) as typeof instantiate;
}

/** How long a fetch may block the worker: the page's watchdogs do not count it. */
const TIMEOUT_MS = 60_000;

/**
 * Fetches and compiles at once, inside a worker: whoever asks can't wait otherwise. Nothing else may fetch this address from
 * a worker: one that is blocked here, or in a run, does not read on what it fetches, and Chromium lets the second request
 * for an address wait for the first, up to 20 s.
 */
export function loadAtOnce(url: string): WebAssembly.Module {
  const request = new XMLHttpRequest();
  request.open("GET", url, false);
  request.responseType = "arraybuffer";
  request.timeout = TIMEOUT_MS;
  try {
    request.send();
    if (request.status !== 200) throw new Error(`status ${request.status}`);
    return new WebAssembly.Module(request.response as ArrayBuffer);
  } catch (error) {
    const text = `${url} did not load (${error instanceof Error ? error.message : String(error)}). Serve all of the package's dist files.`;
    const failure = new Error(text, { cause: error });
    // ONNX Runtime was left in the middle of a call: nothing can be done with it any more.
    setTimeout(() => {
      throw failure;
    });
    throw failure;
  }
}
