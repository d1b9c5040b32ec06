// The public border of `run`: checks what a caller gave against what the model takes, and takes it over, so that
// nothing wrong is ever queued and nothing that the caller does afterwards can reach a queued request.
import type { ImageSpec } from "./bundle.ts";
import type { Effects } from "./effects.ts";
import type { RunMessage, WireImage, WireValue } from "./pool/protocol.ts";
import { arrayOver } from "./tensor.ts";
import type { Dtype, Port, Tensor } from "./tensor.ts";

/** An image that a model may take where its bundle declares an image input. */
export type ImageInput =
  | ImageBitmap
  | ImageData
  | VideoFrame
  | HTMLImageElement
  | HTMLCanvasElement
  | HTMLVideoElement
  | OffscreenCanvas
  | Blob;

/** A tensor as callers may give it: float16 also as Float16Array, uint8 also as Uint8ClampedArray. */
export interface TensorInput {
  /** Element type; must be the one that the model's input has. */
  readonly dtype: Dtype;
  /** Size of each axis, the slowest first. */
  readonly dims: readonly number[];
  /** The elements, row by row; as many as the dims multiply to. */
  readonly data: ArrayBufferView | readonly string[];
}

/** Inputs by name. */
export type Inputs = Readonly<Record<string, TensorInput | ImageInput>>;

/** What the checks need to know of a model. */
export interface Accepts {
  readonly ports: readonly Port[];
  readonly images: Readonly<Record<string, ImageSpec>>;
}

const ARRAYS: Readonly<Record<Exclude<Dtype, "string">, string>> = {
  float32: "Float32Array",
  float64: "Float64Array",
  float16: "Uint16Array",
  int8: "Int8Array",
  uint8: "Uint8Array",
  int16: "Int16Array",
  uint16: "Uint16Array",
  int32: "Int32Array",
  uint32: "Uint32Array",
  int64: "BigInt64Array",
  uint64: "BigUint64Array",
  bool: "Uint8Array",
};

/**
 * Checks inputs and copies them, or moves them where `transfer` is true. Images are decoded off the main thread.
 * @throws TypeError for a wrong kind (missing or unknown name, dtype, array class, detached buffer, no image).
 * @throws RangeError for a wrong size (rank, dim, element count, empty batch).
 */
export async function takeInputs(
  effects: Effects,
  accepts: Accepts,
  inputs: Inputs,
  transfer: boolean,
): Promise<RunMessage["feeds"]> {
  const { tensors, images } = checkInputs(accepts, inputs);
  const feeds: Record<string, WireValue> = {};
  const shared = countBuffers(tensors);
  for (const [name, tensor] of tensors) {
    const taken = takeTensor(tensor, transfer && shared.get(bufferOf(tensor)) === 1);
    feeds[name] = { kind: "tensor", tensor: taken };
  }
  for (const [name, source] of images) {
    const image = await takeImage(effects, name, source);
    feeds[name] = { kind: "image", image };
  }
  return feeds;
}

/** Checks inputs without taking them; separate so that all tensors are known good before any buffer moves. */
function checkInputs(
  accepts: Accepts,
  inputs: Inputs,
): { tensors: [string, TensorInput][]; images: [string, ImageInput][] } {
  if (typeof inputs !== "object" || inputs === null)
    throw new TypeError(`inputs: expected an object of named tensors, got ${show(inputs)}`);
  const names = accepts.ports.map((x) => x.name);
  for (const name of Object.keys(inputs))
    if (!names.includes(name)) throw new TypeError(`inputs: the model has no input "${name}", only ${list(names)}`);
  const symbols = new Map<string, { size: number; input: string }>();
  const tensors: [string, TensorInput][] = [];
  const images: [string, ImageInput][] = [];
  for (const port of accepts.ports) {
    const value: unknown = Object.hasOwn(inputs, port.name) ? inputs[port.name] : undefined;
    if (value === undefined) throw new TypeError(`inputs: "${port.name}" is missing; the model takes ${list(names)}`);
    if (isTensorLike(value)) {
      checkTensor(port, value);
      checkSymbols(port, value.dims, symbols);
      tensors.push([port.name, value]);
    } else if (Object.hasOwn(accepts.images, port.name)) {
      if (!isImage(value))
        throw new TypeError(`input "${port.name}": expected an image or a tensor, got ${show(value)}`);
      images.push([port.name, value]);
    } else {
      const hint = isImage(value) ? "; the bundle declares no image input of this name" : "";
      throw new TypeError(`input "${port.name}": expected { dtype, dims, data }, got ${show(value)}${hint}`);
    }
  }
  return { tensors, images };
}

/** Checks one tensor against the port that takes it. */
export function checkTensor(port: Port, value: TensorInput): void {
  const at = `input "${port.name}"`;
  const { dtype, dims, data } = value as { dtype: unknown; dims: unknown; data: unknown };
  if (dtype !== port.dtype) throw new TypeError(`${at}: expected dtype ${port.dtype}, got ${show(dtype)}`);
  if (!Array.isArray(dims)) throw new TypeError(`${at}: dims must be an array, got ${show(dims)}`);
  for (const dim of dims as unknown[])
    if (typeof dim !== "number" || !Number.isSafeInteger(dim) || dim < 0)
      throw new RangeError(`${at}: dims must be whole numbers of 0 and up, got ${showDims(dims)}`);
  const sizes = dims as number[];
  if (sizes.length !== port.dims.length)
    throw new RangeError(`${at}: expected ${port.dims.length} dims ${showDims(port.dims)}, got ${showDims(sizes)}`);
  port.dims.forEach((want, axis) => {
    if (typeof want === "number" && sizes[axis] !== want)
      throw new RangeError(`${at}: dim ${axis} must be ${want} (${showDims(port.dims)}), got ${showDims(sizes)}`);
  });
  if (port.batchAxis !== null && sizes[port.batchAxis] === 0)
    throw new RangeError(`${at}: the batch is empty (dim ${port.batchAxis} of ${showDims(sizes)})`);
  checkData(at, port.dtype, sizes, data);
}

