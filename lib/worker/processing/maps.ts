// A class or a number for each pixel: semantic segmentation, masks, depth. The output is resized to the picture as torch's
// `interpolate` does it (align_corners false, no antialias): bilinear, bicubic with a = −0.75. Where the picture was
// cropped or padded on its way, only the part of the output that shows it is resized.
import type { MapSpec, SegmentSpec } from "../../core/decode-spec.ts";
import type { Tensor } from "../../core/tensor.ts";
import type { Decoded } from "../../rpc/messages.ts";
import { frameOf } from "./decode-run.ts";
import type { DecodeRun, Frame } from "./decode-run.ts";
import { checkNumbers, checkTable, mismatch, valuesOf } from "./values.ts";
import type { Values } from "./values.ts";

/** Creates the decoder of [batch, class, height, width] to the best class of each pixel of the picture. */
export function decodeSegment(
  name: string,
  { image, asset }: SegmentSpec,
  labels: readonly string[],
): (output: Tensor, run?: DecodeRun) => Decoded[] {
  return (output, run) => {
    const [items = 0, classes = 0, height = 0, width = 0] = output.dims;
    if (output.dims.length !== 4)
      throw mismatch(`Output "${name}" must be [batch, class, height, width], not [${output.dims.join(", ")}].`);
    checkTable(name, asset, labels.length, classes);
    const values = valuesOf(name, output);
    checkNumbers(name, values);
    const frame = neededFrame(name, image, run);
    const lines = linesOf(frame, { width, height }, 2);
    return Array.from({ length: items }, (_, item): Decoded => {
      const best = new Float32Array(frame.width * frame.height).fill(-Infinity);
      const indices = new Uint16Array(best.length);
      for (let label = 0; label < classes; label += 1) {
        const from = (item * classes + label) * width * height;
        const plane = resize(values.subarray(from, from + width * height), width, lines, frame);
        for (let i = 0; i < plane.length; i += 1)
          if ((plane[i] as number) > (best[i] as number)) {
            best[i] = plane[i] as number;
            indices[i] = label;
          }
      }
      return {
        kind: "segments",
        width: frame.width,
        height: frame.height,
        classes: indices,
        labels: counted(indices, labels),
      };
    });
  };
}

/** Labels that occur, with the share of the picture that each has, the largest first. */
function counted(classes: Uint16Array, labels: readonly string[]): Extract<Decoded, { kind: "segments" }>["labels"] {
  const counts = new Uint32Array(labels.length);
  for (const x of classes) counts[x] = (counts[x] ?? 0) + 1;
  return Array.from(counts, (count, index) => ({ label: labels[index] ?? "", index, share: count / classes.length }))
    .filter((x) => x.share > 0)
    .sort((a, b) => b.share - a.share);
}

/** Creates the decoder of [batch, height, width] or [batch, 1, height, width] to a number for each pixel. */
export function decodeMap(name: string, { op, image }: MapSpec): (output: Tensor, run?: DecodeRun) => Decoded[] {
  return (output, run) => {
    const { dims } = output;
    const [height = 0, width = 0] = dims.slice(-2);
    if (dims.length < 3 || dims.length > 4 || (dims.length === 4 && dims[1] !== 1))
      throw mismatch(`Output "${name}" must be [batch, height, width] for ${op}, not [${dims.join(", ")}].`);
    const values = valuesOf(name, output);
    const frame = neededFrame(name, image, run);
    const lines = linesOf(frame, { width, height }, op === "depth" ? 4 : 2);
    return Array.from({ length: dims[0] ?? 0 }, (_, item): Decoded => {
      const plane = resize(values.subarray(item * width * height, (item + 1) * width * height), width, lines, frame);
      const map = op === "mask" ? plane.map((x) => 1 / (1 + Math.exp(-x))) : plane;
      return { kind: "map", width: frame.width, height: frame.height, values: map };
    });
  };
}

function neededFrame(name: string, image: string, run: DecodeRun | undefined): Frame {
  const frame = frameOf(run?.picture(image) ?? null, run?.input(image));
  if (frame === null) throw mismatch(`Output "${name}": the size of the image "${image}" is not known.`);
  return frame;
}

/** For each sample of a line: the indices of its inputs, and their weights, as many as `taps`. */
interface Samples {
  readonly taps: number;
  readonly at: Int32Array;
  readonly weights: Float32Array;
}

/** The columns and the rows of the picture, by those of the output. */
function linesOf(
  frame: Frame,
  { width, height }: { readonly width: number; readonly height: number },
  taps: 2 | 4,
): readonly [Samples, Samples] {
  const along = (count: number, cells: number, size: number, place: (x: number) => number): Samples => {
    const [zero, one] = [place(0), place(1)];
    const samples = { taps, at: new Int32Array(count * taps), weights: new Float32Array(count * taps) };
    for (let i = 0; i < count; i += 1) {
      // The inverse of `place`, from the picture's pixels to the tensor's, and from these to the output's cells.
      const tensor = (i + 0.5 - zero) / (one - zero);
      fill(samples, i, (tensor * cells) / size - 0.5, cells);
    }
    return samples;
  };
  return [
    along(frame.width, width, frame.tensorWidth, frame.x),
    along(frame.height, height, frame.tensorHeight, frame.y),
  ];
}

function fill({ taps, at, weights }: Samples, i: number, place: number, cells: number): void {
  const real = taps === 2 ? Math.max(0, place) : place;
  const cell = Math.floor(real);
  const rest = real - cell;
  const first = taps === 2 ? cell : cell - 1;
  const kernel = taps === 2 ? [1 - rest, rest] : [1 + rest, rest, 1 - rest, 2 - rest].map(cubic);
  for (let k = 0; k < taps; k += 1) {
    at[i * taps + k] = Math.min(cells - 1, Math.max(0, first + k));
    weights[i * taps + k] = kernel[k] ?? 0;
  }
}

/** Keys' cubic convolution with a = −0.75. */
function cubic(x: number): number {
  const a = -0.75;
  return x < 1 ? ((a + 2) * x - (a + 3)) * x * x + 1 : ((x - 5) * x + 8) * x * a - 4 * a;
}

/** Resizes a plane to the picture, columns first. */
function resize(plane: Values, width: number, [across, down]: readonly [Samples, Samples], frame: Frame): Float32Array {
  const height = plane.length / width;
  const rows = new Float32Array(height * frame.width);
  for (let y = 0; y < height; y += 1)
    for (let x = 0; x < frame.width; x += 1) {
      let sum = 0;
      for (let k = x * across.taps; k < (x + 1) * across.taps; k += 1)
        sum += (across.weights[k] as number) * Number(plane[y * width + (across.at[k] as number)]);
      rows[y * frame.width + x] = sum;
    }
  const result = new Float32Array(frame.width * frame.height);
  for (let y = 0; y < frame.height; y += 1)
    for (let k = y * down.taps; k < (y + 1) * down.taps; k += 1) {
      const weight = down.weights[k] as number;
      const from = (down.at[k] as number) * frame.width;
      for (let x = 0; x < frame.width; x += 1)
        result[y * frame.width + x] = (result[y * frame.width + x] as number) + weight * (rows[from + x] as number);
    }
  return result;
}
