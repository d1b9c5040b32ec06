// A class or a number for each pixel: semantic segmentation, masks, depth. The output is resized to the picture first
// (resize-map.ts).
import type { MapSpec, SegmentSpec } from "../../core/decode-spec.ts";
import type { Tensor } from "../../core/tensor.ts";
import type { Decoded } from "../../rpc/messages.ts";
import { frameOf } from "./decode-run.ts";
import { bestClasses, linesOf, resizePlane } from "./resize-map.ts";
import type { DecodeRun, Frame } from "./decode-run.ts";
import { checkNumbers, checkTable, mismatch, valuesOf } from "./values.ts";

/** Creates the decoder of [batch, class, height, width] to the best class of each pixel of the picture. */
export function decodeSegment(
  name: string,
  { image, asset, stretch = false }: SegmentSpec,
  labels: readonly string[],
): (output: Tensor, run?: DecodeRun) => Decoded[] {
  return (output, run) => {
    const [items = 0, classes = 0, height = 0, width = 0] = output.dims;
    if (output.dims.length !== 4)
      throw mismatch(`Output "${name}" must be [batch, class, height, width], not [${output.dims.join(", ")}].`);
    checkTable(name, asset, labels.length, classes);
    const values = valuesOf(name, output);
    checkNumbers(name, values);
    const seen = neededFrame(name, image, run);
    const frame = stretch ? stretched(seen) : seen;
    const lines = linesOf(frame, { width, height }, 2);
    return Array.from({ length: items }, (_, item): Decoded => {
      const from = item * classes * width * height;
      const scores = { values: values.subarray(from, from + classes * width * height), classes, width, height };
      const indices = bestClasses(scores, lines, frame);
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

/** Returns the frame of a tensor that shows the whole picture. */
function stretched(frame: Frame): Frame {
  const [byX, byY] = [frame.width / frame.tensorWidth, frame.height / frame.tensorHeight];
  return { ...frame, x: (x) => x * byX, y: (y) => y * byY };
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
      const plane = resizePlane(
        values.subarray(item * width * height, (item + 1) * width * height),
        width,
        lines,
        frame,
      );
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
