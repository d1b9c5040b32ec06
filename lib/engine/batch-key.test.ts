import { expect, test } from "vitest";
import type { BundleInput, ResizeSpec } from "../core/bundle.ts";
import { estimateShape } from "./batch-key.ts";
import type { Feeds, WireImage } from "../rpc/messages.ts";

const picture: BundleInput = { name: "x", dtype: "float32", dims: ["n", 3, "h", "w"], batchAxis: 0 };
const layout = { layout: "nchw", channels: "rgb" } as const;
const accepts = (resize: ResizeSpec) => ({ ports: [{ ...picture, image: { ...layout, resize } }] });
const pixels = (width: number, height: number): WireImage => {
  return { width, height, data: new Uint8ClampedArray(4 * width * height) };
};
const keyOf = (resize: ResizeSpec, image: WireImage) =>
  estimateShape(accepts(resize), { tensors: {}, others: { x: { kind: "image", image } } })?.key;

test("images of any size fit together where they are brought to one, files too", () => {
  for (const mode of ["exact", "fit"] as const) {
    const resize = { mode, width: 8, height: 8 };
    expect(keyOf(resize, pixels(3, 5))).toBeDefined();
    expect(keyOf(resize, pixels(3, 5))).toBe(keyOf(resize, new Blob(["a picture"])));
  }
});

test("where the tensor's size depends on the image, only those of one size do, and a file runs alone", () => {
  const resize = { mode: "height", height: 48 } as const;
  expect(keyOf(resize, pixels(30, 5))).toBe(keyOf(resize, pixels(30, 5)));
  expect(keyOf(resize, pixels(30, 5))).not.toBe(keyOf(resize, pixels(31, 5)));
  expect(keyOf(resize, new Blob(["a picture"]))).toBeUndefined();
});

test("sounds fit together where they are brought to one length, else those of one length", () => {
  const samples: BundleInput = { ...picture, dims: ["n", "length"] };
  const rated = { sampleRate: 16_000, bands: 4 };
  const keyFor = (sound: NonNullable<BundleInput["sound"]>, length: number) => {
    const others = { x: { kind: "sound", samples: new Float32Array(length) } } as const;
    return estimateShape({ ports: [{ ...samples, sound }] }, { tensors: {}, others })?.key;
  };
  for (const sound of [
    { op: "fbank", ...rated, frames: 9 },
    { op: "log-mel", ...rated, seconds: 2 },
  ] as const)
    expect(keyFor(sound, 900), sound.op).toBe(keyFor(sound, 1_000));
  for (const sound of [
    { op: "samples", sampleRate: 16_000 },
    { op: "log-mel", ...rated },
  ] as const) {
    expect(keyFor(sound, 900), sound.op).not.toBe(keyFor(sound, 1_000));
    expect(keyFor(sound, 900), sound.op).toBe(keyFor(sound, 900));
  }
});

test("texts fit together where their length is fixed, or as far as padding is harmless; each is a row", () => {
  const port = (length: number | string, upTo: number | null): BundleInput => ({
    ...{ name: "text", dtype: "int32", dims: ["n", length], batchAxis: 0 },
    text: { tokenizer: "t.json", maxLength: 99, mask: "mask" },
    ...(upTo === null ? {} : { pad: { axis: 1, upTo } }),
  });
  const shape = (length: number | string, upTo: number | null, ...texts: string[]) => {
    const mask: BundleInput = { name: "mask", dtype: "float32", dims: ["n", length], batchAxis: 0 };
    const feeds: Feeds = { tensors: {}, others: { text: { kind: "text", texts } } };
    return estimateShape({ ports: [port(length, upTo), mask] }, feeds);
  };
  expect(shape(16, null, "a", "much longer text")).toEqual(shape(16, null, "b", "c"));
  expect(shape(16, null, "a", "b")?.rows).toBe(2);
  expect(shape("length", null, "a")).toBeNull();
  expect(shape("length", 1, "nine tokens or so")?.key).toBe(shape("length", 1, "the same, or nearly")?.key);
  expect(shape("length", 1, "short")?.key).not.toBe(shape("length", 1, "long ".repeat(40))?.key);
});
