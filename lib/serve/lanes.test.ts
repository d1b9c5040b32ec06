// Lanes that end, and that do not start, with a runtime and a clock of the test.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { Tensor } from "../core/tensor.ts";
import { batchingOf } from "../worker/join-batch.ts";
import { ServeExecutor } from "./executor.ts";
import type { ServerClock } from "./executor.ts";
import { ServeLanes } from "./lanes.ts";
import type { ServedModel } from "./served-models.ts";

/** Does what the model's file says: loads and runs, does not load, or ends the thread at a run. */
const RUNTIME = `
module.exports = {
  Tensor: class { constructor(type, data, dims) { Object.assign(this, { type, data, dims }); } },
  InferenceSession: {
    async create(path) {
      const way = require("node:fs").readFileSync(path, "utf8");
      if (way === "broken") throw new Error("no model");
      return { run: async ({ x }) => (way === "crash" || x.data[0] === 9 ? process.exit(3) : { y: x }) };
    },
  },
};
`;

const tensor = (value: number): Tensor => ({ dtype: "float32", dims: [1, 1], data: Float32Array.of(value) });

let folder: string;
let lanes: ServeLanes;
let executor: ServeExecutor;
let model: ServedModel;
let errors: string[];
/** Timers that were set. */
let timers: { readonly ms: number; readonly callback: () => void }[];

function make(count: number): void {
  const clock: ServerClock = {
    now: () => performance.now(),
    setTimer(callback, ms) {
      timers.push({ ms, callback });
      return () => (timers = timers.filter((x) => x.callback !== callback));
    },
    defer: setImmediate,
  };
  executor = new ServeExecutor([model], { maxQueue: 9, maxBatchSize: 8 }, clock);
  const onError = (text: string): void => void errors.push(text);
  lanes = new ServeLanes({
    ...{ models: [model], executor, clock, count, threads: 1, onError },
    runtime: join(folder, "runtime.cjs"),
  });
}

const says = (way: "fine" | "broken" | "crash"): void => writeFileSync(model.path, way);

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "selvedge-lanes-"));
  writeFileSync(join(folder, "runtime.cjs"), RUNTIME);
  const port = (name: string) => ({ name, dtype: "float32", dims: ["n", 1], batchAxis: 0 }) as const;
  model = {
    ...{
      id: 0,
      path: join(folder, "model"),
      extra: {},
      name: "m",
      version: "1",
      key: "m",
      metadata: {},
      identity: "",
      variant: "f32",
      embedder: null,
    },
    inputs: [port("x")],
    outputs: [port("y")],
    batching: batchingOf([port("x")], [port("y")], true),
    warmUp: { x: tensor(1) },
  };
  [errors, timers] = [[], []];
});
afterEach(async () => {
  await lanes.close();
  rmSync(folder, { recursive: true, force: true });
});

test.each([
  ["crash", "The thread of lane cpu-0 ended: exit code 3."],
  ["broken", "no model"],
] as const)("a first lane that fails (%s) is the start's error, and takes no requests", async (way, message) => {
  says(way);
  make(2);
  await expect(lanes.start()).rejects.toThrow(message);
  expect([executor.lanes, timers]).toEqual([0, []]);
});

test("a lane whose thread ends is started again until that works, each time later", async () => {
  says("fine");
  make(1);
  await lanes.start();
  expect(executor.lanes).toBe(1);
  const poison = executor.run(model, { x: tensor(9) }, new AbortController().signal);
  await expect(poison).rejects.toMatchObject({ code: "worker-crashed" });
  expect(executor.lanes).toBe(0);
  for (const [way, ms, why] of [
    ["broken", 1_000, "exit code 3"],
    ["crash", 2_000, "no model"],
    ["fine", 4_000, "exit code 3"],
  ] as const) {
    await expect.poll(() => restarts()).toEqual([ms]);
    expect(errors.at(-1)).toContain(`lane cpu-0 is started again in ${ms} ms`);
    expect(errors.at(-1)).toContain(why);
    says(way);
    restart();
  }
  await expect.poll(() => executor.lanes).toBe(1);
  const { outputs } = await executor.run(model, { x: tensor(5) }, new AbortController().signal);
  expect(outputs["y"]?.data).toEqual(Float32Array.of(5));
});

test("lanes that are closed while they start end with that error, and start no more", async () => {
  says("fine");
  make(3);
  const start = expect(lanes.start()).rejects.toMatchObject({ code: "closed" });
  await lanes.close();
  await start;
  expect([executor.lanes, errors]).toEqual([0, []]);
});

/** Times of the lanes' restarts; the executor's own timers are shorter. */
function restarts(): number[] {
  return timers.map((x) => x.ms).filter((x) => x >= 1_000);
}

function restart(): void {
  const at = timers.findIndex((x) => x.ms >= 1_000);
  timers.splice(at, 1)[0]?.callback();
}
