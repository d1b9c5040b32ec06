// Cached and deduplicated answers as callers see them, in the simulated world: urgency, deadlines, and a cache that is
// unavailable.
import { createHash } from "node:crypto";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { createEngine } from "../../create-engine.ts";
import type { Engine } from "../../engine/engine.ts";
import { isSelvedgeError } from "../../core/errors.ts";
import type { Model } from "../../engine/model.ts";
import type { RunOptions } from "../../engine/options.ts";
import { Random } from "../random.ts";
import { createToyBackend, TOY_CHUNK, toyBundle } from "./toy-backend.ts";
import { World } from "./world.ts";

const BASE = "https://app.test/";

beforeEach(() => {
  // Hashes synchronously: the browser's hash takes real time, for which this world does not wait.
  vi.spyOn(crypto.subtle, "digest").mockImplementation((_, data) => {
    const bytes = ArrayBuffer.isView(data)
      ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
      : new Uint8Array(data);
    return Promise.resolve(new Uint8Array(createHash("sha256").update(bytes).digest()).buffer);
  });
});
afterEach(() => {
  vi.restoreAllMocks();
  vi.doUnmock("../../engine/result-cache.ts");
});

/** One lane, and a model without batching that takes 20 ms per run. */
async function start(): Promise<{ world: World; engine: Engine; model: Model }> {
  const world = new World({
    random: new Random(1),
    gpu: null,
    cores: 1,
    files: new Map([
      [`${BASE}${TOY_CHUNK.path}`, TOY_CHUNK.content],
      [`${BASE}m.json`, toyBundle("m", 2)],
    ]),
    createBackend: createToyBackend,
    drawFault: () => null,
    log: null,
  });
  const engine = await createEngine({ effects: world.effects, workers: 1 });
  const model = await world.finish(engine.load(`${BASE}m.json`, { batching: false }));
  await world.finish(model.run(x(-1), { cache: true })); // the cache is loaded, and a run is known
  return { world, engine, model };
}

const x = (value: number) => ({ x: { dtype: "float32", dims: [1, 2], data: Float32Array.of(value, value) } }) as const;

/** Lets pending work finish while the simulated clock stands still. */
async function settle(): Promise<void> {
  for (let i = 0; i < 20; i += 1) await new Promise((resolve) => setTimeout(resolve));
}

/** Runs, and resolves to the simulated ms until it settled, and its error code. */
async function timed(world: World, model: Model, value: number, options: RunOptions): Promise<[number, string]> {
  const startMs = world.now;
  return model.run(x(value), options).then(
    () => [world.now - startMs, "done"],
    (error: unknown) => [world.now - startMs, isSelvedgeError(error) ? error.code : "cancelled"],
  );
}

test.each([true, false])(
  "an urgent request does not wait for a patient one with its inputs, cache %s (core-B7)",
  async (cache) => {
    const { world, model } = await start();
    const patient = Array.from({ length: 60 }, (_, i) => model.run(x(i), { priority: "background", cache }));
    await settle();
    const urgent = timed(world, model, 59, { priority: "interactive", cache });
    await settle();
    const [ms] = await world.finish(urgent);
    expect(ms).toBeLessThan(100);
    await world.finish(Promise.all(patient));
  },
);

test.each([true, false])(
  "a request that may be rejected does not wait for one that may be late, cache %s (core-B7)",
  async (cache) => {
    const { world, model } = await start();
    const others = Array.from({ length: 60 }, (_, i) => model.run(x(i)));
    await settle();
    const late = timed(world, model, 100, { deadlineMs: 60, onLate: "finish", cache });
    await settle();
    const due = timed(world, model, 100, { deadlineMs: 250, cache });
    await settle();
    const [ms] = await world.finish(due);
    expect(ms).toBeLessThan(400);
    await world.finish(Promise.all([...others, late]));
  },
);

test("the cancel of the first of many that ask the same costs one run more, not one for each (core-B7)", async () => {
  const { world, engine, model } = await start();
  const before = engine.stats().requests.done;
  const runs = engine.stats().batches.executions;
  const stop = new AbortController();
  const first = timed(world, model, 1, { cache: true, signal: stop.signal });
  await settle();
  const others = Array.from({ length: 50 }, () => model.run(x(1), { cache: true }));
  await settle();
  stop.abort(new Error("gone"));
  expect((await world.finish(first))[1]).toBe("cancelled");
  await settle();
  await world.finish(Promise.all(others));
  expect(engine.stats().requests.done - before).toBe(50);
  expect(engine.stats().batches.executions - runs).toBeLessThanOrEqual(2);
});

test("where the cache can't be loaded requests run without it, and the next one tries again (core-B7)", async () => {
  vi.doMock("../../engine/result-cache.ts", () => {
    throw new TypeError("Failed to fetch dynamically imported module");
  });
  vi.resetModules();
  const { world, engine, model } = await start();
  const answer = await world.finish(model.run(x(1), { cache: true }));
  expect(answer.outputs["y"]?.data[0]).toBe(2);
  expect(engine.stats().results).toBeNull();
  vi.doUnmock("../../engine/result-cache.ts");
  await world.finish(model.run(x(1), { cache: true }));
  expect((await world.finish(model.run(x(1), { cache: true }))).info.isCached).toBe(true);
});

test("a cancel and a deadline hold while the cache is being loaded (store-B11)", async () => {
  const { world, model } = await start();
  // The import of a chunk that the network never answers.
  let load = (): void => undefined;
  vi.doMock("../../engine/result-cache.ts", async (original) => {
    await new Promise<void>((resolve) => {
      load = resolve;
    });
    return original();
  });
  vi.resetModules();
  const other = await createEngine({ effects: world.effects, workers: 1 });
  const slow = await world.finish(other.load(`${BASE}m.json`));
  const stop = new AbortController();
  const cancelled = timed(world, slow, 1, { cache: true, signal: stop.signal });
  const due = timed(world, slow, 2, { cache: true, deadlineMs: 500 });
  stop.abort(new Error("gone"));
  expect((await world.finish(cancelled))[1]).toBe("cancelled");
  const [ms] = await world.finish(due);
  expect(ms).toBeGreaterThanOrEqual(500);
  expect(ms).toBeLessThan(1_000);
  load();
  await world.finish(model.run(x(3)));
});
