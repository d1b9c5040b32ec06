// Key points, from heatmaps or from coordinates, in the pixels of the picture.
import type { PointsSpec } from "../../core/decode-spec.ts";
import type { Tensor } from "../../core/tensor.ts";
import type { Decoded } from "../../rpc/messages.ts";
import { frameOf } from "./decode-run.ts";
import type { DecodeRun } from "./decode-run.ts";
import { argmax, checkNumbers, checkTable, mismatch, valuesOf } from "./values.ts";
import type { NumberList } from "./values.ts";

/** A place in shares of the tensor, or of the image without what its processor added, with its score. */
interface Place {
  readonly x: number;
  readonly y: number;
  readonly score: number;
}

/** Creates the decoder of an output with key points. */
export function decodePoints(
  name: string,
  { form, image, asset }: PointsSpec,
  labels: readonly string[] | null,
): (output: Tensor, run?: DecodeRun) => Decoded[] {
  return (output, run) => {
    const { dims } = output;
    const [items = 0, points = 0, third = 0, width = 1] = dims;
    const isRight = form === "heatmaps" ? dims.length === 4 : dims.length === 3 && (third === 2 || third === 3);
    if (!isRight) throw mismatch(`Output "${name}" does not fit key points from ${form}: [${dims.join(", ")}].`);
    if (labels !== null) checkTable(name, asset ?? "", labels.length, points);
    const frame = frameOf(run?.picture(image) ?? null, run?.input(image));
    if (frame === null) throw mismatch(`Output "${name}": the size of the image "${image}" is not known.`);
    const values = valuesOf(name, output);
    checkNumbers(name, values);
    const size = third * width;
    const [wide, high] =
      form === "heatmaps" ? [frame.tensorWidth, frame.tensorHeight] : [frame.shareWidth, frame.shareHeight];
    const placeOf = (point: number): Place => {
      const own = values.subarray(point * size, (point + 1) * size);
      if (form === "heatmaps") return peakOf(own, width);
      return { x: Number(own[0]), y: Number(own[1]), score: size === 3 ? Number(own[2]) : 1 };
    };
    return Array.from({ length: items }, (_, item): Decoded => {
      const found = Array.from({ length: points }, (_, i) => {
        const { x, y, score } = placeOf(item * points + i);
        const place = { x: frame.x(x * wide), y: frame.y(y * high) };
        return { label: labels?.[i] ?? "", index: i, score, ...place };
      });
      return { kind: "points", points: found };
    });
  };
}

/** The largest value's place, moved a quarter of a cell towards its larger neighbour (Newell 2016, as HRNet and MMPose). */
function peakOf(map: NumberList, width: number): Place {
  const at = argmax(map);
  const height = map.length / width;
  const [column, row] = [at % width, Math.floor(at / width)];
  const quarter = (before: number, after: number): number => Math.sign(Number(map[after]) - Number(map[before])) / 4;
  const isInside = column > 0 && column < width - 1 && row > 0 && row < height - 1;
  const x = column + (isInside ? quarter(at - 1, at + 1) : 0);
  const y = row + (isInside ? quarter(at - width, at + width) : 0);
  return { x: (x + 0.5) / width, y: (y + 0.5) / height, score: Number(map[at]) };
}
