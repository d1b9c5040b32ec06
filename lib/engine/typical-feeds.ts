// Typical inputs of a model, for measurements and as the first value of a recurrent state.
import type { Feeds } from "../rpc/messages.ts";
import { ARRAY_TYPES, zeros } from "../core/tensor.ts";
import type { NumericDtype, Port, Tensor } from "../core/tensor.ts";

/** Bound on the bytes of typical inputs: a bundle that declares larger ones is measured with its first request. */
const TYPICAL_MAX_BYTES = 2 ** 28;

/**
 * Builds typical inputs: symbolic dims from `typical`, a batch of one. Null where a size is not known, where a model
 * takes strings, and where they would exceed 256 MiB.
 */
export function typicalFeeds(ports: readonly Port[], typical: Readonly<Record<string, number>>): Feeds | null {
  const sizes: number[][] = [];
  let bytes = 0;
  for (const { dtype, dims, batchAxis } of ports) {
    if (dtype === "string") return null;
    const size: number[] = [];
    for (const [axis, dim] of dims.entries())
      size.push(typeof dim === "number" ? dim : axis === batchAxis ? 1 : (typical[dim] ?? NaN));
    bytes += size.reduce((product, x) => product * x, ARRAY_TYPES[dtype].BYTES_PER_ELEMENT);
    if (!(bytes <= TYPICAL_MAX_BYTES)) return null; // NaN, where a size is not known
    sizes.push(size);
  }
  const tensors: Record<string, Tensor> = {};
  for (const [i, { name, dtype }] of ports.entries()) {
    const dims = sizes[i] as number[];
    const count = dims.reduce((product, x) => product * x, 1);
    const data = zeros(dtype as Exclude<typeof dtype, "string">, count);
    tensors[name] = { dtype, dims, data } as Tensor;
  }
  return { tensors, others: null };
}

/** Returns a tensor of pseudo-random values, the same each time: between −1 and 1, or 0 and 1 for integers. */
export function seededTensor(dtype: NumericDtype, dims: readonly number[]): Tensor {
  const count = dims.reduce((product, x) => product * x, 1);
  const data = zeros(dtype, count);
  let state = 1;
  for (let i = 0; i < count; i += 1) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) | 0; // a linear congruential generator, since test-support/random.ts is not in the package
    const value = state / 2 ** 31;
    if (dtype === "float16")
      data[i] = value < 0 ? 0xb800 : 0x3800; // −0.5 and 0.5
    else if (data instanceof BigInt64Array || data instanceof BigUint64Array) data[i] = value < 0 ? 0n : 1n;
    else data[i] = dtype.startsWith("float") ? value : value < 0 ? 0 : 1;
  }
  return { dtype, dims, data } as Tensor;
}
