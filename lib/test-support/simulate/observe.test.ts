// The engine's observability in the simulated world: counts, reasons, one call per result, traces.
import { describe, expect, test } from "vitest";
import { createEngine } from "../../create-engine.ts";
import type { Engine } from "../../engine/engine.ts";
import type { Model } from "../../engine/model.ts";
import type { EngineOptions, LoadOptions } from "../../engine/options.ts";
import type { RunResult, RequestSummary } from "../../engine/result.ts";
import { Random } from "../random.ts";
import { createToyBackend, TOY_CHUNK, toyBundle } from "./toy-backend.ts";
import { World } from "./world.ts";
import type { WorkerFault } from "./world.ts";

const BASE = "https://app.test/";
const GPU = { vendor: "toy", architecture: "", description: "", software: false, features: [], limits: {} };

interface Scene {
  readonly world: World;
  readonly engine: Engine;
  readonly model: Model;
  /** Faults of the next messages to workers. */
  readonly faults: WorkerFault[];
}

async function start(
  options: EngineOptions = {},
  load: LoadOptions = {},
  cost: "apart" | "together" = "together",
  gpu: typeof GPU | null = null,
  seed = 1,
): Promise<Scene> {
  const faults: WorkerFault[] = [];
  const world = new World({
    random: new Random(seed),
    gpu,
    cores: 2,
    files: new Map([
      [`${BASE}${TOY_CHUNK.path}`, TOY_CHUNK.content],
      [`${BASE}double.json`, toyBundle("double", 2, cost)],
      [`${BASE}unusual.json`, toyBundle("unusual", 2, cost).replace('"typical":{"w":2}', '"typical":{}')],
    ]),
    createBackend: createToyBackend,
    drawFault: () => faults.shift() ?? null,
    log: null,
  });
  const engine = await createEngine({ effects: world.effects, ...options });
  const model = await world.finish(engine.load(`${BASE}double.json`, load));
  world.faults = true;
  return { world, engine, model, faults };
}

const x = (value: number) => ({ x: { dtype: "float32", dims: [1, 2], data: Float32Array.of(value, value) } }) as const;
const codes = (of: { readonly why: { readonly reasons: readonly { readonly code: string }[] } }): string[] =>
  of.why.reasons.map(({ code }) => code);

describe("counts", () => {
  test("add up to the requests made, by class, and the mean batch is requests by executions", async () => {
    const settled: RequestSummary[] = [];
    const { world, engine, model } = await start({
      workers: 1,
      queue: { maxSize: 30 },
      observe: (x) => settled.push(x),
    });
    const stop = new AbortController();
    const all = Array.from({ length: 60 }, (_, i) =>
      model.run(x(i), {
        priority: (["interactive", "normal", "background"] as const)[i % 3],
        ...(i % 10 === 0 ? { signal: stop.signal } : {}),
        ...(i % 7 === 0 ? { deadlineMs: 5, onLate: "finish" as const } : {}),
      }),
    );
    stop.abort(new Error("gone"));
    const ends = await world.finish(Promise.allSettled(all));
    const { requests, classes, batches, lanes } = engine.stats();
    expect(requests.asked).toBe(60);
    expect(requests.done).toBe(ends.filter((x) => x.status === "fulfilled").length);
    expect(requests.rejected).toBeGreaterThan(0);
    expect(requests.cancelled).toBeGreaterThan(0);
    expect(requests.late).toBeGreaterThan(0);
    expect(requests.done + requests.failed + requests.rejected + requests.cancelled).toBe(60);
    for (const key of ["asked", "done", "rejected", "cancelled", "late"] as const)
      expect(Object.values(classes).reduce((sum, counts) => sum + counts[key], 0)).toBe(requests[key]);
    expect(batches.mean).toBe(batches.requests / batches.executions);
    expect(batches.requests).toBeGreaterThanOrEqual(requests.done);
    expect(batches.executions).toBe(lanes.reduce((sum, { runs }) => sum + runs, 0));
    expect(lanes[0]?.utilisation).toBeGreaterThan(0);
    expect(settled).toHaveLength(60);
    for (const outcome of ["done", "rejected", "cancelled"] as const)
      expect(settled.filter((x) => x.outcome === outcome)).toHaveLength(requests[outcome]);
    expect(settled.filter((x) => x.isLate)).toHaveLength(requests.late);
    expect(settled.find((x) => x.outcome === "done")).toMatchObject({
      model: "double",
      code: null,
      info: { backend: "wasm" },
    });
  });

  test("include the attempts after a failure", async () => {
    const { world, engine, model, faults } = await start({ workers: 1 });
    faults.push("crash");
    const { info } = await world.finish(model.run(x(1)));
    expect(info.attempts).toBe(2);
    expect(engine.stats().requests.retried).toBe(1);
    expect(codes(info)).toContain("retried");
    expect(info.why.text).toMatch(/retried: wasm-0 failed after \d+(\.\d)? ms \(worker-crashed\)/);
  });
});

