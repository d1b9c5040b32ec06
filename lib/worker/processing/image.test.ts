import { describe, expect, test } from "vitest";
import fc from "fast-check";
import type { ImageSpec, ResizeSpec } from "../../core/bundle.ts";
import type { WirePixels } from "../../rpc/messages.ts";
import { filterOf } from "./filters.ts";
import { imageToTensor } from "./image.ts";
import type { ScaledSize } from "../../core/image-spec.ts";
import { planImage } from "./plan-image.ts";

const RAW = { channels: "rgb", scale: 1, layout: "nhwc" } as const;

/** The formula of image.ts's header, in float64, one output value at a time. */
function naive(pixels: WirePixels, width: number, height: number, channel: number, X: number, Y: number): number {
  const weight = (i: number, j: number, scale: number): number =>
    Math.max(0, 1 - Math.abs(j + 0.5 - (i + 0.5) * scale) / Math.max(1, scale));
  let sum = 0;
  let total = 0;
  for (let y = 0; y < pixels.height; y++) {
    for (let x = 0; x < pixels.width; x++) {
      const t = weight(X, x, pixels.width / width) * weight(Y, y, pixels.height / height);
      const at = (y * pixels.width + x) * 4;
      const alpha = pixels.data[at + 3] as number;
      sum += (t * ((pixels.data[at + channel] as number) * alpha + 255 * (255 - alpha))) / 255;
      total += t;
    }
  }
  return sum / total;
}

const anyPixels: fc.Arbitrary<WirePixels> = fc
  .tuple(fc.integer({ min: 1, max: 13 }), fc.integer({ min: 1, max: 13 }))
  .chain(([width, height]) =>
    fc
      .uint8Array({ minLength: width * height * 4, maxLength: width * height * 4 })
      .map((bytes) => ({ width, height, data: new Uint8ClampedArray(bytes) })),
  );
const side = fc.integer({ min: 1, max: 17 });

function plain(width: number, height: number, rgba: readonly number[]): WirePixels {
  const data = new Uint8ClampedArray(width * height * 4);
  for (let i = 0; i < data.length; i++) data[i] = rgba[i % 4] as number;
  return { width, height, data };
}

describe("resampling", () => {
  test("agrees with the sum as written, for any image and size", () => {
    fc.assert(
      fc.property(anyPixels, side, side, (pixels, width, height) => {
        const { data } = imageToTensor(pixels, { ...RAW, resize: { mode: "exact", width, height } }, "float32");
        for (let i = 0; i < data.length; i++) {
          const expected = naive(pixels, width, height, i % 3, Math.floor(i / 3) % width, Math.floor(i / 3 / width));
          expect(Math.abs((data[i] as number) - expected)).toBeLessThan(1e-3);
        }
      }),
      { numRuns: 150 },
    );
  });

  test("leaves an image of the right size as it is", () => {
    fc.assert(
      fc.property(anyPixels, (pixels) => {
        const { width, height } = pixels;
        for (let i = 3; i < pixels.data.length; i += 4) pixels.data[i] = 255;
        const { data } = imageToTensor(pixels, { ...RAW, resize: { mode: "exact", width, height } }, "float32");
        const opaque = pixels.data.filter((_, i) => i % 4 !== 3);
        expect([...(data as Float32Array)]).toEqual([...opaque]);
      }),
    );
  });

  test("keeps a uniform colour, at any size", () => {
    fc.assert(
      fc.property(side, side, side, side, (w, h, width, height) => {
        const pixels = plain(w, h, [10, 20, 30, 255]);
        const { data } = imageToTensor(pixels, { ...RAW, resize: { mode: "exact", width, height } }, "float32");
        (data as Float32Array).forEach((value, i) => {
          expect(value).toBeCloseTo([10, 20, 30][i % 3] as number, 3);
        });
      }),
    );
  });

  test("a stroke of one pixel is not lost when a page is resized to a quarter", () => {
    const pixels = plain(40, 40, [255, 255, 255, 255]);
    for (let y = 0; y < 40; y++) pixels.data.fill(0, (y * 40 + 17) * 4, (y * 40 + 17) * 4 + 3);
    const { data } = imageToTensor(pixels, { ...RAW, resize: { mode: "exact", width: 10, height: 10 } }, "float32");
    const row = (data as Float32Array).slice(0, 30);
    expect(Math.min(...row)).toBeLessThan(220);
  });

  test("an image that is read in bands is the same as one that is whole (processing-M5)", () => {
    fc.assert(
      fc.property(anyPixels, side, side, fc.integer({ min: 1, max: 5 }), (pixels, width, height, rows) => {
        const spec: ImageSpec = { ...RAW, resize: { mode: "exact", width, height } };
        const row = pixels.width * 4;
        const read = (y: number): Uint8ClampedArray => pixels.data.slice(y * row, (y + rows) * row);
        const banded = imageToTensor({ width: pixels.width, height: pixels.height, read }, spec, "float32");
        expect(banded).toEqual(imageToTensor(pixels, spec, "float32"));
      }),
    );
  });

  test("transparent pixels are white", () => {
    const spec: ImageSpec = { ...RAW, resize: { mode: "exact", width: 1, height: 1 } };
    expect([...imageToTensor(plain(2, 2, [0, 0, 0, 0]), spec, "float32").data]).toEqual([255, 255, 255]);
    expect(imageToTensor(plain(2, 2, [0, 0, 0, 51]), spec, "float32").data[0]).toBeCloseTo(204);
  });

  test("alpha is left out where a library resamples, as by its conversion to RGB", () => {
    const resize = { mode: "resample", filter: "pil-bilinear", to: { width: 1, height: 1 } } as const;
    const pixels = plain(2, 2, [10, 20, 30, 51]);
    expect([...imageToTensor(pixels, { ...RAW, resize }, "float32").data]).toEqual([10, 20, 30]);
  });
});

