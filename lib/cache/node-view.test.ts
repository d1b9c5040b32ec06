// A node as inference sees it.
import { expect, test } from "vitest";
import { count, NodeView, rangeOf, UNKNOWN, within } from "./node-view.ts";
import type { Attribute } from "./node-view.ts";

function viewOf(input: readonly string[], attributes: Readonly<Record<string, Attribute>> = {}): NodeView {
  const known = new Map([
    ["x", { type: "int64", dims: [2, 3, 5], values: [4, 6] }],
    ["untold", { type: "float32" }],
    ["", { type: "int64", dims: [1], values: [1] }],
  ]);
  return new NodeView(
    { opType: "Op", domain: "", reads: [], input, output: ["y"], attributes: new Map(Object.entries(attributes)) },
    known,
  );
}

test("dims and integers of an input that is not known are unknown; those of one that is left out are none", () => {
  const view = viewOf(["x", "untold", "", "missing"]);
  expect(view.inputs.map((x) => x?.type)).toEqual(["int64", "float32", undefined, undefined]);
  expect([view.dims(), view.dims(0), view.values(0)]).toEqual([
    [2, 3, 5],
    [2, 3, 5],
    [4, 6],
  ]);
  for (const i of [1, 2, 3, 9]) expect(() => view.dims(i)).toThrow(UNKNOWN);
  for (const i of [1, 3]) expect(() => view.values(i)).toThrow(UNKNOWN);
  for (const i of [2, 9]) expect(view.values(i)).toBeUndefined();
  expect(UNKNOWN.message).toBe("unknown dims");
});

test("attributes are integers, or the fallback: a text is none", () => {
  const view = viewOf(["x", "x"], { axis: [-1], list: [7, 8], text: "SAME", empty: [] });
  expect([view.integers("list"), view.integers("text"), view.integers("none")]).toEqual([[7, 8], undefined, undefined]);
  expect(["list", "text", "none", "empty"].map((x) => view.integer(x, 3))).toEqual([7, 3, 3, 3]);
  expect([view.axis(0), view.axis(0, 2)]).toEqual([2, 1]);
  expect([viewOf(["x"]).axis(1), viewOf(["x"]).axis(-3)]).toEqual([1, 0]);
  expect([view.either("list", 1), view.either("none", 1), view.either("none", 2)]).toEqual([[7, 8], [4, 6], undefined]);
});

test("a negative axis is counted from the end, and elements are counted", () => {
  expect([within(0, 4), within(3, 4), within(-1, 4), within(-4, 4)]).toEqual([0, 3, 3, 0]);
  expect([count([]), count([2, 3, 4]), count([2, 0])]).toEqual([1, 24, 0]);
});

test.each<[size: number, start: number, end: number, step: number, from: number, to: number]>([
  [5, 1, 4, 1, 1, 4],
  [5, 0, 99, 2, 0, 5],
  [5, 99, 99, 1, 5, 5],
  [5, -2, -1, 1, 3, 4],
  [5, -99, 2, 1, 0, 2],
  [5, 4, 0, -1, 4, 0],
  [5, 99, -99, -1, 4, -1],
  [5, -1, -5, -1, 4, 0],
  [5, -1, -6, -1, 4, -1],
  [5, -99, -1, -1, 0, 4],
  [5, 2, 99, -1, 2, 4],
])("of %d elements, %d to %d by %d is %d to %d", (size, start, end, step, from, to) => {
  expect(rangeOf(size, start, end, step)).toEqual([from, to, step]);
});

test("a step of 0 is unknown", () => {
  expect(() => rangeOf(5, 0, 5, 0)).toThrow(UNKNOWN);
});
