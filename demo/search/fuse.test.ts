import fc from "fast-check";
import { expect, test } from "vitest";
import { fuse } from "./fuse.ts";

test("a passage that both lists have precedes one that a list has first", () => {
  expect(
    fuse(
      [
        [1, 2, 3],
        [4, 3],
      ],
      3,
    ),
  ).toEqual([
    { id: 3, ranks: [2, 1] },
    { id: 1, ranks: [0, null] },
    { id: 4, ranks: [null, 0] },
  ]);
});

test("one list keeps its order, two equal lists too", () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.nat()), fc.nat(50), (list, count) => {
      for (const lists of [[list], [list, []], [list, list]])
        expect(fuse(lists, count).map((x) => x.id)).toEqual(list.slice(0, count));
    }),
  );
});

test("a better rank never lowers a passage", () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.nat(30), { minLength: 2 }), fc.uniqueArray(fc.nat(30)), fc.nat(), (a, b, at) => {
      const i = 1 + (at % (a.length - 1));
      const id = a[i] ?? 0;
      const better = [...a.slice(0, i - 1), id, ...a.slice(i - 1).filter((x) => x !== id)];
      const rank = (lists: number[][]): number => fuse(lists, 100).findIndex((x) => x.id === id);
      expect(rank([better, b])).toBeLessThanOrEqual(rank([a, b]));
    }),
  );
});
