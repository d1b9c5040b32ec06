// A lane over a worker whose backend takes as long as the test says: the order and the bounds of its calls, the events
// that it reports, and its counters. lane.test.ts has the stories of whole engines.
import { expect, test } from "vitest";
import type { LaneKind } from "../core/device.ts";
import { SelvedgeError } from "../core/errors.ts";
import type { Effects } from "../effects/effects.ts";
import type { Backend } from "../rpc/backend.ts";
import type { AnswerCheck, Feeds, LoadMessage } from "../rpc/messages.ts";
import { openScene } from "../test-support/simulate/fixtures.ts";
import type { SimulatedWorker, World } from "../test-support/simulate/world.ts";
import {
  CHECK_BOUND_MS,
  FIRST_BOUND_MS,
  RUN_BOUND_MIN_MS,
  START_BOUND_MIN_MS,
  START_BOUND_MS,
} from "./call-timeouts.ts";
import { Lane } from "./lane.ts";
import type { Build, LaneEvents, LaneOptions, StateStep } from "./lane-options.ts";

const GIB = 2 ** 30;
const IDLE_MS = 30_000;
/** Time after which a call will not be answered any more. */
const HUNG_MS = 1_000_000;
/** Longest delay of a message in the simulated world, and a little. */
const SOON_MS = 50;
const DONE = new Error("done");

/** A batch of one request: two numbers, so three elements. */
const ITEMS: readonly Feeds[] = [itemOf(1)];
const STEP: StateStep = { id: 5, after: 0, mark: 1, checkpoint: {}, since: [], isCheckpoint: false };

function itemOf(value: number): Feeds {
  return { tensors: { x: { dtype: "float32", dims: [1, 2], data: Float32Array.of(value, 0) } }, others: null };
}

/** A model of ten bytes. */
function modelOf(modelId: number, check?: Partial<AnswerCheck>): LoadMessage {
  const files = [{ path: "model.onnx", data: new Blob(["0123456789"]) }];
  const usual: AnswerCheck = { refused: null, loaded: () => Promise.resolve(), answered: () => null };
  const more = check === undefined ? {} : { check: { ...usual, ...check } };
  return { modelId, files, session: {}, images: {}, decodes: {}, assets: {}, ...more };
}

/** A lane, its backends as the test changes them, and what they did. */
interface LaneScene {
  readonly lane: Lane;
  readonly world: World;
  /** Time of each call in ms, and the error of those that fail. */
  readonly takes: { start: number; load: number; run: number };
  readonly fails: { start?: Error; load?: Error; run?: Error };
  readonly memory: { bytes: number };
  /** Calls in the order in which backends got them, and messages in the order in which they were posted. */
  readonly calls: string[];
  readonly posted: string[];
  /** Events of the lane. */
  readonly events: string[];
  /** The backend of the last worker. */
  backend(): Backend;
  worker(): SimulatedWorker;
  pass(ms: number): Promise<void>;
  /** Waits for a call, however long it takes in the simulated world. */
  finish<T>(promise: Promise<T>): Promise<T>;
  /** Waits for a call that fails; returns its error, and the time that it took in ms. */
  failed(promise: Promise<unknown>): Promise<{ error: unknown; ms: number }>;
}

interface LaneSceneOptions extends Partial<Omit<LaneOptions, "events">> {
  readonly kind?: LaneKind;
  readonly on?: Partial<LaneEvents>;
  readonly build?: Partial<Build>;
  readonly more?: Partial<Effects>;
}

