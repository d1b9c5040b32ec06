import fc from "fast-check";
import { expect, test, vi } from "vitest";
import { SelvedgeError } from "../core/errors.ts";
import type { Tensor } from "../core/tensor.ts";
import { Results } from "./result-cache.ts";
import type { CacheableAnswer, PersistentResults, ResultsParts } from "./result-cache.ts";

type Question = Record<string, Tensor>;

const tensor = (...values: number[]): Tensor => ({
  dtype: "float32",
  dims: [1, values.length],
  data: Float32Array.from(values),
});
const answerOf = (values: readonly number[], ranMs = 100): CacheableAnswer => ({
  outputs: { y: tensor(...values) },
  info: { ranMs, isCached: false },
});
const clock = (now: () => number): ResultsParts => ({ now, wallClock: now, persist: null });
const still = clock(() => 0);
/** Looks up inputs; returns whether they had to run. */
async function ask(results: Results, inputs: Question, model = "m", values = [1]): Promise<boolean> {
  let ran = false;
  const { info } = await results.answer(model, inputs, () => {
    ran = true;
    return Promise.resolve(answerOf(values));
  });
  expect(info.isCached).toBe(!ran);
  return ran;
}

test("an equal lookup gets the cached answer, as its own copy", async () => {
  const results = new Results({}, still);
  const own = await results.answer("m", { x: tensor(1, 2) }, () => Promise.resolve(answerOf([3])));
  expect(own.info.isCached).toBe(false);
  for (let i = 0; i < 2; i += 1) {
    const { outputs, info } = await results.answer("m", { x: tensor(1, 2) }, () =>
      Promise.reject<CacheableAnswer>(new Error("it ran")),
    );
    expect(outputs["y"]?.data).toEqual(Float32Array.of(3));
    expect(info).toMatchObject({ ranMs: 100, isCached: true, why: { code: "cached" } });
    (outputs["y"]?.data as Float32Array)[0] = 7;
    (own.outputs["y"]?.data as Float32Array)[0] = 9;
  }
  expect(results.read()).toEqual({ hits: 2, misses: 1, entries: 1, bytes: 4 });
});

/** Runs that end on request. */
function manual() {
  const runs: { resolve: (answer: CacheableAnswer) => void; reject: (error: Error) => void }[] = [];
  const run = (): Promise<CacheableAnswer> =>
    new Promise((resolve, reject) => {
      runs.push({ resolve, reject });
    });
  return { runs, run };
}

test("equal lookups at once run once; where the first is cancelled one other runs for all (core-B7)", async () => {
  const results = new Results({}, still);
  const { runs, run } = manual();
  const asked = Array.from({ length: 51 }, () => results.answer("m", { x: tensor(1) }, run));
  // Any of them may be the one that runs first: their inputs are hashed at once.
  const settling = Promise.allSettled(asked);
  await expect.poll(() => runs.length).toBe(1);
  runs[0]?.reject(new Error("it was cancelled"));
  await expect.poll(() => runs.length).toBe(2);
  runs[1]?.reject(new SelvedgeError("deadline-exceeded", "late"));
  await expect.poll(() => runs.length).toBe(3);
  runs[2]?.resolve(answerOf([3]));
  const failed = (await settling).flatMap((x) => (x.status === "rejected" ? [(x.reason as Error).message] : []));
  expect(failed.sort()).toEqual(["it was cancelled", "late"]);
  expect(runs).toHaveLength(3);
});

test("where a run fails each of the others runs by itself", async () => {
  const results = new Results({}, still);
  const { runs, run } = manual();
  const asked = Array.from({ length: 4 }, () => results.answer("m", { x: tensor(1) }, run).catch(() => null));
  await expect.poll(() => runs.length).toBe(1);
  runs[0]?.reject(new SelvedgeError("model-invalid", "simulated"));
  await expect.poll(() => runs.length).toBe(4);
  for (const { resolve } of runs) resolve(answerOf([3]));
  // Any of them may be the one that ran first: their inputs are hashed at once.
  const answers = (await Promise.all(asked)).map((x) => x?.outputs["y"]?.data[0]);
  expect(answers.filter((x) => x === 3)).toHaveLength(3);
});

