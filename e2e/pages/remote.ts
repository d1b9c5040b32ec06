// Subjects of the `remote` benchmark, in the page: engines that have servers, and a bare fetch of what they send.
import { createEngine } from "selvedge";
import type { Engine, EngineOptions, Model, OffloadStats } from "selvedge";
import type { Sent } from "./fetch-worker.ts";
import { poisson } from "./poisson.ts";

/** The input of a model, of one row. */
export interface Input {
  readonly name: string;
  readonly dims: readonly number[];
}

/** A request as it leaves the page: JSON in front of the input's bytes. */
export interface Bare {
  readonly url: string;
  readonly head: string;
}

/** Requests with a deadline. */
export interface MixedTold {
  readonly requests: number;
  /** Requests that were answered in time. */
  readonly onTime: number;
  /** Counters before and after. */
  readonly before: OffloadStats;
  readonly after: OffloadStats;
}

/** Placement of an answer, and its endpoint's variant. */
export interface Told {
  readonly ms: number;
  readonly backend: string;
  readonly variant: string;
}

interface Opened {
  readonly engine: Engine;
  readonly model: Model;
  readonly input: Input;
}

const engines = new Map<string, Opened>();

const bench = {
  /** Opens an engine, and loads a bundle. */
  async open(name: string, bundle: string, input: Input, options: EngineOptions): Promise<void> {
    const engine = await createEngine({ backends: ["wasm"], workers: 1, threads: 1, store: "memory", ...options });
    engines.set(name, { engine, model: await engine.load(bundle, { variant: "f32" }), input });
  },

  /** Closes an engine. */
  async close(name: string): Promise<void> {
    await get(name).engine.close();
    engines.delete(name);
  },

  /** Runs requests one after the other; returns ms for each. `slowBy` adds that share of busy waiting. */
  async single(name: string, count: number, slowBy: number): Promise<Told> {
    const { model, input } = get(name);
    const tensor = { dtype: "float32", dims: [...input.dims], data: noise(input) } as const;
    let [backend, variant] = ["", ""];
    const ms = await timed(count, slowBy, async () => {
      const { outputs, info } = await model.run({ [input.name]: tensor });
      if (Object.values(outputs)[0]?.data.length === 0) throw new Error("an empty answer");
      [backend, variant] = [info.backend, info.variant];
    });
    return { ms, backend, variant };
  },

  /** Sends the same bytes with `fetch`, and reads the answer's, one request after the other; returns ms for each. */
  async fetched({ url, head }: Bare, input: Input, count: number, slowBy: number): Promise<number> {
    const { headers, body } = bareRequest(head, input);
    return timed(count, slowBy, async () => {
      const response = await fetch(url, { method: "POST", headers, body, cache: "no-store" });
      const { byteLength } = await response.arrayBuffer();
      if (!response.ok || byteLength === 0) throw new Error(`${url}: status ${response.status}`);
    });
  },

  /** The same from a worker, which gets the bytes with each request and returns the answer's. */
  async fetchedInWorker({ url, head }: Bare, input: Input, count: number, slowBy: number): Promise<number> {
    const worker = new Worker(new URL("./fetch-worker.ts", import.meta.url), { type: "module" });
    const once = async (): Promise<void> => {
      const answer = new Promise<MessageEvent<{ status: number }>>((resolve, reject) => {
        worker.onmessage = resolve;
        worker.onerror = reject;
      });
      const sent: Sent = { url, ...bareRequest(head, input) };
      worker.postMessage(sent, { transfer: [sent.body.buffer] });
      const { status } = (await answer).data;
      if (status !== 200) throw new Error(`${url}: status ${status}`);
    };
    try {
      await once();
      return await timed(count, slowBy, once);
    } finally {
      worker.terminate();
    }
  },

  /** Returns the bytes of a request's body and its answer's, of an engine and of the bare request. */
  async bytes(name: string, { head }: Pick<Bare, "head">): Promise<{ engine: number; sent: number; bare: number }> {
    const { input } = get(name);
    const before = offloadOf(name).server;
    await bench.single(name, 1, 0);
    const { server } = offloadOf(name);
    const sent = server.sentBytes - before.sentBytes;
    const engine = sent + server.receivedBytes - before.receivedBytes;
    return { engine, sent, bare: bareRequest(head, input).body.length };
  },

  /** Keeps so many requests of each engine in flight, all engines at once; returns the rate of each. */
  async together(loads: readonly { name: string; atOnce: number }[], ms: number): Promise<number[]> {
    const startMs = performance.now();
    return Promise.all(
      loads.map(async ({ name, atOnce }) => {
        let answered = 0;
        const work = async (): Promise<void> => {
          while (performance.now() < startMs + ms) {
            await once(name, {});
            if (performance.now() < startMs + ms) answered += 1;
          }
        };
        await Promise.all(Array.from({ length: atOnce }, work));
        return (1_000 * answered) / ms;
      }),
    );
  },

  /** Sends requests with a deadline at random times. */
  async mixed(name: string, seed: string, rate: number, ms: number, deadlineMs: number): Promise<MixedTold> {
    const before = offloadOf(name);
    let [requests, onTime] = [0, 0];
    await poisson(seed, rate, ms, async (dueMs) => {
      requests += 1;
      try {
        await once(name, { deadlineMs });
        if (performance.now() - dueMs <= deadlineMs) onTime += 1;
      } catch (error) {
        if (Reflect.get(error as object, "code") !== "deadline-exceeded") throw error;
      }
    });
    return { requests, onTime, before, after: offloadOf(name) };
  },
};
export type RemotePage = typeof bench;

/** Runs a request with an input of its own: equal ones in flight would share one run. */
async function once(name: string, options: { deadlineMs?: number }): Promise<void> {
  const { model, input } = get(name);
  const data = noise(input);
  data[0] = Math.random();
  await model.run({ [input.name]: { dtype: "float32", dims: [...input.dims], data } }, options);
}

async function timed(count: number, slowBy: number, run: () => Promise<void>): Promise<number> {
  const startMs = performance.now();
  for (let i = 0; i < count; i += 1) {
    const ownMs = performance.now();
    await run();
    for (const endMs = performance.now() + slowBy * (performance.now() - ownMs); performance.now() < endMs;);
  }
  return (performance.now() - startMs) / count;
}

function bareRequest(head: string, input: Input): { headers: Record<string, string>; body: Uint8Array<ArrayBuffer> } {
  const json = new TextEncoder().encode(head);
  const data = new Uint8Array(noise(input).buffer);
  const body = new Uint8Array(json.length + data.length);
  body.set(json);
  body.set(data, json.length);
  const headers = {
    "content-type": "application/octet-stream",
    "inference-header-content-length": String(json.length),
  };
  return { headers, body };
}

function offloadOf(name: string): OffloadStats {
  const { offload } = get(name).engine.stats();
  if (offload === null) throw new Error(`${name} has no servers`);
  return offload;
}

function get(name: string): Opened {
  const found = engines.get(name);
  if (found === undefined) throw new Error(`there is no engine "${name}"`);
  return found;
}

function noise({ dims }: Input): Float32Array<ArrayBuffer> {
  return Float32Array.from({ length: dims.reduce((a, b) => a * b, 1) }, (_, i) => Math.sin(i * 12.9898) * 0.5);
}

Object.assign(globalThis, { bench });