function checkData(at: string, dtype: Dtype, dims: readonly number[], data: unknown): void {
  const count = dims.reduce((product, x) => product * x, 1);
  if (dtype === "string") {
    if (!Array.isArray(data)) throw new TypeError(`${at}: string data must be an array, got ${show(data)}`);
    const wrong: unknown = data.find((x) => typeof x !== "string");
    if (wrong !== undefined) throw new TypeError(`${at}: string data holds ${show(wrong)}`);
  } else if (!acceptsArray(dtype, data)) {
    throw new TypeError(`${at}: ${dtype} data must be a ${ARRAYS[dtype]}, got ${show(data)}`);
  } else if (data.length === 0 && count > 0 && data.buffer.byteLength === 0) {
    throw new TypeError(`${at}: its buffer is empty or detached (was it transferred before?)`);
  }
  const { length } = data as { length: number };
  if (length !== count)
    throw new RangeError(`${at}: dims ${showDims(dims)} need ${count} elements, data has ${length}`);
}

function checkSymbols(port: Port, dims: readonly number[], seen: Map<string, { size: number; input: string }>): void {
  port.dims.forEach((want, axis) => {
    if (typeof want !== "string" || want === "") return;
    const size = dims[axis] ?? 0;
    const before = seen.get(want);
    if (before !== undefined && before.size !== size)
      throw new RangeError(`input "${port.name}": "${want}" is ${size}, but ${before.size} in input "${before.input}"`);
    seen.set(want, { size, input: port.name });
  });
}

interface NumberArray extends ArrayBufferView {
  readonly length: number;
}

function acceptsArray(dtype: Exclude<Dtype, "string">, data: unknown): data is NumberArray {
  if (!ArrayBuffer.isView(data)) return false;
  const kind = Object.prototype.toString.call(data).slice(8, -1);
  if (kind === ARRAYS[dtype]) return true;
  return (dtype === "float16" && kind === "Float16Array") || (dtype === "uint8" && kind === "Uint8ClampedArray");
}

/** Counts how many tensors look at each buffer: one that serves two inputs can't be moved. */
function countBuffers(tensors: readonly [string, TensorInput][]): Map<unknown, number> {
  const counts = new Map<unknown, number>();
  for (const [, tensor] of tensors) counts.set(bufferOf(tensor), (counts.get(bufferOf(tensor)) ?? 0) + 1);
  return counts;
}

function bufferOf(tensor: TensorInput): unknown {
  return ArrayBuffer.isView(tensor.data) ? tensor.data.buffer : tensor.data;
}

/** Copies a tensor, or moves its buffer without a copy; float16 becomes its bits. */
function takeTensor(value: TensorInput, transfer: boolean): Tensor {
  const dims = [...value.dims];
  if (value.dtype === "string") return { dtype: "string", dims, data: [...(value.data as string[])] };
  const view = value.data as Uint8Array<ArrayBuffer>;
  const whole = view.byteOffset === 0 && view.byteLength === view.buffer.byteLength;
  const buffer =
    transfer && whole && view.buffer instanceof ArrayBuffer
      ? structuredClone(view.buffer, { transfer: [view.buffer] })
      : new Uint8Array(view.buffer, view.byteOffset, view.byteLength).slice().buffer;
  return { dtype: value.dtype, dims, data: arrayOver(value.dtype, buffer) };
}

function isTensorLike(value: unknown): value is TensorInput {
  return typeof value === "object" && value !== null && "dtype" in value && "dims" in value && "data" in value;
}

function isImage(value: unknown): value is ImageInput {
  if (typeof value !== "object" || value === null) return false;
  const kind = Object.prototype.toString.call(value).slice(8, -1);
  return /^(ImageBitmap|ImageData|VideoFrame|HTML(Image|Canvas|Video)Element|OffscreenCanvas|Blob|File)$/.test(kind);
}

async function takeImage(effects: Effects, name: string, source: ImageInput): Promise<WireImage> {
  if ("data" in source) {
    const { width, height, data } = source;
    if (data.length !== width * height * 4 || data.length === 0)
      throw new TypeError(`input "${name}": its pixels are empty or detached (was it transferred before?)`);
    return { width, height, data: new Uint8ClampedArray(data) };
  }
  try {
    return await effects.createImageBitmap(source);
  } catch (error) {
    throw new TypeError(`input "${name}": this browser can't decode it as an image`, { cause: error });
  }
}

function show(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (typeof value === "string") return JSON.stringify(value.slice(0, 60));
  if (typeof value === "object") return Object.prototype.toString.call(value).slice(8, -1);
  return typeof value === "number" ? String(value) : typeof value;
}

function showDims(dims: readonly unknown[]): string {
  return `[${dims.map((x) => (typeof x === "string" && x === "" ? "?" : String(x))).join(", ")}]`;
}

function list(names: readonly string[]): string {
  return names.map((x) => `"${x}"`).join(", ");
}