test("one that is rejected has the answer of an equal one that it could not join, where that is in time (results-since)", async () => {
  const usual = { priority: 1, dueMs: Infinity, isRefusable: true, preempts: false, variant: "v" };
  const late = new SelvedgeError("deadline-exceeded", "late");
  const cases: [error: Error, nowMs: number, isAnswered: boolean][] = [
    [late, 251, true],
    [late, 300, true],
    [late, 301, false],
    [new SelvedgeError("overloaded", "full"), 251, true],
    [new SelvedgeError("model-invalid", "simulated"), 251, false],
    [new DOMException("cancelled", "AbortError"), 251, false],
  ];
  for (const [error, nowMs, isAnswered] of cases) {
    let now = 0;
    const results = new Results(
      {},
      clock(() => now),
    );
    const { runs, run } = manual();
    const ask = (dueMs: number) => results.answer("m", { x: tensor(1) }, run, { ...usual, dueMs });
    const first = ask(Infinity);
    await expect.poll(() => runs.length).toBe(1);
    const second = ask(300);
    await expect.poll(() => runs.length).toBe(2);
    const answer = answerOf([3]);
    runs[0]?.resolve({ ...answer, info: { ...answer.info, variant: "v" } });
    await first;
    now = nowMs;
    runs[1]?.reject(error);
    if (isAnswered) expect((await second).info).toMatchObject({ isCached: true, why: { code: "cached" } });
    else await expect(second).rejects.toBe(error);
    expect(results.read()).toMatchObject({ hits: isAnswered ? 1 : 0, misses: 2 });
  }
});

test("a request waits for an equal one only where that is as urgent (core-B7)", async () => {
  const usual = { priority: 1, dueMs: Infinity, isRefusable: true, preempts: false, variant: "v" };
  const cases: [Partial<typeof usual>, Partial<typeof usual>, boolean][] = [
    [{}, {}, true],
    [{ priority: 2 }, {}, false],
    [{ priority: 0 }, {}, true],
    [{}, { dueMs: 100 }, false],
    [{ dueMs: 100 }, { dueMs: 100 }, true],
    [{ dueMs: 100, isRefusable: false }, { dueMs: 200 }, false],
    [{ dueMs: 100, isRefusable: false }, {}, false],
    [{ dueMs: 100, isRefusable: false }, { dueMs: 200, isRefusable: false }, true],
    [{ isRefusable: false }, {}, true],
    [{ dueMs: 100 }, { dueMs: 200, isRefusable: false }, true],
    [{}, { preempts: true }, false],
    [{ preempts: true }, {}, true],
  ];
  for (const [first, second, joins] of cases) {
    const results = new Results({}, still);
    const { runs, run } = manual();
    const ask = (terms: Partial<typeof usual>) => results.answer("m", { x: tensor(1) }, run, { ...usual, ...terms });
    const one = ask(first);
    await expect.poll(() => runs.length).toBe(1);
    const two = ask(second);
    await (joins ? new Promise((resolve) => setTimeout(resolve)) : expect.poll(() => runs.length).toBe(2));
    const answer = answerOf([3]);
    for (const { resolve } of runs) resolve({ ...answer, info: { ...answer.info, variant: "v" } });
    await Promise.all([one, two]);
    expect([first, second, runs.length]).toEqual([first, second, joins ? 1 : 2]);
  }
});

test("the answer of another variant than the requested one is not cached (core-C3)", async () => {
  const results = new Results({}, still);
  const terms = { priority: 1, dueMs: Infinity, isRefusable: true, preempts: false, variant: "f16" };
  const ask = async (variant: string): Promise<boolean> => {
    const answer = { outputs: { y: tensor(1) }, info: { ranMs: 100, isCached: false, variant } };
    return (await results.answer("m f16", { x: tensor(1) }, () => Promise.resolve(answer), terms)).info.isCached;
  };
  expect([await ask("int8"), await ask("f16"), await ask("int8")]).toEqual([false, false, true]);
});

test("equal lookups at once each get their own answer", async () => {
  const results = new Results({}, still);
  const { runs, run } = manual();
  const together = [1, 2, 3].map(() => results.answer("m", { x: tensor(2) }, run));
  await expect.poll(() => runs.length).toBe(1);
  runs[0]?.resolve(answerOf([5]));
  const answers = await Promise.all(together);
  expect(answers.map(({ info }) => info.isCached).sort()).toEqual([false, true, true]);
  expect(new Set(answers.map(({ outputs }) => outputs["y"]?.data)).size).toBe(3); // each has its own
  expect(runs).toHaveLength(1);
});

test("a failed run is not cached", async () => {
  const results = new Results({}, still);
  const fail = results.answer("m", { x: tensor(1) }, () => Promise.reject(new Error("it failed")));
  await expect(fail).rejects.toThrow("it failed");
  expect(await ask(results, { x: tensor(1) })).toBe(true);
});

