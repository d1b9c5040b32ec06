import fc from "fast-check";
import { expect, test } from "vitest";
import { placeLabels } from "./place-labels.ts";

const AREA = { left: 56, right: 700, top: 16, bottom: 280 };

test("labels of points that lie on each other do not overlap, and stay inside the plot", () => {
  const coordinate = fc.record({
    x: fc.double({ min: 60, max: 640, noNaN: true }),
    y: fc.double({ min: 20, max: 276, noNaN: true }),
  });
  fc.assert(
    fc.property(coordinate, fc.array(coordinate, { maxLength: 5 }), (one, others) => {
      // Two at one place, as int8 and int8-dynamic often are.
      const points = [one, one, ...others].map((point, i) => ({ ...point, text: `int8-form-${i}` }));
      const boxes = placeLabels(points, AREA).map(({ x, y, anchor, point }) => {
        const width = point.text.length * 7;
        const left = anchor === "start" ? x : x - width;
        return { left, right: left + width, top: y - 11, bottom: y + 3 };
      });
      for (const [i, a] of boxes.entries()) {
        expect(a.left).toBeGreaterThanOrEqual(AREA.left - 1e-6);
        expect(a.right).toBeLessThanOrEqual(AREA.right + 1e-6);
        for (const b of boxes.slice(i + 1))
          expect(Math.min(a.right - b.left, b.right - a.left, a.bottom - b.top, b.bottom - a.top)).toBeLessThan(1e-6);
      }
    }),
  );
});

test("a label with room stands beside its point, without a line", () => {
  const [label] = placeLabels([{ x: 100, y: 100, text: "f32" }], AREA);
  expect(label).toMatchObject({ x: 109, y: 104, anchor: "start", lead: false });
});
