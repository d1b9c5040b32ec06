// Converts RGBA pixels to a tensor on the CPU: the reference that gpu.ts must agree with. Nothing here rounds to bytes in
// between. The formula, for an image of w × h pixels resized to W × H:
//
//   p(x, y, c)  = (rgba[c] · a + 255 · (255 − a)) / 255          alpha, not premultiplied, over white; 0…255
//   t(i, j)     = max(0, 1 − |j + ½ − (i + ½) · w/W| / max(1, w/W))   a triangle that covers the pixels it shrinks
//   q(X, Y, c)  = Σ_y Σ_x p(x, y, c) · t(X, x) · t(Y, y) / (Σ_x t(X, x) · Σ_y t(Y, y))
//   gray        = 0.299 q(red) + 0.587 q(green) + 0.114 q(blue)   ITU-R BT.601
//   value       = (q · scale − mean[c]) / std[c],   and 0 where the tensor is larger than the image
//
// Of an image that is cropped, W × H is its size before the crop, and X and Y begin at `left` and `top`.
//
// Upscaling is bilinear interpolation with the border repeated; downscaling averages, so that no thin stroke is lost
// between samples. x runs first, in f32; sums are taken from the left and the top. A resize of mode `resample` has another
// kernel t and rounds q to bytes as the library that it names (filters.ts), and leaves alpha out, as Pillow's
// `convert("RGB")` does.
import type { ImageSpec } from "../../core/bundle.ts";
import type { WirePixels } from "../../rpc/messages.ts";
import type { Dtype, Tensor } from "../../core/tensor.ts";
import { filterOf, isVerticalFirst, roundingOf } from "./filters.ts";
import type { Filter } from "./filters.ts";
import { planImage } from "./plan-image.ts";
import type { ImagePlan } from "./plan-image.ts";

/** An image whose rows are read in bands, from the top to the bottom: all at once a large one takes 400 MB. */
export interface PixelBands {
  readonly width: number;
  readonly height: number;
  /** Reads a band that begins with row `y`: whole rows of RGBA, valid until the next call. */
  read(y: number): Uint8ClampedArray;
}

/** Converts an image to the tensor that a bundle declares: [1, c, h, w] or [1, h, w, c], of float32, float16 or uint8. */
export function imageToTensor(pixels: WirePixels | PixelBands, spec: ImageSpec, dtype: Dtype): Tensor {
  if (dtype !== "float32" && dtype !== "float16" && dtype !== "uint8") {
    throw new TypeError(`An image can be an input of float32, float16 or uint8, not ${dtype}.`);
  }
  const plan = planImage(pixels.width, pixels.height, spec.resize);
  const picture = resample(pixels, plan, spec.resize.mode === "resample" ? spec.resize.filter : "triangle");
  const values = arrange(picture, plan, spec);
  const channels = spec.channels === "gray" ? 1 : 3;
  const dims = spec.layout === "nchw" ? [1, channels, plan.height, plan.width] : [1, plan.height, plan.width, channels];
  if (dtype === "float16") return { dtype, dims, data: Uint16Array.from(values, float16Bits) };
  if (dtype === "uint8") return { dtype, dims, data: new Uint8Array(Uint8ClampedArray.from(values).buffer) };
  return { dtype, dims, data: values };
}

/** Resamples to the plan's picture, as RGB. */
function resample(
  pixels: WirePixels | PixelBands,
  plan: ImagePlan,
  name: Parameters<typeof filterOf>[0],
): Float32Array {
  const { pictureWidth: width, pictureHeight: height } = plan;
  const across = filterOf(name, { from: pixels.width, to: plan.scaledWidth, first: plan.left, count: width });
  const down = filterOf(name, { from: pixels.height, to: plan.scaledHeight, first: plan.top, count: height });
  const rounding = roundingOf(name);
  const readRow = name === "triangle" ? overWhite : withoutAlpha;
  const source = new Float32Array(pixels.width * 3);
  const row = new Float32Array(width * 3);
  let picture: Float32Array;
  if (isVerticalFirst(name, pixels, { width: plan.scaledWidth, height: plan.scaledHeight })) {
    const tall = sumRows(pixels, down, source, readRow, () => source);
    if (rounding.between) toBytes(tall);
    picture = new Float32Array(width * height * 3);
    for (let y = 0; y < height; y += 1) {
      shrink(tall.subarray(y * source.length, (y + 1) * source.length), across, row);
      picture.set(row, y * row.length);
    }
  } else
    picture = sumRows(pixels, down, source, readRow, () => {
      shrink(source, across, row);
      if (rounding.between) toBytes(row);
      return row;
    });
  if (rounding.end) toBytes(picture);
  return picture;
}

