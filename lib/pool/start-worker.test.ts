import { expect, test } from "vitest";
import type { Effects, FetchWatch } from "../effects/effects.ts";
import type { BackendFacts, StartOptions, WasmModules } from "../rpc/backend.ts";
import { SILENT_BOUND_MS } from "./call-timeouts.ts";
import type { Compiled } from "./lane-options.ts";
import { startWorker } from "./start-worker.ts";
import { WorkerClient } from "./worker-client.ts";

const FACTS: BackendFacts = { backend: "wasm", gpu: null, version: "1", startMs: 0 };
const SPLIT = { wasmUrl: "first.wasm", restUrl: "rest.wasm" };

const module = (): WebAssembly.Module => new WebAssembly.Module(Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0));

/** A compilation on the page that the test ends. */
interface Compilation extends FetchWatch {
  readonly url: string;
  readonly resolve: (module: WebAssembly.Module) => void;
  readonly reject: (error: Error) => void;
}

/** A page that compiles, workers that start as the test says, and a clock that only `pass` moves. */
function openPage() {
  let nowMs = 0;
  const timers = new Set<{ readonly atMs: number; readonly call: () => void }>();
  const compilations: Compilation[] = [];
  const effects: Partial<Effects> = {
    now: () => nowMs,
    setTimer(call, ms) {
      const timer = { atMs: nowMs + ms, call };
      timers.add(timer);
      return () => timers.delete(timer);
    },
    createWorker: () => Object.assign(new EventTarget(), { postMessage: () => undefined, terminate: () => undefined }),
    compileWasm: (url, watch) =>
      new Promise((resolve, reject) => {
        compilations.push({ url, ...watch, resolve, reject });
        watch.signal.addEventListener("abort", () => {
          reject(new Error("aborted"));
        });
      }),
  };
  const compiled: Compiled = { modules: null, rest: null };
  const told: StartOptions[] = [];
  return {
    ...{ compilations, compiled, told, timers },
    /** Starts a worker, which answers with its facts and its own modules, or fails. */
    start(own?: WasmModules | null | Error, urls = SPLIT) {
      const client = new WorkerClient(effects as Effects, { href: "worker.js", script: "worker.js" });
      client.start = (options) => {
        told.push(options);
        if (own instanceof Error) return Promise.reject(own);
        return Promise.resolve(own === undefined ? FACTS : { ...FACTS, modules: own });
      };
      const options = { backend: "wasm", threads: 1, verbose: false } as const;
      const facts = startWorker(client, { effects: effects as Effects, compiled, urls, options, boundMs: 1_000 });
      return { client, facts };
    },
    /** Lets time pass in steps of a tenth of a second. */
    async pass(ms: number) {
      for (const endMs = nowMs + ms; nowMs < endMs;) {
        nowMs += 100;
        for (const timer of timers) {
          if (timer.atMs > nowMs) continue;
          timers.delete(timer);
          timer.call();
        }
      }
      await new Promise((resolve) => {
        setImmediate(resolve);
      });
    },
  };
}

/** A page that has compiled the first part, and started a worker with it. */
async function openCompiled(): Promise<ReturnType<typeof openPage> & { first: WebAssembly.Module }> {
  const page = openPage();
  const first = module();
  const { facts } = page.start();
  page.compilations[0]?.resolve(first);
  await facts;
  return { ...page, first };
}

test("the page compiles the first part once, for all workers; a worker's facts hold no modules", async () => {
  const page = openPage();
  const first = module();
  const started = [page.start(), page.start(null)];
  expect(page.told).toEqual([]);
  page.compilations[0]?.resolve(first);
  expect(await Promise.all(started.map(({ facts }) => facts))).toEqual([FACTS, FACTS]);
  await page.start().facts;
  expect(page.compilations.map(({ url }) => url)).toEqual(["first.wasm"]);
  expect(page.told).toHaveLength(3);
  for (const { modules, wasmUrl, restUrl, isKept } of page.told) {
    expect(modules?.first).toBe(first);
    expect([modules?.rest, wasmUrl, restUrl, isKept]).toEqual([null, "first.wasm", "rest.wasm", undefined]);
  }
});