async function openLane(options: LaneSceneOptions = {}): Promise<LaneScene> {
  const { kind = "usual", on = {}, build = {}, more = {}, ...laneOptions } = options;
  const [takes, fails, memory]: [LaneScene["takes"], LaneScene["fails"], LaneScene["memory"]] = [
    { start: 300, load: 80, run: 100 },
    {},
    { bytes: 0 },
  ];
  const [calls, posted, events]: [string[], string[], string[]] = [[], [], []];
  let backend: Backend | null = null;
  const { world, pass, up } = await openScene({
    change: (_toy, _worker, inWorld) => {
      const act = (name: "start" | "load" | "run", call: string): Promise<void> => {
        calls.push(call);
        const error = fails[name];
        return new Promise((resolve, reject) => {
          inWorld.at(takes[name], () => {
            if (error === undefined) resolve();
            else reject(error);
          });
        });
      };
      const made: Backend = {
        ...{ onLost: null, onLog: null },
        get memoryBytes() {
          return memory.bytes;
        },
        async start({ backend: name, threads, verbose }) {
          await act("start", `start ${name} ${threads}${verbose ? " verbose" : ""}`);
          made.onLog?.("a line");
          return { backend: name, gpu: null, version: "", startMs: 0 };
        },
        async load(modelId) {
          await act("load", `load ${modelId}`);
          return { inputs: [], outputs: [], loadMs: 0, assignment: null };
        },
        async run(modelId, feeds, state) {
          const { data } = feeds["x"] as { data: Float32Array };
          const { restore = null, checkpoint = false } = state ?? {};
          const how = state && `${restore === null ? "" : ", restored"}${checkpoint ? ", checkpoint" : ""}`;
          await act("run", `run ${modelId}: ${data[0]}${how === undefined ? "" : ` of state ${state?.stateId}${how}`}`);
          return { y: { dtype: "float32", dims: [1, 2], data: new Float32Array(2) } };
        },
        unload: (modelId) => {
          calls.push(`unload ${modelId}`);
          return Promise.resolve();
        },
        removeState: (stateId) => {
          calls.push(`remove state ${stateId}`);
          return Promise.resolve();
        },
      };
      backend = made;
      return made;
    },
  });
  world.random.upTo = () => 1; // messages arrive in their order
  const createWorker: Effects["createWorker"] = (url, name) => {
    const worker = world.effects.createWorker(url, name);
    const post = worker.postMessage.bind(worker);
    return Object.assign(worker, {
      postMessage(message: unknown) {
        const { path } = message as { path?: readonly string[] };
        if (path !== undefined && path[0] !== "hold") posted.push(path.join("."));
        post(message, []);
      },
    });
  };
  const usual: Build = {
    source: () => ({ href: "w.js", script: "w.js" }),
    wasmUrls: () => ({ wasmUrl: "w.wasm", restUrl: "w.wasm" }),
    compiled: { modules: null, rest: null },
    ...build,
  };
  const lane = new Lane(
    "wasm-0",
    "wasm",
    {
      effects: { ...world.effects, createWorker, ...more },
      builds: { usual, large: usual },
      ...{ threads: 1, verbose: false, onLog: null, idleMs: IDLE_MS, callTimeoutMs: null },
      ...laneOptions,
      events: {
        trying: (modelId, isTrying) => events.push(`${isTrying ? "trying" : "tried"} ${modelId}`),
        isUnloaded: () => false,
        loaded: (modelId, _ms, id) => events.push(`loaded ${modelId} on ${id}`),
        grown: () => events.push("grown"),
        mayStart: () => true,
        crashed: ({ message }) => events.push(`crashed: ${message}`),
        freed: () => events.push("freed"),
        idled: () => events.push("idled"),
        ...on,
      },
    },
    kind,
  );
  const finish = async <T>(promise: Promise<T>): Promise<T> => {
    let isSettled = false;
    const settle = (): void => {
      isSettled = true;
    };
    promise.then(settle, settle);
    await world.run(() => isSettled, world.now + HUNG_MS);
    await new Promise((resolve) => setImmediate(resolve));
    if (!isSettled) throw new Error("not settled");
    return promise;
  };
  return {
    ...{ lane, world, takes, fails, memory, calls, posted, events, pass, finish },
    backend: () => backend as unknown as Backend,
    worker: () => up()[0] as SimulatedWorker,
    async failed(promise) {
      const beganMs = world.now;
      const error = await finish(
        promise.then(
          () => null,
          (caught: unknown) => caught,
        ),
      );
      return { error, ms: world.now - beganMs };
    },
  };
}

/** A lane that has loaded model 1. */
async function openLoaded(options: LaneSceneOptions = {}, model = modelOf(1)): Promise<LaneScene> {
  const scene = await openLane(options);
  await scene.finish(scene.lane.load(model));
  for (const list of [scene.calls, scene.posted, scene.events]) list.length = 0;
  return scene;
}