describe("crop", () => {
  /** Values of Pillow 13.0.0: resize((w · s) // short, (h · s) // short, BILINEAR) of a float image, then crop. */
  test.each([
    [
      { width: 37, height: 23, shortSide: 16, crop: [4, 3] },
      [98.156, 117.907, 144.528, 147.02, 134.7, 164.951, 113.692, 125.201, 100.018, 131.097, 167.816, 103.435],
    ],
    [
      { width: 20, height: 51, shortSide: 8, crop: [3, 4] },
      [126.378, 95.212, 99.394, 120.269, 139.856, 141.685, 141.093, 98.725, 121.671, 139.47, 150.939, 125.614],
    ],
    [
      { width: 9, height: 7, shortSide: 12, crop: [4, 3] },
      [113.375, 146.35, 182.125, 75.7, 129.125, 163.85, 201.375, 96.7, 144.875, 181.35, 220.625, 117.7],
    ],
    [
      { width: 640, height: 427, shortSide: 256, crop: [3, 3] },
      [136.267, 128.595, 147.562, 90.183, 90.906, 127.727, 171.631, 120.241, 104.948],
    ],
  ] as const)(
    "of $width × $height is Pillow's resize and centre crop",
    ({ width, height, shortSide, crop }, expected) => {
      const pixels = plain(width, height, [0, 0, 0, 255]);
      for (let y = 0; y < height; y++)
        for (let x = 0; x < width; x++)
          pixels.data.fill((x * x * 7 + y * 13 + x * y * 5) % 251, (y * width + x) * 4, (y * width + x) * 4 + 3);
      const resize: ResizeSpec = { mode: "crop", width: crop[0], height: crop[1], shortSide };
      const { data, dims } = imageToTensor(pixels, { ...RAW, resize }, "float32");
      expect(dims).toEqual([1, crop[1], crop[0], 3]);
      const red = Array.from(data as Float32Array).filter((_, i) => i % 3 === 0);
      for (const [i, value] of expected.entries()) expect(red[i]).toBeCloseTo(value, 2);
    },
  );

  test("is the centre of the image that is scaled whole, for any image and size", () => {
    fc.assert(
      fc.property(anyPixels, side, side, fc.nat(9), (pixels, width, height, more) => {
        const shortSide = Math.max(width, height) + more;
        const plan = planImage(pixels.width, pixels.height, { mode: "crop", width, height, shortSide });
        const cropped = imageToTensor(
          pixels,
          { ...RAW, resize: { mode: "crop", width, height, shortSide } },
          "float32",
        );
        const all: ResizeSpec = { mode: "exact", width: plan.scaledWidth, height: plan.scaledHeight };
        const { data } = imageToTensor(pixels, { ...RAW, resize: all }, "float32");
        for (let y = 0; y < height; y++)
          for (let i = 0; i < width * 3; i++)
            expect(cropped.data[y * width * 3 + i]).toBe(data[((y + plan.top) * plan.scaledWidth + plan.left) * 3 + i]);
      }),
      { numRuns: 100 },
    );
  });
});

