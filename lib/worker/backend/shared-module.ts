// ONNX Runtime's wasm, compiled once for all workers of an engine (pool/lane.ts): they are handed the module, all but
// the first where the page could not compile it. ONNX Runtime has no option for that; its glue calls
// `WebAssembly.instantiateStreaming`, or `instantiate` where it is given a binary, so the module is caught there, and put
// in the binary's place.
import { linkWhenCalled } from "./link-parts.ts";

/** Stands for the binary where the module is given; ONNX Runtime then fetches nothing. */
export const NO_BINARY: Uint8Array = new Uint8Array(8);

/**
 * Has `given` instantiated in place of what is asked for from now on; null leaves that as it is. `loadRest` gives the rest
 * at once. Gives what tells the module that was instantiated first; null while none was.
 */
export function shareModule(
  given: WebAssembly.Module | null,
  loadRest: () => WebAssembly.Module,
): () => WebAssembly.Module | null {
  const wasm = WebAssembly;
  const { instantiate, instantiateStreaming } = wasm;
  let first = given;
  const made = (
    source: WebAssembly.WebAssemblyInstantiatedSource,
    imports: WebAssembly.Imports = {},
  ): typeof source => {
    first ??= source.module;
    linkWhenCalled(source.instance, imports, loadRest);
    return source;
  };
  wasm.instantiate = (async (source: BufferSource | WebAssembly.Module, imports?: WebAssembly.Imports) => {
    if (source instanceof WebAssembly.Module) return instantiate(source, imports);
    if (given === null) return made(await instantiate(source, imports), imports);
    return made({ module: given, instance: await instantiate(given, imports) }, imports);
  }) as typeof instantiate;
  wasm.instantiateStreaming = async (source, imports) => made(await instantiateStreaming(source, imports), imports);
  return () => first;
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

/** Fetches and compiles one part without blocking, unless it is given. */
export async function compilePart(url: string, given: WebAssembly.Module | null = null): Promise<WebAssembly.Module> {
  if (given !== null) return given;
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url}: status ${response.status}`);
  return WebAssembly.compile(await response.arrayBuffer());
}