/** A time of the simulated world, in which messages take some ms. */
const about = (ms: number): { asymmetricMatch(value: unknown): boolean } => ({
  asymmetricMatch: (value: unknown) => Number(value) >= ms && Number(value) < ms + 2 * SOON_MS,
});

test("a load and a run report their phases; a batch that waits in the worker reports that it has begun", async () => {
  const { lane, finish, pass } = await openLane();
  const phases: string[] = [];
  await finish(lane.load(modelOf(1), (phase) => phases.push(phase)));
  expect(phases).toEqual(["starting", "loading"]);
  const onPhase = (phase: string): void => void phases.push(phase);
  const run = lane.run(modelOf(1), ITEMS, { onPhase });
  await pass(10);
  expect(phases.splice(0)).toEqual(["starting", "loading", "starting", "loading", "running"]);
  const staged = lane.run(modelOf(1), ITEMS, { onPhase });
  await pass(10);
  expect(phases).toEqual([]);
  await finish(run);
  expect(phases).toEqual(["running"]);
  await finish(staged);
  expect(phases).toEqual(["running"]);
});

test("a batch of a loaded model is sent behind the running one at once", async () => {
  const { lane, posted, finish, pass } = await openLoaded();
  const runs = [lane.run(modelOf(1), ITEMS)];
  await pass(0);
  runs.push(lane.run(modelOf(1), ITEMS), lane.run(modelOf(1), ITEMS));
  await pass(0);
  expect(posted).toEqual(["run", "run", "run"]);
  await finish(Promise.all(runs));
  expect(lane.stats().runs).toBe(3);
});

test("a probe, a step of a state and a batch of another model wait for the running batch", async () => {
  for (const start of [
    (lane: Lane) => lane.run(modelOf(1), ITEMS, { isProbe: true }),
    (lane: Lane) => lane.run(modelOf(1), ITEMS, { state: STEP }),
    (lane: Lane) => lane.run(modelOf(2), ITEMS),
  ]) {
    const { lane, posted, finish, pass } = await openLoaded();
    const run = lane.run(modelOf(1), ITEMS);
    await pass(10);
    const next = start(lane);
    await pass(10);
    expect(posted).toEqual(["run"]);
    await finish(Promise.all([run, next]));
  }
});

test("a batch behind a call that waits is not sent before it", async () => {
  const { lane, calls, finish, pass } = await openLoaded();
  const all = [lane.run(modelOf(1), ITEMS)];
  await pass(10);
  const removal = lane.removeState(7);
  all.push(lane.run(modelOf(1), [itemOf(2)]));
  await finish(Promise.all([...all, removal]));
  expect(calls).toEqual(["run 1: 1", "remove state 7", "run 1: 2"]);
});

test("a lane takes one more batch while nothing but batches is pending", async () => {
  const { lane, finish, pass } = await openLoaded();
  expect(lane.isOpen).toBe(true);
  const run = lane.run(modelOf(1), ITEMS);
  await pass(10);
  expect([lane.isOpen, lane.free, lane.stats().state]).toEqual([true, false, "busy"]);
  const staged = lane.run(modelOf(1), ITEMS);
  await pass(10);
  expect(lane.isOpen).toBe(true);
  const unload = lane.unload(1);
  expect(lane.isOpen).toBe(false);
  await finish(Promise.all([run, staged, unload]));
  expect([lane.isOpen, lane.free, lane.stats().state]).toEqual([true, true, "idle"]);
  const probe = lane.run(modelOf(1), ITEMS, { isProbe: true });
  expect(lane.isOpen).toBe(false);
  await finish(probe);
  lane.close(DONE);
  expect([lane.isOpen, lane.free, lane.stats().state]).toEqual([false, false, "off"]);
});

