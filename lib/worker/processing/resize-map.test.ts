import fc from "fast-check";
import { expect, test, vi } from "vitest";
import { frameOf } from "./decode-run.ts";
import type { Frame } from "./decode-run.ts";
import { planImage } from "./plan-image.ts";
import { bestClasses, linesOf, resizePlane } from "./resize-map.ts";
import type { ClassScores, LineSamples } from "./resize-map.ts";

/** The best class of each pixel by resizing every class. */
function direct(
  { values, classes, width, height }: ClassScores,
  lines: readonly [LineSamples, LineSamples],
  frame: Frame,
): Uint16Array {
  const best = new Float32Array(frame.width * frame.height).fill(-Infinity);
  const indices = new Uint16Array(best.length);
  for (let label = 0; label < classes; label += 1) {
    const plane = resizePlane(
      values.subarray(label * width * height, (label + 1) * width * height),
      width,
      lines,
      frame,
    );
    for (const [i, value] of plane.entries())
      if (value > (best[i] ?? 0)) {
        best[i] = value;
        indices[i] = label;
      }
  }
  return indices;
}

const side = fc.integer({ min: 1, max: 9 });
const scores = fc.record({ classes: fc.integer({ min: 1, max: 6 }), width: side, height: side }).chain((x) => {
  const length = x.classes * x.width * x.height;
  // Whole numbers are often equal; others are rounded.
  const value = fc.oneof(fc.integer({ min: -3, max: 3 }), fc.float({ noNaN: true, noDefaultInfinity: true }));
  const list = fc.array(value, { minLength: length, maxLength: length });
  return list.map((values): ClassScores => ({ ...x, values: Float32Array.from(values) }));
});
const picture = fc.record({ width: fc.integer({ min: 1, max: 40 }), height: fc.integer({ min: 1, max: 40 }) });
const size = fc.record({ width: fc.integer({ min: 1, max: 24 }), height: fc.integer({ min: 1, max: 24 }) });

test("the best class of each pixel is that of resizing every class, for any size, crop and padding", () => {
  fc.assert(
    fc.property(scores, picture, size, fc.boolean(), (given, { width, height }, to, crops) => {
      const part = crops ? { crop: { width: 12, height: 9 } } : { pad: { width: 20, height: 30 } };
      const plan = planImage(width, height, { mode: "resample", filter: "pil-bilinear", to, ...part });
      const frame = frameOf({ width, height, plan }, undefined) as Frame;
      const lines = linesOf(frame, given, 2);
      expect(bestClasses(given, lines, frame)).toEqual(direct(given, lines, frame));
    }),
    { numRuns: 500 },
  );
});

test("an endless score excludes no class", () => {
  const given = { classes: 3, width: 2, height: 1, values: Float32Array.of(-Infinity, -Infinity, 1, -Infinity, 0, 2) };
  const plan = planImage(4, 2, { mode: "exact", width: 4, height: 2 });
  const frame = frameOf({ width: 4, height: 2, plan }, undefined) as Frame;
  const lines = linesOf(frame, given, 2);
  expect(bestClasses(given, lines, frame)).toEqual(direct(given, lines, frame));
});

test("a photograph with many classes resizes few of them", () => {
  // Regions of one class each: most cells have one class that can win.
  const [classes, width, height] = [64, 32, 32];
  const values = Float32Array.from({ length: classes * width * height }, (_, i) => {
    const [label, cell] = [Math.floor(i / (width * height)), i % (width * height)];
    return Math.floor((cell % width) / 4) + 8 * Math.floor(cell / (4 * width)) === label ? 5 : -1 - label;
  });
  const plan = planImage(320, 240, { mode: "exact", width: 320, height: 240 });
  const frame = frameOf({ width: 320, height: 240, plan }, undefined) as Frame;
  const lines = linesOf(frame, { width, height }, 2);
  const rounded = vi.spyOn(Math, "fround");
  const found = bestClasses({ values, classes, width, height }, lines, frame);
  const scored = rounded.mock.calls.length / 4;
  rounded.mockRestore();
  expect(scored).toBeLessThan((320 * 240 * classes) / 20);
  expect(found).toEqual(direct({ values, classes, width, height }, lines, frame));
});
