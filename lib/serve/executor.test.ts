// The executor on lanes and a clock of the test: what runs when, and with whom.
import { getEventListeners } from "node:events";
import { expect, test } from "vitest";
import type { Tensor } from "../core/tensor.ts";
import { batchingOf } from "../worker/join-batch.ts";
import { ServeExecutor } from "./executor.ts";
import type { RunLane, ServerClock } from "./executor.ts";
import type { ServeTensors } from "./lane.ts";
import type { ServedModel } from "./served-models.ts";

const port = (name: string) => ({ name, dtype: "float32", dims: ["n", 1], batchAxis: 0 }) as const;
const model: ServedModel = {
  ...{
    id: 0,
    path: "",
    extra: {},
    name: "m",
    version: "1",
    key: "m",
    warmUp: {},
    metadata: {},
    identity: "",
    variant: "f32",
    embedder: null,
  },
  inputs: [port("x")],
  outputs: [port("y")],
  batching: batchingOf([port("x")], [port("y")], true),
};

/** A lane whose runs end when the test says so: y = 2 x. */
class ManualLane implements RunLane {
  readonly id: string;
  readonly runs: { readonly rows: number[]; end(error?: Error): void }[] = [];

  constructor(id: string) {
    this.id = id;
  }

  run(_: number, feeds: ServeTensors): Promise<Record<string, Tensor>> {
    const { dims, data } = feeds["x"] as Tensor<"float32">;
    return new Promise((resolve, reject) => {
      const outputs = { y: { dtype: "float32", dims, data: data.map((x) => 2 * x) } } as const;
      this.runs.push({
        rows: [...data],
        end: (error) => {
          if (error === undefined) resolve(outputs);
          else reject(error);
        },
      });
    });
  }
}

interface World {
  readonly executor: ServeExecutor;
  readonly lane: ManualLane;
  /** Ends the oldest open run after `ms`, and lets what follows happen. */
  end(ms: number, error?: Error): Promise<void>;
  settle(): Promise<void>;
}

