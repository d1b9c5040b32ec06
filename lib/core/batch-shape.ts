// Batching compatibility of requests: pure functions of a model's declared ports and the sizes of a request. The page
// checks before it queues, with sizes that may be estimates (a picture's); the worker checks again with the real ones.
// Requests are batched by concatenation along the batch axis, so all other sizes must be equal. Where the bundle says
// how much padding is harmless, they may be padded to be equal: sizes are then grouped on a logarithmic scale with that
// step.
import type { BundleInput } from "./bundle.ts";
import type { Port } from "./tensor.ts";

/** The batching-relevant shape of a request. */
export interface Shape {
  /** Equal for all requests that may be batched together. */
  readonly key: string;
  /** Number of rows along the batch axis. */
  readonly rows: number;
}

/** Whether a model's requests can be batched at all: every input and output has a batch axis of any size. */
export function canBatch(inputs: readonly Port[], outputs: readonly Port[]): boolean {
  return inputs.length > 0 && [...inputs, ...outputs].every(isOpen);
}

/**
 * Returns the shape of a request from the dims of its inputs; null where it must run alone, as one without rows does.
 * `exact` excludes padding.
 */
export function shapeOf(
  ports: readonly BundleInput[],
  dims: Readonly<Record<string, readonly number[]>>,
  exact = false,
): Shape | null {
  let key = "";
  let rows: number | undefined;
  for (const { name, batchAxis, pad } of ports) {
    const sizes = dims[name] ?? [];
    for (let axis = 0; axis < sizes.length; axis += 1) {
      const size = sizes[axis] as number;
      if (axis !== batchAxis) {
        const isPadded = !exact && axis === pad?.axis;
        key += isPadded ? `${Math.floor(Math.log(size) / Math.log(1 + pad.upTo))}~` : `${size},`;
      } else if ((rows ??= size) !== size) return null;
    }
    key += ";";
  }
  return rows ? { key, rows } : null;
}

function isOpen({ dims, batchAxis }: Port): boolean {
  return batchAxis !== null && typeof dims[batchAxis] === "string";
}