test("items are taken when the batch is sent; where none is left, nothing runs", async () => {
  const { lane, calls, posted, finish } = await openLane();
  let isTaken = false;
  const run = lane.run(modelOf(1), () => {
    isTaken = true;
    expect(calls).toEqual(["start wasm 1", "load 1"]);
    return [];
  });
  expect(isTaken).toBe(false);
  expect(await finish(run)).toEqual({ items: [], runs: 0, preprocessMs: 0, runMs: 0, decodeMs: 0 });
  expect(posted).toEqual(["foresee", "start", "load"].filter((x) => posted.includes(x)));
  expect(lane.stats().runs).toBe(0);
});

test("the answers of a batch are checked before they are returned, those of a probe are not", async () => {
  const checked: unknown[] = [];
  let wait: Promise<void> | null = null;
  const model = modelOf(1, {
    answered(items, ran) {
      checked.push([items, ran.items.length]);
      return wait;
    },
  });
  const { lane, finish, failed } = await openLoaded({}, model);
  await finish(lane.run(model, ITEMS, { isProbe: true }));
  expect(checked).toEqual([]);
  await finish(lane.run(model, ITEMS));
  expect(checked).toEqual([[ITEMS, 1]]);
  wait = Promise.reject(DONE);
  wait.catch(() => undefined);
  expect((await failed(lane.run(model, ITEMS))).error).toBe(DONE);
});

test("a model is checked as it is loaded, and one that computed wrongly is refused", async () => {
  let seen: unknown = null;
  const model = modelOf(1, {
    async loaded(run, endpoint, facts) {
      seen = [(await run(ITEMS)).items.length, endpoint, facts.loadMs];
    },
  });
  const { lane, calls, finish } = await openLane({ build: { endpoint: "https://server.test" } });
  expect(lane.endpoint).toBe("https://server.test");
  await finish(lane.load(model));
  expect(calls).toEqual(["start wasm 1", "load 1", "run 1: 1"]);
  expect(seen).toEqual([1, "https://server.test", 0]);
  const { failed, ...other } = await openLoaded();
  expect(other.lane.endpoint).toBeNull();
  const refused = modelOf(1, { refused: DONE });
  expect((await failed(other.lane.run(refused, ITEMS))).error).toBe(DONE);
  expect(other.posted).toEqual([]);
});

test("a step continues from the state in the worker, or rebuilds it from the checkpoint and the steps since", async () => {
  const { lane, calls, finish, failed, fails } = await openLoaded();
  const run = (value: number, step: Partial<StateStep>): Promise<unknown> =>
    lane.run(modelOf(1), [itemOf(value)], { state: { ...STEP, ...step } });
  await finish(run(1, { after: 0, mark: 1, isCheckpoint: true }));
  await finish(run(2, { after: 1, mark: 2, since: [itemOf(1)] }));
  await finish(run(4, { after: 3, mark: 4, since: [itemOf(2), itemOf(3)] }));
  expect(calls.splice(0)).toEqual([
    "run 1: 1 of state 5, restored, checkpoint",
    "run 1: 2 of state 5",
    "run 1: 2 of state 5, restored",
    "run 1: 3 of state 5",
    "run 1: 4 of state 5",
  ]);
  expect([...(lane.held.get(1)?.states ?? [])]).toEqual([[5, 4]]);
  fails.run = new SelvedgeError("internal", "simulated");
  expect((await failed(run(5, { after: 4, mark: 5 }))).error).toMatchObject({ code: "internal" });
  expect(lane.held.get(1)?.states.size).toBe(0);
});

test("freeing a state or a model that no worker has sends nothing", async () => {
  const { lane, posted, finish, events } = await openLane();
  await finish(Promise.all([lane.removeState(5), lane.unload(1)]));
  lane.check();
  expect([lane.free, posted, events]).toEqual([true, [], []]);
  await finish(lane.load(modelOf(1)));
  posted.length = 0;
  await finish(lane.unload(2));
  expect(posted).toEqual([]);
});

test("a state is freed in the worker and in the lane's memory", async () => {
  const { lane, calls, finish } = await openLoaded();
  await finish(lane.run(modelOf(1), ITEMS, { state: STEP }));
  await finish(lane.removeState(5));
  expect(calls.at(-1)).toBe("remove state 5");
  expect(lane.held.get(1)?.states.size).toBe(0);
});

