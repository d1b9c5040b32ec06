import { expect, test } from "vitest";
import { pixelMask } from "./pixel-mask.ts";
import { planImage } from "./plan-image.ts";

const port = { dims: ["batch", "height", "width"], dtype: "int64" } as const;

test("a mask is 1 over the whole of an image without padding", () => {
  const plan = planImage(6, 4, { mode: "exact", width: 3, height: 2 });
  expect(pixelMask(port, plan)).toEqual({ dtype: "int64", dims: [1, 2, 3], data: new BigInt64Array(6).fill(1n) });
});

test("rows and columns that are added are 0", () => {
  const plan = planImage(2, 2, { mode: "resample", filter: "pil-bilinear", pad: { width: 4, height: 3 } });
  expect(pixelMask({ ...port, dtype: "float32" }, plan)).toEqual({
    dtype: "float32",
    dims: [1, 3, 4],
    data: Float32Array.of(1, 1, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0),
  });
});

test("an input of a fixed size takes the mask at that size", () => {
  const plan = planImage(2, 4, { mode: "resample", filter: "pil-bilinear", pad: { width: 4, height: 4 } });
  expect(pixelMask({ dims: ["batch", 2, 8], dtype: "bool" }, plan)).toEqual({
    dtype: "bool",
    dims: [1, 2, 8],
    data: Uint8Array.of(1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0),
  });
});
