// Classes of shapes that a GPU is checked for. Kernels are chosen by the sizes of their operands: ONNX Runtime has
// others for one row than for several, for few rows than for many, and for sizes that are multiples of 4 or 2 (vectors).
// So two sizes are of one class where they have the same power of two above them and the same such divisor: 1; 2; 3; 4;
// 5 and 7; 6; 8; … 64. That is 16 classes of batches.
import type { ImageSpec } from "../core/bundle.ts";
import type { Port, Tensor } from "../core/tensor.ts";
import type { Feeds, RawInput } from "../rpc/messages.ts";

/** A request of a batch and the GPU's answer. */
export interface Answered {
  readonly feeds: Feeds;
  readonly outputs: Readonly<Record<string, Tensor>>;
}

/** The declared ports of a model, and its conversions of images. */
export interface Shapes {
  readonly ports: readonly Port[];
  readonly images: Readonly<Record<string, ImageSpec>>;
}

/** Returns the class of a batch: for each input the sum of its rows, and its largest size in each other axis. */
export function classOf({ ports, images }: Shapes, batch: readonly Answered[]): string {
  let name = "";
  for (const { name: input, batchAxis } of ports) {
    const total: number[] = [];
    for (const { feeds } of batch)
      for (const [axis, size] of sizesOf(feeds, input, images[input]).entries())
        total[axis] = axis === batchAxis ? (total[axis] ?? 0) + size : Math.max(total[axis] ?? 0, size);
    name += `${total.map(bucketOf).join(",")};`;
  }
  return name;
}

/** Returns the requests of a batch that are padded in no axis: those with its largest sizes. */
export function widestOf({ ports, images }: Shapes, batch: readonly Answered[]): readonly Answered[] {
  let widest = batch;
  for (const { name, batchAxis } of ports) {
    const sizes = (one: Answered): readonly number[] => sizesOf(one.feeds, name, images[name]);
    const axes = batch[0] === undefined ? 0 : sizes(batch[0]).length;
    for (let axis = 0; axis < axes; axis += 1) {
      if (axis === batchAxis) continue;
      const largest = Math.max(...widest.map((one) => sizes(one)[axis] ?? 0));
      widest = widest.filter((one) => sizes(one)[axis] === largest);
    }
  }
  return widest;
}

/** Returns a name of all sizes that kernels treat alike. */
function bucketOf(size: number): string {
  return `${Math.ceil(Math.log2(Math.max(1, size)))}${size % 4 === 0 ? "" : size % 2 === 0 ? "b" : "a"}`;
}

/** Sizes of an input: of its tensor; of an image, as far as the page knows them; rows and longest of its texts. */
function sizesOf({ tensors, others }: Feeds, name: string, spec: ImageSpec | undefined): readonly number[] {
  const raw = others?.[name];
  return tensors[name]?.dims ?? (raw === undefined ? [] : sizesOfRaw(raw, spec));
}

function sizesOfRaw(raw: RawInput, spec: ImageSpec | undefined): readonly number[] {
  if (raw.kind === "text") return [raw.texts.length, Math.max(0, ...raw.texts.map(({ length }) => length))];
  const fixed = fixedDims(spec);
  if (fixed !== null) return fixed;
  const { image } = raw;
  if (image instanceof Blob) return [1, 0];
  return "displayWidth" in image ? [1, image.displayHeight, image.displayWidth] : [1, image.height, image.width];
}

/** Returns the dims to which every image is resized; null where they depend on the image. */
export function fixedDims(spec: ImageSpec | undefined): readonly number[] | null {
  if (spec === undefined || !("width" in spec.resize)) return null;
  const { width, height } = spec.resize;
  const channels = spec.channels === "gray" ? 1 : 3;
  return spec.layout === "nchw" ? [1, channels, height, width] : [1, height, width, channels];
}
