// Dims of typed arrays that are passed alone: the model declares them, but for at most one axis, whose size follows
// from the number of elements. Sizes of symbolic dims come from the other inputs, in any order.
import type { Symbols } from "../core/check-inputs.ts";
import type { Port } from "../core/tensor.ts";
import type { ArrayInput, Inputs, TensorInput } from "./inputs.ts";

/** Whether a value is a tensor's data alone: a typed array, or an array where the input takes strings. */
export function isDataAlone({ dtype }: Port, value: unknown): value is ArrayInput {
  return ArrayBuffer.isView(value) ? "length" in value : dtype === "string" && Array.isArray(value);
}

/**
 * Returns the inputs with a tensor for each typed array that stands alone.
 * @throws RangeError where its dims don't follow from the model and the other inputs
 */
export function withDims(ports: readonly Port[], inputs: Inputs, known: Symbols | undefined): Inputs {
  const sizes = new Map<unknown, number>();
  for (const [name, { size }] of known ?? []) sizes.set(name, size);
  const note = (port: Port, dims: readonly number[]): void => {
    for (const [axis, want] of port.dims.entries())
      if (typeof want === "string" && typeof dims[axis] === "number") sizes.set(want, dims[axis]);
  };
  /** The dims as far as they are known; an open one is its name. */
  const dimsOf = (port: Port): (number | string)[] => port.dims.map((x) => sizes.get(x) ?? x);
  const taken: Record<string, Inputs[string]> = { ...inputs };
  let alone = ports.filter((port) => {
    const value = inputs[port.name];
    if (isDataAlone(port, value)) return true;
    note(port, (value as TensorInput | null)?.dims ?? []);
    return false;
  });
  for (let port = alone[0]; port !== undefined; port = alone[0]) {
    const next = alone.find((x) => dimsOf(x).filter(isOpen).length < 2) ?? port;
    const { name, dtype } = next;
    const data = inputs[name] as ArrayInput;
    const dims = solve(name, dimsOf(next), data.length);
    note(next, dims);
    taken[name] = { dtype, dims, data } as TensorInput;
    alone = alone.filter((x) => x !== next);
  }
  return taken;
}

function isOpen(dim: unknown): boolean {
  return typeof dim === "string";
}

/** Replaces the one open dim by the size that has room for the elements; a number that fits none is refused as a tensor's. */
function solve(name: string, dims: readonly (number | string)[], count: number): number[] {
  const size = dims.reduce<number>((rest, x) => (isOpen(x) ? rest : rest / (x as number)), count);
  const open = dims.filter(isOpen);
  // Beside a dim of 0, any size fits. No dims: a scalar, or an open rank.
  if (open.length > (size < Infinity ? 1 : 0) || (dims.length === 0 && count !== 1)) {
    // Of two, the first is the batch most often.
    const isPair = open.length === 2 && open[0] !== open[1] && isOpen(dims[0]) && size > 0 && size % 1 === 0;
    const example = isPair ? `, as dims [${dims.map((x, i) => (isOpen(x) ? (i ? size : 1) : x)).join(", ")}]` : "";
    throw new RangeError(
      `input "${name}": ${count} elements alone don't determine [${dims.join(", ")}]; pass { dtype, dims, data }${example}`,
    );
  }
  return dims.map((x) => (typeof x === "string" ? Math.ceil(size) : x));
}
