import fc from "fast-check";
import { expect, test } from "vitest";
import { Random } from "../../test-support/random.ts";
import { cutChunks } from "./chunk-borders.ts";

type Bytes = Uint8Array<ArrayBuffer>;

const MAX = 4_096;

/** A file of tensors, as bytes and the offsets at which they begin; a tensor is its seed and its size. */
function fileOf(tensors: readonly (readonly [seed: number, size: number])[]): { bytes: Bytes; borders: number[] } {
  const borders: number[] = [];
  const parts: number[] = [];
  for (const [seed, size] of tensors) {
    borders.push(parts.length);
    const random = new Random(seed);
    for (let i = 0; i < size; i += 1) parts.push(random.below(256));
  }
  return { bytes: Uint8Array.from(parts), borders };
}

const cut = ({ bytes, borders }: { bytes: Bytes; borders: number[] }): Bytes[] => cutChunks(bytes, borders, MAX);

/** Number of bytes in chunks that another version does not have. */
function fetched(next: readonly Bytes[], known: readonly Bytes[]): number {
  const names = new Set(known.map((x) => x.join()));
  return next.filter((x) => !names.has(x.join())).reduce((sum, x) => sum + x.length, 0);
}

const sizes = fc.oneof(fc.integer({ min: 1, max: 200 }), fc.integer({ min: 200, max: 3 * MAX }));
const tensors = fc.array(fc.tuple(fc.nat(1e6), sizes), { minLength: 1, maxLength: 24 });

test("the chunks concatenate to the file, none is empty or over the maximum", () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 400 }),
      fc.array(fc.nat(400), { maxLength: 20 }),
      fc.integer({ min: 1, max: 70 }),
      (bytes, borders, max) => {
        const chunks = cutChunks(
          new Uint8Array(bytes),
          borders.sort((a, b) => a - b),
          max,
        );
        expect(Buffer.concat(chunks)).toEqual(Buffer.from(bytes));
        for (const chunk of chunks) {
          expect(chunk.length).toBeGreaterThan(0);
          expect(chunk.length).toBeLessThanOrEqual(max);
        }
      },
    ),
  );
});

test("without borders, cuts are at multiples of the maximum", () => {
  expect(cutChunks(new Uint8Array(100), [], 40).map((x) => x.length)).toEqual([40, 40, 20]);
});

test("a large tensor has chunks of its own, split relative to its start", () => {
  const chunks = cut(
    fileOf([
      [1, 100],
      [2, 2 * MAX + 50],
      [3, 100],
    ]),
  );
  expect(chunks.map((x) => x.length)).toEqual([100, MAX, MAX, 50, 100]);
});

test("small tensors are grouped", () => {
  const many = fileOf(Array.from({ length: 200 }, (_, i) => [i, 40] as const));
  expect(cut(many).length).toBeLessThan(40);
});

test("inserting, growing or removing a tensor changes its own chunk and the adjacent ones", () => {
  fc.assert(
    fc.property(tensors, fc.nat(), fc.tuple(fc.nat(1e6), sizes), (before, place, other) => {
      const at = place % before.length;
      const inserted = [...before.slice(0, at), other, ...before.slice(at)];
      const known = cut(fileOf(before));
      // The new tensor, the group before it, and the group after it up to where the cuts coincide again.
      expect(fetched(cut(fileOf(inserted)), known)).toBeLessThanOrEqual(other[1] + 3 * MAX);
      expect(fetched(known, cut(fileOf(inserted)))).toBeLessThanOrEqual(3 * MAX);
    }),
    { numRuns: 60 },
  );
});
