// Steps of tasks beyond the references of Python: places in the picture, any text, any head, and refusals.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { DecodeSpec } from "../../core/bundle.ts";
import type { ResizeSpec } from "../../core/image-spec.ts";
import type { Tensor } from "../../core/tensor.ts";
import type { WirePixels } from "../../rpc/messages.ts";
import { createDecoder } from "./decode.ts";
import type { DecodeRun } from "./decode-run.ts";
import { imageToTensor } from "./image.ts";
import { planImage } from "./plan-image.ts";
import { spansBeforeLowercase } from "./spans.ts";

const floats = (dims: readonly number[], values: readonly number[]): Tensor => ({
  dtype: "float32",
  dims,
  data: Float32Array.from(values),
});

function requestOf(width: number, height: number, resize: ResizeSpec, outputs: Record<string, Tensor> = {}): DecodeRun {
  const plan = planImage(width, height, resize);
  return {
    ...{ input: () => undefined, output: (name) => outputs[name], tokens: () => null },
    picture: () => ({ width, height, plan }),
  };
}

const size = fc.integer({ min: 1, max: 40 });
const resizes: fc.Arbitrary<ResizeSpec> = fc.oneof(
  fc.record({ mode: fc.constant("exact" as const), width: size, height: size }),
  fc.record({ mode: fc.constant("fit" as const), width: size, height: size }),
  fc.record({
    mode: fc.constant("resample" as const),
    filter: fc.constantFrom("pil-bicubic" as const, "torchvision-bilinear" as const),
    to: fc.oneof(fc.record({ width: size, height: size }), fc.record({ short: size }), fc.record({ long: size })),
    crop: fc.option(fc.record({ width: size, height: size }), { nil: undefined }),
    pad: fc.option(fc.record({ multipleOf: size }), { nil: undefined }),
  }),
);

