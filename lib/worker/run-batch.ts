// One run message inside a worker: converts images to tensors, runs the backend, decodes outputs. All of it runs here,
// to keep the page's thread free.
import type { Backend } from "../rpc/backend.ts";
import type { BundleInput, ImageSpec } from "../core/bundle.ts";
import { SelvedgeError, toWireError } from "../core/errors.ts";
import type { Decoder } from "./processing/decode.ts";
import type { DecodeRun, Picture } from "./processing/decode-run.ts";
import type { GpuImages } from "./processing/gpu.ts";
import { isMaskPort } from "../core/fit-steps.ts";
import { float16Bits } from "./processing/image.ts";
import { pixelMask } from "./processing/pixel-mask.ts";
import { planImage } from "./processing/plan-image.ts";
import { checkImage } from "./processing/pixels.ts";
import { prepareImage } from "./processing/prepare.ts";
import { soundMask, soundToTensor } from "./processing/sound.ts";
import type { TextReader } from "./processing/text.ts";
import type { Reply } from "../rpc/reply.ts";
import type { Tensor } from "../core/tensor.ts";
import { dimsOf, drawn, runBatch } from "./join-batch.ts";
import type { Batching, BatchRun, ItemOutcome, InputPart, InputParts } from "./join-batch.ts";
import type { Decoded, Feeds, Ran, RanItem, RunMessage, RawInput, StillImage, WireImage } from "../rpc/messages.ts";

/** A loaded model in the worker, beside the backend's own state. */
export interface WorkerModel {
  readonly images: Readonly<Record<string, ImageSpec>>;
  readonly texts: Readonly<Record<string, TextReader>>;
  /** The model's inputs by name. */
  readonly ports: Readonly<Record<string, BundleInput>>;
  readonly decoders: Readonly<Record<string, Decoder>>;
  readonly batching: Batching;
  /** Converts its images to tensors on the backend's own device, where there is one. */
  readonly gpu: GpuImages | null;
}

/** A request's inputs as parts of a batch, and the pictures that some were made of, by input name. */
interface Prepared {
  readonly parts: InputParts;
  readonly pictures: Readonly<Record<string, Picture>>;
}

/** The part of a backend that runs. */
export type Runner = Pick<Backend, "run" | "device">;

/** Bound on the bytes of decoded images that are not converted yet: those of a larger batch take several runs. */
const HELD_BYTES = 64 * 2 ** 20;

/** Runs a batch. A single request rejects with its own error; among several, each has its own reply. */
export async function run(backend: Runner, model: WorkerModel, message: RunMessage, now: () => number): Promise<Ran> {
  model.gpu?.trim();
  const failed = new Map<Feeds, unknown>();
  const fail = (feeds: Feeds, error: unknown): void => {
    if (message.items.length === 1) throw error;
    failed.set(feeds, error);
  };
  const answers = new Map<Feeds, RanItem>();
  const dims = message.items.some(({ others }) => others !== null) ? new Map<Feeds, ReturnType<typeof dimsOf>>() : null;
  const groups: number[][] = [];
  let [runs, preprocessMs, runMs, decodeMs] = [0, 0, 0, 0];
  for (let at = 0, fromMs = now(); at < message.items.length; fromMs = now()) {
    const ready = new Map<Feeds, Prepared>();
    const places: number[] = [];
    for (let held = 0; at < message.items.length && held < HELD_BYTES; at += 1) {
      const feeds = message.items[at] as Feeds;
      try {
        const one =
          feeds.others === null
            ? { parts: feeds.tensors, pictures: {} }
            : await prepare(model, feeds.tensors, feeds.others);
        ready.set(feeds, one);
        places.push(at);
        dims?.set(feeds, dimsOf(one.parts));
        for (const part of Object.values(one.parts)) if ("draw" in part) held += part.heldBytes;
      } catch (error) {
        fail(feeds, error);
      }
    }
    const readyMs = now();
    const parts = [...ready.values()].map((x) => x.parts);
    const batch = await compute(backend, model, message, parts);
    const ranMs = now();
    for (const [i, [feeds, one]] of [...ready].entries())
      try {
        answers.set(feeds, decode(model, batch.outcomes[i] as ItemOutcome, one, feeds));
      } catch (error) {
        fail(feeds, error);
      }
    runs += batch.runs;
    groups.push(...batch.groups.map((group) => group.map((i) => places[i] as number)));
    preprocessMs += readyMs - fromMs;
    runMs += ranMs - readyMs;
    decodeMs += now() - ranMs;
  }
  const items = message.items.map((feeds): Reply<RanItem> => {
    const value = answers.get(feeds);
    return value === undefined ? { ok: false, error: toWireError(failed.get(feeds)) } : { ok: true, value };
  });
  return {
    ...{ items, runs, preprocessMs, runMs, decodeMs },
    groups: groups.length > 1 ? groups : undefined,
    dims: dims === null ? undefined : message.items.map((feeds) => dims.get(feeds) ?? null),
  };
}

async function compute(
  backend: Runner,
  { batching }: WorkerModel,
  { modelId, state, items: { length } }: RunMessage,
  items: readonly InputParts[],
): Promise<BatchRun> {
  if (state === undefined) return runBatch(backend, modelId, batching, items, length === 1);
  const outputs = await backend.run(modelId, drawn(items[0] ?? {}), state);
  return { outcomes: [{ outputs }], runs: 1, groups: [[0]] };
}