describe("normalising", () => {
  const one = plain(1, 1, [51, 102, 204, 255]);
  const exact: ResizeSpec = { mode: "exact", width: 1, height: 1 };
  const values = (spec: Partial<ImageSpec>): number[] => {
    const { data } = imageToTensor(one, { channels: "rgb", layout: "nchw", resize: exact, ...spec }, "float32");
    return Array.from(data as Float32Array, (value) => Number(value.toFixed(5)));
  };

  test("divides by 255 where nothing else is said", () => {
    expect(values({})).toEqual([0.2, 0.4, 0.8]);
  });

  test("subtracts the mean and divides by std in the order of the channels", () => {
    expect(values({ channels: "bgr", mean: [0.8, 0, 0], std: [1, 0.5, 2] })).toEqual([0, 0.8, 0.1]);
  });

  test("divides the mean by std as well (processing-mutant-image-1)", () => {
    // (0.2 − 0.5) / 0.25, (0.4 − 0.2) / 0.5, (0.8 − 1) / 4
    expect(values({ mean: [0.5, 0.2, 1], std: [0.25, 0.5, 4] })).toEqual([-1.2, 0.4, -0.05]);
  });

  test("weighs grey as BT.601", () => {
    expect(values({ channels: "gray" })).toEqual([0.3858]);
  });

  test("orders the axes as the layout says", () => {
    const two: WirePixels = { width: 2, height: 1, data: new Uint8ClampedArray([1, 2, 3, 255, 4, 5, 6, 255]) };
    const spec = { channels: "rgb", scale: 1, resize: { mode: "exact", width: 2, height: 1 } } as const;
    const nchw = imageToTensor(two, { ...spec, layout: "nchw" }, "float32");
    const nhwc = imageToTensor(two, { ...spec, layout: "nhwc" }, "float32");
    expect([nchw.dims, [...nchw.data]]).toEqual([
      [1, 3, 1, 2],
      [1, 4, 2, 5, 3, 6],
    ]);
    expect([nhwc.dims, [...nhwc.data]]).toEqual([
      [1, 1, 2, 3],
      [1, 2, 3, 4, 5, 6],
    ]);
  });

  test("pads with 0 after normalising, right of and below the image", () => {
    const spec: ImageSpec = {
      channels: "gray",
      scale: 1,
      mean: [100],
      layout: "nchw",
      resize: { mode: "fit", width: 3, height: 2 },
    };
    const { data } = imageToTensor(plain(2, 2, [50, 50, 50, 255]), spec, "float32");
    expect(Array.from(data as Float32Array, Math.round)).toEqual([-50, -50, 0, -50, -50, 0]);
  });

  test("rounds and clamps to uint8", () => {
    const spec: ImageSpec = { ...RAW, mean: [0, 200, -200], resize: exact };
    const { dtype, data } = imageToTensor(one, spec, "uint8");
    expect([dtype, data]).toEqual(["uint8", new Uint8Array([51, 0, 255])]);
  });

  test("rounds to float16 as the nearest, ties to even", () => {
    const half = (value: number): number => {
      const spec: ImageSpec = { ...RAW, scale: 0, mean: [-value, 0, 0], resize: exact };
      return imageToTensor(one, spec, "float16").data[0] as number;
    };
    const known: [number, number][] = [
      [1, 0x3c00],
      [-2, 0xc000],
      [65504, 0x7bff],
      [65520, 0x7c00],
      [2 ** -14, 0x0400],
      [2 ** -24, 0x0001],
      [2 ** -25, 0x0000],
      [1 + 2 ** -11, 0x3c00],
      [1 + 3 * 2 ** -11, 0x3c02],
      [0.333251953125, 0x3555],
    ];
    for (const [value, bits] of known) expect([value, half(value)]).toEqual([value, bits]);
  });

  test("refuses a dtype that holds no image", () => {
    expect(() => imageToTensor(one, { ...RAW, resize: exact }, "int64")).toThrow(TypeError);
  });
});