test("a difference in model, name, dtype, dims or any element is another key", async () => {
  const results = new Results({}, still);
  const data = Float32Array.of(1, 2, 3, 4);
  const questions: [string, Question][] = [
    ["m", { x: { dtype: "float32", dims: [2, 2], data } }],
    ["m2", { x: { dtype: "float32", dims: [2, 2], data } }],
    ["m", { z: { dtype: "float32", dims: [2, 2], data } }],
    ["m", { x: { dtype: "float32", dims: [4, 1], data } }],
    ["m", { x: { dtype: "uint32", dims: [2, 2], data: new Uint32Array(data.buffer) } }],
    ["m", { x: { dtype: "float32", dims: [2, 2], data: Float32Array.of(1, 2, 3, 5) } }],
    ["m", { x: { dtype: "float32", dims: [1], data: Float32Array.of(0) } }],
    ["m", { x: { dtype: "float32", dims: [1], data: Float32Array.of(-0) } }],
    ["m", { x: { dtype: "string", dims: [2], data: ["a", "b"] } }],
    ["m", { x: { dtype: "string", dims: [2], data: ["a,b", ""] } }],
    ["m", { a: tensor(1), b: tensor(2) }],
    ["m", { a: tensor(2), b: tensor(1) }],
  ];
  for (const [model, inputs] of questions) expect(await ask(results, inputs, model)).toBe(true);
  expect(await ask(results, { b: tensor(2), a: tensor(1) })).toBe(false); // the order of the names does not matter
});

test("the cached bytes never exceed the bound, and the most recently used stay", async () => {
  const results = new Results({ maxBytes: 12 }, still);
  for (const x of [1, 2, 3]) await ask(results, { x: tensor(x) });
  await ask(results, { x: tensor(1) });
  await ask(results, { x: tensor(4) });
  expect(await ask(results, { x: tensor(1) })).toBe(false);
  expect(await ask(results, { x: tensor(5) }, "m", [1, 2, 3, 4])).toBe(true);
  expect(await ask(results, { x: tensor(5) }, "m", [1, 2, 3, 4])).toBe(true); // larger than the bound
  expect(await ask(results, { x: tensor(2) })).toBe(true);
  expect(results.read().bytes).toBe(12);
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(fc.nat(20), fc.nat(8)), { maxLength: 30 }), async (asked) => {
      const bounded = new Results({ maxBytes: 40 }, still);
      for (const [x, length] of asked) {
        await ask(bounded, { x: tensor(x) }, "m", Array<number>(length).fill(0));
        expect(bounded.read().bytes).toBeLessThanOrEqual(40);
      }
    }),
    { numRuns: 30 },
  );
});

test("an expired answer is not found", async () => {
  let ms = 0;
  const results = new Results(
    { ttlMs: 100 },
    clock(() => ms),
  );
  await ask(results, { x: tensor(1) });
  ms = 100;
  expect(await ask(results, { x: tensor(1) })).toBe(false);
  ms = 101;
  expect(await ask(results, { x: tensor(1) })).toBe(true);
  expect(results.read()).toMatchObject({ entries: 1, bytes: 4 });
});

test("a model whose requests never recur skips the cache, until much later", async () => {
  let ms = 0;
  const results = new Results(
    {},
    clock(() => (ms += 1)),
  ); // each reading of the clock takes a millisecond, so hashing does
  for (let i = 0; i < 32; i += 1) await ask(results, { x: tensor(i) });
  expect(results.read().misses).toBe(32);
  for (let i = 0; i < 900; i += 1) await ask(results, { x: tensor(i) });
  expect(results.read().misses).toBe(32);
  for (let i = 0; i < 100; i += 1) await ask(results, { x: tensor(i) });
  expect(results.read().misses).toBeGreaterThan(32);
});

test("a model for which it pays goes on", async () => {
  let ms = 0;
  const results = new Results(
    {},
    clock(() => (ms += 0.5)),
  );
  for (let i = 0; i < 200; i += 1) await ask(results, { x: tensor(i % 10) });
  expect(results.read()).toMatchObject({ hits: 190, misses: 10 });
});

/** A store that outlives the pages of a test. */
function device(): PersistentResults & { readonly entries: Map<string, { value: unknown; untilMs: number }> } {
  const entries = new Map<string, { value: unknown; untilMs: number }>();
  return {
    entries,
    read: (key) => Promise.resolve(structuredClone(entries.get(key) ?? null)),
    write: (key, value, _bytes, untilMs) => {
      entries.set(key, { value: structuredClone(value), untilMs });
      return Promise.resolve();
    },
  };
}

