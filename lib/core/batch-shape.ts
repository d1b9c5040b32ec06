// Which requests may run together: pure functions of what a model declares and of the sizes that came. The page asks
// before it queues, from sizes that it may only guess at (a picture's); the worker asks again from the real ones.
// Together means joined along the batch axis, so all other sizes must be the same, or be padded to the same where the
// bundle says how far that is harmless: sizes are then told apart by a scale whose steps are that far apart.
import type { BundleInput } from "./bundle.ts";
import type { Port } from "./tensor.ts";

/** What a request looks like to a batch. */
export interface Shape {
  /** The same for all requests that may run together. */
  readonly key: string;
  /** How many rows it brings along the batch axis. */
  readonly rows: number;
}

/** Tells whether a model's requests can run together at all: every input and output has a batch axis of any size. */
export function canBatch(inputs: readonly Port[], outputs: readonly Port[]): boolean {
  return inputs.length > 0 && [...inputs, ...outputs].every(isOpen);
}

/** Gives the shape of a request by the dims of its inputs; null where it must run alone. Pads nothing where `exact`. */
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
  return rows === undefined ? null : { key, rows };
}

function isOpen({ dims, batchAxis }: Port): boolean {
  return batchAxis !== null && typeof dims[batchAxis] === "string";
}
