// Boxes of objects: queries with logits beside them (DETR, 2020, and its successors), or anchors that the graph decoded
// (YOLO). Non-maximum suppression is greedy and by label: the best box is kept, and those that overlap it are left out.
import type { BoxesSpec } from "../../core/decode-spec.ts";
import type { Tensor } from "../../core/tensor.ts";
import type { Decoded } from "../../rpc/messages.ts";
import { frameOf } from "./decode-run.ts";
import type { DecodeRun, Frame } from "./decode-run.ts";
import { argmax, checkNumbers, mismatch, sigmoid, softmax, valuesOf } from "./values.ts";
import type { NumberList } from "./values.ts";

/** A box in the tensor: centre and size, in its pixels. */
interface BoxCandidate {
  readonly label: number;
  readonly score: number;
  readonly cx: number;
  readonly cy: number;
  readonly width: number;
  readonly height: number;
}

const DEFAULTS = {
  queries: { threshold: 0.5, iou: 1, top: Infinity },
  anchors: { threshold: 0.25, iou: 0.7, top: 300 },
} as const;

/** Creates the decoder of an output with boxes, or of logits beside boxes. */
export function decodeBoxes(
  name: string,
  spec: BoxesSpec,
  labels: readonly string[],
): (output: Tensor, run?: DecodeRun) => Decoded[] {
  const { form, threshold = DEFAULTS[form].threshold, iou = DEFAULTS[form].iou, top = DEFAULTS[form].top } = spec;
  return (output, run) => {
    const frame = frameOf(run?.picture(spec.image) ?? null, run?.input(spec.image));
    if (frame === null)
      throw mismatch(`Output "${name}": the size of the image "${spec.image}" is not known, so boxes have no scale.`);
    const read = form === "queries" ? readQueries(name, spec, labels.length, run) : readAnchors(name, labels.length);
    return read(output, frame, threshold).map((found): Decoded => {
      found.sort((a, b) => b.score - a.score);
      const kept = suppress(found, iou, top);
      return { kind: "boxes", boxes: kept.map((x) => boxOf(x, labels, frame)) };
    });
  };
}

type Reader = (output: Tensor, frame: Frame, threshold: number) => BoxCandidate[][];

function readQueries(name: string, spec: BoxesSpec, labels: number, run: DecodeRun | undefined): Reader {
  return (output, { shareWidth, shareHeight }, threshold) => {
    const boxes = run?.output(spec.boxes ?? "");
    const [items = 0, queries = 0, classes = 0] = output.dims;
    if (output.dims.length !== 3 || classes < labels || classes > labels + 1)
      throw mismatch(
        `Output "${name}" must be [batch, query, class] with ${labels} classes, or one more for no object, not [${output.dims.join(", ")}].`,
      );
    if (boxes === undefined || boxes.dims.join() !== [items, queries, 4].join())
      throw mismatch(`Output "${spec.boxes ?? ""}" must be [${items}, ${queries}, 4] beside "${name}".`);
    const isSoftmax = (spec.scores ?? (classes > labels ? "softmax" : "sigmoid")) === "softmax";
    const [logits, places] = [valuesOf(name, output), valuesOf(spec.boxes ?? "", boxes)];
    checkNumbers(name, logits);
    checkNumbers(spec.boxes ?? "", places);
    return Array.from({ length: items }, (_, item) => {
      const found: BoxCandidate[] = [];
      for (let query = item * queries; query < (item + 1) * queries; query += 1) {
        const row = logits.subarray(query * classes, (query + 1) * classes);
        const [cx = 0, cy = 0, width = 0, height = 0] = Array.from({ length: 4 }, (_, i) =>
          Number(places[query * 4 + i]),
        );
        const place = {
          ...{ cx: cx * shareWidth, cy: cy * shareHeight },
          ...{ width: width * shareWidth, height: height * shareHeight },
        };
        found.push(...labelsOf(row, isSoftmax, threshold, labels).map((x) => ({ ...x, ...place })));
      }
      // The best first: a query may have several labels where they don't exclude each other.
      return found.sort((a, b) => b.score - a.score).slice(0, spec.top ?? queries);
    });
  };
}

