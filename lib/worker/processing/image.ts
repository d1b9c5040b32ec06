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
// between samples. x runs first, in f32; sums are taken from the left and the top.
import type { ImageSpec, ResizeSpec } from "../../core/bundle.ts";
import type { WirePixels } from "../../rpc/messages.ts";
import type { Dtype, Tensor } from "../../core/tensor.ts";

/** Size of the tensor, and of the part that the image fills, from the top left. In pixels. */
export interface ImagePlan {
  readonly width: number;
  readonly height: number;
  readonly pictureWidth: number;
  readonly pictureHeight: number;
  /** Size of the whole image after scaling: that of its part unless it is cropped. */
  readonly scaledWidth: number;
  readonly scaledHeight: number;
  /** Columns and rows that are cropped at the left and at the top. */
  readonly left: number;
  readonly top: number;
}

/** An image whose rows are read in bands, from the top to the bottom: all at once a large one takes 400 MB. */
export interface PixelBands {
  readonly width: number;
  readonly height: number;
  /** Reads a band that begins with row `y`: whole rows of RGBA, valid until the next call. */
  read(y: number): Uint8ClampedArray;
}

/** Returns the size to which an image is resized, without reading its pixels. */
export function planImage(width: number, height: number, resize: ResizeSpec): ImagePlan {
  switch (resize.mode) {
    case "exact":
      return whole(resize.width, resize.height);
    case "fit": {
      const scale = Math.min(resize.width / width, resize.height / height);
      const pictureWidth = clamp(Math.round(width * scale), 1, resize.width);
      const pictureHeight = clamp(Math.round(height * scale), 1, resize.height);
      return padded(resize.width, resize.height, pictureWidth, pictureHeight);
    }
    case "crop": {
      const short = Math.min(width, height);
      const scaled = (side: number): number => Math.floor((side * resize.shortSide) / short);
      const [scaledWidth, scaledHeight] = [scaled(width), scaled(height)];
      const left = Math.floor((scaledWidth - resize.width) / 2);
      const top = Math.floor((scaledHeight - resize.height) / 2);
      return { ...whole(resize.width, resize.height), scaledWidth, scaledHeight, left, top };
    }
    case "height": {
      const { height: pictureHeight, minWidth = 1, maxWidth = Infinity, multipleOf = 1 } = resize;
      const pictureWidth = clamp(Math.round((width * pictureHeight) / height), 1, maxWidth);
      const tensorWidth = Math.ceil(Math.max(pictureWidth, minWidth) / multipleOf) * multipleOf;
      return padded(tensorWidth, pictureHeight, pictureWidth, pictureHeight);
    }
    case "side": {
      const { maxSide, minSide = 0, multipleOf = 1 } = resize;
      const atMost = maxSide / Math.max(width, height);
      const scale = Math.min(Math.max(Math.min(1, atMost), minSide / Math.min(width, height)), atMost);
      const stretch = (side: number): number => Math.max(1, Math.round((side * scale) / multipleOf)) * multipleOf;
      return whole(stretch(width), stretch(height));
    }
  }
}

/** Converts an image to the tensor that a bundle declares: [1, c, h, w] or [1, h, w, c], of float32, float16 or uint8. */
export function imageToTensor(pixels: WirePixels | PixelBands, spec: ImageSpec, dtype: Dtype): Tensor {
  if (dtype !== "float32" && dtype !== "float16" && dtype !== "uint8") {
    throw new TypeError(`An image can be an input of float32, float16 or uint8, not ${dtype}.`);
  }
  const plan = planImage(pixels.width, pixels.height, spec.resize);
  const picture = resample(pixels, plan);
  const values = arrange(picture, plan, spec);
  const channels = spec.channels === "gray" ? 1 : 3;
  const dims = spec.layout === "nchw" ? [1, channels, plan.height, plan.width] : [1, plan.height, plan.width, channels];
  if (dtype === "float16") return { dtype, dims, data: Uint16Array.from(values, float16Bits) };
  if (dtype === "uint8") return { dtype, dims, data: new Uint8Array(Uint8ClampedArray.from(values).buffer) };
  return { dtype, dims, data: values };
}

/** For each output sample: the start of its input samples, their number, and their weights, which sum to 1. */
interface Filter {
  readonly starts: Int32Array;
  readonly counts: Int32Array;
  readonly weights: Float32Array;
  /** Weights per output sample, used or not. */
  readonly stride: number;
}

/** Makes the filter of `count` samples from `first` on, of a line of `from` samples that is scaled to `to`. */
function triangle(from: number, to: number, first: number, count: number): Filter {
  const scale = from / to;
  const reach = Math.max(1, scale);
  const stride = Math.ceil(reach * 2) + 1;
  const starts = new Int32Array(count);
  const counts = new Int32Array(count);
  const weights = new Float32Array(count * stride);
  for (let i = 0; i < count; i++) {
    const centre = (first + i + 0.5) * scale;
    // Pixel centres strictly inside (centre − reach, centre + reach): those at its ends have weight 0.
    const start = Math.max(0, Math.floor(centre - reach - 0.5) + 1);
    const end = Math.min(from, Math.ceil(centre + reach - 0.5));
    let sum = 0;
    for (let j = start; j < end; j++) sum += 1 - Math.abs(j + 0.5 - centre) / reach;
    for (let j = start; j < end; j++) weights[i * stride + j - start] = (1 - Math.abs(j + 0.5 - centre) / reach) / sum;
    starts[i] = start;
    counts[i] = end - start;
  }
  return { starts, counts, weights, stride };
}

/** Resamples to the plan's picture, as RGB. Each input row is resized once and added to the output rows that it touches. */
function resample(pixels: WirePixels | PixelBands, plan: ImagePlan): Float32Array {
  const { pictureWidth: width, pictureHeight: height } = plan;
  const across = triangle(pixels.width, plan.scaledWidth, plan.left, width);
  const down = triangle(pixels.height, plan.scaledHeight, plan.top, height);
  const size = width * 3;
  const picture = new Float32Array(height * size);
  const source = new Float32Array(pixels.width * 3);
  const row = new Float32Array(size);
  let band: Uint8ClampedArray = "data" in pixels ? pixels.data : new Uint8ClampedArray(0);
  let bandFrom = 0; // the band's first row
  let first = 0; // the first output row that this or a later input row touches
  for (let y = 0; y < pixels.height; y++) {
    let isRead = false;
    while (first < height && (down.starts[first] as number) + (down.counts[first] as number) <= y) first += 1;
    for (let i = first; i < height && (down.starts[i] as number) <= y; i++) {
      if (!isRead) {
        if ((y - bandFrom) * pixels.width * 4 >= band.length && "read" in pixels) {
          band = pixels.read(y);
          bandFrom = y;
        }
        overWhite(band, y - bandFrom, source);
        shrink(source, across, row);
        isRead = true;
      }
      const weight = down.weights[i * down.stride + y - (down.starts[i] as number)] as number;
      const offset = i * size;
      for (let k = 0; k < size; k++)
        picture[offset + k] = (picture[offset + k] as number) + weight * (row[k] as number);
    }
  }
  return picture;
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

function whole(width: number, height: number): ImagePlan {
  return padded(width, height, width, height);
}

function padded(width: number, height: number, pictureWidth: number, pictureHeight: number): ImagePlan {
  const scaled = { scaledWidth: pictureWidth, scaledHeight: pictureHeight, left: 0, top: 0 };
  return { width, height, pictureWidth, pictureHeight, ...scaled };
}

function clamp(value: number, min: number, max: number): number {
  return Math.min(Math.max(value, min), max);
}
