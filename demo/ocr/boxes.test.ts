import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { boxCorners, convexHull, findBlobs, findBoxes, flipBox, growBox, minimumAreaRectangle } from "./boxes.ts";
import type { Box, Point, ProbabilityMap } from "./boxes.ts";

const coordinate = fc.integer({ min: -500, max: 500 });
const points = fc.array(fc.record({ x: coordinate, y: coordinate }), { minLength: 3, maxLength: 60 });
const box = fc.record({
  x: fc.double({ min: -500, max: 500, noNaN: true }),
  y: fc.double({ min: -500, max: 500, noNaN: true }),
  width: fc.double({ min: 1, max: 400, noNaN: true }),
  height: fc.double({ min: 1, max: 400, noNaN: true }),
  angle: fc.double({ min: -Math.PI, max: Math.PI, noNaN: true }),
  score: fc.constant(1),
});

/** How far a point lies outside a box; 0 or less inside. */
function outside(point: Point, { x, y, width, height, angle }: Box): number {
  const along = (point.x - x) * Math.cos(angle) + (point.y - y) * Math.sin(angle);
  const across = (point.y - y) * Math.cos(angle) - (point.x - x) * Math.sin(angle);
  return Math.max(Math.abs(along) - width / 2, Math.abs(across) - height / 2);
}

/** A map on which a box is all text. */
function paint(boxes: readonly Box[], width: number, height: number): ProbabilityMap {
  const data = Float32Array.from({ length: width * height }, (_, index) => {
    const point = { x: (index % width) + 0.5, y: Math.floor(index / width) + 0.5 };
    return boxes.some((each) => outside(point, each) <= 0) ? 0.95 : 0.02;
  });
  return { width, height, data };
}

describe("convexHull", () => {
  it("turns one way only, and has every point inside", () => {
    fc.assert(
      fc.property(points, (all) => {
        const hull = convexHull(all);
        if (hull.length < 3) return;
        for (const [index, a] of hull.entries()) {
          const b = hull[(index + 1) % hull.length] ?? a;
          for (const { x, y } of all)
            expect((b.x - a.x) * (y - a.y) - (b.y - a.y) * (x - a.x)).toBeGreaterThanOrEqual(0);
        }
      }),
    );
  });

  it("does not depend on the order of the points", () => {
    fc.assert(
      fc.property(points, (all) => {
        expect(convexHull([...all].reverse())).toEqual(convexHull(all));
      }),
    );
  });
});

describe("minimumAreaRectangle", () => {
  it("holds every point", () => {
    fc.assert(
      fc.property(points, (all) => {
        const fitted = minimumAreaRectangle(convexHull(all));
        for (const point of all) expect(outside(point, fitted)).toBeLessThan(1e-6);
      }),
    );
  });

  it("finds the rectangle that the points are the corners of", () => {
    fc.assert(
      fc.property(box, (each) => {
        const fitted = minimumAreaRectangle(convexHull(boxCorners(each)));
        expect(fitted.width * fitted.height).toBeCloseTo(each.width * each.height, 4);
        expect(fitted.x).toBeCloseTo(each.x, 5);
        expect(fitted.y).toBeCloseTo(each.y, 5);
      }),
    );
  });

  it("is never larger than a rectangle in any of 90 directions", () => {
    fc.assert(
      fc.property(points, (all) => {
        const fitted = minimumAreaRectangle(convexHull(all));
        for (let degrees = 0; degrees < 90; degrees++) {
          const [cos, sin] = [Math.cos((degrees * Math.PI) / 180), Math.sin((degrees * Math.PI) / 180)];
          const along = all.map(({ x, y }) => x * cos + y * sin);
          const across = all.map(({ x, y }) => y * cos - x * sin);
          const area = (Math.max(...along) - Math.min(...along)) * (Math.max(...across) - Math.min(...across));
          expect(fitted.width * fitted.height).toBeLessThanOrEqual(area + 1e-6);
        }
      }),
    );
  });
});

