// The scheduling benchmark, in the page: MLPerf LoadGen's scenarios, and a mix of classes with deadlines, with one load
// generator for all peers. Times are the page's own, from the call to the answer.
import type { RunOptions } from "selvedge";
import { quantile } from "../../lib/core/quantile.ts";
import { classOf } from "./mix.ts";
import type { Class } from "./mix.ts";
import { createPeer } from "./peers.ts";
import type { Measured, Peer, PeerName } from "./peers.ts";
import { poisson } from "./poisson.ts";

/** Result of one measurement, in its scenario's unit. */
export interface Told {
  readonly value: number;
  readonly backend: string;
  /** The variant, if the peer chose it. */
  readonly variant?: string | undefined;
}

/** Result of a mix. */
export interface MixTold {
  readonly backend: string;
  /** By class: share of its requests that were answered in time. */
  readonly onTime: number[];
  /** Requests, and how many of them were answered in time. */
  readonly asked: number;
  readonly answered: number;
  /** Rate of a saturating stream beside it, in requests per second. */
  readonly beside: number;
}

const peers = new Map<string, Promise<Peer>>();
let models: readonly Measured[] = [];
let batches: readonly number[] = [];

const bench = {
  /** Sets the models, and their batch sizes in a hand-written program. */
  setUp(all: readonly Measured[], batch: readonly number[]): void {
    models = all;
    batches = batch;
  },

  /** Sends the next request when the previous one is answered; returns the median in ms. */
  async single(name: PeerName, model: Measured, count: number, slowBy: number): Promise<Told> {
    const peer = await get(name);
    const times: number[] = [];
    let backend = "";
    for (let i = 0; i < count; i += 1) {
      const startMs = performance.now();
      backend = await peer.run(model, noise(model));
      if (slowBy > 0) turn((performance.now() - startMs) * slowBy);
      times.push(performance.now() - startMs);
    }
    return { value: quantile(times, 0.5) ?? 0, backend };
  },

  /** Sends queries of eight requests, the next when all of one are answered; returns the 99th percentile in ms. */
  async multi(name: PeerName, model: Measured, queries: number): Promise<Told> {
    const peer = await get(name);
    const times: number[] = [];
    let backend = "";
    for (let i = 0; i < queries; i += 1) {
      const startMs = performance.now();
      [backend = ""] = await Promise.all(Array.from({ length: 8 }, () => peer.run(model, noise(model))));
      times.push(performance.now() - startMs);
    }
    return { value: quantile(times, 0.99) ?? 0, backend };
  },

  /** Sends all requests at once; returns requests per second. */
  async offline(name: PeerName, model: Measured, count: number): Promise<Told> {
    const peer = await get(name);
    const batch = batches[models.findIndex((x) => x.name === model.name)] ?? 1;
    const startMs = performance.now();
    const backend = await peer.offline(model, () => noise(model), count, batch);
    return { value: (1_000 * count) / (performance.now() - startMs), backend, variant: peer.variantOf?.(model) };
  },

  /** As `offline`, beside periodic requests of another model whose deadline can't be met. */
  async offlineBeside(model: Measured, count: number, unmeetable: Measured, everyMs: number): Promise<Told> {
    const peer = await get("selvedge");
    const timer = setInterval(() => {
      peer.run(unmeetable, noise(unmeetable), { deadlineMs: 1 }).catch(() => undefined);
    }, everyMs);
    try {
      return await bench.offline("selvedge", model, count);
    } finally {
      clearInterval(timer);
    }
  },

  /**
   * Returns the duration of a batch of so many rows in a hand-written worker while another one runs as many, in ms: the
   * median of seven. Alone it is shorter, as lanes share caches and memory, and cores with the page.
   */
  async cost(model: Measured, rows: number): Promise<number> {
    const peer = await get("raw two workers");
    const times: number[] = [];
    for (let i = 0; i < 7; i += 1) {
      const startMs = performance.now();
      await peer.offline(model, () => noise(model), 2 * rows, rows);
      times.push(performance.now() - startMs);
    }
    return quantile(times, 0.5) ?? 0;
  },

  /**
   * Sends requests at random times (Poisson), with that deadline where the peer supports it; returns the highest rate per
   * second at which 99 of 100 take at most `withinMs`, within some 6 %. With one seed, a rate has the same times for each
   * peer.
   */
  async server(
    name: PeerName,
    model: Measured,
    seed: string,
    from: number,
    ms: number,
    withinMs: number,
  ): Promise<Told> {
    const peer = await get(name);
    let backend = "";
    const passes = async (rate: number): Promise<boolean> => {
      const times: number[] = [];
      let late = 0;
      const call = async (dueMs: number): Promise<void> => {
        const isDone = await isAnswered(async () => {
          backend = await peer.run(model, noise(model), { deadlineMs: withinMs });
        });
        const tookMs = isDone ? performance.now() - dueMs : Infinity;
        times.push(tookMs);
        if (tookMs > withinMs) late += 1;
      };
      // Once far too many were late it can't pass any more: the rest is not sent.
      await poisson(`${seed} ${rate}`, rate, ms, call, () => late > 0.02 * rate * (ms / 1_000) + 1);
      return (quantile(times, 0.99) ?? 0) <= withinMs;
    };
    let [low, high] = [0, from];
    while (await passes(high)) [low, high] = [high, high * 1.6];
    for (let step = 0; step < 4; step += 1) {
      const middle = low === 0 ? high * 0.6 : (low + high) / 2;
      if (await passes(middle)) low = middle;
      else high = middle;
    }
    return { value: low === 0 ? high * 0.6 : low, backend };
  },

  /**
   * Returns the rate in requests per second of a mix that is queued at once, in calls no longer than the mix allows: a
   * deadline of its shortest class is live.
   */
  async mixOffline(name: PeerName, classes: readonly Class[], count: number): Promise<Told> {
    const peer = await get(name);
    const [{ model, deadlineMs }] = [...classes].sort((a, b) => a.deadlineMs - b.deadlineMs) as [Class];
    await peer.run(model, noise(model), { deadlineMs }).catch(() => undefined);
    const startMs = performance.now();
    const backends = await Promise.all(
      Array.from({ length: count }, (_, i) => {
        const { model } = classOf(classes, i);
        return peer.run(model, noise(model));
      }),
    );
    return { value: (1_000 * count) / (performance.now() - startMs), backend: backends[0] ?? "" };
  },

  /** Sends a mix at a rate per second, with deadlines where the peer supports them, beside a saturating stream. */
  async mix(
    name: PeerName,
    classes: readonly Class[],
    seed: string,
    rate: number,
    ms: number,
    beside: Measured | null,
  ): Promise<MixTold> {
    const peer = await get(name);
    const counts = classes.map(() => ({ all: 0, onTime: 0 }));
    let backend = "";
    const stream = saturate(peer, beside);
    let sent = 0;
    await poisson(seed, rate, ms, async (dueMs) => {
      const own = classOf(classes, sent++);
      const count = counts[classes.indexOf(own)] as { all: number; onTime: number };
      const options: RunOptions = { deadlineMs: own.deadlineMs };
      count.all += 1;
      const isDone = await isAnswered(async () => {
        backend = await peer.run(own.model, noise(own.model), options);
      });
      if (isDone && performance.now() - dueMs <= own.deadlineMs) count.onTime += 1;
    });
    const told = await stream.stop();
    const onTime = counts.map(({ all, onTime }) => (all === 0 ? 100 : (100 * onTime) / all));
    const [asked, answered] = [counts.reduce((sum, x) => sum + x.all, 0), counts.reduce((sum, x) => sum + x.onTime, 0)];
    return {
      backend: backend === "" ? "wasm" : backend,
      onTime,
      asked,
      answered,
      beside: told,
    };
  },
};
export type SchedulingPage = typeof bench;