describe("places in the picture", () => {
  test("a point of the tensor is the point of the picture that was put there, whatever the resize", () => {
    fc.assert(
      fc.property(size, size, resizes, fc.double({ min: 0, max: 1, noNaN: true }), (width, height, resize, share) => {
        const plan = planImage(width, height, resize);
        const [x, y] = [width * share, height * (1 - share)];
        // The way of a point through the scaling, the crop and the padding.
        const inTensor = [(x * plan.scaledWidth) / width - plan.left, (y * plan.scaledHeight) / height - plan.top];
        const shares = [(inTensor[0] ?? 0) / plan.shareWidth, (inTensor[1] ?? 0) / plan.shareHeight];
        const spec = { op: "points", form: "shares", image: "x" } as const;
        const [answer] = createDecoder("y", spec, {})(floats([1, 1, 2], shares), requestOf(width, height, resize));
        const point = answer?.kind === "points" ? answer.points[0] : undefined;
        expect(point?.x).toBeCloseTo(x, 3);
        expect(point?.y).toBeCloseTo(y, 3);
      }),
    );
  });

  test("key points are shares of the picture, without what its processor added; a heatmap covers the tensor", () => {
    const resize = { mode: "resample", filter: "pil-bilinear", to: { width: 20, height: 10 } } as const;
    const placeOf = (form: "shares" | "heatmaps", output: Tensor, pad?: { width: number; height: number }) => {
      const decode = createDecoder("y", { op: "points", form, image: "x" }, {});
      const [answer] = decode(output, requestOf(100, 50, { ...resize, pad }));
      const { x, y } = (answer?.kind === "points" ? answer.points[0] : undefined) ?? {};
      return [x, y];
    };
    const pad = { width: 40, height: 20 };
    for (const size of [undefined, pad])
      expect(placeOf("shares", floats([1, 1, 2], [0.5, 0.5]), size)).toEqual([50, 25]);
    const corner = floats([1, 1, 2, 2], [9, 0, 0, 0]);
    expect([placeOf("heatmaps", corner), placeOf("heatmaps", corner, pad)]).toEqual([
      [25, 12.5],
      [50, 25],
    ]);
  });

  test("boxes of queries are shares of the picture, without what its processor added", () => {
    const resize = { mode: "resample", filter: "pil-bilinear", to: { width: 20, height: 10 } } as const;
    const outputs = { b: floats([1, 1, 4], [0.5, 0.5, 0.2, 0.4]) };
    const spec = { op: "detect", form: "queries", boxes: "b", asset: "l", image: "x" } as const;
    const decode = createDecoder("y", spec, { l: "cat\ndog\n" });
    for (const pad of [undefined, { width: 40, height: 30 }, { multipleOf: 32 }]) {
      const [answer] = decode(floats([1, 1, 2], [5, -5]), requestOf(100, 50, { ...resize, pad }, outputs));
      const { xmin, ymin, xmax, ymax } = (answer?.kind === "boxes" ? answer.boxes[0]?.box : undefined) ?? {};
      for (const [i, x] of [xmin, ymin, xmax, ymax].entries()) expect(x).toBeCloseTo([40, 15, 60, 35][i] ?? 0, 4);
    }
  });

  test("classes of a crop stay where it was seen, or are stretched to the picture", () => {
    const resize = {
      mode: "resample",
      filter: "pil-bilinear",
      to: { short: 4 },
      crop: { width: 4, height: 4 },
    } as const;
    const output = floats([1, 2, 1, 4], [9, 0, 0, 0, 0, 9, 9, 9]);
    const classesOf = (stretch?: boolean): number[] => {
      const spec = { op: "segment", image: "x", asset: "l", stretch } as const;
      const [answer] = createDecoder("y", spec, { l: "cat\ndog\n" })(output, requestOf(8, 4, resize));
      return answer?.kind === "segments" ? [...answer.classes.subarray(0, 8)] : [];
    };
    // The crop is the columns 2 to 5.
    expect(classesOf()).toEqual([0, 0, 0, 1, 1, 1, 1, 1]);
    expect(classesOf(true)).toEqual([0, 0, 1, 1, 1, 1, 1, 1]);
  });

  test("the peak of a heatmap is the centre of its cell, towards the larger neighbour", () => {
    const map = [0, 0, 0, 0, 0, 0, 9, 3, 0, 1, 0, 0];
    const spec = { op: "points", form: "heatmaps", image: "x", asset: "names" } as const;
    const run = requestOf(400, 300, { mode: "exact", width: 40, height: 30 });
    const [answer] = createDecoder("y", spec, { names: "nose\n" })(floats([1, 1, 3, 4], map), run);
    expect(answer).toEqual({ kind: "points", points: [{ label: "nose", index: 0, score: 9, x: 275, y: 150 }] });
  });

  test("a mask has the size of the picture, and padding of the tensor is no part of it", () => {
    const resize = { mode: "fit", width: 8, height: 8 } as const;
    // Right half of the tensor is padding: a picture twice as tall as wide.
    const values = Array.from({ length: 64 }, (_, i) => (i % 8 < 4 ? 20 : -20));
    const run = requestOf(20, 40, resize);
    const [answer] = createDecoder("y", { op: "mask", image: "x" }, {})(floats([1, 1, 8, 8], values), run);
    const map = answer?.kind === "map" ? answer : null;
    expect([map?.width, map?.height, map?.values.length]).toEqual([20, 40, 800]);
    for (let x = 0; x < 17; x += 1) expect(map?.values[x]).toBeCloseTo(1, 5);
  });
});

describe("boxes", () => {
  const spec = { op: "detect", form: "anchors", asset: "l", image: "x" } as const;
  const assets = { l: "cat\ndog\n" };
  const run = requestOf(100, 100, { mode: "exact", width: 10, height: 10 });

  test("no kept box overlaps a better one of its label by more than iou", () => {
    const box = fc.tuple(size, size, size, size, fc.double({ min: 0, max: 1, noNaN: true }), fc.boolean());
    fc.assert(
      fc.property(
        fc.array(box, { minLength: 8, maxLength: 30 }),
        fc.double({ min: 0, max: 0.9, noNaN: true }),
        (all, iou) => {
          const rows = all.flatMap(([cx, cy, w, h, score, isDog]) => [
            cx,
            cy,
            w,
            h,
            isDog ? 0 : score,
            isDog ? score : 0,
          ]);
          const decode = createDecoder("y", { ...spec, iou, threshold: 0.2 }, assets);
          const [answer] = decode(floats([1, all.length, 6], rows), run);
          const boxes = answer?.kind === "boxes" ? answer.boxes : [];
          for (const [i, a] of boxes.entries()) {
            expect(a.score).toBeGreaterThan(0.2);
            for (const b of boxes.slice(0, i)) {
              expect(b.score).toBeGreaterThanOrEqual(a.score);
              if (a.label === b.label) expect(overlap(a.box, b.box)).toBeLessThanOrEqual(iou + 1e-4);
            }
          }
          const best = Math.fround(Math.max(...all.map((x) => x[4])));
          if (best > 0.2) expect(boxes[0]?.score).toBe(best);
        },
      ),
    );
  });

  test("a box with its own score, in columns", () => {
    const columns = [5, 5, 2, 2, 0.5, 0.1, 0.8];
    const decode = createDecoder("y", spec, assets);
    const [answer] = decode(floats([1, 7, 1], columns), run);
    const box = { xmin: 40, ymin: 40, xmax: 60, ymax: 60 };
    expect(answer).toMatchObject({ boxes: [{ label: "dog", index: 1, box }] });
    expect(answer?.kind === "boxes" ? answer.boxes[0]?.score : 0).toBeCloseTo(0.4);
  });

  test("outputs that are no boxes are refused by their dims", () => {
    const decode = createDecoder("y", spec, assets);
    expect(() =>
      decode(
        floats(
          [1, 9, 9],
          Array.from({ length: 81 }, () => 0),
        ),
        run,
      ),
    ).toThrow('Output "y" must be [batch, 4 + 2, anchor] or [batch, anchor, 4 + 2], not [1, 9, 9].');
    const queries: DecodeSpec = { ...spec, form: "queries", boxes: "b" };
    expect(() => createDecoder("y", queries, assets)(floats([1, 1, 2], [0, 0]), run)).toThrow('"b" must be [1, 1, 4]');
  });
});

