import { expect, test } from "vitest";
import { Random } from "./random.ts";

// Corpora, workloads and recorded results depend on these sequences.
test("a seed, a number or a text, gives the same sequence everywhere", () => {
  const text = new Random("frames");
  expect([text.whole(1, 300), text.whole(1, 300), text.whole(1, 300)]).toEqual([266, 52, 115]);
  const number = new Random(7);
  expect([number.below(1000), number.below(1000), number.below(1000)]).toEqual([11, 61, 976]);
  number.reset(7);
  expect(number.below(1000)).toBe(11);
});

test("whole numbers include both ends, and those below a limit do not", () => {
  const random = new Random(1);
  const many = <T>(draw: () => T): Set<T> => new Set(Array.from({ length: 200 }, draw));
  expect(many(() => random.whole(3, 5))).toEqual(new Set([3, 4, 5]));
  expect(many(() => random.below(3))).toEqual(new Set([0, 1, 2]));
  expect(many(() => random.pick(["a", "b"]))).toEqual(new Set(["a", "b"]));
  expect(() => random.pick([])).toThrow("pick: the list is empty");
});
