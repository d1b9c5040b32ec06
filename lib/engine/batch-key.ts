// Batch key of a request, estimated before its images and texts are tensors. The worker, which converts them, checks
// the resulting sizes again (worker/join-batch.ts), so a wrong estimate costs time only. An image that is resized to a
// fixed size, and a sound that is brought to a fixed length, can be batched with any other; else only with those of its own
// size. The size of an encoded file is known only after decoding: where the tensor's size depends on it, a file runs alone.
import type { BundleInput, ResizeSpec } from "../core/bundle.ts";
import type { ResampleSpec } from "../core/image-spec.ts";
import type { FbankSpec, LogMelSpec } from "../core/sound-spec.ts";
import type { Accepts } from "./inputs.ts";
import type { Feeds, RawInput, WireImage } from "../rpc/messages.ts";
import { shapeOf } from "../core/batch-shape.ts";
import type { Shape } from "../core/batch-shape.ts";

/** Estimates the batch shape of a request; null where it has to run alone. */
export function estimateShape({ ports }: Accepts, { tensors, others }: Feeds): Shape | null {
  const dims: Record<string, readonly number[]> = {};
  let sizes = "";
  for (const port of ports) {
    const { name } = port;
    const tensor = tensors[name];
    if (tensor !== undefined) {
      dims[name] = tensor.dims;
      continue;
    }
    const value = others?.[name];
    if (value === undefined) continue; // filled by a text
    const sound = port.sound as (Pick<LogMelSpec, "seconds"> & Partial<Pick<FbankSpec, "frames">>) | undefined;
    const size =
      value.kind === "image"
        ? sizeOfImage(value.image, port.image?.resize)
        : value.kind === "text"
          ? sizeOfText(port, value)
          : (sound?.seconds ?? sound?.frames ?? value.samples.length);
    if (size === null) return null;
    sizes += `${size} `;
    const rows = value.kind === "text" ? value.texts.length : 1;
    dims[name] = port.dims.map((dim, axis) => (axis === port.batchAxis ? rows : typeof dim === "number" ? dim : 1));
  }
  const shape = shapeOf(ports, dims);
  return shape && { ...shape, key: shape.key + sizes };
}

function sizeOfImage(image: WireImage, resize: ResizeSpec | undefined): string | null {
  const { to, crop } = (resize ?? {}) as Partial<ResampleSpec>;
  if ("width" in { ...resize, ...to, ...crop }) return "";
  if (image instanceof Blob) return null;
  return "displayWidth" in image ? `${image.displayWidth}x${image.displayHeight}` : `${image.width}x${image.height}`;
}

/** Texts of similar length are batched, within the padding that the port allows. */
function sizeOfText({ dims, batchAxis, pad }: BundleInput, { texts }: RawInput & { kind: "text" }): number | null {
  if (dims.every((dim, axis) => axis === batchAxis || typeof dim === "number")) return 0;
  if (pad === undefined) return null;
  const longest = Math.max(1, ...texts.map(({ length }) => length));
  return Math.floor(Math.log(longest) / Math.log(1 + pad.upTo));
}
