import fc from "fast-check";
import { expect, test } from "vitest";
import { VectorTable } from "./vector-table.ts";

const WIDTH = 24;
const vector = fc
  .array(fc.double({ min: -1, max: 1, noNaN: true }), { minLength: WIDTH, maxLength: WIDTH })
  .map((x) => unit(Float32Array.from(x)));

function unit(x: Float32Array): Float32Array {
  const length = Math.hypot(...x);
  return length < 1e-3 ? Float32Array.from(x, (_, i) => (i === 0 ? 1 : 0)) : x.map((y) => y / length);
}

/** As `precision: "int8"` of `model.embed`. */
function int8(x: Float32Array): Int8Array {
  const largest = Math.max(...x.map(Math.abs));
  return Int8Array.from(x, (y) => Math.round((y * 127) / largest));
}

function cosine(a: ArrayLike<number>, b: ArrayLike<number>): number {
  const [x, y] = [Array.from(a), Array.from(b)];
  return x.reduce((sum, v, i) => sum + v * (y[i] ?? 0), 0) / Math.hypot(...x) / Math.hypot(...y);
}

test("the nearest are those of float32, within the error of int8", () => {
  fc.assert(
    fc.property(fc.array(vector, { maxLength: 150 }), vector, fc.integer({ min: 1, max: 20 }), (vectors, query, k) => {
      const table = new VectorTable(WIDTH);
      for (const [id, x] of vectors.entries()) table.set(id, int8(x));
      const found = table.nearest(query, k);
      const exact = vectors.map((x) => cosine(x, query));
      const best = [...exact].sort((a, b) => b - a);
      expect(found).toHaveLength(Math.min(k, vectors.length));
      expect(new Set(found.map((x) => x.id)).size).toBe(found.length);
      // A number is off by half a step of max / 127 at most, and a vector by that times the root of its width.
      const bound = Math.sqrt(WIDTH) / 127;
      for (const [rank, { id, cosine: own }] of found.entries()) {
        expect(Math.abs(own - (exact[id] ?? NaN))).toBeLessThanOrEqual(bound);
        expect(Math.abs((exact[id] ?? NaN) - (best[rank] ?? NaN))).toBeLessThanOrEqual(2 * bound);
      }
    }),
    { numRuns: 60 },
  );
});

test("after any upserts and removals the answer is that of a brute force over what is there", () => {
  const bytes = fc.int8Array({ minLength: WIDTH, maxLength: WIDTH });
  const step = fc.tuple(fc.nat(20), fc.option(bytes));
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), vector, fc.integer({ min: 1, max: 30 }), (steps, query, k) => {
      const table = new VectorTable(WIDTH);
      const model = new Map<number, Int8Array>();
      for (const [id, x] of steps)
        if (x === null) {
          table.delete(id);
          model.delete(id);
        } else {
          table.set(id, x);
          model.set(id, x);
        }
      const expected = [...model]
        .map(([id, x]) => ({ id, cosine: x.every((y) => y === 0) ? 0 : cosine(x, query) }))
        .sort((a, b) => b.cosine - a.cosine || a.id - b.id);
      const found = table.nearest(query, k);
      expect(table.size).toBe(model.size);
      expect(found).toHaveLength(Math.min(k, model.size));
      for (const [rank, { id, cosine: own }] of found.entries()) {
        expect(own).toBeCloseTo(expected[rank]?.cosine ?? NaN, 5);
        expect(model.has(id)).toBe(true);
      }
    }),
  );
});

test("equal vectors come by id, and another width is refused", () => {
  const table = new VectorTable(2);
  for (const id of [5, 3, 4]) table.set(id, Int8Array.of(64, 0));
  expect(table.nearest(Float32Array.of(1, 0), 2)).toEqual([
    { id: 3, cosine: 1 },
    { id: 4, cosine: 1 },
  ]);
  expect(() => {
    table.set(1, Int8Array.of(1));
  }).toThrow("expected a vector of 2 numbers, got 1");
  expect(() => table.nearest(Float32Array.of(1, 2, 3), 1)).toThrow(RangeError);
});
