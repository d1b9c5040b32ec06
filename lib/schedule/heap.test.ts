import { expect, test } from "vitest";
import { Random } from "../test-support/random.ts";
import { Heap } from "./heap.ts";

interface Item {
  at: number;
  rank: number;
}

const item = (rank: number): Item => ({ at: -1, rank });
const byRank = (a: Item, b: Item): boolean => a.rank < b.rank;

/** Returns a heap of items put in the order of their ranks. */
function heapOf(...ranks: readonly number[]): { heap: Heap<"at", Item>; items: Item[] } {
  const heap = new Heap<"at", Item>("at", byRank);
  const items = ranks.map(item);
  for (const each of items) heap.put(each);
  return { heap, items };
}

test("its first item is that of a sorted list, whatever is put, moved and removed", () => {
  const random = new Random(1);
  const heap = new Heap<"at", Item>("at", byRank);
  let plain: Item[] = [];
  for (let i = 0; i < 600; i += 1) {
    const known = plain[random.below(40)];
    if (known === undefined) {
      const added = item(random.below(1_000_000));
      heap.put(added);
      plain.push(added);
    } else if (random.chance(0.5)) {
      known.rank = random.below(1_000_000);
      heap.put(known);
    } else {
      heap.remove(known);
      expect(known.at).toBe(-1);
      plain = plain.filter((x) => x !== known);
    }
    plain.sort((a, b) => a.rank - b.rank);
    expect(heap.first()).toBe(plain[0]);
    const passed = new Set(plain.slice(0, 5));
    expect(heap.firstBut(passed)).toBe(plain[5]);
    // Each position is taken once, and by the item that says so.
    expect(plain.map((x) => x.at).sort((a, b) => a - b)).toEqual(plain.map((_, at) => at));
  }
});

test("an item that is not in it is not removed, and an empty one has no first", () => {
  const { heap, items } = heapOf(1, 2);
  const [first, second] = items as [Item, Item];
  heap.remove(item(0));
  expect(heap.first()).toBe(first);
  heap.remove(second);
  heap.remove(second);
  expect(heap.first()).toBe(first);
  heap.remove(first);
  expect([heap.first(), heap.firstBut(new Set()), first.at, second.at]).toEqual([undefined, undefined, -1, -1]);
  heap.put(second);
  expect(heap.first()).toBe(second);
});

test("the items that are passed over may be all, and among equals the first position is taken", () => {
  const { heap, items } = heapOf(1, 1, 1, 2);
  expect(heap.firstBut(new Set(items))).toBeUndefined();
  expect(heap.firstBut(new Set())).toBe(items[0]);
  expect(heap.firstBut(new Set([items[0] as Item]))).toBe(items[1]);
  expect(heap.firstBut(new Set(items.slice(0, 3)))).toBe(items[3]);
});

test("an item that moves costs about a comparison per level, and compares no item with itself", () => {
  let comparisons = 0;
  const heap = new Heap<"at", Item>("at", (a, b) => {
    comparisons += a === b ? Infinity : 1;
    return byRank(a, b);
  });
  const items = Array.from({ length: 1_023 }, (_, i) => item(i));
  for (const each of items) heap.put(each);
  expect(comparisons).toBe(1_022); // each belongs at the end: one with its parent, none for the first
  comparisons = 0;
  const first = items[0] as Item;
  first.rank = 5_000;
  heap.put(first);
  expect(comparisons).toBeLessThanOrEqual(10);
  expect(heap.first()).toBe(items[1]);
  comparisons = 0;
  heap.firstBut(new Set([items[1] as Item]));
  expect(comparisons).toBeLessThanOrEqual(2);
});