test("the next page finds a stored answer until it expires, and never for another model", async () => {
  let ms = 0;
  const persist = device();
  const page = (): Results => new Results({ ttlMs: 1_000 }, { now: () => ms % 700, wallClock: () => ms, persist });
  expect(await ask(page(), { x: tensor(1) })).toBe(true);
  expect(await ask(page(), { x: tensor(1) })).toBe(false);
  expect(await ask(page(), { x: tensor(1) }, "another version")).toBe(true);
  ms = 900;
  const later = page();
  expect(await ask(later, { x: tensor(1) })).toBe(false);
  expect(later.read()).toMatchObject({ hits: 1, misses: 0, entries: 1, bytes: 4 });
  expect(persist.entries.size).toBe(2);
});

test("reading the device counts as a cost: a model for which it does not pay skips the cache", async () => {
  let ms = 0;
  const slow: PersistentResults = {
    ...device(),
    read: () => {
      ms += 20;
      return Promise.resolve(null);
    },
  };
  const results = new Results({}, { now: () => ms, wallClock: () => ms, persist: slow });
  for (let i = 0; i < 60; i += 1) await ask(results, { x: tensor(i) });
  expect(results.read().misses).toBe(32);
});

test("a stored answer is valid for a week by default (store-B10)", async () => {
  let ms = 0;
  const persist = device();
  const page = (): Results => new Results({}, { now: () => 0, wallClock: () => ms, persist });
  await ask(page(), { x: tensor(1) });
  expect([...persist.entries.values()].map(({ untilMs }) => untilMs)).toEqual([7 * 86_400_000]);
  ms = 7 * 86_400_000 + 1;
  expect(await ask(page(), { x: tensor(1) })).toBe(true);
});

test("another release finds no stored answer (store-B10)", async () => {
  const persist = device();
  const parts: ResultsParts = { now: () => 0, wallClock: () => 0, persist };
  await ask(new Results({}, parts), { x: tensor(1) });
  vi.resetModules();
  vi.doMock("../core/version.ts", () => ({ RELEASE: "another" }));
  const { Results: Other } = await import("./result-cache.ts");
  expect(await ask(new Other({}, parts), { x: tensor(1) })).toBe(true);
  vi.doUnmock("../core/version.ts");
  expect(persist.entries.size).toBe(2);
});

test("a stored value that is no answer is ignored, whatever it is (store-B10)", async () => {
  const right = { dtype: "float32", dims: [1], data: Float32Array.of(1) };
  const info = { ranMs: 1, isCached: false };
  const wrong: unknown[] = [
    ...[null, 7, "a", [], {}, { "0": 666 }, { outputs: {} }, { outputs: null, info }, { info }],
    ...[
      { outputs: {}, info: {} },
      { outputs: {}, info: { ...info, ranMs: NaN } },
      { outputs: { y: null }, info },
    ],
    ...[{ dtype: "x" }, { dtype: "toString" }, { dims: "1" }, { dims: [2] }, { dims: [-1] }, { dims: [0.5] }].map(
      (part) => ({ outputs: { y: { ...right, ...part } }, info }),
    ),
    ...[{ data: [1] }, { data: Int32Array.of(1) }, { dtype: "string" }, { dtype: "string", data: [1] }].map((part) => ({
      outputs: { y: { ...right, ...part } },
      info,
    })),
  ];
  for (const value of wrong) {
    const persist: PersistentResults = { ...device(), read: () => Promise.resolve({ value, untilMs: Infinity }) };
    expect(await ask(new Results({}, { ...still, persist }), { x: tensor(1) })).toBe(true);
  }
  const texts = { dtype: "string", dims: [2], data: ["a", "b"] };
  const value = { outputs: { y: right, z: texts }, info, decoded: {} };
  const persist: PersistentResults = { ...device(), read: () => Promise.resolve({ value, untilMs: Infinity }) };
  expect(await ask(new Results({}, { ...still, persist }), { x: tensor(1) })).toBe(false);
});

test("a request waits for the store until its deadline at most (store-B11)", async () => {
  const bounds: number[] = [];
  const persist: PersistentResults = {
    ...device(),
    read: (_, boundMs) => {
      bounds.push(boundMs);
      return Promise.resolve(null);
    },
  };
  const results = new Results({}, { now: () => 50, wallClock: () => 0, persist });
  const terms = { priority: 1, isRefusable: true, preempts: false, variant: "v" };
  for (const dueMs of [150, Infinity])
    await results.answer("m", { x: tensor(dueMs) }, () => Promise.resolve(answerOf([1])), { ...terms, dueMs });
  expect(bounds).toEqual([100, Infinity]);
});
