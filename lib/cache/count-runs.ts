// Adds the memory of a run to what is known of models whose description states none: bare ones, those of repositories,
// and older bundles. It is read from the graph (run-bytes.ts), so only files that are here are counted.
import type { Bundle, ImageSpec, SoundSpec, Variant } from "../core/bundle.ts";
import { soundDims } from "../core/fit-steps.ts";
import { fixedSize } from "../core/image-spec.ts";
import type { ModelStore } from "./model-store.ts";
import { keyOf } from "./names.ts";
import type { OpenedBundle } from "./opened.ts";
import { runBytesOf } from "./run-bytes.ts";

/** Counts the runs of an opened model. A store that fails counts as absent. */
export async function countRuns(opened: OpenedBundle, modelStore: ModelStore | null): Promise<OpenedBundle> {
  const { bundle, data } = opened;
  if (bundle.variants.every((x) => x.activationBytes !== undefined)) return opened;
  const sizes = knownSizes(bundle.model);
  const here = data === null ? await modelStore?.chunks().catch(() => undefined) : undefined;
  const fileOf = async ({ files: [first] }: Variant): Promise<Blob | null> => {
    if (data !== null) return data;
    const isHere = first !== undefined && first.chunks.every((x) => here?.has(keyOf(x)) === true);
    return isHere ? ((await modelStore?.peek(first.chunks)) ?? null) : null;
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

/** Returns the dims of inputs that take images of a fixed size, and sounds, by their names. */
function knownSizes({ inputs, steps }: Bundle["model"]): ReadonlyMap<string, readonly number[]> {
  const known = new Map<string, readonly number[]>();
  const addImage = (name: string, { resize, channels, layout }: ImageSpec): void => {
    const size = fixedSize(resize);
    if (size === null) return;
    const depth = channels === "gray" ? 1 : 3;
    const { width, height } = size;
    known.set(name, layout === "nhwc" ? [1, height, width, depth] : [1, depth, height, width]);
  };
  const addSound = (name: string, sound: SoundSpec): void => {
    const dims = soundDims(sound).filter((x) => x !== undefined);
    if (dims.length === soundDims(sound).length) known.set(name, dims);
  };
  for (const { name, image, sound } of inputs) {
    if (image !== undefined) addImage(name, image);
    if (sound !== undefined) addSound(name, sound);
  }
  for (const [name, image] of Object.entries(steps?.images ?? {})) addImage(name, image);
  for (const [name, sound] of Object.entries(steps?.sounds ?? {})) addSound(name, sound);
  return known;
}