describe("reasons", () => {
  test("a batch reports its size, and what waiting for it saved", async () => {
    const { world, model } = await start({ workers: 1 }, { batching: { maxQueueDelayMs: 5, maxBatchSize: 4 } });
    for (let i = 0; i < 12; i += 1) await world.finish(Promise.all([0, 1, 2, 3].map((i) => model.run(x(i)))));
    for (let i = 0; i < 3; i += 1) await world.finish(model.run(x(i)));
    const [last] = await world.finish(Promise.all([0, 1, 2, 3].map((i) => model.run(x(i)))));
    const { info } = last as RunResult;
    expect(codes(info)).toContain("batched");
    expect(info.why.text).toMatch(/batched with 3: waiting \d\.\d ms saves \d+(\.\d)? ms/);
  });

  test("not-measured: no usual input is known", async () => {
    const { world, engine } = await start({}, {}, "together", GPU);
    const model = await world.finish(engine.load(`${BASE}unusual.json`));
    expect(model.why.code).toBe("not-measured");
  });

  test("late: finished after its deadline, as it was asked to be", async () => {
    const { world, model } = await start({ workers: 1 });
    const { info } = await world.finish(model.run(x(1), { deadlineMs: 2, onLate: "finish" }));
    expect(codes(info)).toContain("late");
  });

  test("kept: the same inputs were answered before", async () => {
    const { world, model } = await start({}, { cache: true });
    await world.finish(model.run(x(1)));
    const { info } = await world.finish(model.run(x(1)));
    expect(info.isCached).toBe(true);
    expect(info.why.code).toBe("cached");
    expect(info.why.text).toMatch(/answered from memory: .+ took \d+(\.\d)? ms on wasm-\d/);
  });

  test("shared: the same inputs are asked for meanwhile", async () => {
    const { world, model } = await start();
    const [one, two] = await world.finish(Promise.all([model.run(x(1)), model.run(x(1))]));
    expect([one.info.isCached, two.info.isCached]).toEqual([false, true]);
    expect(two.info.why.code).toBe("coalesced");
    expect(two.info.why.text).toMatch(/shares the answer of .+ ran \d+(\.\d)? ms on wasm-\d/);
  });

  test("gpu-lost: requests of a lost GPU ran on wasm, and report their attempts", async () => {
    // Both are equally fast in this world, so chance decides which one measures faster.
    let scene = await start({}, {}, "together", GPU);
    for (let seed = 2; scene.model.backend !== "webgpu"; seed += 1) scene = await start({}, {}, "together", GPU, seed);
    const { world, model, faults } = scene;
    expect(model.why.code).toBe("measured");
    faults.push("lost", "lost");
    const { info } = await world.finish(model.run(x(1)));
    expect(info.backend).toBe("wasm");
    expect(info.why.code).toBe("gpu-fallback");
    expect(codes(info)).toContain("retried");
  });
});

test.each([false, true])(
  "a trace has what is asked in the turn it is, inputs %s, and its time counts from then (processing-M8)",
  async (inputs) => {
    const { world, engine, model } = await start();
    const startMs = world.now;
    await import("../../observe/recorder.ts"); // real I/O, for which this world does not wait
    const tracing = engine.trace({ seconds: 5, inputs });
    const answers = [model.run(x(1)), model.run(x(2))];
    await world.finish(Promise.all(answers));
    await world.finish(model.run(x(3)));
    await new Promise((resolve) => setImmediate(resolve));
    await world.run(() => false, startMs + 6_000);
    const trace = await tracing;
    const told = trace.selvedge.told as readonly (readonly unknown[])[];
    expect(JSON.stringify(told).match(/"arrived"/g)).toHaveLength(3);
    expect(trace.selvedge).toMatchObject({ startMs, endMs: startMs + 5_000 });
    const requests = trace.traceEvents.filter(({ ph, cat }) => ph === "b" && cat === "request");
    expect(requests).toHaveLength(3);
    expect(JSON.stringify(trace).match(/"base64"/g)?.length ?? 0).toBe(inputs ? 3 : 0);
  },
);

test("a trace whose engine is closed at once ends with what there was (processing-M8)", async () => {
  const { engine, model } = await start();
  const tracing = engine.trace({ seconds: 5 });
  const ran = model.run(x(1)).catch(() => null);
  await engine.close();
  await ran;
  const trace = await tracing;
  expect(JSON.stringify(trace.selvedge.told).match(/"arrived"/g)).toHaveLength(1);
});

test("an observer that throws harms nothing but itself", async () => {
  const caught: unknown[] = [];
  const others = process.listeners("uncaughtException");
  process.removeAllListeners("uncaughtException");
  process.on("uncaughtException", (error) => void caught.push(error));
  const { world, model } = await start({
    observe: {
      onResult: () => {
        throw new Error("the observer's own");
      },
    },
  });
  const { outputs } = await world.finish(model.run(x(2)));
  await new Promise((resolve) => setImmediate(resolve));
  process.removeAllListeners("uncaughtException");
  for (const other of others) process.on("uncaughtException", other);
  expect(outputs["y"]?.data[0]).toBe(4);
  expect(caught).toEqual([new Error("the observer's own")]);
});

test.each<[string, unknown, RegExp]>([
  ["a word", "loud", /observe: expected a function or/],
  ["an unknown key", { onresult: 1 }, /no option "onresult", only onResult, devtools/],
  ["a hook that is none", { onResult: 1 }, /observe.onResult: expected a function, got 1/],
])("observe refuses %s", async (_, observe, message) => {
  await expect(createEngine({ observe } as EngineOptions)).rejects.toThrow(message);
});
