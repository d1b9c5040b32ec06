// Checks a run's inputs against what the model takes, before ONNX Runtime sees them: its own messages come late, name
// indices, and for some mistakes (a short array) never come. The same checks for every backend, the fake one too.
import { DTYPE_BYTES } from "../tensor.ts";
import type { Dtype, Port, Tensor } from "../tensor.ts";

const ARRAYS: Readonly<Record<Dtype, string>> = {
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
  string: "Array",
};

/**
 * Throws a TypeError (name, dtype, kind of array) or RangeError (rank, sizes, length, detached buffer) that names the
 * input and says what came. An empty `dims` of a port means a scalar or a rank that the model leaves open.
 */
export function checkFeeds(ports: readonly Port[], feeds: Readonly<Record<string, Tensor>>): void {
  for (const name of Object.keys(feeds)) {
    if (ports.some((port) => port.name === name)) continue;
    throw new TypeError(`The model has no input "${name}"; it takes ${list(ports)}.`);
  }
  const symbols = new Map<string, { size: number; input: string }>();
  for (const port of ports) {
    const tensor = feeds[port.name];
    if (tensor === undefined) throw new TypeError(`Input "${port.name}" is missing; the model takes ${list(ports)}.`);
    checkTensor(port, tensor);
    for (const [axis, dim] of port.dims.entries()) {
      if (typeof dim !== "string") continue;
      const size = tensor.dims[axis] ?? 0;
      const seen = symbols.get(dim);
      if (seen === undefined) symbols.set(dim, { size, input: port.name });
      else if (seen.size !== size) {
        const other = `"${seen.input}" has ${seen.size}`;
        throw new RangeError(`Input "${port.name}" has ${size} for the dim "${dim}", of which ${other}.`);
      }
    }
  }
}

function checkTensor(port: Port, { dtype, dims, data }: Tensor): void {
  const what = `Input "${port.name}"`;
  if (dtype !== port.dtype) throw new TypeError(`${what} must be ${port.dtype}, not ${dtype}.`);
  const array = kindOf(data);
  if (array !== ARRAYS[dtype] && !(dtype === "float16" && array === "Float16Array")) {
    throw new TypeError(`${what} of dtype ${dtype} must hold its data in ${ARRAYS[dtype]}, not ${array}.`);
  }
  let size = 1;
  for (const dim of dims) {
    if (!Number.isInteger(dim) || dim < 0) throw new RangeError(`${what} has a dim ${dim} in [${dims.join(", ")}].`);
    size *= dim;
  }
  if (port.dims.length > 0 && dims.length !== port.dims.length) {
    throw new RangeError(`${what} must have dims [${port.dims.join(", ")}], not [${dims.join(", ")}].`);
  }
  for (const [axis, dim] of port.dims.entries()) {
    if (typeof dim === "string" || dims[axis] === dim) continue;
    throw new RangeError(`${what} must have dims [${port.dims.join(", ")}], not [${dims.join(", ")}].`);
  }
  if (data.length !== size) {
    const detached = data.length === 0 && DTYPE_BYTES[dtype] > 0 ? " (a detached buffer is empty)" : "";
    throw new RangeError(`${what} has ${data.length} values${detached} for dims [${dims.join(", ")}], not ${size}.`);
  }
}

/** Names the kind of an array; `instanceof` would fail on arrays of another realm. */
function kindOf(data: unknown): string {
  return Array.isArray(data) ? "Array" : Object.prototype.toString.call(data).slice("[object ".length, -1);
}

function list(ports: readonly Port[]): string {
  return ports.map((port) => `"${port.name}"`).join(", ");
}
