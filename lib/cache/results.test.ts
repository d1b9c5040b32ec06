import fc from "fast-check";
import { expect, test } from "vitest";
import type { Tensor } from "../tensor.ts";
import { Results } from "./results.ts";
import type { Answer } from "./results.ts";

const tensor = (...values: number[]): Tensor => ({
  dtype: "float32",
  dims: [1, values.length],
  data: Float32Array.from(values),
});
const answer = (...values: number[]): Answer => ({ outputs: { y: tensor(...values) } });
/** A clock that stands still unless it is told otherwise: hashing then costs nothing. */
function clock(): { now: () => number; pass: (ms: number) => void } {
  let ms = 0;
  return {
    now: () => ms,
    pass: (by) => {
      ms += by;
    },
  };
}
async function keyOf(results: Results, inputs: Record<string, Tensor>, model = "m"): Promise<string> {
  const key = await results.key(model, inputs);
  if (key === null) throw new Error("the model was turned off");
  return key;
}

test("the same question gets the kept answer, as a copy of its own", async () => {
  const results = new Results({}, clock().now);
  const key = await keyOf(results, { x: tensor(1, 2) });
  expect(results.get("m", key)).toBeNull();
  const kept = answer(3);
  results.set(key, kept, 5);
  (kept.outputs["y"]?.data as Float32Array)[0] = 9; // the caller's own, to be written to
  const first = results.get("m", await keyOf(results, { x: tensor(1, 2) }));
  expect(first?.outputs["y"]?.data).toEqual(Float32Array.of(3));
  (first?.outputs["y"]?.data as Float32Array)[0] = 7;
  expect(results.get("m", key)?.outputs["y"]?.data).toEqual(Float32Array.of(3));
  expect(results.read()).toEqual({ hits: 2, misses: 1, entries: 1, bytes: 4 });
});

test("what differs in model, name, dtype, dims or any element is another question", async () => {
  const results = new Results({}, clock().now);
  const data = Float32Array.of(1, 2, 3, 4);
  const questions: [string, Record<string, Tensor>][] = [
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
  ];
  const keys = await Promise.all(questions.map(([model, inputs]) => results.key(model, inputs)));
  expect(new Set(keys).size).toBe(questions.length);
  const swapped = await keyOf(results, { a: tensor(1), b: tensor(2) });
  expect(await keyOf(results, { b: tensor(2), a: tensor(1) })).toBe(swapped);
  expect(await keyOf(results, { a: tensor(2), b: tensor(1) })).not.toBe(swapped);
});

test("the bytes kept never pass the bound, and what was used last stays", async () => {
  const results = new Results({ maxBytes: 12 }, clock().now);
  const keys = await Promise.all([1, 2, 3, 4].map((x) => keyOf(results, { x: tensor(x) })));
  for (const key of keys.slice(0, 3)) results.set(key, answer(1), 1);
  results.get("m", keys[0] as string);
  results.set(keys[3] as string, answer(1), 1);
  expect(keys.map((key) => results.get("m", key) !== null)).toEqual([true, false, true, true]);
  results.set(keys[1] as string, answer(1, 2, 3, 4), 1); // larger than all there is room for
  expect(results.read().bytes).toBe(12);
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(20), fc.nat(8))), (sets) => {
      const bounded = new Results({ maxBytes: 40 }, () => 0);
      for (const [key, length] of sets) bounded.set(String(key), answer(...Array<number>(length).fill(0)), 1);
      expect(bounded.read().bytes).toBeLessThanOrEqual(40);
    }),
  );
});

test("an answer that is too old is found no more", async () => {
  const { now, pass } = clock();
  const results = new Results({ ttlMs: 100 }, now);
  const key = await keyOf(results, { x: tensor(1) });
  results.set(key, answer(1), 1);
  pass(100);
  expect(results.get("m", key)).not.toBeNull();
  pass(1);
  expect(results.get("m", key)).toBeNull();
  expect(results.read()).toMatchObject({ entries: 0, bytes: 0 });
});

test("a model whose questions never recur, or run faster than they hash, is asked no more until later", async () => {
  let ms = 0;
  const results = new Results({}, () => (ms += 1)); // each look at the clock costs 1 ms, so each hash does
  const lookups = async (count: number): Promise<boolean[]> => {
    const asked: boolean[] = [];
    for (let i = 0; i < count; i += 1) asked.push((await results.key("m", { x: tensor(i) })) !== null);
    return asked;
  };
  expect(await lookups(32)).toEqual(Array<boolean>(32).fill(true));
  const later = await lookups(1_000);
  expect(later[0]).toBe(false);
  expect(later).toContain(true);
  const key = await keyOf(results, { x: tensor(1) }, "slow");
  results.set(key, answer(1), 10_000);
  for (let i = 0; i < 100; i += 1) results.get("slow", await keyOf(results, { x: tensor(1) }, "slow"));
});