test("what waits to be freed in a worker that ends is not freed in the next", async () => {
  const { lane, posted, finish, pass } = await openLoaded();
  const run = lane.run(modelOf(1), ITEMS).catch(() => undefined);
  await pass(10);
  const next = lane.run(modelOf(2), ITEMS).catch(() => undefined);
  const frees = [lane.removeState(5), lane.unload(1)];
  expect(lane.held.get(1)?.isLeaving).toBe(true);
  lane.end(DONE);
  await finish(Promise.all([run, next, ...frees]));
  expect(posted.filter((x) => x === "unload" || x === "removeState")).toEqual([]);
});

test("each call has its bound, after which the worker ends", async () => {
  const cases: readonly [name: string, ms: number, call: (lane: Lane) => Promise<unknown>, options?: object][] = [
    ["load", FIRST_BOUND_MS, (lane) => lane.load(modelOf(2))],
    ["unload", RUN_BOUND_MIN_MS, (lane) => lane.unload(1)],
    ["removeState", RUN_BOUND_MIN_MS, (lane) => lane.removeState(5)],
    ["run", FIRST_BOUND_MS, (lane) => lane.run(modelOf(1), ITEMS)],
    ["run with a bound", 3_000, (lane) => lane.run(modelOf(1), ITEMS, { boundMs: 3_000 })],
    ["step with a bound", 3_000, (lane) => lane.run(modelOf(1), ITEMS, { boundMs: 3_000, state: STEP })],
  ];
  for (const [name, ms, call] of cases) {
    for (const callTimeoutMs of [null, 7_000]) {
      const { lane, worker, failed, events } = await openLoaded({ callTimeoutMs });
      worker().silence();
      const ended = await failed(call(lane));
      const expected = callTimeoutMs === null || name.endsWith("bound") ? ms : callTimeoutMs;
      expect(ended, name).toMatchObject({ ms: about(expected), error: { code: "worker-crashed" } });
      expect(events.filter((x) => x.startsWith("crashed"))).toHaveLength(1);
      expect(lane.stats()).toMatchObject({ state: "off", crashes: 1 });
      expect(lane.ended.has(ended.error as object)).toBe(true);
    }
  }
});

test("a later run is bounded by the slowest so far, per element too", async () => {
  const { lane, worker, finish, failed, takes } = await openLoaded();
  takes.run = 3_000;
  await finish(lane.run(modelOf(1), ITEMS));
  takes.run = 1_000;
  await finish(lane.run(modelOf(1), ITEMS)); // quicker: the slowest counts
  expect(lane.held.get(1)).toMatchObject({ slowestMs: about(3_000), slowestMsPerElement: about(1_000) });
  worker().silence();
  const { ms } = await failed(lane.run(modelOf(1), ITEMS));
  expect(ms).toBeGreaterThan(59_000);
  expect(ms).toBeLessThan(63_000);
});

test.each([
  [null, START_BOUND_MS],
  [7_000, START_BOUND_MIN_MS],
  [50_000, 50_000],
])("with a bound of %s ms for calls a worker has %i ms to start", async (callTimeoutMs, ms) => {
  const { lane, takes, failed } = await openLane({ callTimeoutMs });
  takes.start = HUNG_MS;
  expect((await failed(lane.load(modelOf(1)))).ms).toBeCloseTo(ms, -3);
  expect(lane.stats()).toMatchObject({ state: "off", starts: 1 });
});

test.each([
  [null, CHECK_BOUND_MS],
  [7_000, 7_000],
])("with a bound of %s ms for calls an idle worker has %i ms to answer a check", async (callTimeoutMs, ms) => {
  const { lane, worker, calls, pass } = await openLoaded({ callTimeoutMs });
  lane.check();
  await pass(SOON_MS);
  expect(calls).toEqual(["unload 0"]);
  expect([...lane.held.keys()]).toEqual([1]);
  worker().silence();
  lane.check();
  await pass(ms - 10);
  expect(lane.stats().state).toBe("busy");
  await pass(20);
  expect(lane.stats().state).toBe("off");
});

