// Adds the memory of a run to what is known of models whose description states none: bare ones, those of repositories,
// and older bundles. It is read from the graph (run-bytes.ts), so only files that are here are counted.
import type { Bundle, ImageSpec, Variant } from "../core/bundle.ts";
import { fixedSize } from "../core/image-spec.ts";
import type { Shelf } from "./model-store.ts";
import { keyOf } from "./names.ts";
import type { OpenedBundle } from "./opened.ts";
import { runBytesOf } from "./run-bytes.ts";

/** Counts the runs of an opened model. A store that fails counts as absent. */
export async function countRuns(opened: OpenedBundle, shelf: Shelf | null): Promise<OpenedBundle> {
  const { bundle, data } = opened;
  if (bundle.variants.every((x) => x.activationBytes !== undefined)) return opened;
  const sizes = imageSizes(bundle.model);
  const here = data === null ? await shelf?.chunks().catch(() => undefined) : undefined;
  const fileOf = async ({ files: [first] }: Variant): Promise<Blob | null> => {
    if (data !== null) return data;
    const isHere = first !== undefined && first.chunks.every((x) => here?.has(keyOf(x)) === true);
    return isHere ? ((await shelf?.peek(first.chunks)) ?? null) : null;
  };
  const count = async (variant: Variant): Promise<Variant> => {
    if (variant.activationBytes !== undefined) return variant;
    const file = await fileOf(variant);
    const activationBytes = file && (await runBytesOf(file, sizes));
    return activationBytes === null ? variant : { ...variant, activationBytes };
  };
  const variants = await Promise.all(bundle.variants.map((x) => count(x).catch(() => x)));
  return { ...opened, bundle: { ...bundle, variants } };
}

/** Returns the dims of inputs that take an image of a fixed size, by their names. */
function imageSizes({ inputs, steps }: Bundle["model"]): Readonly<Record<string, readonly number[]>> {
  const own = inputs.flatMap(({ name, image }): [string, ImageSpec][] => (image === undefined ? [] : [[name, image]]));
  return Object.fromEntries(
    [...own, ...Object.entries(steps?.images ?? {})].flatMap(([name, { resize, channels, layout }]) => {
      const size = fixedSize(resize);
      if (size === null) return [];
      const depth = channels === "gray" ? 1 : 3;
      const { width, height } = size;
      return [[name, layout === "nhwc" ? [1, height, width, depth] : [1, depth, height, width]] as const];
    }),
  );
}
