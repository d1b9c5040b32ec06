import { afterEach, expect, test, vi } from "vitest";
import type { StillImage } from "../../rpc/messages.ts";
import { checkImage, withPixels } from "./pixels.ts";

const image = (width: number, height: number, bytes = width * height * 4): StillImage => ({
  width,
  height,
  data: new Uint8ClampedArray(bytes),
});
const bitmap = (width: number, height: number): StillImage & { isClosed?: boolean } => {
  const made = {
    width,
    height,
    close: () => {
      made.isClosed = true;
    },
    isClosed: false,
  };
  return made;
};

afterEach(() => {
  vi.unstubAllGlobals();
});

test.each([
  [1, 16_384],
  [16_384, 1],
])("an image of %i × %i passes", (width, height) => {
  checkImage(image(width, height));
});

test.each([
  [0, 1],
  [1, 0],
  [16_385, 1],
  [1, 16_385],
  [Number.NaN, 1],
])("an image of %d × %d is rejected by its size (processing-mutant-pixels-1)", (width, height) => {
  expect(() => {
    checkImage(bitmap(width, height));
  }).toThrow("1 to 16384 pixels on each side");
});

test.each([15, 17, 0])("%i bytes for 2 × 2 pixels are rejected (processing-mutant-pixels-2)", (bytes) => {
  expect(() => {
    checkImage(image(2, 2, bytes));
  }).toThrow(`has 16 bytes of RGBA, not ${bytes}`);
});

/** A canvas that records its size and its reads. */
function stubCanvas(): { sizes: [number, number][]; reads: [number, number][] } {
  const noted = { sizes: [] as [number, number][], reads: [] as [number, number][] };
  class Canvas {
    constructor(width: number, height: number) {
      noted.sizes.push([width, height]);
    }
    getContext() {
      let from = 0;
      return {
        globalCompositeOperation: "source-over",
        drawImage: (_: unknown, x: number, y: number) => {
          expect([x, y <= 0]).toEqual([0, true]);
          from = -y;
        },
        getImageData: (_x: number, _y: number, width: number, height: number) => {
          noted.reads.push([from, height]);
          return { data: new Uint8ClampedArray(width * height * 4) };
        },
      };
    }
  }
  vi.stubGlobal("OffscreenCanvas", Canvas);
  return noted;
}

test("a huge image is read in bands of 16 MiB at most, through a canvas of one (processing-M5)", () => {
  const noted = stubCanvas();
  const huge = bitmap(12_000, 9_000);
  const rows = Math.floor(2 ** 24 / 48_000);
  withPixels(huge, (pixels) => {
    if (!("read" in pixels)) expect.fail("not in bands");
    expect(huge.isClosed).toBe(false);
    for (let y = 0; y < 9_000;) y += pixels.read(y).length / 48_000;
  });
  expect(noted.sizes).toEqual([[12_000, rows]]);
  expect(noted.reads.length).toBe(Math.ceil(9_000 / rows));
  expect(noted.reads.reduce((sum, [, height]) => sum + height, 0)).toBe(9_000);
  expect(huge.isClosed).toBe(true);
});

test("a bitmap is closed where its pixels can't be read", () => {
  const broken = bitmap(2, 2);
  expect(() => withPixels(broken, () => 1)).toThrow("The pixels of an image of 2 × 2 could not be read");
  expect(broken.isClosed).toBe(true);
});