test("neither a worker that starts nor a busy one is checked", async () => {
  const { lane, posted, pass, finish } = await openLane();
  lane.warm(0);
  await pass(10);
  lane.check();
  await pass(1_000);
  const run = lane.run(modelOf(1), ITEMS);
  await pass(10);
  lane.check();
  await finish(run);
  expect(posted).not.toContain("unload");
});

test("a worker ends once it was idle for long; work before that starts the time anew", async () => {
  const { lane, events, finish, pass } = await openLoaded();
  await pass(IDLE_MS - 100);
  await finish(lane.run(modelOf(1), ITEMS));
  events.length = 0;
  await pass(IDLE_MS - 10);
  expect([lane.stats().state, events]).toEqual(["idle", []]);
  await pass(20);
  expect([lane.stats().state, events, lane.stats().crashes]).toEqual(["off", ["idled"], 0]);
  expect([lane.facts, lane.held.size]).toEqual([null, 0]);
});

test("a run that is longer than the idle time does not end its worker", async () => {
  const { lane, finish, takes } = await openLoaded();
  takes.run = 2 * IDLE_MS;
  await finish(lane.run(modelOf(1), ITEMS));
  expect(lane.stats()).toMatchObject({ state: "idle", starts: 1, runs: 1, busyMs: about(2 * IDLE_MS) });
});

test("a worker that was started ahead ends as well once it was idle for long", async () => {
  const { lane, events, pass } = await openLane();
  lane.warm(0);
  await pass(10);
  expect(lane.stats()).toMatchObject({ state: "starting", starts: 1 });
  lane.warm(0);
  await pass(300 + SOON_MS);
  expect(lane.stats().state).toBe("idle");
  lane.warm(0);
  await pass(IDLE_MS + SOON_MS);
  expect([lane.stats().state, lane.stats().starts, events]).toEqual(["off", 1, ["idled"]]);
});

test("a worker is not started ahead on a lane that is busy or closed, and a start that fails is no error", async () => {
  const { lane, fails, finish, pass, posted } = await openLane();
  fails.start = new SelvedgeError("no-backend", "simulated");
  lane.warm(0);
  await pass(1_000);
  expect(lane.stats()).toMatchObject({ state: "off", starts: 1 });
  delete fails.start;
  const load = lane.load(modelOf(1));
  lane.warm(0);
  await finish(load);
  expect(lane.stats().starts).toBe(2);
  lane.close(DONE);
  posted.length = 0;
  lane.warm(0);
  await pass(1_000);
  expect([lane.stats().starts, posted]).toEqual([2, []]);
});

test("a load and a first run are reported as they are tried, and that they take memory", async () => {
  const { lane, events, finish } = await openLane();
  await finish(lane.load(modelOf(1)));
  expect(events.splice(0)).toEqual(["trying 1", "tried 1", "grown", "loaded 1 on wasm-0", "freed"]);
  await finish(lane.run(modelOf(1), ITEMS));
  expect(events.splice(0)).toEqual(["trying 1", "tried 1", "grown", "freed"]);
  await finish(lane.run(modelOf(1), ITEMS));
  expect(events).toEqual(["freed"]);
});

test("the time of a load includes the worker's start, each time that one starts", async () => {
  const times: number[] = [];
  const { lane, finish } = await openLane({ on: { loaded: (_modelId, ms) => times.push(ms) } });
  await finish(lane.load(modelOf(1)));
  await finish(lane.load(modelOf(2)));
  expect(times).toEqual([about(380), about(380)]);
});

test("the time of a load on the wide lane is not reported, since it holds for no other", async () => {
  const { lane, events, finish } = await openLane({ kind: "wide", threads: 3 });
  await finish(lane.load(modelOf(1)));
  expect(events).toEqual(["trying 1", "tried 1", "grown", "freed"]);
});

test("a load that fails leaves nothing, and the next one loads again", async () => {
  const { lane, fails, calls, events, finish, failed } = await openLane();
  fails.load = new SelvedgeError("model-invalid", "simulated");
  expect((await failed(lane.load(modelOf(1)))).error).toMatchObject({ code: "model-invalid" });
  expect([lane.held.size, events]).toEqual([0, ["trying 1", "tried 1", "freed"]]);
  delete fails.load;
  await finish(lane.load(modelOf(1)));
  await finish(lane.load(modelOf(1)));
  expect(calls).toEqual(["start wasm 1", "load 1", "load 1"]);
});

