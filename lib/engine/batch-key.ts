// What a request can run together with, guessed before its pictures and texts are tensors: the worker, which makes them
// tensors, looks again at the sizes that came out (worker/join-batch.ts), so that a wrong guess costs time and nothing else. A
// picture that is brought to one size whatever it is fits all others; else it is taken to fit those of its own size. The
// size of a file shows only once it is decoded: where the tensor's hangs on it, a file runs alone.
import type { BundleInput } from "../core/bundle.ts";
import type { Accepts } from "./inputs.ts";
import type { Feeds, WireValue } from "../rpc/messages.ts";
import { shapeOf } from "../core/batch-shape.ts";
import type { Shape } from "../core/batch-shape.ts";

/** Guesses the shape of a request; null where it is to run alone. */
export function guessShape({ ports, images }: Accepts, feeds: Feeds): Shape | null {
  const dims: Record<string, readonly number[]> = {};
  let sizes = "";
  for (const port of ports) {
    const { name } = port;
    const value = feeds[name];
    if (value === undefined) continue; // filled by a text
    if (value.kind === "tensor") {
      dims[name] = value.tensor.dims;
      continue;
    }
    const size = value.kind === "image" ? sizeOfImage(value.image, images[name]?.resize.mode) : sizeOfText(port, value);
    if (size === null) return null;
    sizes += `${size} `;
    const rows = value.kind === "image" ? 1 : value.texts.length;
    dims[name] = port.dims.map((dim, axis) => (axis === port.batchAxis ? rows : typeof dim === "number" ? dim : 1));
  }
  const shape = shapeOf(ports, dims);
  return shape && { ...shape, key: shape.key + sizes };
}

function sizeOfImage(image: (WireValue & { kind: "image" })["image"], mode: string | undefined): string | null {
  if (mode === "exact" || mode === "fit") return mode;
  if (image instanceof Blob) return null;
  return "displayWidth" in image ? `${image.displayWidth}x${image.displayHeight}` : `${image.width}x${image.height}`;
}

/** A text fits those about as long, as far apart as padding is harmless. */
function sizeOfText({ dims, batchAxis, pad }: BundleInput, { texts }: WireValue & { kind: "text" }): string | null {
  if (dims.every((dim, axis) => axis === batchAxis || typeof dim === "number")) return "text";
  if (pad === undefined) return null;
  const longest = Math.max(1, ...texts.map(({ length }) => length));
  return `${Math.floor(Math.log(longest) / Math.log(1 + pad.upTo))}~`;
}
