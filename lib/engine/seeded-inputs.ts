// Pseudo-random inputs of a golden check: those of a model without a golden, and those with which each backend computes
// alike, in place of a request's: an image is resized by each backend itself, and a lane keeps a recurrent state. Imported by
// known-answers.ts.
import type { Tensors } from "../core/compare-outputs.ts";
import type { NumericDtype } from "../core/tensor.ts";
import type { Feeds } from "../rpc/messages.ts";
import { sizesOf } from "./shape-class.ts";
import type { Answered, Shapes } from "./shape-class.ts";
import { seededTensor, typicalFeeds } from "./typical-feeds.ts";

/** Returns pseudo-random inputs of typical sizes, the same each time; null where a size is not known. */
export function seededFeeds(ports: Shapes["ports"], typical: Readonly<Record<string, number>>): Feeds | null {
  const zeros = typicalFeeds(ports, typical);
  if (zeros === null || ports.length === 0) return null;
  const tensors = Object.entries(zeros.tensors).map(([name, { dtype, dims }]) => [
    name,
    seededTensor(dtype as NumericDtype, dims),
  ]);
  return { tensors: Object.fromEntries(tensors) as Tensors, others: null };
}

/** Returns a request's inputs with pseudo-random tensors for images and states; null where dims are not known. */
export function alike(one: Answered, shapes: Shapes, typical: Readonly<Record<string, number>>): Feeds | null {
  const feeds = withoutImages(one, shapes);
  return feeds && withStates(feeds, one, shapes, typical);
}

/** Returns inputs with a pseudo-random tensor in place of each image; null where its dims are not known. */
function withoutImages({ feeds, dims }: Answered, { ports }: Shapes): Feeds | null {
  const names = Object.entries(feeds.others ?? {}).filter(([, { kind }]) => kind === "image");
  if (names.length === 0) return feeds;
  const tensors = { ...feeds.tensors };
  const others = { ...feeds.others };
  for (const [name] of names) {
    const size = dims?.[name];
    const dtype = ports.find((port) => port.name === name)?.dtype;
    if (size === undefined || dtype === undefined || dtype === "string") return null;
    tensors[name] = seededTensor(dtype, size);
    Reflect.deleteProperty(others, name);
  }
  return { tensors, others: Object.keys(others).length === 0 ? null : others };
}

/** Returns inputs with a pseudo-random tensor for each state that they lack; null where its dims are not known. */
function withStates(
  feeds: Feeds,
  one: Answered,
  { ports, states }: Shapes,
  typical: Readonly<Record<string, number>>,
): Feeds | null {
  const own = new Set(Object.values(states));
  if (own.size === 0) return feeds;
  const symbols = new Map(Object.entries(typical));
  for (const { name, dims } of ports)
    for (const [axis, size] of sizesOf(one, name).entries()) symbols.set(String(dims[axis]), size);
  const tensors = { ...feeds.tensors };
  for (const { name, dtype, dims } of ports) {
    if (!own.has(name) || name in tensors) continue;
    const size = dims.map((dim) => (typeof dim === "number" ? dim : (symbols.get(dim) ?? NaN)));
    if (dtype === "string" || size.some(Number.isNaN)) return null;
    tensors[name] = seededTensor(dtype, size);
  }
  return { ...feeds, tensors };
}