/** Whether a request was answered; false where it was rejected for its deadline. */
async function isAnswered(run: () => Promise<void>): Promise<boolean> {
  try {
    await run();
    return true;
  } catch (error) {
    if (Reflect.get(error as object, "code") !== "deadline-exceeded") throw error;
    return false;
  }
}

/** Keeps eight requests of a model in flight until it is stopped; returns the rate per second. */
function saturate(peer: Peer, model: Measured | null): { stop(): Promise<number> } {
  let isOver = false;
  let answered = 0;
  const startMs = performance.now();
  const one = async (own: Measured): Promise<void> => {
    while (!isOver) {
      await peer.run(own, noise(own), { priority: "background" });
      if (!isOver) answered += 1;
    }
  };
  const all = model === null ? [] : Array.from({ length: 8 }, () => one(model));
  return {
    async stop() {
      isOver = true;
      const rate = (1_000 * answered) / (performance.now() - startMs);
      await Promise.all(all);
      return rate;
    },
  };
}

function get(name: PeerName): Promise<Peer> {
  const known = peers.get(name) ?? createPeer(name, models, batches);
  peers.set(name, known);
  return known;
}

const noises = new Map<string, Float32Array>();
let nextNoise = 0;

/** Returns distinct inputs: identical requests in flight would share one run. */
function noise({ name, dims }: Measured): Float32Array {
  let data = noises.get(name);
  if (data === undefined) {
    data = Float32Array.from({ length: dims.reduce((a, b) => a * b, 1) }, (_, i) => Math.sin(i * 12.9898) * 0.5);
    noises.set(name, data);
  }
  data[0] = ++nextNoise % 2 ** 20;
  return data;
}

function turn(ms: number): void {
  for (const endMs = performance.now() + ms; performance.now() < endMs;);
}

Object.assign(globalThis, { bench });