function overlap(
  a: { readonly xmin: number; readonly ymin: number; readonly xmax: number; readonly ymax: number },
  b: typeof a,
): number {
  const width = Math.max(0, Math.min(a.xmax, b.xmax) - Math.max(a.xmin, b.xmin));
  const height = Math.max(0, Math.min(a.ymax, b.ymax) - Math.max(a.ymin, b.ymin));
  const areaOf = (x: typeof a): number => (x.xmax - x.xmin) * (x.ymax - x.ymin);
  return (width * height) / (areaOf(a) + areaOf(b) - width * height);
}

test("places in lower case are those in the text, whose letters may be shorter", () => {
  const text = "İstanbul Ankara";
  const words = spansBeforeLowercase(text, [
    [0, 1],
    [0, 9],
    [10, 16],
    [16, 16],
  ]);
  expect(words.map((x) => text.slice(...x))).toEqual(["İ", "İstanbul", "Ankara", ""]);
});

test("an image that is read in bands is resampled as one that is whole, with the rows or the columns first", () => {
  const shape = fc.record({ width: size, height: size, rows: fc.integer({ min: 1, max: 5 }) });
  const filter = fc.constantFrom("pil-bilinear" as const, "pil-nearest" as const, "torchvision-bicubic" as const);
  fc.assert(
    fc.property(shape, size, size, filter, ({ width, height, rows }, toWidth, toHeight, name) => {
      const data = Uint8ClampedArray.from({ length: width * height * 4 }, (_, i) => (i * i * 7 + i * 3) % 251);
      const pixels: WirePixels = { width, height, data };
      const resize = { mode: "resample", filter: name, to: { width: toWidth, height: toHeight } } as const;
      const spec = { resize, channels: "rgb", layout: "nchw" } as const;
      const read = (y: number): Uint8ClampedArray => data.slice(y * width * 4, (y + rows) * width * 4);
      const banded = imageToTensor({ width, height, read }, spec, "float32");
      expect(banded).toEqual(imageToTensor(pixels, spec, "float32"));
    }),
    { numRuns: 60 },
  );
});

test("an output with NaN is an error, not boxes or classes", () => {
  const run = requestOf(10, 10, { mode: "exact", width: 10, height: 10 });
  const assets = { l: "cat\ndog\n" };
  const reason = "holds NaN, so it can't be decoded";
  const anchors = createDecoder("y", { op: "detect", form: "anchors", asset: "l", image: "x" }, assets);
  expect(() => anchors(floats([1, 1, 6], [1, 1, 1, 1, NaN, 0]), run)).toThrow(reason);
  const queries = createDecoder("y", { op: "detect", form: "queries", boxes: "b", asset: "l", image: "x" }, assets);
  const beside = { ...run, output: () => floats([1, 1, 4], [0, 0, 1, 1]) };
  expect(() => queries(floats([1, 1, 3], [NaN, NaN, NaN]), beside)).toThrow(reason);
  const segment = createDecoder("y", { op: "segment", asset: "l", image: "x" }, assets);
  expect(() => segment(floats([1, 2, 1, 1], [NaN, NaN]), run)).toThrow(reason);
  const points = createDecoder("y", { op: "points", form: "heatmaps", image: "x" }, {});
  expect(() => points(floats([1, 1, 1, 2], [NaN, 1]), run)).toThrow(reason);
  const tokens = createDecoder("y", { op: "tokens", asset: "l", text: "ids" }, assets);
  expect(() => tokens(floats([1, 1, 2], [NaN, 1]), run)).toThrow(reason);
});
