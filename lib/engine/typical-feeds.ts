// Typical inputs of a model, for measurements and as the first value of a recurrent state.
import type { Feeds } from "../rpc/messages.ts";
import { ARRAY_TYPES, zeros } from "../core/tensor.ts";
import type { Port, Tensor } from "../core/tensor.ts";

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
