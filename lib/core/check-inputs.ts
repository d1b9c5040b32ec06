// Checks of tensors against a model's inputs, shared by both ends of the thread line: the page checks before anything
// is queued, against the bundle's declaration; the worker against the model's real inputs. ONNX Runtime's own messages
// come late, name indices, and for some mistakes (a short array) never come.
import { withoutCredentials } from "./credentials.ts";
import { ARRAY_TYPES } from "./tensor.ts";
import type { Dtype, Port } from "./tensor.ts";

/** A tensor as the caller passed it: no field is trusted yet. */
export interface TensorLike {
  readonly dtype: unknown;
  readonly dims: unknown;
  readonly data?: unknown;
}

/** The largest dim that every build of ONNX Runtime supports. */
const DIM_MAX = 2 ** 31 - 1;

/** Array types that are accepted beside the one of a dtype. */
const ALSO: Partial<Record<Dtype, string>> = { float16: "Float16Array", uint8: "Uint8ClampedArray" };

/**
 * Checks a run's tensors against the ports.
 * @throws TypeError for a wrong kind (name, dtype, array, detached buffer), RangeError for a wrong size
 */
export function checkFeeds(ports: readonly Port[], feeds: Readonly<Record<string, TensorLike>>): void {
  checkNames(ports, feeds);
  const symbols: Symbols = new Map();
  for (const port of ports) {
    const tensor = feeds[port.name] as TensorLike;
    if ("buffer" in tensor) checkShape(port, tensor);
    else checkTensor(port, tensor);
    checkSymbols(port, tensor.dims as number[], symbols);
  }
}

/** Checks that every input is present and no other. */
export function checkNames(
  ports: readonly (Port & { readonly unsupported?: string | undefined })[],
  feeds: Readonly<Record<string, unknown>>,
): void {
  const names = (): string =>
    ports.map((port) => `"${port.name}"${port.unsupported ? ` (${port.unsupported})` : ""}`).join(", ");
  for (const name of Object.keys(feeds))
    if (!ports.some((port) => port.name === name))
      throw new TypeError(`inputs: the model has no input "${name}", only ${names()}`);
  for (const { name } of ports)
    if (!Object.hasOwn(feeds, name) || feeds[name] === undefined)
      throw new TypeError(`inputs: "${name}" is missing; the model takes ${names()}`);
}

/** Checks one tensor. A port without dims is a scalar or of open rank, which ONNX Runtime does not distinguish. */
export function checkTensor(port: Port, tensor: TensorLike): void {
  checkData(port, checkShape(port, tensor), tensor.data);
}

/** Checks all of a tensor but its elements, which may be on a device; returns its dims. */
function checkShape(port: Port, { dtype, dims }: TensorLike): number[] {
  const at = `input "${port.name}"`;
  if (dtype !== port.dtype) throw new TypeError(`${at}: expected dtype ${port.dtype}, got ${show(dtype)}`);
  if (!Array.isArray(dims)) throw new TypeError(`${at}: dims must be an array, got ${show(dims)}`);
  for (const dim of dims as number[])
    if (!Number.isInteger(dim) || dim < 0 || dim > DIM_MAX)
      throw new RangeError(`${at}: dims must be whole numbers from 0 to ${DIM_MAX}, got ${showDims(dims)}`);
  const sizes = dims as number[];
  const isOther = port.dims.some((want, axis) => typeof want === "number" && sizes[axis] !== want);
  if (isOther || (port.dims.length > 0 && sizes.length !== port.dims.length))
    throw new RangeError(`${at}: expected dims ${showPort(port)}, got ${showDims(sizes)}`);
  return sizes;
}

/** The sizes of symbolic dims so far, and the input that set each. */
export type Symbols = Map<string, { readonly size: number; readonly input: string }>;

/** Checks that a symbolic dim has one size wherever it occurs, and records new ones. */
export function checkSymbols(port: Port, dims: readonly number[], seen: Symbols): void {
  for (const [axis, want] of port.dims.entries()) {
    if (typeof want !== "string") continue;
    const size = dims[axis] ?? 0;
    const before = seen.get(want);
    if (before !== undefined && before.size !== size)
      throw new RangeError(`input "${port.name}": "${want}" is ${size}, but ${before.size} in input "${before.input}"`);
    seen.set(want, { size, input: port.name });
  }
}

/** Formats a value for a message: short, by its kind where it is large. */
export function show(value: unknown): string {
  if (value == null) return String(value);
  if (typeof value === "string") return JSON.stringify(withoutCredentials(value).slice(0, 60));
  if (typeof value === "object") return Array.isArray(value) && value.length === 0 ? "an empty list" : kindOf(value);
  return typeof value === "number" ? String(value) : typeof value;
}

/** Returns the kind of an object; `instanceof` would fail on one of another realm. */
export function kindOf(value: unknown): string {
  return {}.toString.call(value).slice("[object ".length, -1);
}

/** Throws where an array's memory is gone: only there `slice` throws, not for an empty array. */
export function checkAttached(name: string, data: { slice?(from: number, to: number): unknown }): void {
  try {
    data.slice?.(0, 0);
  } catch {
    throw detached(name);
  }
}

/** Returns the error for an array without memory. */
export function detached(name: string): TypeError {
  return new TypeError(`input "${name}": its buffer is detached or resized`);
}

function checkData({ name, dtype }: Port, dims: readonly number[], data: unknown): void {
  const at = `input "${name}"`;
  const wanted = dtype === "string" ? "Array" : ARRAY_TYPES[dtype].name;
  if (kindOf(data) !== wanted && kindOf(data) !== ALSO[dtype])
    throw new TypeError(`${at}: ${dtype} data must be a ${wanted}, got ${show(data)}`);
  const array = data as ArrayLike<unknown>;
  const count = dims.reduce((product, dim) => product * dim, 1);
  if (dtype === "string") {
    // ONNX Runtime takes C strings, which end at NUL.
    const wrong = Array.from(array).findIndex((value) => typeof value !== "string" || value.includes("\0"));
    if (wrong >= 0)
      throw new TypeError(`${at}: element ${wrong} must be a string without NUL, got ${show(array[wrong])}`);
  } else if (array.length === 0) checkAttached(name, data as Uint8Array);
  if (array.length !== count)
    throw new RangeError(`${at}: dims ${showDims(dims)} need ${count} elements, data has ${array.length}`);
}

function showDims(dims: readonly unknown[]): string {
  const shown = dims.map((dim) =>
    typeof dim === "bigint" ? `${dim}n` : typeof dim === "string" ? `"${dim}"` : String(dim),
  );
  return `[${shown.join(", ")}]`;
}

/** Formats a port's dims, symbolic ones by name. */
function showPort({ dims }: Port): string {
  return `[${dims.join(", ")}]`;
}
