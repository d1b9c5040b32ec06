import { expect, test } from "vitest";
import type { Backend, StateCall } from "../rpc/backend.ts";
import { createEngine } from "../create-engine.ts";
import type { Engine } from "./engine.ts";
import type { Model } from "./model.ts";
import { resolveOptions } from "./resolve-options.ts";
import { Stateful } from "./stateful.ts";
import type { StatefulOptions } from "./options.ts";
import type { RunResult } from "./result.ts";
import { Random } from "../test-support/random.ts";
import { createToyBackend, TOY_CHUNK, toyBundle, toyStep } from "../test-support/simulate/toy-backend.ts";
import { World } from "../test-support/simulate/world.ts";
import type { WorkerFault } from "../test-support/simulate/world.ts";

/** An engine in a simulated world, with a model that keeps a sum; the calls of its workers are recorded. */
async function setUp(cores = 1): Promise<{
  world: World;
  engine: Engine;
  model: Model;
  calls: { lane: number; state: StateCall | undefined }[];
  faults: (WorkerFault | null)[];
}> {
  const calls: { lane: number; state: StateCall | undefined }[] = [];
  const faults: (WorkerFault | null)[] = [];
  const world = new World({
    random: new Random(1),
    gpu: null,
    cores,
    files: new Map([
      ["https://app.test/sum.json", toyBundle("sum", null)],
      ["https://app.test/double.json", toyBundle("double", 2)],
      [
        "https://app.test/named.json",
        toyBundle("sum", null).replace(/\["n",2\](?=[^{]*"(sum|next)")/g, '["streams",2]'),
      ],
      [`https://app.test/${TOY_CHUNK.path}`, TOY_CHUNK.content],
    ]),
    createBackend: (made, worker): Backend => {
      const backend = createToyBackend(made, worker);
      const { run } = backend;
      backend.run = (modelId, feeds, state) => {
        calls.push({ lane: worker.id, state });
        return run(modelId, feeds, state);
      };
      return backend;
    },
    drawFault: () => faults.shift() ?? null,
    log: null,
  });
  const engine = await createEngine({ effects: world.effects, idleMs: 1_000, callTimeoutMs: 2_000 });
  const model = await world.finish(engine.load("https://app.test/sum.json"));
  world.faults = true;
  return { world, engine, model, calls, faults };
}

const x = (value: number) => ({ x: { dtype: "float32", dims: [1, 2], data: Float32Array.of(value, 0) } }) as const;

async function sumOf(world: World, step: Promise<RunResult>): Promise<number | undefined> {
  const { outputs } = await world.finish(step);
  return (outputs["y"]?.data as Float32Array | undefined)?.[0];
}

function sums(values: readonly number[]): number[] {
  let sum = 0;
  return values.map((value) => (sum = toyStep(sum, value)));
}

async function failure(world: World, step: Promise<unknown>): Promise<unknown> {
  return world.finish(
    step.then(
      () => "answered",
      (error: unknown) => error,
    ),
  );
}

test("each step continues from the previous one, and neither takes nor returns the state", async () => {
  const { world, model } = await setUp();
  const state = model.stateful({ checkpointEvery: 2 });
  for (const [i, expected] of sums([1, 2, 3, 4, 5]).entries()) {
    const step = state.run(x(i + 1));
    expect(await sumOf(world, step)).toBe(expected);
    expect(Object.keys((await step).outputs)).toEqual(["y"]);
  }
});

test("steps called at once run one after the other, in the order of the calls", async () => {
  const { world, model } = await setUp(4);
  const state = model.stateful();
  const steps = [1, 2, 3, 4].map((value) => state.run(x(value)));
  expect(await world.finish(Promise.all(steps.map((step) => sumOf(world, step))))).toEqual(sums([1, 2, 3, 4]));
});

test("the state stays on its lane: it goes there once, and comes back at checkpoints alone", async () => {
  const { world, model, calls } = await setUp(2);
  const state = model.stateful({ checkpointEvery: 3 });
  for (let i = 0; i < 6; i += 1) await world.finish(state.run(x(i)));
  const kept = calls.map(({ state }) => [state?.restore === null, state?.checkpoint]);
  expect(kept).toEqual([false, true, true, true, true, true].map((goesOn, i) => [goesOn, i % 3 === 2]));
  expect(new Set(calls.map(({ lane }) => lane)).size).toBe(1);
});

test("a lane that dies costs the steps since the checkpoint, and no answer", async () => {
  const { world, model, calls, faults } = await setUp();
  const state = model.stateful({ checkpointEvery: 4 });
  const expected = sums([1, 2, 3, 4, 5, 6, 7]);
  for (let i = 0; i < 6; i += 1) expect(await sumOf(world, state.run(x(i + 1)))).toBe(expected[i]);
  calls.length = 0;
  faults.push("crash");
  const step = state.run(x(7));
  expect(await sumOf(world, step)).toBe(expected[6]);
  expect((await step).info.attempts).toBe(2);
  expect(calls.map(({ state }) => state?.restore === null)).toEqual([false, true, true]);
});

test("the end of an idle worker loses nothing", async () => {
  const { world, model } = await setUp();
  const state = model.stateful();
  const expected = sums([1, 2, 3]);
  for (let i = 0; i < 3; i += 1) {
    const step = state.run(x(i + 1));
    expect(await sumOf(world, step)).toBe(expected[i]);
    expect((await step).info.attempts).toBe(1);
    await world.run(() => false, world.now + 5_000);
    expect([...world.alive].filter((worker) => worker.computes)).toEqual([]);
  }
});

test("states are independent, and spread over lanes", async () => {
  const { world, model, calls } = await setUp(2);
  const [a, b] = [model.stateful(), model.stateful()];
  for (let i = 0; i < 3; i += 1) {
    await world.finish(a.run(x(1)));
    await world.finish(b.run(x(10)));
  }
  expect(await sumOf(world, a.run(x(1)))).toBe(sums([1, 1, 1, 1])[3]);
  expect(await sumOf(world, b.run(x(10)))).toBe(sums([10, 10, 10, 10])[3]);
  const lanes = calls.map(({ lane }) => lane);
  expect(new Set(lanes).size).toBe(2);
  expect(new Set(lanes.filter((_, i) => i % 2 === 0)).size).toBe(1);
});

test("a cancelled step did not happen, whether it waited or ran", async () => {
  const { world, model } = await setUp(2);
  const state = model.stateful();
  const stops = [new AbortController(), new AbortController()];
  const first = state.run(x(1));
  const second = state.run(x(2), { signal: stops[0]!.signal });
  const third = state.run(x(3), { signal: stops[1]!.signal });
  const fourth = state.run(x(4));
  stops[1]!.abort(new Error("left the queue"));
  await expect(third).rejects.toThrow("left the queue");
  await world.finish(first);
  await world.run(() => false, world.now + 1);
  stops[0]!.abort(new Error("left while it ran"));
  await expect(second).rejects.toThrow("left while it ran");
  expect(await sumOf(world, fourth)).toBe(sums([1, 4])[1]);
  expect(await sumOf(world, state.run(x(5)))).toBe(sums([1, 4, 5])[2]);
});

test("a wrong input is rejected, and leaves the state as it was", async () => {
  const { world, model } = await setUp();
  const state = model.stateful();
  await world.finish(state.run(x(1)));
  await expect(state.run({ ...x(2), sum: x(2).x })).rejects.toThrow('the model has no input "sum"');
  await expect(state.run({})).rejects.toThrow(TypeError);
  expect(await sumOf(world, state.run(x(2)))).toBe(sums([1, 2])[1]);
});

test("a state that can't be rebuilt is lost, and skips no step: later ones are rejected", async () => {
  const { world, model, faults } = await setUp();
  const state = model.stateful();
  await world.finish(state.run(x(1)));
  faults.push(...Array.from({ length: 12 }, (): WorkerFault => "crash"));
  const steps = [state.run(x(2)), state.run(x(3))].map((step) => failure(world, step));
  faults.length = 0;
  faults.push("crash", "crash", "crash");
  for (const step of steps) expect(await step).toMatchObject({ code: "state-lost" });
  faults.length = 0;
  expect(await failure(world, state.run(x(4)))).toMatchObject({ code: "state-lost", retryable: false });
  expect(await sumOf(world, model.stateful().run(x(1)))).toBe(1);
});

test("it ends as closed when the state is closed, the model unloaded, or the engine closed", async () => {
  const { world, engine, model } = await setUp();
  const [closed, unloaded] = [model.stateful(), model.stateful()];
  await world.finish(closed.run(x(1)));
  const steps = [closed.run(x(2)), closed.run(x(3))].map((step) => failure(world, step));
  closed.close();
  for (const step of steps) expect(await step).toMatchObject({ code: "closed" });
  expect(await failure(world, closed.run(x(2)))).toMatchObject({ code: "closed" });
  model.unload();
  expect(await failure(world, unloaded.run(x(1)))).toMatchObject({ code: "closed" });
  expect(() => model.stateful()).toThrow("unloaded");
  const other = await setUp();
  const state = other.model.stateful();
  const step = failure(other.world, state.run(x(1)));
  await other.engine.close();
  expect(await step).toMatchObject({ code: "closed" });
  expect(engine.stats().requests).toMatchObject({ queued: 0, running: 0 });
});

test("a closed state frees what its lane kept", async () => {
  const { world, model, engine } = await setUp();
  const state = model.stateful();
  await world.finish(state.run(x(1)));
  state.close();
  await world.run(() => engine.stats().lanes.every((lane) => lane.state !== "busy"), world.now + 500);
  const [lane] = engine.stats().lanes;
  expect(lane).toMatchObject({ state: "idle", crashes: 0 });
});

test("begins with the initial state, and keeps a copy of it", async () => {
  const { world, model } = await setUp();
  const data = Float32Array.of(8, 8);
  const state = model.stateful({ initial: { sum: { dtype: "float32", dims: [1, 2], data } } });
  data.fill(0);
  expect(await sumOf(world, state.run(x(1)))).toBe(5);
});

test.each([
  ["TypeError", { initial: {} }],
  ["TypeError", { initial: { sum: { dtype: "int32", dims: [1, 2], data: new Int32Array(2) } } }],
  ["RangeError", { initial: { sum: { dtype: "float32", dims: [1, 3], data: new Float32Array(3) } } }],
  ["RangeError", { checkpointEvery: 0 }],
  ["RangeError", { checkpointEvery: 1.5 }],
  ["TypeError", { every: 4 }],
])("refuses wrong options at once: %s for %o", async (name, options) => {
  const { model } = await setUp();
  expect(() => model.stateful(options as StatefulOptions)).toThrow(expect.objectContaining({ name }));
});

test("a model without a state has none to begin", async () => {
  const { world, engine } = await setUp();
  const model = await world.finish(engine.load("https://app.test/double.json"));
  expect(() => model.stateful()).toThrow('"double" has no recurrent state');
});

const rows = (...values: number[]) => ({
  x: { dtype: "float32", dims: [values.length, 2], data: Float32Array.from(values.flatMap((value) => [value, 0])) },
});

test("a step of another batch than the state's is rejected, and the state goes on (processing-M3)", async () => {
  const { world, model, calls } = await setUp();
  const state = model.stateful({ checkpointEvery: 2 });
  const message = 'input "x": "n" is 2, but 1 in input "sum"';
  await expect(state.run(rows(1, 2) as never)).rejects.toThrow(message);
  for (const [i, sum] of sums([1, 2, 3]).entries()) {
    expect(await sumOf(world, state.run(x(i + 1)))).toBe(sum);
    await expect(state.run(rows(1, 2) as never)).rejects.toThrow(RangeError);
  }
  expect(calls.length).toBe(3);
  const initial = { sum: { dtype: "float32", dims: [2, 2], data: new Float32Array(4) } } as const;
  const pair = model.stateful({ initial });
  await expect(pair.run(x(1))).rejects.toThrow('"n" is 1, but 2 in input "sum"');
  const { outputs } = await world.finish(pair.run(rows(3, 4) as never));
  expect(outputs["y"]).toMatchObject({ dims: [2, 2], data: Float32Array.of(3, 0, 4, 0) });
});

test("a step of another batch is rejected where the state names its batch otherwise, too (processing-M3)", async () => {
  const { world, engine } = await setUp();
  const model = await world.finish(engine.load("https://app.test/named.json"));
  const state = model.stateful();
  for (const [i, sum] of sums([1, 2]).entries()) {
    await expect(state.run(rows(1, 2) as never)).rejects.toThrow('input "x": "n" is 2, but 1 in input "sum"');
    expect(await sumOf(world, state.run(x(i + 1)))).toBe(sum);
  }
});

test("wrong options of a step reject, and never throw (processing-L8)", async () => {
  const { world, model } = await setUp();
  const state = model.stateful();
  for (const options of [null, 5, { prioritty: "background" }, { signal: {} }, { transfer: "yes" }]) {
    await expect(state.run(x(1), options as never)).rejects.toThrow(TypeError);
    await expect(model.run(x(1), options as never)).rejects.toThrow(TypeError);
    expect(() => model.map([], options as never)).toThrow(TypeError);
  }
  await expect(model.run(x(1), { prioritty: 1 } as never)).rejects.toThrow(
    'run: there is no option "prioritty", only priority, deadlineMs',
  );
  await expect(model.run(x(1), null as never)).rejects.toThrow("run: expected an object of options, got null");
  expect(() => model.map([], { priority: "urgent" } as never)).toThrow("priority: expected");
  expect(() => model.stateful({ initial: null } as never)).toThrow("initial: expected an object of named tensors");
  expect(await sumOf(world, state.run(x(1)))).toBe(1);
});

test("a checkpoint comes after every 16 steps unless told otherwise (processing-mutant-stateful-1)", async () => {
  const { world, model, calls } = await setUp();
  const state = model.stateful();
  for (let i = 0; i < 33; i += 1) await world.finish(state.run(x(1)));
  const at = calls.flatMap(({ state }, i) => (state?.checkpoint === true ? [i + 1] : []));
  expect(at).toEqual([16, 32]);
});

/** A state over the test's own parts: the test decides each step's outcome and counts what is freed. */
function bare() {
  const port = (name: string) => ({ name, dtype: "float32", dims: ["n", 2], batchAxis: 0 }) as const;
  const noted = { removed: [] as number[], closed: 0 };
  let outcome: () => Promise<RunResult> = () => Promise.resolve({ outputs: {} } as RunResult);
  let mark = 0;
  const image = {
    width: 1,
    height: 1,
    close: () => {
      noted.closed += 1;
    },
  } as unknown as ImageBitmap;
  const state = new Stateful(
    {},
    {
      executor: { newMark: () => ++mark, removeState: (id) => noted.removed.push(id) },
      plan: { name: "bare", states: { next: "sum" }, typical: {} },
      accepts: { ports: [port("x"), port("sum")] },
      count: (_accepts, _inputs, _options, work) =>
        work({ tensors: {}, others: { x: { kind: "image", image } } }, resolveOptions({}, 0)),
      submit: () => outcome(),
    },
  );
  const step = (next: () => Promise<RunResult>): Promise<RunResult> => {
    outcome = next;
    return state.run({});
  };
  return { state, step, noted };
}
const answered = (): Promise<RunResult> => Promise.resolve({ outputs: {} } as RunResult);
const rejected = (error: Error) => (): Promise<RunResult> => Promise.reject(error);

test("closing a state frees it on its lanes, once (processing-mutant-stateful-2)", async () => {
  const { state, step, noted } = bare();
  await step(answered);
  state.close();
  expect(noted.removed).toEqual([1]);
  state.close();
  expect(noted.removed).toEqual([1]); // processing-mutant-stateful-5
  const failing = bare();
  await expect(failing.step(rejected(new Error("boom")))).rejects.toMatchObject({ code: "state-lost" });
  failing.state.close();
  expect(failing.noted.removed).toEqual([1]);
});

test("images of a failed step are closed (processing-mutant-stateful-3)", async () => {
  const { step, noted } = bare();
  await step(answered);
  expect(noted.closed).toBe(0); // kept for a rebuild
  await expect(step(rejected(new TypeError("no image")))).rejects.toThrow("no image");
  expect(noted.closed).toBe(1);
});

test("a wrong size that the worker finds leaves the state as it was (processing-mutant-stateful-4)", async () => {
  const { step } = bare();
  for (const error of [new RangeError("too wide"), new TypeError("no image")])
    await expect(step(rejected(error))).rejects.toBe(error);
  expect(await step(answered)).toMatchObject({ outputs: {} });
});