/** The label of a query, or all of its labels above the threshold. */
function labelsOf(
  row: NumberList & Pick<Float32Array, "subarray">,
  isSoftmax: boolean,
  threshold: number,
  labels: number,
): { label: number; score: number }[] {
  if (isSoftmax) {
    const scores = softmax(row).subarray(0, Math.max(1, labels));
    const label = argmax(scores);
    const score = scores[label] ?? Number.NaN;
    return score > threshold ? [{ label, score }] : [];
  }
  return Array.from(sigmoid(row), (score, label) => ({ label, score })).filter((x) => x.score > threshold);
}

function readAnchors(name: string, labels: number): Reader {
  return (output, _frame, threshold) => {
    const [items = 0, a = 0, b = 0] = output.dims;
    const isWide = (size: number): boolean => size === labels + 4 || size === labels + 5;
    // The axis with few values is that of a box; where both fit, boxes are columns, as YOLOv8 and later write them.
    const columns = isWide(a);
    if (output.dims.length !== 3 || !(columns || isWide(b)))
      throw mismatch(
        `Output "${name}" must be [batch, 4 + ${labels}, anchor] or [batch, anchor, 4 + ${labels}], not [${output.dims.join(", ")}].`,
      );
    const [size, anchors] = columns ? [a, b] : [b, a];
    const values = valuesOf(name, output);
    checkNumbers(name, values);
    return Array.from({ length: items }, (_, item) => {
      const at = (anchor: number, i: number): number =>
        Number(values[item * a * b + (columns ? i * anchors + anchor : anchor * size + i)]);
      const found: BoxCandidate[] = [];
      for (let anchor = 0; anchor < anchors; anchor += 1) {
        const own = size === labels + 5 ? at(anchor, 4) : 1;
        let label = 0;
        for (let i = 1; i < labels; i += 1)
          if (at(anchor, size - labels + i) > at(anchor, size - labels + label)) label = i;
        const score = own * at(anchor, size - labels + label);
        if (!(score > threshold)) continue;
        const [cx, cy, width, height] = [at(anchor, 0), at(anchor, 1), at(anchor, 2), at(anchor, 3)];
        found.push({ label, score, cx, cy, width, height });
      }
      return found;
    });
  };
}

/** Leaves out boxes that overlap a better one of their label by more than `iou`; at most `top` are kept. */
function suppress(sorted: readonly BoxCandidate[], iou: number, top: number): BoxCandidate[] {
  if (iou >= 1) return sorted.slice(0, top);
  const kept: BoxCandidate[] = [];
  for (const box of sorted) {
    if (kept.length >= top) break;
    if (kept.every((x) => x.label !== box.label || overlap(x, box) <= iou)) kept.push(box);
  }
  return kept;
}

/** Intersection over union. */
function overlap(a: BoxCandidate, b: BoxCandidate): number {
  const along = (p: number, sizeP: number, q: number, sizeQ: number): number =>
    Math.max(0, Math.min(p + sizeP / 2, q + sizeQ / 2) - Math.max(p - sizeP / 2, q - sizeQ / 2));
  const both = along(a.cx, a.width, b.cx, b.width) * along(a.cy, a.height, b.cy, b.height);
  const all = a.width * a.height + b.width * b.height - both;
  return all <= 0 ? 0 : both / all;
}

function boxOf(
  { label, score, cx, cy, width, height }: BoxCandidate,
  labels: readonly string[],
  frame: Frame,
): Extract<Decoded, { kind: "boxes" }>["boxes"][number] {
  const box = {
    ...{ xmin: frame.x(cx - width / 2), ymin: frame.y(cy - height / 2) },
    ...{ xmax: frame.x(cx + width / 2), ymax: frame.y(cy + height / 2) },
  };
  return { label: labels[label] ?? "", index: label, score, box };
}