function world(maxQueue = 100): World {
  const lane = new ManualLane("cpu-0");
  let now = 0;
  const deferred: (() => void)[] = [];
  const clock: ServerClock = {
    now: () => now,
    setTimer: () => () => undefined,
    defer: (callback) => deferred.push(callback),
  };
  const executor = new ServeExecutor([model, large], { maxQueue, maxBatchSize: 8 }, clock);
  executor.measured(model, 10);
  executor.measured(large, 1_000);
  executor.add(lane);
  const settle = async (): Promise<void> => {
    for (let i = 0; i < 20; i += 1) {
      for (const callback of deferred.splice(0)) callback();
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  const end = async (ms: number, error?: Error): Promise<void> => {
    now += ms;
    lane.runs.shift()?.end(error);
    await settle();
  };
  return { executor, lane, end, settle };
}

/** A model of a run of a second. */
const large: ServedModel = { ...model, id: 1, name: "large", key: "large" };

const of = (value: number): ServeTensors => ({ x: { dtype: "float32", dims: [1, 1], data: Float32Array.of(value) } });
const fresh = (): AbortSignal => new AbortController().signal;

test("requests that wait run together once larger batches were measured to pay, each with its own answer", async () => {
  const { executor, lane, end, settle } = world();
  const answers = Array.from({ length: 40 }, (_, i) => executor.run(model, of(i), fresh()));
  const sizes: number[] = [];
  await settle();
  // A batch takes as long as one row.
  while (lane.runs.length > 0) {
    sizes.push(lane.runs[0]?.rows.length ?? 0);
    await end(10);
  }
  expect(Math.max(...sizes)).toBe(8);
  expect(sizes.reduce((a, b) => a + b, 0)).toBe(40);
  for (const [i, { outputs, together }] of (await Promise.all(answers)).entries()) {
    expect(outputs["y"]?.data).toEqual(Float32Array.of(2 * i));
    expect(together).toBeLessThanOrEqual(8);
  }
  expect([executor.queued, executor.pending]).toEqual([0, 0]);
});

test("a full queue rejects, and one that was cancelled in it never runs", async () => {
  const { executor, lane, end, settle } = world(2);
  const first = executor.run(model, of(1), fresh());
  await settle();
  const second = executor.run(model, of(2), fresh());
  await settle(); // staged on the lane
  const stop = new AbortController();
  const cancelled = executor.run(model, of(3), stop.signal);
  const last = executor.run(model, of(4), fresh());
  await expect(executor.run(model, of(5), fresh())).rejects.toMatchObject({ code: "overloaded", retryable: true });
  stop.abort(new Error("left"));
  await expect(cancelled).rejects.toThrow("left");
  expect(executor.queued).toBe(1);
  const ran: number[] = [];
  while (lane.runs.length > 0) {
    ran.push(...(lane.runs[0]?.rows ?? []));
    await end(10);
  }
  expect(ran.sort()).toEqual([1, 2, 4]);
  await Promise.all([first, second, last]);
  await expect(executor.run(model, of(6), AbortSignal.abort(new Error("gone")))).rejects.toThrow("gone");
});

test("the run's own error is the request's, and the next request is answered", async () => {
  const { executor, end, settle } = world();
  const failed = executor.run(model, of(1), fresh());
  const seen = expect(failed).rejects.toThrow("index out of range");
  await settle();
  await end(10, new Error("index out of range"));
  await seen;
  const next = executor.run(model, of(2), fresh());
  await settle();
  await end(10);
  expect((await next).outputs["y"]?.data).toEqual(Float32Array.of(4));
});

test("a request without rows is answered", async () => {
  const { executor, end, settle } = world();
  const empty = { x: { dtype: "float32", dims: [0, 1], data: new Float32Array() } } as const;
  const answer = executor.run(model, empty, fresh());
  await settle();
  await end(1);
  expect((await answer).outputs["y"]?.dims).toEqual([0, 1]);
});

test("a batch whose requests ran again alone, since some failed, does not count as a slow batch", async () => {
  const { executor, lane, end, settle } = world();
  /** Ends all runs, each after `ms`; returns their rows. */
  const drain = async (ms: number, isFailing: (rows: readonly number[]) => boolean): Promise<number[]> => {
    const sizes: number[] = [];
    while (lane.runs.length > 0) {
      const rows = lane.runs[0]?.rows ?? [];
      sizes.push(rows.length);
      await end(ms, isFailing(rows) ? new Error("index out of range") : undefined);
    }
    return sizes;
  };
  const wave = (): Promise<unknown> =>
    Promise.allSettled(Array.from({ length: 40 }, (_, i) => executor.run(model, of(i + 1), fresh())));
  for (const isFailing of [(): boolean => false, (rows: readonly number[]): boolean => rows.some((x) => x % 4 === 0)]) {
    const answers = wave();
    await settle();
    await drain(10, isFailing);
    await answers;
  }
  const answers = wave();
  await settle();
  const sizes = await drain(10, () => false);
  await answers;
  expect(sizes.filter((x) => x === 8).length).toBeGreaterThanOrEqual(4);
});

test("2,000 requests of one signal leave no listener, at once and one after another, and warn of none", async () => {
  const { executor, lane, end, settle } = world(5_000);
  const warnings: Error[] = [];
  const onWarning = (warning: Error): void => void warnings.push(warning);
  process.on("warning", onWarning);
  const stop = new AbortController();
  const many = Array.from({ length: 1_000 }, (_, i) => executor.run(model, of(i), stop.signal));
  await settle();
  expect(getEventListeners(stop.signal, "abort")).toHaveLength(1);
  while (lane.runs.length > 0) await end(1);
  await Promise.all(many);
  for (let i = 0; i < 1_000; i += 1) {
    const one = executor.run(model, of(i), stop.signal);
    await settle();
    await end(1);
    await one;
  }
  expect(getEventListeners(stop.signal, "abort")).toHaveLength(0);
  const left = [executor.run(model, of(1), stop.signal), executor.run(model, of(2), stop.signal)];
  stop.abort(new Error("left"));
  for (const each of left) await expect(each).rejects.toThrow("left");
  process.off("warning", onWarning);
  expect([warnings, executor.pending]).toEqual([[], 0]);
}, 30_000);

test("a full queue does not refuse a further run of a request of which one is pending (serve-further)", async () => {
  const { executor, lane, end, settle } = world(1);
  const others: Promise<unknown>[] = [];
  // One runs, and one is staged on the lane.
  for (let i = 0; i < 2; i += 1) {
    others.push(executor.run(model, of(1), fresh()));
    await settle();
  }
  const signal = fresh();
  const own = [executor.run(model, of(2), signal), executor.run(model, of(3), signal)];
  await expect(executor.run(model, of(4), fresh())).rejects.toMatchObject({ code: "overloaded" });
  await settle();
  while (lane.runs.length > 0) await end(10);
  expect((await Promise.all(own)).map(({ outputs }) => outputs["y"]?.data[0])).toEqual([4, 6]);
  await Promise.all(others);
});

test("the wait that is stated is that of what is pending, of each model and of as many rows as requests have (serve-wait)", async () => {
  const { executor, lane, end, settle } = world();
  const runs = Array.from({ length: 4 }, () => executor.run(large, of(1), fresh()));
  expect(executor.waitMs()).toBe(4_000);
  await settle();
  while (lane.runs.length > 0) await end(1_000);
  await Promise.all(runs);
  expect(executor.waitMs()).toBe(0);
  // Requests of the small model that take 200 ms each, as they have many rows.
  for (let i = 0; i < 30; i += 1) {
    const run = executor.run(model, of(1), fresh());
    await settle();
    await end(200);
    await run;
  }
  const more = Array.from({ length: 10 }, () => executor.run(model, of(1), fresh()));
  expect(executor.waitMs()).toBeGreaterThan(1_900);
  expect(executor.waitMs()).toBeLessThanOrEqual(2_000);
  await settle();
  while (lane.runs.length > 0) await end(200);
  await Promise.all(more);
});
