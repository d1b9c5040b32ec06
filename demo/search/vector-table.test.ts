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

/** Numbers of a normal distribution, the same in every run. */
function normals(seed: number): () => number {
  let state = seed;
  const uniform = (): number => (state = (state * 16_807) % 2_147_483_647) / 2_147_483_647;
  return () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
}

/** Vectors around common centres, as texts around topics. */
function topics(count: number, width: number, next: () => number): Float32Array[] {
  const centres = Array.from({ length: 40 }, () => Float32Array.from({ length: width }, next));
  return Array.from({ length: count }, (_, i) => unit((centres[i % 40] ?? new Float32Array()).map((x) => x + next())));
}

test("of many rows the sign bits choose, and the nearest ten are nearly always those of all rows", () => {
  const width = 384;
  const next = normals(7);
  const rows = topics(4_000, width, next);
  const [all, staged] = [new VectorTable(width), new VectorTable(width, 1_000)];
  for (const table of [all, staged]) for (const [id, x] of rows.entries()) table.set(id, int8(x));
  let same = 0;
  for (let i = 0; i < 100; i += 1) {
    const query = unit((rows[i * 37] ?? new Float32Array()).map((x) => x + (0.5 * next()) / Math.sqrt(width)));
    const [wanted, found] = [all.nearest(query, 10), staged.nearest(query, 10)];
    expect(found[0]).toEqual(wanted[0]);
    expect(found).toHaveLength(10);
    same += wanted.filter((x) => found.some((y) => y.id === x.id)).length;
  }
  expect(same / 1_000).toBeGreaterThan(0.97);
});

test("the sign bits follow rows that are set anew, moved and removed", () => {
  const width = 64;
  const rows = topics(600, width, normals(11)).map(int8);
  const table = new VectorTable(width, 100);
  for (const [id, x] of rows.entries()) table.set(id, x);
  for (let id = 0; id < 300; id += 2) table.delete(id);
  for (let id = 1; id < 100; id += 2) table.set(id, rows[id + 1] ?? new Int8Array());
  for (let id = 1; id < 600; id += 7) {
    if (id < 300 && id % 2 === 0) continue;
    const own = id < 100 ? rows[id + 1] : rows[id];
    expect(table.nearest(unit(Float32Array.from(own ?? [])), 1).map((x) => x.id)).toEqual([id]);
  }
});
