import { expect, test } from "vitest";
import type { Signal } from "../core/abort.ts";
import { SelvedgeError } from "../core/errors.ts";
import { Coalescer } from "./coalesce.ts";
import type { RunRequest } from "./coalesce.ts";
import type { RunInfo, RunResult } from "./result.ts";
import type { Tensor } from "../core/tensor.ts";

const LENGTH = 1_000;

/** An answer with one value. */
function answerOf(value: number): RunResult {
  const y: Tensor = { dtype: "float32", dims: [1], data: Float32Array.of(value) };
  const info = { ranMs: 10, isCached: false } as RunInfo;
  return { outputs: { y }, decoded: {}, answer: null, info };
}

/** The value of such an answer. */
const valueOf = ({ outputs }: RunResult): unknown => outputs["y"]?.data[0];

const floats = (...at: readonly (readonly [number, number])[]): Tensor => {
  const data = new Float32Array(LENGTH);
  for (const [i, value] of at) data[i] = value;
  return { dtype: "float32", dims: [1, LENGTH], data };
};

const asks = (x: Tensor, more: Partial<RunRequest> = {}): RunRequest => {
  const urgency = { priority: 1, dueMs: Infinity, isRefusable: true, preempts: false };
  return { inputs: { x }, signal: undefined, ...urgency, ...more };
};

/** Runs that end on request, and a clock that advances with each reading. */
function stage(lookMs = 0) {
  let now = 0;
  const coalescer = new Coalescer(
    () => (now += lookMs),
    (copy) => copy,
  );
  const runs: { answer(value: number): void; fail(error: Error): void; signal: Signal | undefined }[] = [];
  const ask = (one: RunRequest): Promise<RunResult> =>
    coalescer.ask(
      one,
      (signal) =>
        new Promise((resolve, reject) => {
          runs.push({
            signal,
            fail: reject,
            answer: (value) => {
              resolve(answerOf(value));
            },
          });
          signal?.addEventListener("abort", () => {
            reject(signal.reason as Error);
          });
        }),
    );
  return { ask, runs };
}

test("two equal requests at once run once, and each gets its own answer", async () => {
  const { ask, runs } = stage();
  const all = [ask(asks(floats([3, 1]))), ask(asks(floats([3, 1]))), ask(asks(floats([3, 1])))];
  expect(runs.length).toBe(1);
  runs[0]?.answer(7);
  const answers = await Promise.all(all);
  expect(answers.map((x) => [valueOf(x), x.info.isCached])).toEqual([
    [7, false],
    [7, true],
    [7, true],
  ]);
  expect(new Set(answers.map(({ outputs }) => outputs["y"]?.data)).size).toBe(3);
  const later = ask(asks(floats([3, 1])));
  expect(runs.length).toBe(2);
  runs[1]?.answer(8);
  expect(valueOf(await later)).toBe(8);
});

test("a request that differs in size, type or name runs by itself", () => {
  const { ask, runs } = stage();
  const bytes: Tensor = { dtype: "int32", dims: [1, LENGTH], data: new Int32Array(LENGTH) };
  const different = [
    ...[0, 1, 17, 500, 777, LENGTH - 1].map((i) => asks(floats([i, 1e-30]))),
    ...[asks(floats()), asks({ ...floats(), dims: [LENGTH, 1] }), asks(bytes)],
    { ...asks(floats()), inputs: { z: floats() } },
    asks({ dtype: "string", dims: [2], data: ["a", "b"] }),
    asks({ dtype: "string", dims: [2], data: ["a", "c"] }),
  ];
  for (const one of different) void ask(one);
  expect(runs.length).toBe(different.length);
});

test("no request waits for a less urgent one", () => {
  const { ask, runs } = stage();
  void ask(asks(floats(), { dueMs: 100 }));
  void ask(asks(floats(), { priority: 0 }));
  expect(runs.length).toBe(2);
  void ask(asks(floats(), { dueMs: 99 }));
  expect(runs.length).toBe(3);
  void ask(asks(floats(), { priority: 2, dueMs: 200 }));
  expect(runs.length).toBe(3);
});

test("a cancel affects its own caller alone; the run ends once no request waits for it", async () => {
  const { ask, runs } = stage();
  const [one, two] = [new AbortController(), new AbortController()];
  const first = ask(asks(floats(), { signal: one.signal }));
  const second = ask(asks(floats(), { signal: two.signal }));
  one.abort(new Error("the first left"));
  await expect(first).rejects.toThrow("the first left");
  expect(runs[0]?.signal?.aborted).toBe(false);
  two.abort(new Error("the second left"));
  await expect(second).rejects.toThrow("the second left");
  expect(runs[0]?.signal?.aborted).toBe(true);
  expect(runs.length).toBe(1);
});

test("a request without a signal keeps the run, and where that fails each request runs by itself", async () => {
  const { ask, runs } = stage();
  const stop = new AbortController();
  const first = ask(asks(floats(), { signal: stop.signal }));
  const second = ask(asks(floats()));
  stop.abort(new Error("left"));
  await expect(first).rejects.toThrow("left");
  expect(runs[0]?.signal?.aborted).toBe(false);
  runs[0]?.fail(new Error("late"));
  await Promise.resolve();
  await Promise.resolve();
  await Promise.resolve();
  await Promise.resolve();
  expect(runs.length).toBe(2);
  runs[1]?.answer(5);
  expect(valueOf(await second)).toBe(5);
});

test("comparing is paused for a while where it costs more than a twentieth of what it saves", () => {
  const { ask, runs } = stage(1);
  // The words that are compared first are equal, so all of the inputs are compared, without a match.
  for (let i = 0; i < 33; i += 1) void ask(asks(floats([3, i + 1])));
  const before = runs.length;
  void ask(asks(floats([3, 33])));
  expect(runs.length).toBe(before + 1);
});

test("no request that would be rejected, or has no deadline, waits for one that is finished late (core-B7)", () => {
  const { ask, runs } = stage();
  void ask(asks(floats(), { dueMs: 60, isRefusable: false }));
  void ask(asks(floats(), { dueMs: 250 }));
  expect(runs.length).toBe(2);
  const other = floats([1, 1]);
  void ask(asks(other, { dueMs: 60, isRefusable: false }));
  void ask(asks(other));
  expect(runs.length).toBe(4);
  void ask(asks(other, { dueMs: 250, isRefusable: false }));
  expect(runs.length).toBe(4);
});

test("where the first is too late one other runs for all; where a run fails each runs by itself (core-B7)", async () => {
  const { ask, runs } = stage();
  const all = Array.from({ length: 51 }, (_, i) => ask(asks(floats(), { dueMs: 100 + i })));
  expect(runs.length).toBe(1);
  runs[0]?.fail(new SelvedgeError("deadline-exceeded", "late"));
  await expect(all[0]).rejects.toThrow("late");
  await expect.poll(() => runs.length).toBe(2);
  runs[1]?.fail(new SelvedgeError("internal", "a fault"));
  await expect(all[1]).rejects.toThrow("a fault");
  await expect.poll(() => runs.length).toBe(51);
  for (const { answer } of runs) answer(3);
  for (const one of all.slice(2)) expect(valueOf(await one)).toBe(3);
});