describe("growBox", () => {
  it("moves every side outwards by area · growth / perimeter and keeps centre and direction", () => {
    fc.assert(
      fc.property(box, fc.double({ min: 0, max: 3, noNaN: true }), (each, growth) => {
        const grown = growBox(each, growth);
        const by = (each.width * each.height * growth) / (2 * each.width + 2 * each.height);
        expect(grown.width - each.width).toBeCloseTo(2 * by, 8);
        expect(grown.height - each.height).toBeCloseTo(2 * by, 8);
        expect({ x: grown.x, y: grown.y, angle: grown.angle }).toEqual({ x: each.x, y: each.y, angle: each.angle });
      }),
    );
  });
});

describe("flipBox", () => {
  it("covers the same rectangle from its other end", () => {
    fc.assert(
      fc.property(box, (each) => {
        const [first, , third] = boxCorners(each);
        const flipped = boxCorners(flipBox(each));
        expect(flipped[0].x).toBeCloseTo(third.x, 6);
        expect(flipped[0].y).toBeCloseTo(third.y, 6);
        expect(flipped[2].x).toBeCloseTo(first.x, 6);
        expect(flipped[2].y).toBeCloseTo(first.y, 6);
      }),
    );
  });
});

describe("findBlobs", () => {
  it("joins pixels that touch at a corner, and no others", () => {
    const data = Float32Array.from([1, 0, 0, 0, /**/ 0, 1, 0, 0, /**/ 0, 0, 0, 1]);
    const blobs = findBlobs({ width: 4, height: 3, data }, 0.3);
    expect(blobs.map((blob) => blob.outline.length / 4)).toEqual([2, 1]);
  });

  it("takes no pixel at the threshold and none that is NaN", () => {
    const data = Float32Array.from([Math.fround(0.25), NaN, 0]);
    expect(findBlobs({ width: 3, height: 1, data }, 0.25)).toEqual([]);
  });
});

describe("findBoxes", () => {
  const plain = { threshold: 0.3, minScore: 0.6, minSide: 3, growth: 0 };
  const line = (angle: number): Box => ({ x: 160, y: 160, width: 200, height: 14, angle, score: 1 });

  it("finds a line at any slant, in pixels of the page, with its reading direction", () => {
    fc.assert(
      fc.property(fc.double({ min: -0.5, max: 0.5, noNaN: true }), (angle) => {
        const found = findBoxes(paint([line(angle)], 320, 320), { width: 640, height: 640 }, plain);
        expect(found).toHaveLength(1);
        expect(Math.abs((found[0]?.angle ?? 9) - angle)).toBeLessThan(0.02);
        expect(Math.abs((found[0]?.width ?? 0) - 400)).toBeLessThan(8);
        expect(Math.abs((found[0]?.height ?? 0) - 28)).toBeLessThan(8);
        expect(Math.abs((found[0]?.x ?? 0) - 320)).toBeLessThan(3);
      }),
      { numRuns: 25 },
    );
  });

  it("gives a short blob the direction of the page's lines", () => {
    const short: Box = { x: 60, y: 60, width: 18, height: 14, angle: 0.05, score: 1 };
    const found = findBoxes(paint([line(0.05), short], 320, 320), { width: 320, height: 320 }, plain);
    const angles = found.map((each) => each.angle);
    expect(angles).toHaveLength(2);
    expect(angles[0]).toBe(angles[1]);
  });

  it("reads a tall line downwards", () => {
    const found = findBoxes(paint([line(Math.PI / 2)], 320, 320), { width: 320, height: 320 }, plain);
    expect(found[0]?.angle).toBeCloseTo(Math.PI / 2, 1);
    expect(found[0]?.width).toBeGreaterThan(190);
  });

  it("drops specks and boxes with low scores", () => {
    const speck: Box = { x: 30, y: 30, width: 2, height: 2, angle: 0, score: 1 };
    expect(findBoxes(paint([speck], 64, 64), { width: 64, height: 64 }, plain)).toEqual([]);
    const faint = paint([line(0)], 320, 320);
    const dimmed = { ...faint, data: faint.data.map((value) => value * 0.5) };
    expect(findBoxes(dimmed, { width: 320, height: 320 }, plain)).toEqual([]);
  });

  it("finds nothing on an empty page", () => {
    const data = new Float32Array(32 * 32);
    expect(findBoxes({ width: 32, height: 32, data }, { width: 320, height: 320 })).toEqual([]);
  });
});
