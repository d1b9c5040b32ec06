// Filters that resample a line of pixels: for each output sample the input samples that it is a weighted sum of.
//
//   triangle            the default: bilinear, and an average where it shrinks; nothing is rounded to bytes
//   pil-*               Pillow's ImagingResample: a kernel stretched by the scale where it shrinks, weights normalised,
//                       each pass rounded to 8 bits; bicubic has a = −0.5. The horizontal pass is first, unless the
//                       height loses more than twice as many pixels as the width (Pillow 13)
//   torchvision-*       the same kernels (antialias) in 8 bits: rounded after each pass, with weights of 15 bits. Its float32
//                       way, which rounds once, is that of processors without AVX2, AVX-512 or NEON alone. `nearest` takes
//                       ⌊i · scale⌋, `nearest-exact` ⌊(i + ½) · scale⌋ as Pillow, but in float32, which decides otherwise
//                       where a place lies on a border (torch 2.13 with AVX-512 has 15 of 41,700 pairs of sizes, all
//                       enlarged, that its scalar code and this have otherwise)
import type { ResampleFilter } from "../../core/image-spec.ts";

/** For each output sample: the start of its input samples, their number, and their weights, which sum to 1. */
export interface Filter {
  readonly starts: Int32Array;
  readonly counts: Int32Array;
  readonly weights: Float32Array;
  /** Weights per output sample, used or not. */
  readonly stride: number;
}

/** A line of `from` samples is scaled to `to`; of these, `count` from `first` on are wanted. Others than those are empty. */
export interface ScaledLine {
  readonly from: number;
  readonly to: number;
  readonly first: number;
  readonly count: number;
}

/** A kernel: its weight at a distance, and the distance from which that is 0. */
interface Kernel {
  readonly reach: number;
  readonly weight: (x: number) => number;
}

const KERNELS = {
  bilinear: { reach: 1, weight: (x) => Math.max(0, 1 - Math.abs(x)) },
  bicubic: { reach: 2, weight: (x) => cubic(Math.abs(x), -0.5) },
  lanczos: { reach: 3, weight: (x) => (Math.abs(x) < 3 ? sinc(x) * sinc(x / 3) : 0) },
} as const satisfies Readonly<Record<string, Kernel>>;

/** Keys' cubic convolution (1981), which Pillow and torch use with a = −0.5. */
function cubic(x: number, a: number): number {
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

function sinc(x: number): number {
  return x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);
}

/** Makes the filter of a line; `triangle` where no library is named. */
export function filterOf(name: ResampleFilter | "triangle", line: ScaledLine): Filter {
  if (name === "pil-nearest") return nearest(line, pillowPlaces(line));
  if (name === "torchvision-nearest") return nearest(line, (i, scale) => Math.fround(i * Math.fround(scale)));
  if (name === "torchvision-nearest-exact")
    return nearest(line, (i, scale) => Math.fround((i + 0.5) * Math.fround(scale)));
  const kind = name.slice(name.indexOf("-") + 1);
  const kernel = kind === "bicubic" ? KERNELS.bicubic : kind === "lanczos" ? KERNELS.lanczos : KERNELS.bilinear;
  const filter = weighted(line, kernel);
  if (isBytes(name)) {
    const whole = weighted({ ...line, first: 0, count: line.to }, kernel);
    quantize(
      filter.weights,
      whole.weights.reduce((most, x) => Math.max(most, x), 0),
    );
  }
  return filter;
}

/** Rounds weights to as many bits as leave the largest one of a line below 2^15. */
function quantize(weights: Float32Array, largest: number): void {
  let bits = 0;
  while (bits < 22 && Math.floor(0.5 + largest * 2 ** (bits + 1)) < 2 ** 15) bits += 1;
  for (const [i, x] of weights.entries())
    weights[i] = (Math.sign(x) * Math.floor(Math.abs(x) * 2 ** bits + 0.5)) / 2 ** bits;
}

/** Whether the values are rounded to 8 bits after the horizontal pass, and at the end. */
export function roundingOf(name: ResampleFilter | "triangle"): { readonly between: boolean; readonly end: boolean } {
  return { between: name.startsWith("pil") || isBytes(name), end: name !== "triangle" };
}

/** Whether torchvision resamples in 8 bits. */
function isBytes(name: string): boolean {
  return name === "torchvision-bilinear" || name === "torchvision-bicubic";
}

/** Whether the columns are resampled before the rows: Pillow from release 13 on, where that is less work. */
export function isVerticalFirst(
  name: ResampleFilter | "triangle",
  from: { readonly width: number; readonly height: number },
  to: { readonly width: number; readonly height: number },
): boolean {
  const lost = from.height - to.height;
  return name.startsWith("pil") && lost > 0 && lost > 2 * (from.width - to.width);
}

function weighted({ from, to, first, count }: ScaledLine, kernel: Kernel): Filter {
  const scale = from / to;
  const stretch = Math.max(1, scale);
  const reach = kernel.reach * stretch;
  const filter = emptyFilter(count, from, Math.ceil(reach) * 2 + 1);
  const { starts, counts, weights, stride } = filter;
  for (let i = 0; i < count; i += 1) {
    if (first + i < 0 || first + i >= to) continue;
    const centre = (first + i + 0.5) * scale;
    // Pixel centres strictly inside (centre − reach, centre + reach): those at its ends have weight 0.
    const start = Math.max(0, Math.floor(centre - reach - 0.5) + 1);
    const end = Math.min(from, Math.ceil(centre + reach - 0.5));
    let sum = 0;
    for (let j = start; j < end; j += 1) sum += kernel.weight((j + 0.5 - centre) / stretch);
    for (let j = start; j < end; j += 1)
      weights[i * stride + j - start] = kernel.weight((j + 0.5 - centre) / stretch) / sum;
    starts[i] = start;
    counts[i] = end - start;
  }
  return filter;
}

function nearest({ from, to, first, count }: ScaledLine, place: (i: number, scale: number) => number): Filter {
  const filter = emptyFilter(count, from, 1);
  for (let i = 0; i < count; i += 1) {
    if (first + i < 0 || first + i >= to) continue;
    filter.starts[i] = Math.min(from - 1, Math.floor(place(first + i, from / to)));
    filter.counts[i] = 1;
    filter.weights[i] = 1;
  }
  return filter;
}

/** Places of Pillow's nearest samples: the scale is added up, whose rounding decides where a place lies on a border. */
function pillowPlaces({ from, to }: ScaledLine): (i: number) => number {
  const places = new Float64Array(to);
  let place = (from / to) * 0.5;
  for (let i = 0; i < to; i += 1, place += from / to) places[i] = place;
  return (i) => places[i] ?? 0;
}

/** Makes a filter whose samples are all empty: each starts past the line's end, so that no input row touches it. */
function emptyFilter(count: number, from: number, stride: number): Filter {
  return {
    starts: new Int32Array(count).fill(from),
    counts: new Int32Array(count),
    weights: new Float32Array(count * stride),
    stride,
  };
}