/** Reads row `y` of RGBA into a row of RGB. */
type ReadRow = (data: Uint8ClampedArray, y: number, source: Float32Array) => void;

/**
 * Adds each input row to the output rows that it touches, read by `readRow` into `source` and converted from it by
 * `convert`. Each is read once, and only where it is needed.
 */
function sumRows(
  pixels: WirePixels | PixelBands,
  down: Filter,
  source: Float32Array,
  readRow: ReadRow,
  convert: () => Float32Array,
): Float32Array {
  const height = down.starts.length;
  let sums = new Float32Array(0);
  let band: Uint8ClampedArray = "data" in pixels ? pixels.data : new Uint8ClampedArray(0);
  let bandFrom = 0; // the band's first row
  let first = 0; // the first output row that this or a later input row touches
  for (let y = 0; y < pixels.height; y++) {
    while (first < height && isPast(down, first, y)) first += 1;
    if (first >= height || (down.starts[first] as number) > y) continue;
    if ((y - bandFrom) * pixels.width * 4 >= band.length && "read" in pixels) {
      band = pixels.read(y);
      bandFrom = y;
    }
    readRow(band, y - bandFrom, source);
    const row = convert();
    const size = row.length;
    if (sums.length === 0) sums = new Float32Array(height * size);
    for (let i = first; i < height && (down.starts[i] as number) <= y; i++) {
      const weight = down.weights[i * down.stride + y - (down.starts[i] as number)] as number;
      const offset = i * size;
      for (let k = 0; k < size; k++) sums[offset + k] = (sums[offset + k] as number) + weight * (row[k] as number);
    }
  }
  return sums;
}

/** Whether an output row needs no input row from `y` on. */
function isPast({ starts, counts }: Filter, row: number, y: number): boolean {
  return counts[row] === 0 || (starts[row] as number) + (counts[row] as number) <= y;
}

/** Rounds to whole numbers of 0 to 255, halves up, as Pillow does. */
function toBytes(values: Float32Array): void {
  for (let i = 0; i < values.length; i += 1)
    values[i] = Math.min(255, Math.max(0, Math.floor((values[i] as number) + 0.5)));
}

function withoutAlpha(data: Uint8ClampedArray, y: number, source: Float32Array): void {
  const { length } = source;
  let from = (y * length * 4) / 3;
  for (let to = 0; to < length; to += 3, from += 4) {
    source[to] = data[from] as number;
    source[to + 1] = data[from + 1] as number;
    source[to + 2] = data[from + 2] as number;
  }
}

function overWhite(data: Uint8ClampedArray, y: number, source: Float32Array): void {
  const { length } = source;
  let from = (y * length * 4) / 3;
  for (let to = 0; to < length; to += 3, from += 4) {
    const alpha = data[from + 3] as number;
    if (alpha === 255) {
      source[to] = data[from] as number;
      source[to + 1] = data[from + 1] as number;
      source[to + 2] = data[from + 2] as number;
    } else {
      const white = 255 * (255 - alpha);
      source[to] = ((data[from] as number) * alpha + white) / 255;
      source[to + 1] = ((data[from + 1] as number) * alpha + white) / 255;
      source[to + 2] = ((data[from + 2] as number) * alpha + white) / 255;
    }
  }
}

