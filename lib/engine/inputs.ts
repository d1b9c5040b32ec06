// Inputs of `run`: checks them against the model's ports and copies or moves them. Nothing invalid is ever queued, and
// no later change by the caller reaches a queued request.
import type { BundleInput, SoundSpec } from "../core/bundle.ts";
import type { Effects } from "../effects/effects.ts";
import type { Feeds, RawInput, WireImage } from "../rpc/messages.ts";
import { checkAttached, checkNames, checkSymbols, checkTensor, detached, kindOf, show } from "../core/check-inputs.ts";
import type { Symbols } from "../core/check-inputs.ts";
import { ARRAY_TYPES, arrayOver } from "../core/tensor.ts";
import type { Dtype, DtypeArrays, Tensor, TensorOf } from "../core/tensor.ts";
import { joinPair } from "../core/text-pair.ts";
import type { TextPair } from "../core/text-pair.ts";
import { isDataAlone, withDims } from "./infer-dims.ts";

/**
 * Type of a global class and others beside it; the others alone where the compiler's `lib` lacks the class: elements
 * without "dom", as in a worker's project, and Float16Array before TypeScript 5.8.
 */
type Global<Name extends string, Others = never> =
  typeof globalThis extends Readonly<Record<Name, { readonly prototype: infer Type }>> ? Type | Others : Others;

/** An image that a model may take where its bundle declares an image input. */
export type ImageInput =
  | ImageBitmap
  | ImageData
  | VideoFrame
  | OffscreenCanvas
  | Blob
  | Global<"HTMLImageElement">
  | Global<"HTMLCanvasElement">
  | Global<"HTMLVideoElement">;

/** The array types that an input of each dtype takes. */
export interface InputArrays extends Omit<DtypeArrays, "float16" | "uint8" | "string"> {
  /** Values, or their bits. */
  float16: Global<"Float16Array", Uint16Array>;
  /** Clamped as of an `ImageData`, too. */
  uint8: Uint8Array | Uint8ClampedArray;
  /** Texts. */
  string: readonly string[];
}

/** A tensor as callers pass it; `dtype` must be that of the model's input, and `data` have its array type. */
export type TensorInput<D extends Dtype = Dtype> = { [K in D]: TensorOf<K, InputArrays> }[D];

/**
 * The elements alone, for an input whose dims follow from the model: all but one axis are declared, or are known from
 * the other inputs.
 */
export type ArrayInput = InputArrays[Dtype];

/** A tensor of ONNX Runtime Web or transformers.js, on the CPU: it says `type` where Selvedge says `dtype`. */
export interface OrtTensor {
  /** Element type. */
  readonly type: string;
  /** Size of each axis, the slowest first. */
  readonly dims: readonly number[];
  /** The elements in row-major order. */
  readonly data: ArrayBufferView | readonly unknown[];
}

/** A text or a pair of texts, or several that become one row each; accepted where the model's bundle declares a text input. */
export type TextInput = string | TextPair | readonly (string | TextPair)[];

/**
 * Samples of one channel, for an input whose bundle declares a sound. A Float32Array alone has the rate of the model; another
 * rate is refused.
 */
export interface SoundInput {
  /** Samples, usually from -1 to 1. */
  readonly samples: Float32Array;
  /** Samples a second. Default: the model's. */
  readonly sampleRate?: number | undefined;
}

/** Inputs by name. */
export type Inputs = Readonly<
  Record<string, TensorInput | ArrayInput | OrtTensor | ImageInput | TextInput | SoundInput>
>;

/** Properties of a model that inputs are checked against. */
export interface Accepts {
  readonly ports: readonly BundleInput[];
  /** Sizes of symbolic dims that are known before the inputs. Default: none. */
  readonly symbols?: Symbols;
}

/**
 * Checks inputs and copies them, or moves them where `transfer` is true. Images are decoded off the main thread.
 * Tensors beside an image are copied even with `transfer`: an image that fails to decode must leave the caller's
 * buffers intact.
 * @throws TypeError for a wrong kind (missing or unknown name, dtype, array class, detached buffer, no image).
 * @throws RangeError for a wrong size (rank, dim, element count, empty batch).
 */
export function takeInputs(
  effects: Effects,
  accepts: Accepts,
  inputs: Inputs,
  transfer: boolean,
  slab: Slab | null = null,
): Feeds | Promise<Feeds> {
  const { tensors: given, images, others } = checkInputs(accepts, inputs);
  const shared = transfer && images.length === 0 ? countBuffers(given) : null;
  const tensors: Record<string, Tensor> = {};
  for (const [name, tensor] of given) tensors[name] = takeTensor(tensor, shared?.get(bufferOf(tensor)) === 1, slab);
  if (images.length > 0) return takeImages(effects, { tensors, others }, images);
  return { tensors, others: Object.keys(others).length > 0 ? others : null };
}