/** Converts inputs to parts of a batch; images for the GPU are only converted once their place in it is known. */
async function prepare(
  model: WorkerModel,
  tensors: Feeds["tensors"],
  others: Readonly<Record<string, RawInput>>,
): Promise<Prepared> {
  const parts: Record<string, InputPart> = {};
  const pictures: Record<string, Picture> = {};
  for (const [name, value] of Object.entries(others))
    if (value.kind === "text") Object.assign(parts, model.texts[name]?.read(value.texts));
    else if (value.kind === "sound") Object.assign(parts, soundParts(model, name, value.samples));
    else {
      const image = await still(name, value.image);
      const { width, height } = image; // a closed bitmap has none
      await model.gpu?.check();
      parts[name] = partOf(model, name, image);
      const spec = model.images[name];
      if (spec === undefined) continue;
      const plan = planImage(width, height, spec.resize);
      pictures[name] = { width, height, plan };
      const mask = spec.mask === undefined ? undefined : model.ports[spec.mask];
      if (mask !== undefined && isMaskPort(mask)) parts[mask.name] = pixelMask(mask, plan);
    }
  return { parts: Object.assign(parts, tensors), pictures };
}

/** Returns the tensor of a sound, and its mask where the model has one. */
function soundParts({ ports }: WorkerModel, input: string, samples: Float32Array): InputParts {
  const { sound, dtype } = ports[input] ?? {};
  if (sound === undefined) throw new TypeError(`Input "${input}" takes a tensor; its bundle declares no sound there.`);
  const { dims, data } = soundToTensor(samples, sound);
  if (data.length === 0) throw new RangeError(`input "${input}": ${samples.length} samples are less than one frame`);
  const tensor: Tensor =
    dtype === "float16" ? { dtype, dims, data: Uint16Array.from(data, float16Bits) } : { dtype: "float32", dims, data };
  const mask = sound.op === "samples" && sound.mask !== undefined ? ports[sound.mask] : undefined;
  return { [input]: tensor, ...(mask !== undefined && { [mask.name]: soundMask(mask, samples.length) }) };
}

function partOf(model: WorkerModel, input: string, image: StillImage): InputPart {
  const spec = model.images[input];
  const dtype = model.ports[input]?.dtype;
  if (spec === undefined) throw new TypeError(`Input "${input}" takes a tensor; its bundle declares no image there.`);
  if (dtype === undefined) throw new TypeError(`The model has no input "${input}".`);
  checkImage(image);
  const target = { input, spec, dtype };
  if (model.gpu === null || dtype !== "float32") return prepareImage(null, image, target) as Tensor;
  const { width, height } = planImage(image.width, image.height, spec.resize);
  const channels = spec.channels === "gray" ? 1 : 3;
  const dims = spec.layout === "nchw" ? [1, channels, height, width] : [1, height, width, channels];
  const heldBytes = 4 * image.width * image.height;
  return { dims, heldBytes, draw: () => prepareImage(model.gpu, image, target) };
}

function decode(model: WorkerModel, outcome: ItemOutcome, { parts, pictures }: Prepared, { others }: Feeds): RanItem {
  if ("error" in outcome) throw outcome.error;
  const { outputs } = outcome;
  const decoded: Record<string, readonly Decoded[]> = {};
  const run: DecodeRun = {
    input: (name) => {
      const part = parts[name];
      return part === undefined || "draw" in part ? undefined : part;
    },
    output: (name) => outputs[name],
    picture: (name) => pictures[name] ?? null,
    tokens: (name, row) => {
      const raw = others?.[name];
      const text = raw?.kind === "text" ? raw.texts[row] : undefined;
      return text === undefined ? null : (model.texts[name]?.tokens(text) ?? null);
    },
  };
  for (const [name, decoder] of Object.entries(model.decoders)) {
    const output = outputs[name];
    if (output === undefined) throw new SelvedgeError("bundle-invalid", `The model has no output "${name}" to decode.`);
    decoded[name] = decoder(output, run);
  }
  return { outputs, decoded };
}

/** Decodes a file, or copies the image of a frame and closes it; here, where that does not block the page. */
async function still(input: string, image: WireImage): Promise<StillImage> {
  if (!(image instanceof Blob) && !("displayWidth" in image)) return image;
  try {
    return await createImageBitmap(image, {
      imageOrientation: "from-image",
      premultiplyAlpha: "none",
      colorSpaceConversion: "default",
    });
  } catch (error) {
    throw new TypeError(`input "${input}": ${undecoded(image)}`, { cause: error });
  } finally {
    if ("close" in image) image.close();
  }
}

/** Describes why a picture can't be decoded, where its file does. */
function undecoded(image: WireImage): string {
  if (!(image instanceof Blob)) return "this browser can't decode it as an image";
  const { type, size } = image;
  if (size === 0) return "the file is empty (0 bytes)";
  const text = `this browser can't decode it as an image (${type || "no type"}, ${size} bytes)`;
  return type.startsWith("image/svg") ? `${text}: give an SVG to an img (\`img.src\`), and pass that` : text;
}
