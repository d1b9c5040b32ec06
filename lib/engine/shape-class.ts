// Classes of shapes that a GPU is checked for. Kernels are chosen by the sizes of their operands: ONNX Runtime has
// others for one row than for several, for few rows than for many, and for sizes that are multiples of 4 or 2 (vectors).
// So two sizes are of one class where they have the same power of two above them and the same such divisor: 1; 2; 3; 4;
// 5 and 7; 6; 8; … 64. That is 16 classes of batches.
import type { Port, Tensor } from "../core/tensor.ts";
import type { Feeds } from "../rpc/messages.ts";

/** A request of a batch and the GPU's answer. */
export interface Answered {
  readonly feeds: Feeds;
  readonly outputs: Readonly<Record<string, Tensor>>;
  /** Dims of its tensors by input, those of images and texts among them; null where it has tensors alone. */
  readonly dims: Readonly<Record<string, readonly number[]>> | null;
}

/** The ports of a model, and its recurrent state. */
export interface Shapes {
  readonly ports: readonly Port[];
  /** The input that each output feeds at the next step. */
  readonly states: Readonly<Record<string, string>>;
}

/**
 * Returns the class of a batch: for each input the sum of its rows, and its largest size in each other axis. A state has
 * the sizes of its model.
 */
export function classOf({ ports, states }: Shapes, batch: readonly Answered[]): string {
  let name = "";
  for (const { name: input, batchAxis } of ports) {
    if (Object.values(states).includes(input)) continue;
    const total: number[] = [];
    for (const one of batch)
      for (const [axis, size] of sizesOf(one, input).entries())
        total[axis] = axis === batchAxis ? (total[axis] ?? 0) + size : Math.max(total[axis] ?? 0, size);
    name += `${total.map(bucketOf).join(",")};`;
  }
  return name;
}

/** Returns the requests of a batch that are padded in no axis: those with its largest sizes. */
export function widestOf({ ports }: Shapes, batch: readonly Answered[]): readonly Answered[] {
  let widest = batch;
  for (const { name, batchAxis } of ports) {
    const sizes = (one: Answered): readonly number[] => sizesOf(one, name);
    const axes = batch[0] === undefined ? 0 : sizes(batch[0]).length;
    for (let axis = 0; axis < axes; axis += 1) {
      if (axis === batchAxis) continue;
      const largest = Math.max(...widest.map((one) => sizes(one)[axis] ?? 0));
      widest = widest.filter((one) => sizes(one)[axis] === largest);
    }
  }
  return widest;
}

/** Returns a name of all sizes that kernels treat alike. */
function bucketOf(size: number): string {
  return `${Math.ceil(Math.log2(Math.max(1, size)))}${size % 4 === 0 ? "" : size % 2 === 0 ? "b" : "a"}`;
}

/** Returns the dims of an input; none for one that a request leaves out. */
export function sizesOf({ feeds, dims }: Answered, name: string): readonly number[] {
  return dims?.[name] ?? feeds.tensors[name]?.dims ?? [];
}