describe("sizes", () => {
  test.each<[string, number, number, ResizeSpec, number[]]>([
    ["exact stretches", 10, 20, { mode: "exact", width: 5, height: 6 }, [5, 6, 5, 6]],
    ["fit keeps the proportion", 200, 100, { mode: "fit", width: 50, height: 50 }, [50, 50, 50, 25]],
    ["fit enlarges too", 10, 5, { mode: "fit", width: 40, height: 40 }, [40, 40, 40, 20]],
    [
      "fit rounds to the nearest (processing-mutant-image-2)",
      3,
      2,
      { mode: "fit", width: 10, height: 10 },
      [10, 10, 10, 7],
    ],
    ["fit keeps a row (processing-mutant-image-3)", 1_000, 1, { mode: "fit", width: 50, height: 50 }, [50, 50, 50, 1]],
    ["fit keeps a column", 1, 1_000, { mode: "fit", width: 50, height: 50 }, [50, 50, 1, 50]],
    [
      "crop is the size of what is cropped",
      640,
      427,
      { mode: "crop", width: 224, height: 192, shortSide: 256 },
      [224, 192, 224, 192],
    ],
    ["height sets the height", 200, 96, { mode: "height", height: 48 }, [100, 48, 100, 48]],
    ["height pads to the least width", 10, 48, { mode: "height", height: 48, minWidth: 32 }, [32, 48, 10, 48]],
    [
      "height squeezes to the greatest width",
      999,
      48,
      { mode: "height", height: 48, maxWidth: 320 },
      [320, 48, 320, 48],
    ],
    [
      "height rounds the tensor's width up",
      100,
      48,
      { mode: "height", height: 48, multipleOf: 32 },
      [128, 48, 100, 48],
    ],
    ["height keeps at least a pixel", 1, 999, { mode: "height", height: 48 }, [1, 48, 1, 48]],
    ["side leaves what fits", 300, 200, { mode: "side", maxSide: 960 }, [300, 200, 300, 200]],
    ["side shrinks the longer", 1600, 1200, { mode: "side", maxSide: 960 }, [960, 720, 960, 720]],
    ["side stretches to multiples", 300, 200, { mode: "side", maxSide: 960, multipleOf: 32 }, [288, 192, 288, 192]],
    ["side enlarges the shorter", 100, 50, { mode: "side", maxSide: 960, minSide: 100 }, [200, 100, 200, 100]],
    ["side never enlarges past maxSide", 100, 10, { mode: "side", maxSide: 200, minSide: 100 }, [200, 20, 200, 20]],
    ["side gives at least one multiple", 960, 3, { mode: "side", maxSide: 960, multipleOf: 32 }, [960, 32, 960, 32]],
  ])("%s", (_, width, height, resize, expected) => {
    const plan = planImage(width, height, resize);
    expect([plan.width, plan.height, plan.pictureWidth, plan.pictureHeight]).toEqual(expected);
  });

  // As get_size_with_aspect_ratio of transformers 4.57 for DETR, and the one for YOLOS.
  test.each<[width: number, height: number, to: ScaledSize, expected: readonly number[]]>([
    [1334, 600, { short: 800, long: 1333 }, [1334, 600]],
    [600, 1332, { short: 800, long: 1333 }, [600, 1332]],
    [1335, 600, { short: 800, long: 1333 }, [1333, 599]],
    [1334, 800, { short: 800, long: 1333 }, [1333, 799]],
    [865, 400, { short: 512, long: 864, multipleOf: 16 }, [864, 400]],
    [21, 1335, { short: 800, long: 1333, multipleOf: 16 }, [16, 1328]],
  ])(
    "%i × %i, of which the longer side is bounded, keeps its size where the shorter one is as wanted",
    (w, h, to, size) => {
      const { scaledWidth, scaledHeight } = planImage(w, h, { mode: "resample", filter: "pil-bilinear", to });
      expect([scaledWidth, scaledHeight]).toEqual(size);
    },
  );
});

test("nearest samples on a border between two pixels are Pillow's, which adds the scale up", () => {
  const { starts } = filterOf("pil-nearest", { from: 48, to: 40, first: 0, count: 40 });
  // As Pillow 12 resizes 0 … 47.
  expect([2, 7, 12, 17, 22, 27, 32, 37].map((i) => starts[i])).toEqual([3, 9, 14, 20, 26, 32, 39, 45]);
});

test("nearest samples on such a border are torchvision's for its processors, which computes in float32", () => {
  const { starts } = filterOf("torchvision-nearest-exact", { from: 48, to: 40, first: 0, count: 40 });
  // As torchvision 0.28 resizes 0 … 47 with NEAREST_EXACT.
  expect([2, 7, 12, 17, 22, 27, 32, 37].map((i) => starts[i])).toEqual([3, 9, 15, 21, 27, 33, 39, 45]);
});
