import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Box } from "./boxes.ts";
import { readingOrder } from "./order.ts";

/** A box by its left, top, width and height. */
function at(left: number, top: number, width: number, height = 20): Box {
  return { x: left + width / 2, y: top + height / 2, width, height, angle: 0, score: 1 };
}

function turn(box: Box, angle: number): Box {
  return {
    ...box,
    x: box.x * Math.cos(angle) - box.y * Math.sin(angle),
    y: box.x * Math.sin(angle) + box.y * Math.cos(angle),
    angle: box.angle + angle,
  };
}

function column(left: number, top: number, widths: readonly number[]): Box[] {
  return widths.map((width, index) => at(left, top + index * 30, width));
}

/** Expects boxes given in reading order to be restored to it after shuffles and rotations by a few degrees. */
function expectOrder(boxes: readonly Box[]): void {
  const indices = boxes.map((_, index) => index);
  const shuffled = fc.shuffledSubarray(indices, { minLength: boxes.length });
  fc.assert(
    fc.property(shuffled, fc.double({ min: -3, max: 3, noNaN: true }), (mixed, degrees) => {
      const turned = mixed.map((index) => turn(boxes[index] ?? at(0, 0, 1), (degrees * Math.PI) / 180));
      expect(readingOrder(turned).map((place) => mixed[place])).toEqual(indices);
    }),
    { numRuns: 40 },
  );
}

describe("readingOrder", () => {
  it("keeps every box, once", () => {
    const box = fc
      .tuple(fc.nat(900), fc.nat(900), fc.integer({ min: 5, max: 400 }), fc.integer({ min: 5, max: 60 }))
      .map(([left, top, width, height]) => at(left, top, width, height));
    fc.assert(
      fc.property(fc.array(box, { maxLength: 40 }), (boxes) => {
        expect([...readingOrder(boxes)].sort((a, b) => a - b)).toEqual(boxes.map((_, index) => index));
      }),
    );
  });

  it("reads one column from the top, ragged as it may be", () => {
    expectOrder(column(50, 50, [600, 580, 610, 240, 590, 600, 90]));
  });

  it("reads the left column of prose before the right one", () => {
    expectOrder([...column(50, 50, [280, 260, 290, 270, 150]), ...column(370, 50, [280, 275, 290, 100, 260, 240])]);
  });

  it("reads columns whose lines do not stand level", () => {
    expectOrder([...column(50, 50, [280, 260, 290, 270]), ...column(370, 63, [280, 275, 290, 260])]);
  });

  it("reads three columns from the left", () => {
    expectOrder([0, 1, 2].flatMap((index) => column(50 + index * 260, 50, [220, 210, 230, 200])));
  });

  it("reads a title across both columns first, and a footer last", () => {
    expectOrder([
      at(50, 0, 560, 34),
      ...column(50, 60, [280, 260, 290, 270]),
      ...column(370, 60, [280, 275, 290, 260]),
      at(50, 210, 570),
    ]);
  });

  it("reads the bands between lines across the page one by one", () => {
    expectOrder([
      ...column(50, 0, [280, 260, 290]),
      ...column(370, 0, [280, 275, 290]),
      at(50, 120, 600),
      ...column(50, 170, [280, 260, 290]),
      ...column(370, 170, [280, 275, 290]),
    ]);
  });

  it("reads a receipt by rows: its prices are no column", () => {
    expectOrder([0, 1, 2, 3, 4].flatMap((row) => [at(50, row * 30, 160 + 20 * row), at(420, row * 30, 60)]));
  });

  it("keeps the pieces of a title together where one ends above the gutter", () => {
    expectOrder([
      at(50, 0, 280, 34),
      { ...at(336, 0, 90, 34), y: 14 },
      ...column(50, 60, [280, 260, 290, 270]),
      ...column(370, 60, [280, 275, 290, 260]),
    ]);
  });

  it("reads a page that is upside down or on its side like an upright one", () => {
    const boxes = [...column(50, 50, [280, 260, 290, 270]), ...column(370, 50, [280, 275, 290, 260])];
    const indices = boxes.map((_, index) => index);
    expect(readingOrder(boxes.map((box) => turn(box, Math.PI)))).toEqual(indices);
    expect(readingOrder(boxes.map((box) => turn(box, Math.PI / 2)))).toEqual(indices);
    expect(readingOrder(boxes.map((box) => turn(box, -Math.PI / 2)))).toEqual(indices);
  });
});