test("a model that was unloaded for good is not loaded again", async () => {
  const { lane, failed, posted } = await openLoaded({ on: { isUnloaded: (modelId) => modelId === 2 } });
  const { error } = await failed(lane.load(modelOf(2)));
  expect(error).toMatchObject({ code: "closed", message: "The model is unloaded." });
  expect(posted).toEqual([]);
});

test("a worker that fails at work is a crash; an idle one that is ended, or one that is closed, is none", async () => {
  const busy = await openLoaded();
  const run = busy.lane.run(modelOf(1), ITEMS);
  await busy.pass(10);
  busy.lane.end(new Error("it broke"));
  expect((await busy.failed(run)).error).toMatchObject({ message: "it broke" });
  expect(busy.events.filter((x) => x.startsWith("crashed"))).toEqual(["crashed: it broke"]);
  const recycled = await openLoaded();
  const other = recycled.lane.run(modelOf(1), ITEMS);
  await recycled.pass(10);
  recycled.lane.end();
  const { error } = await recycled.failed(other);
  expect(error).toMatchObject({ code: "closed", message: "The worker was recycled." });
  const idle = await openLoaded();
  idle.lane.end(new Error("not needed"));
  const closed = await openLoaded();
  const last = closed.lane.run(modelOf(1), ITEMS);
  await closed.pass(10);
  closed.lane.close(new Error("page left"));
  expect((await closed.failed(last)).error).toMatchObject({ message: "page left" });
  for (const { lane, events } of [recycled, idle, closed]) {
    expect(lane.stats()).toMatchObject({ state: "off", crashes: 0 });
    expect(events.filter((x) => x.startsWith("crashed"))).toEqual([]);
  }
});

test("the loss of a GPU counts while the worker idles, too, unless the lane is closed", async () => {
  const { lane, backend, pass, events } = await openLoaded();
  backend().onLost?.("simulated");
  await pass(SOON_MS);
  expect(events).toEqual(["crashed: The GPU device was lost: simulated"]);
  expect(lane.stats()).toMatchObject({ state: "off", crashes: 1 });
  const closed = await openLoaded();
  closed.lane.close(new SelvedgeError("device-lost", "simulated"));
  expect([closed.events, closed.lane.stats().crashes]).toEqual([[], 0]);
});

test("a wide lane whose worker fails is closed, a usual one starts another", async () => {
  for (const kind of ["wide", "usual"] as const) {
    const { lane, pass, failed, finish } = await openLoaded({ kind });
    const run = lane.run(modelOf(1), ITEMS);
    await pass(10);
    lane.end(new Error("out of threads"));
    await failed(run);
    const load = lane.load(modelOf(1));
    if (kind === "usual") await finish(load);
    else expect((await failed(load)).error).toMatchObject({ code: "closed", message: "The engine is closed." });
    expect(lane.stats()).toMatchObject({ starts: kind === "usual" ? 2 : 1, crashes: 1 });
  }
});

test("no worker starts where the GPU was lost repeatedly, or the lane is closed meanwhile", async () => {
  const { lane, failed } = await openLane({ on: { mayStart: (backend) => backend !== "wasm" } });
  expect((await failed(lane.load(modelOf(1)))).error).toMatchObject({
    code: "device-lost",
    message: "The GPU was lost repeatedly and is not used for two minutes.",
  });
  expect(lane.stats().starts).toBe(0);
  let activate = (): void => undefined;
  const shown = new Promise<void>((resolve) => (activate = resolve));
  const prerendered = await openLane({ more: { activated: () => shown } });
  const load = prerendered.lane.load(modelOf(1));
  await prerendered.pass(10);
  expect(prerendered.lane.stats()).toMatchObject({ state: "starting", starts: 0 });
  prerendered.lane.close(DONE);
  activate();
  const { error } = await prerendered.failed(load);
  expect(error).toMatchObject({ code: "closed", message: "The engine is closed." });
  expect(prerendered.lane.stats().starts).toBe(0);
});