test("where the page can't compile, the first worker does, and shares its modules with the next", async () => {
  const page = openPage();
  const own = { first: module(), rest: null };
  const { facts } = page.start(own);
  page.compilations[0]?.reject(new TypeError("no network"));
  expect(await facts).toEqual(FACTS);
  await page.start().facts;
  expect(page.told.map(({ modules, isKept }) => [modules, isKept])).toEqual([
    [null, false],
    [own, false],
  ]);
  expect(page.compilations).toHaveLength(1);
});

test("workers keep their modules where the browser refuses to compile on the page", async () => {
  const page = openPage();
  const { facts } = page.start();
  page.compilations[0]?.reject(new WebAssembly.CompileError("blocked by CSP"));
  await facts;
  await page.start().facts;
  expect(page.told.map(({ modules, isKept }) => [modules, isKept])).toEqual([
    [null, true],
    [null, true],
  ]);
});

test("a worker that does not start rejects with its error, and the next one gets modules compiled anew", async () => {
  const page = await openCompiled();
  const error = new Error("no start");
  await expect(page.start(error).facts).rejects.toBe(error);
  const { facts } = page.start();
  const again = module();
  page.compilations[1]?.resolve(again);
  await facts;
  expect(page.told[2]?.modules?.first).toBe(again);
});

test("the second part is compiled on the page once a worker asks for it, and later workers start with it", async () => {
  const page = await openCompiled();
  const rest = module();
  const asked = [page.start(), page.start()].map(async ({ client }) => client.onRest?.());
  expect(page.compilations.map(({ url }) => url)).toEqual(["first.wasm", "rest.wasm"]);
  page.compilations[1]?.resolve(rest);
  for (const part of await Promise.all(asked)) expect(part).toBe(rest);
  await page.start().facts;
  expect(page.told.at(-1)?.modules?.first).toBe(page.first);
  expect(page.told.at(-1)?.modules?.rest).toBe(rest);
});

test("a binary that is not split has no second part", async () => {
  const page = await openCompiled();
  const { client } = page.start(null, { wasmUrl: "first.wasm", restUrl: "first.wasm" });
  expect(await client.onRest?.()).toBeNull();
  expect(page.compilations).toHaveLength(1);
});

test("a second part that a worker compiled, during a call or at its start, is given to later workers", async () => {
  const during = await openCompiled();
  const rest = module();
  during.start().client.onLinked?.(rest);
  await during.start().facts;
  expect(during.told.at(-1)?.modules?.rest).toBe(rest);
  const before = await openCompiled();
  await before.start({ first: module(), rest }).facts; // as a worker with threads does
  await before.start({ first: module(), rest: null }).facts;
  await before.start(null).facts;
  await before.start().facts;
  expect(before.told.map(({ modules }) => modules?.first)).toEqual(before.told.map(() => before.first));
  expect(before.told.map(({ modules }) => modules?.rest ?? null)).toEqual([null, null, rest, rest, rest]);
});

test("the page gives up compiling once no byte has arrived for long, and the worker does it", async () => {
  const page = openPage();
  const { facts } = page.start({ first: module(), rest: null });
  await page.pass(SILENT_BOUND_MS - 2_000);
  page.compilations[0]?.renew();
  await page.pass(SILENT_BOUND_MS - 2_000);
  expect(page.compilations[0]?.signal.aborted).toBe(false);
  await page.pass(3_000);
  expect(page.compilations[0]?.signal.aborted).toBe(true);
  await facts;
  expect(page.told[0]?.modules).toBeNull();
});

test("compiling takes as long as it takes once the last byte has arrived", async () => {
  const page = openPage();
  const { facts } = page.start();
  page.compilations[0]?.stop();
  await page.pass(10 * SILENT_BOUND_MS);
  expect(page.compilations[0]?.signal.aborted).toBe(false);
  page.compilations[0]?.resolve(module());
  await facts;
});

test("once it is compiled, or could not be, nothing is fetched any more and no timer is left", async () => {
  const page = openPage();
  const { facts } = page.start();
  const { size } = page.timers;
  page.compilations[0]?.reject(new TypeError("no WebAssembly here"));
  await facts;
  expect(page.timers.size).toBe(size - 1);
  expect(page.compilations[0]?.signal.aborted).toBe(true);
});