function shrink(source: Float32Array, filter: Filter, row: Float32Array): void {
  const { starts, counts, weights, stride } = filter;
  for (let i = 0; i < starts.length; i++) {
    let at = (starts[i] as number) * 3;
    const begin = i * stride;
    const end = begin + (counts[i] as number);
    let red = 0;
    let green = 0;
    let blue = 0;
    for (let k = begin; k < end; k++, at += 3) {
      const weight = weights[k] as number;
      red += weight * (source[at] as number);
      green += weight * (source[at + 1] as number);
      blue += weight * (source[at + 2] as number);
    }
    row[i * 3] = red;
    row[i * 3 + 1] = green;
    row[i * 3 + 2] = blue;
  }
}

/** Normalisation and layout of an image's values: the same for the GPU. */
export interface Normalising {
  /** Channels of the tensor. */
  readonly channels: number;
  /** Stride from one pixel to the next in a row, in values. */
  readonly step: number;
  /** Stride from one channel to the next, in values. */
  readonly plane: number;
  /** Per channel: value = (red, green, blue) · shares · factor − shift. */
  readonly mix: readonly {
    readonly shares: readonly [number, number, number];
    readonly factor: number;
    readonly shift: number;
  }[];
}

/** Computes the normalisation and layout of an image's values. */
export function normalising(plan: ImagePlan, spec: ImageSpec): Normalising {
  const channels = spec.channels === "gray" ? 1 : 3;
  const scale = spec.scale ?? 1 / 255;
  const mix = Array.from({ length: channels }, (_, channel) => {
    const std = spec.std?.[channel] ?? 1;
    return {
      shares: sharesOf(spec.channels, channel),
      factor: scale / std,
      shift: (spec.mean?.[channel] ?? 0) / std,
    };
  });
  const planar = spec.layout === "nchw";
  return { channels, step: planar ? 1 : channels, plane: planar ? plan.width * plan.height : 1, mix };
}

/** Normalises, orders the channels and writes the image into a tensor of zeros. */
function arrange(picture: Float32Array, plan: ImagePlan, spec: ImageSpec): Float32Array<ArrayBuffer> {
  const { channels, step, plane, mix } = normalising(plan, spec);
  const values = new Float32Array(plan.width * plan.height * channels);
  for (const [channel, { shares, factor, shift }] of mix.entries()) {
    const [red, green, blue] = shares;
    for (let y = 0; y < plan.pictureHeight; y++) {
      let from = y * plan.pictureWidth * 3;
      let to = channel * plane + y * plan.width * step;
      for (let x = 0; x < plan.pictureWidth; x++, from += 3, to += step) {
        const value =
          (picture[from] as number) * red +
          (picture[from + 1] as number) * green +
          (picture[from + 2] as number) * blue;
        values[to] = value * factor - shift;
      }
    }
  }
  return values;
}

/** Weights of red, green and blue in a channel of the tensor. */
function sharesOf(channels: ImageSpec["channels"], channel: number): readonly [number, number, number] {
  if (channels === "gray") return [0.299, 0.587, 0.114];
  const source = channels === "rgb" ? channel : 2 - channel;
  return [source === 0 ? 1 : 0, source === 1 ? 1 : 0, source === 2 ? 1 : 0];
}

const single = new Float32Array(1);
const singleBits = new Uint32Array(single.buffer);

/** Rounds to IEEE 754 binary16, to nearest even, as its bits. */
export function float16Bits(value: number): number {
  single[0] = value;
  const bits = singleBits[0] as number;
  const sign = (bits >>> 16) & 0x8000;
  const rest = bits & 0x7fffffff;
  if (rest > 0x7f800000) return sign | 0x7e00; // NaN
  if (rest >= 0x477ff000) return sign | 0x7c00; // 65520 and up round to infinity
  if (rest < 0x38800000) {
    // Below 2^-14: the spacing is 2^-24, and adding 0.5 makes f32's own rounding do the work.
    single[0] = Math.abs(value) + 0.5;
    return sign | ((singleBits[0] as number) - 0x3f000000);
  }
  const odd = (rest >>> 13) & 1;
  return sign | ((rest - 0x38000000 + 0xfff + odd) >>> 13);
}