async function takeImages(
  effects: Effects,
  feeds: Feeds & { readonly others: Record<string, RawInput> },
  images: readonly [BundleInput, unknown][],
): Promise<Feeds> {
  // All in one turn: a change by the caller after the call must not reach the second image either.
  const taken = await Promise.allSettled(images.map(([port, value]) => takeImage(effects, port, value)));
  for (const [i, result] of taken.entries())
    if (result.status === "fulfilled") feeds.others[images[i]?.[0].name ?? ""] = { kind: "image", image: result.value };
  for (const result of taken)
    if (result.status === "rejected") {
      release(feeds); // the copies of the others
      throw result.reason;
    }
  return feeds;
}

/** Bound on the bytes of a tensor that is copied into the slab; a larger one has its own buffer. */
const SMALL_BYTES = 2 ** 14;
const SLAB_BYTES = 2 ** 18;

/**
 * Shared buffer that small inputs are copied into: a browser takes longer to allocate and free a buffer for each than
 * to copy them.
 */
export class Slab {
  #buffer: ArrayBuffer = new ArrayBuffer(0);
  #at = 0;

  /** Copies bytes and returns their place; null where they are too large. */
  copy({ buffer, byteOffset, byteLength }: Uint8Array): { buffer: ArrayBuffer; at: number } | null {
    if (byteLength > SMALL_BYTES) return null;
    if (this.#at + byteLength > this.#buffer.byteLength) {
      this.#buffer = new ArrayBuffer(SLAB_BYTES);
      this.#at = 0;
    }
    const at = this.#at;
    new Uint8Array(this.#buffer, at).set(new Uint8Array(buffer, byteOffset, byteLength));
    this.#at = Math.ceil((at + byteLength) / 8) * 8;
    return { buffer: this.#buffer, at };
  }
}

/** Inputs by their kind. */
interface Checked {
  readonly tensors: [string, TensorInput][];
  /** Images, and values that no input takes. */
  readonly images: [BundleInput, unknown][];
  readonly others: Record<string, RawInput>;
}

/** Checks inputs without taking them. Separate, so that all tensors are valid before any buffer is moved. */
function checkInputs({ ports, symbols: known }: Accepts, inputs: Inputs): Checked {
  if (kindOf(inputs) !== "Object")
    throw new TypeError(`inputs: expected { ${ports.map((x) => x.name).join(", ")} }, got ${show(inputs)}`);
  const tensors: [string, TensorInput][] = [];
  const images: [BundleInput, unknown][] = [];
  const others: Record<string, RawInput> = {};
  const filled = new Set<string | undefined>();
  for (const port of ports) {
    const { name, text, sound, image } = port;
    const own: unknown = inputs[name];
    if (isRaw(own)) {
      checkAttached(name, own);
      const samples = sound && soundOf(name, own, sound);
      if (samples) others[name] = samples;
      else if (sound) images.push([port, own]);
      const { mask } = (sound ?? (ArrayBuffer.isView(own) ? null : image) ?? {}) as { readonly mask?: string };
      if (mask !== undefined && inputs[mask] === undefined) filled.add(mask);
    }
    const value: unknown = text && joinPair(own);
    if (!text || (typeof value !== "string" && !Array.isArray(value))) continue;
    const each = [value].flat().map(joinPair) as string[];
    if (each.length > 0 && each.every((x) => typeof x === "string")) others[name] = { kind: "text", texts: each };
    else images.push([port, own]);
    for (const other of [text.mask, text.types, text.positions]) {
      if (inputs[other ?? ""] !== undefined) throw new TypeError(`input "${other}": the text in "${name}" fills it`);
      filled.add(other);
    }
  }
  // Faults, whose errors are imported.
  if (images.length > 0) return { tensors, images, others };
  let wanted = ports.filter(({ name }) => !filled.has(name));
  checkNames(wanted, inputs);
  wanted = wanted.filter(({ name }) => !Object.hasOwn(others, name));
  const given = wanted.some((port) => isDataAlone(port, inputs[port.name])) ? withDims(wanted, inputs, known) : inputs;
  const symbols: Symbols = new Map(known);
  for (const port of wanted) {
    const { name, batchAxis } = port;
    const value: unknown = given[name];
    const tensor = tensorOf(value);
    if (tensor !== null) {
      checkTensor(port, tensor);
      checkSymbols(port, tensor.dims, symbols);
      if (tensor.dims[batchAxis ?? -1] === 0) throw new RangeError(`input "${name}": the batch is empty`);
      tensors.push([name, tensor]);
    } else images.push([port, value]); // an image, or a fault
  }
  return { tensors, images, others };
}

/** Whether a value is an object other than a tensor. */
function isRaw(value: unknown): value is object {
  return typeof value === "object" && value !== null && !("dims" in value);
}

/** Copies the samples of a sound; undefined for a fault. */
function soundOf(name: string, value: object, { sampleRate: rate }: SoundSpec): RawInput | undefined {
  const { samples, sampleRate = rate } = ("samples" in value ? value : { samples: value }) as SoundInput;
  if (kindOf(samples) !== "Float32Array" || sampleRate !== rate) return undefined;
  checkAttached(name, samples);
  return { kind: "sound", samples: samples.slice() };
}

/** Returns a value as a tensor, one of ONNX Runtime Web too; null where it is none. */
function tensorOf(value: unknown): TensorInput | null {
  if (typeof value !== "object" || value === null || !("dims" in value)) return null;
  if ("dtype" in value) return "data" in value ? (value as TensorInput) : null;
  if (!("type" in value)) return null;
  const { type, location = "cpu" } = value as OrtTensor & { location?: string };
  // Its `data` throws there.
  if (!location.startsWith("cpu")) return null;
  return { dtype: type, dims: value.dims, data: (value as OrtTensor).data } as TensorInput;
}

/** Counts the tensors that view each buffer: a buffer of two inputs can't be moved. */
function countBuffers(tensors: readonly [string, TensorInput][]): Map<unknown, number> {
  const counts = new Map<unknown, number>();
  for (const [, tensor] of tensors) counts.set(bufferOf(tensor), (counts.get(bufferOf(tensor)) ?? 0) + 1);
  return counts;
}

function bufferOf(tensor: TensorInput): unknown {
  return ArrayBuffer.isView(tensor.data) ? tensor.data.buffer : tensor.data;
}

/** Copies a tensor, or moves its buffer; float16 becomes its bits. */
export function takeTensor(value: TensorInput, transfer: boolean, slab: Slab | null = null): Tensor {
  const dims = [...value.dims];
  if (value.dtype === "string") return { dtype: "string", dims, data: [...value.data] };
  const view = value.data as Uint8Array<ArrayBuffer>;
  const small = transfer ? null : slab?.copy(view);
  if (small) {
    const Kind = ARRAY_TYPES[value.dtype];
    const data = new Kind(small.buffer, small.at, view.byteLength / Kind.BYTES_PER_ELEMENT);
    return { dtype: value.dtype, dims, data } as Tensor;
  }
  const buffer =
    (transfer ? moved(view) : null) ?? new Uint8Array(view.buffer, view.byteOffset, view.byteLength).slice().buffer;
  return { dtype: value.dtype, dims, data: arrayOver(value.dtype, buffer) } as Tensor;
}

/** Moves the buffer of a view; null where it is shared, larger than the view, or a WebAssembly memory. */
function moved({ buffer, byteOffset, byteLength }: Uint8Array<ArrayBuffer>): ArrayBuffer | null {
  if (byteOffset !== 0 || byteLength !== buffer.byteLength || !(buffer instanceof ArrayBuffer)) return null;
  try {
    return structuredClone(buffer, { transfer: [buffer] });
  } catch {
    return null;
  }
}

/** Frees the copies that were made of images; only after every run that posts them has ended. */
export function release({ others }: Feeds): void {
  for (const value of Object.values(others ?? {}))
    if (value.kind === "image" && "close" in value.image) value.image.close();
}

async function takeImage(effects: Effects, port: BundleInput, value: unknown): Promise<WireImage> {
  const { name } = port;
  const mayBeImage = port.image !== undefined;
  if (!mayBeImage || typeof value !== "object" || value === null)
    throw (await import("./input-fault.ts")).inputFault(port, mayBeImage, value);
  const source = value as ImageInput;
  if ("data" in source) {
    const { width, height, data } = source;
    if (data.length !== width * height * 4 || data.length === 0) throw detached(name);
    // The browser converts anything but 8-bit sRGB.
    const { colorSpace = "srgb" } = source as Partial<ImageData>;
    if (kindOf(data) === "Uint8ClampedArray" && colorSpace === "srgb")
      return { width, height, data: new Uint8ClampedArray(data) };
  }
  if (source instanceof Blob) return source; // decoded in the worker: it can't change meanwhile
  try {
    // A frame is shared with the worker; a bitmap would be copied twice, on the main thread.
    if (kindOf(source) === "VideoFrame") return (source as VideoFrame).clone();
    if (kindOf(source) === "HTMLVideoElement" && "VideoFrame" in globalThis)
      return new VideoFrame(source as HTMLVideoElement);
    return await effects.createImageBitmap(source);
  } catch (error) {
    throw (await import("./input-fault.ts")).imageFault(name, source, error);
  }
}
