// Starts a lane's worker with ONNX Runtime compiled once for all workers of a pool.
import type { BackendFacts, StartOptions, WasmUrls } from "../rpc/backend.ts";
import { Watchdog } from "../rpc/watchdog.ts";
import type { Effects } from "../effects/effects.ts";
import { SILENT_BOUND_MS } from "./call-timeouts.ts";
import type { Compiled } from "./lane-options.ts";
import { keepRest, shareRest } from "./share-rest.ts";
import type { WorkerClient } from "./worker-client.ts";

/** Arguments of a worker's start, without the modules, which this file adds. */
export interface WorkerStart {
  readonly effects: Effects;
  readonly compiled: Compiled;
  /** Addresses of the binary's two parts; one and the same where it is not split. */
  readonly urls: WasmUrls;
  readonly options: Pick<StartOptions, "backend" | "threads" | "verbose" | "remote">;
  /** Time bound of the worker's own start, in ms. */
  readonly boundMs: number;
}

/** Compiles, or takes what is compiled, and starts the worker's backend; returns its facts. */
export async function startWorker(client: WorkerClient, start: WorkerStart): Promise<BackendFacts> {
  const { effects, compiled, urls, options, boundMs } = start;
  const { wasmUrl, restUrl } = urls;
  client.onRest = async () => (restUrl === wasmUrl ? null : shareRest(compiled, () => compile(effects, restUrl)));
  client.onLinked = (rest) => {
    keepRest(compiled, rest);
  };
  try {
    compiled.modules ??= compile(effects, wasmUrl).then(
      (first) => ({ first, rest: null }),
      (error: unknown) => {
        compiled.isKept = error instanceof WebAssembly.CompileError;
        return null;
      },
    );
    const modules = await compiled.modules;
    const told = { ...options, wasmUrl, restUrl, modules, isKept: compiled.isKept };
    const { modules: own = null, ...facts } = await client.start(told, boundMs);
    if (modules === null) compiled.modules = Promise.resolve(own);
    else if (own?.rest != null) keepRest(compiled, own.rest); // threads take both parts
    return facts;
  } catch (error) {
    compiled.modules = null; // in case the modules are the cause
    throw error;
  }
}

/** Compiles a binary on the page; gives up once no byte has arrived for long. */
function compile(effects: Effects, url: string): Promise<WebAssembly.Module> {
  const controller = new AbortController();
  const { signal } = controller;
  const watchdog = new Watchdog(effects, SILENT_BOUND_MS);
  watchdog.onExpire = () => {
    controller.abort();
  };
  watchdog.begin();
  const renew = watchdog.renew.bind(watchdog);
  const stop = watchdog.stop.bind(watchdog);
  return effects.compileWasm(url, { signal, renew, stop }).finally(() => {
    stop();
    controller.abort(); // what is still coming is not wanted any more
  });
}