test("a worker starts with the lane's options, and its log reaches the page", async () => {
  const lines: string[] = [];
  const { lane, calls, finish } = await openLane({ threads: 4, verbose: true, onLog: (line) => lines.push(line) });
  await finish(lane.load(modelOf(1)));
  expect([calls[0], lines]).toEqual(["start wasm 4 verbose", ["a line"]]);
  expect(lane.facts).toMatchObject({ backend: "wasm" });
});

test("a worker inspects the model that it is started for", async () => {
  const { lane, posted, finish } = await openLane();
  await finish(lane.load(modelOf(1)));
  expect(posted).toContain("foresee");
  const other = await openLane();
  await other.finish(other.lane.load({ ...modelOf(1), files: [] }));
  expect(other.posted).not.toContain("foresee");
});

test("a model takes the growth of the worker's memory by its load and its first run, its files at least", async () => {
  const { lane, memory, finish } = await openLane();
  await finish(lane.load(modelOf(1)));
  expect(lane.held.get(1)?.bytes).toBe(10);
  memory.bytes = 500;
  const model = modelOf(2);
  await finish(lane.load(model));
  expect(lane.held.get(2)?.bytes).toBe(500);
  memory.bytes = 700;
  await finish(lane.run(model, ITEMS));
  expect(lane.held.get(2)?.bytes).toBe(700);
  memory.bytes = 900;
  await finish(lane.run(model, ITEMS));
  expect([lane.held.get(2)?.bytes, lane.stats().memoryBytes]).toEqual([700, 900]);
  await finish(lane.unload(2));
  await finish(lane.load(model)); // into the room that it left
  expect(lane.held.get(2)?.bytes).toBe(500);
});

test("a worker whose memory is mostly unused is ended after its call, and not before", async () => {
  const { lane, memory, finish, pass } = await openLoaded();
  memory.bytes = 2 * GIB;
  await finish(lane.run(modelOf(1), ITEMS));
  await pass(10);
  expect(lane.stats().state).toBe("idle");
  await finish(lane.load(modelOf(2)));
  memory.bytes = 2.6 * GIB; // the first model's run took 2 GiB
  const runs = [lane.run(modelOf(1), ITEMS)];
  await pass(10);
  runs.push(lane.run(modelOf(1), ITEMS));
  expect(lane.isOpen).toBe(true);
  await finish(runs[0] as Promise<unknown>);
  await pass(SOON_MS);
  expect([lane.isOpen, lane.stats().state]).toEqual([false, "busy"]);
  await finish(Promise.all(runs));
  await pass(10);
  expect(lane.stats()).toMatchObject({ state: "off", crashes: 0 });
});

test("a worker whose memory its models need, or that had it from the start, is not ended", async () => {
  const grown = await openLoaded();
  grown.memory.bytes = 3 * GIB;
  await grown.finish(grown.lane.run(modelOf(1), ITEMS));
  await grown.pass(10);
  expect(grown.lane.stats().state).toBe("idle");
  const large = await openLane();
  large.memory.bytes = 3 * GIB;
  await large.finish(large.lane.load(modelOf(1)));
  await large.pass(10);
  expect(large.lane.stats().state).toBe("idle");
});

test("a worker that fills up again within sixteen runs needs its memory: the limit is doubled", async () => {
  const { lane, memory, finish, pass } = await openLane();
  const fill = async (runs: number, bytes: number): Promise<string> => {
    memory.bytes = 0;
    for (let i = 0; i < runs; i += 1) {
      if (i === runs - 1) memory.bytes = bytes;
      await finish(lane.run(modelOf(1), ITEMS));
    }
    await pass(10);
    const { state } = lane.stats();
    lane.end();
    return state;
  };
  expect(await fill(16, 3 * GIB)).toBe("off");
  expect(await fill(15, 3 * GIB)).toBe("off"); // doubles it
  expect(await fill(15, 3 * GIB)).toBe("idle");
  expect(await fill(15, 4.1 * GIB)).toBe("off");
});
