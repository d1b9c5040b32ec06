import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { boxCorners } from "./boxes.ts";
import type { Box } from "./boxes.ts";
import { cropBox } from "./crops.ts";
import type { Pixels } from "./crops.ts";

/** A page whose red grows to the right and whose green grows downwards, linearly. */
function ramp(size: number): Pixels {
  const data = new Uint8ClampedArray(size * size * 4);
  for (let index = 0; index < size * size; index++) {
    data[index * 4] = (index % size) + 0.5;
    data[index * 4 + 1] = Math.floor(index / size) + 0.5;
    data[index * 4 + 3] = 255;
  }
  return { width: size, height: size, data };
}

function pixel(image: Pixels, x: number, y: number): [number, number] {
  const offset = (y * image.width + x) * 4;
  return [image.data[offset] ?? -1, image.data[offset + 1] ?? -1];
}

describe("cropBox", () => {
  const page = ramp(200);

  it("puts each corner of the box in the same corner of the crop, at any turn", () => {
    fc.assert(
      fc.property(
        fc.record({
          x: fc.double({ min: 95, max: 105, noNaN: true }),
          y: fc.double({ min: 95, max: 105, noNaN: true }),
          width: fc.double({ min: 20, max: 80, noNaN: true }),
          height: fc.double({ min: 20, max: 40, noNaN: true }),
          angle: fc.double({ min: -Math.PI, max: Math.PI, noNaN: true }),
          score: fc.constant(1),
        }),
        (box: Box) => {
          const crop = cropBox(page, box, 48, 1);
          const [right, bottom] = [crop.width - 1, crop.height - 1];
          const seen = [pixel(crop, 0, 0), pixel(crop, right, 0), pixel(crop, right, bottom), pixel(crop, 0, bottom)];
          for (const [index, corner] of boxCorners(box).entries()) {
            expect(Math.abs((seen[index]?.[0] ?? -9) - corner.x)).toBeLessThan(3);
            expect(Math.abs((seen[index]?.[1] ?? -9) - corner.y)).toBeLessThan(3);
          }
        },
      ),
    );
  });

  it("keeps proportions but for the stretch", () => {
    const box: Box = { x: 100, y: 100, width: 120, height: 24, angle: 0, score: 1 };
    expect(cropBox(page, box, 48, 1)).toMatchObject({ width: 240, height: 48 });
    expect(cropBox(page, box, 48, 1.5)).toMatchObject({ width: 360, height: 48 });
  });

  it("averages fine strokes where it makes the page smaller, so that none is missed", () => {
    const stripes = ramp(192);
    for (let index = 0; index < 192 * 192; index++) stripes.data[index * 4] = index % 4 === 0 ? 255 : 0;
    const crop = cropBox(stripes, { x: 96, y: 96, width: 192, height: 192, angle: 0, score: 1 }, 48, 1);
    for (let x = 2; x < 46; x++) expect(Math.abs(pixel(crop, x, 24)[0] - 255 / 4)).toBeLessThan(2);
  });

  it("clamps to the edge outside the page, and is opaque", () => {
    const crop = cropBox(page, { x: 0, y: 100, width: 100, height: 50, angle: 0, score: 1 }, 48, 1);
    expect(pixel(crop, 0, 24)[0]).toBeLessThan(2);
    expect(crop.data.filter((_, index) => index % 4 === 3).every((alpha) => alpha === 255)).toBe(true);
  });

  it("makes at least one pixel of the smallest box", () => {
    expect(cropBox(page, { x: 9, y: 9, width: 0.01, height: 3, angle: 0, score: 1 }).width).toBe(1);
  });
});
