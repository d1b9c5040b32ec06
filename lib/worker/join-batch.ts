// A batch inside a worker: requests of one model that arrived together. Those whose inputs are compatible are
// concatenated along the batch axis, run as one, and split again; each gets the answer that it would have got alone.
// The others run alone, so the scheduler's estimate of sizes need not be right. An item that fails (an image that can't
// be decoded, an index out of range) does not fail the others.
import type { Backend, DeviceTensor } from "../rpc/backend.ts";
import type { BundleInput, BundleOutput } from "../core/bundle.ts";
import { isSelvedgeError, SelvedgeError } from "../core/errors.ts";
import type { ErrorCode } from "../core/errors.ts";
import { checkTensor } from "../core/check-inputs.ts";
import { canBatch, shapeOf } from "../core/batch-shape.ts";
import type { Tensor } from "../core/tensor.ts";
import { joinOnGpu } from "./concat-gpu.ts";
import { isSame, joinTensors, padTensor, sliceTensor, splitTensor } from "./concat-tensors.ts";

/** An input of an item: a tensor, or a function that makes one once its place in a batch is known. */
export type InputPart =
  Tensor | { readonly dims: readonly number[]; readonly heldBytes: number; readonly draw: () => Tensor | DeviceTensor };
/** The inputs of one item by name. */
export type InputParts = Readonly<Record<string, InputPart>>;
/** The outputs of one item, or its error. */
export type ItemOutcome = { readonly outputs: Readonly<Record<string, Tensor>> } | { readonly error: unknown };

/** Batching rules of a model: its ports, and results of earlier batches. */
export interface Batching {
  readonly inputs: readonly BundleInput[];
  readonly outputs: readonly BundleOutput[];
  /** Whether requests may be concatenated; false for good once the outputs of a batch could not be split. */
  canJoin: boolean;
  /** Whether the batch axis was declared, or verified by running a first batch both ways. */
  isProved: boolean;
  /**
   * Whether outputs have a row for each row of the inputs; false for good once an answer to one row had another number:
   * of a server, which may be faulty, once two had.
   */
  isCounted: boolean;
  /** Whether a server's answer to one row had another number. */
  isDoubted: boolean;
  /** Whether a server answers, of which nothing is known. */
  readonly isRemote: boolean;
}

/** Outcomes of a batch, in the order of its items. */
export interface BatchRun {
  readonly outcomes: readonly ItemOutcome[];
  /** Number of backend runs. */
  readonly runs: number;
  /** Places of the items that each run answered. */
  readonly groups: readonly (readonly number[])[];
}

/** Returns the batching rules of a model; undeclared axes are only trusted once a batch came out right. */
export function batchingOf(
  inputs: readonly BundleInput[],
  outputs: readonly BundleOutput[],
  isDeclared: boolean,
  isRemote = false,
): Batching {
  const canJoin = canBatch(inputs, outputs);
  return { inputs, outputs, canJoin, isProved: isDeclared, isCounted: true, isDoubted: false, isRemote };
}

/** Errors of the lane or of its memory, which no single item causes. */
const LANE_FAILED: ReadonlySet<ErrorCode> = new Set(["device-lost", "out-of-memory", "worker-crashed"]);

/** One item to run. */
interface Item {
  readonly index: number;
  readonly parts: InputParts;
}

/**
 * Runs items, together where they are compatible. Rejects where the lane failed, and for a single item with its own
 * error.
 */
export async function runBatch(
  backend: Pick<Backend, "run" | "device">,
  modelId: number,
  model: Batching,
  items: readonly InputParts[],
  isAlone: boolean = items.length === 1,
): Promise<BatchRun> {
  const outcomes: ItemOutcome[] = [];
  const answered: number[][] = [];
  let runs = 0;
  const run = (feeds: Readonly<Record<string, Tensor | DeviceTensor>>): Promise<Record<string, Tensor>> => {
    runs += 1;
    return backend.run(modelId, feeds);
  };
  const alone = async ({ index, parts }: Item): Promise<void> => {
    answered.push([index]);
    try {
      const outputs = await run(drawn(parts));
      checkRows(model, parts, outputs);
      outcomes[index] = { outputs };
    } catch (error) {
      if (isAlone || isLaneFailure(error)) throw error;
      outcomes[index] = { error };
    }
  };
  for (const group of groups(model, items)) {
    const together = group.length > 1 && model.canJoin ? await joined(backend, model, group, run) : null;
    if (together === null || !model.isProved) for (const item of group) await alone(item);
    if (together === null) continue;
    if (!model.isProved) {
      model.canJoin = model.isCounted && group.every(({ index }, i) => isSameOutcome(outcomes[index], together[i]));
      model.isProved = model.canJoin;
      continue;
    }
    answered.push(group.map(({ index }) => index));
    for (const [i, { index }] of group.entries()) outcomes[index] = { outputs: together[i] ?? {} };
  }
  return { outcomes, runs, groups: answered };
}

/**
 * Refuses an answer of a server that has other rows than its request of several. Only axes of one name are compared:
 * others may differ in size, as those of what a detector finds. Its axis may have that name too: answers to one row
 * show that, and then nothing is refused, nor joined. The first of a server is none yet, but the next batch is verified.
 * The lane counts as down, so that other attempts go to another server.
 * @throws SelvedgeError `remote-failed` with the reason `bad-reply`
 */
function checkRows(model: Batching, parts: InputParts, answer: Readonly<Record<string, Tensor>>): void {
  if (!model.isCounted) return;
  for (const { name, dims, batchAxis } of model.outputs) {
    const axis = batchAxis === null ? undefined : dims[batchAxis];
    const input = model.inputs.find(
      (x) => typeof axis === "string" && x.batchAxis !== null && x.dims[x.batchAxis] === axis,
    );
    const wanted = parts[input?.name ?? ""]?.dims[input?.batchAxis ?? 0];
    const found = answer[name]?.dims[batchAxis ?? 0];
    if (wanted === undefined || found === undefined || wanted === found) continue;
    if (wanted === 1 && model.isRemote && !model.isDoubted) {
      model.isDoubted = true;
      model.isProved = false;
      return;
    }
    if (wanted === 1) model.isCounted = model.canJoin = false;
    else if (model.isRemote) throw otherRows(name, found, wanted);
  }
}

function otherRows(name: string, found: number, wanted: number): SelvedgeError {
  const fix = "Where that axis counts something else, give it a name of its own in the bundle.";
  const text = `The server's answer has ${found} rows in output "${name}", and the request has ${wanted}. ${fix}`;
  return new SelvedgeError("remote-failed", text, { reason: "bad-reply", isLaneDown: true });
}

/** Groups compatible items, in order of arrival. */
function groups(model: Batching, items: readonly InputParts[]): Item[][] {
  const found = new Map<string, Item[]>();
  let before: InputParts | null = null; // of `last`, which more may join
  let last: Item[] = [];
  for (const [index, parts] of items.entries()) {
    // Items that were packed as alike share one dims array.
    if (before !== null && model.inputs.every(({ name }) => before?.[name]?.dims === parts[name]?.dims)) {
      last.push({ index, parts });
      continue;
    }
    const shape = model.canJoin ? shapeOf(model.inputs, dimsOf(parts), isDrawn(parts)) : null;
    before = shape === null ? null : parts;
    const key = shape === null ? `alone ${index}` : `${isDrawn(parts) ? "drawn " : ""}${shape.key}`;
    const group = found.get(key) ?? [];
    found.set(key, group);
    group.push({ index, parts });
    last = group;
  }
  return [...found.values()];
}

/** Runs a group as one; null where its outputs can't be split, or where the group failed. */
async function joined(
  backend: Pick<Backend, "run" | "device">,
  model: Batching,
  group: readonly Item[],
  run: (feeds: Record<string, Tensor | DeviceTensor>) => Promise<Record<string, Tensor>>,
): Promise<Record<string, Tensor>[] | null> {
  const feeds: Record<string, Tensor | DeviceTensor> = {};
  const made: GPUBuffer[] = [];
  const device = backend.device ?? null;
  const first = model.inputs[0] as BundleInput;
  const rows = group.map(({ parts }) => parts[first.name]?.dims[first.batchAxis ?? 0] ?? 0);
  const isPadded = new Set<number>();
  try {
    for (const port of model.inputs) {
      const axis = port.batchAxis ?? 0;
      const parts = group.map((item) => item.parts[port.name] as InputPart);
      if (device !== null && axis === 0 && parts.every((part) => "draw" in part)) {
        const tensor = joinOnGpu(
          device,
          parts.map((part) => part.draw),
        );
        made.push(tensor.buffer);
        feeds[port.name] = tensor;
        continue;
      }
      if (parts.some((part) => "draw" in part)) return null;
      let tensors = parts as Tensor[];
      for (const tensor of tensors) checkTensor(port, tensor);
      const { pad } = port;
      if (pad !== undefined) {
        const sizes = tensors.map(({ dims }) => dims[pad.axis] as number);
        const size = Math.max(...sizes);
        tensors = tensors.map((tensor) => padTensor(tensor, pad.axis, size, pad.value ?? 0));
        for (const [i, own] of sizes.entries()) if (own < size) isPadded.add(i);
      }
      feeds[port.name] = joinTensors(tensors, axis);
    }
    return apart(model, group, rows, isPadded, await run(feeds));
  } catch (error) {
    if (isLaneFailure(error)) throw error;
    return null; // running each alone shows which item failed
  } finally {
    for (const buffer of made) buffer.destroy();
  }
}

/** Splits the outputs of a group; null where that is impossible, which also turns off batching for good. */
function apart(
  model: Batching,
  group: readonly Item[],
  rows: readonly number[],
  isPadded: ReadonlySet<number>,
  outputs: Readonly<Record<string, Tensor>>,
): Record<string, Tensor>[] | null {
  const each = group.map((): Record<string, Tensor> => ({}));
  for (const [name, output] of Object.entries(outputs)) {
    const port = model.outputs.find((x) => x.name === name);
    const parts = port === undefined ? null : splitTensor(output, port.batchAxis ?? 0, rows);
    if (parts === null) {
      model.canJoin = false;
      return null;
    }
    for (const [i, part] of parts.entries()) {
      const outputs = each[i] as Record<string, Tensor>;
      outputs[name] = isPadded.has(i) ? cutBack(part, port?.cut, group[i]?.parts ?? {}) : part;
    }
  }
  return each;
}

/** Trims an output of a padded item to the size that the item alone would have given. */
function cutBack(output: Tensor, cut: BundleOutput["cut"], parts: InputParts): Tensor {
  if (cut === undefined) return output;
  const size = parts[cut.input]?.dims[cut.inputAxis] ?? 0;
  const own = Math.min(output.dims[cut.axis] ?? 0, Math.floor((size + cut.plus) / cut.per));
  return sliceTensor(output, cut.axis, 0, own);
}

function isSameOutcome(outcome: ItemOutcome | undefined, outputs: Record<string, Tensor> | undefined): boolean {
  if (outcome === undefined || outputs === undefined || !("outputs" in outcome)) return false;
  return Object.entries(outcome.outputs).every(([name, tensor]) => {
    const other = outputs[name];
    return other !== undefined && isSame(tensor, other);
  });
}

/** Whether each item alone would fail alike: the lane is down, or its server is full. */
function isLaneFailure(error: unknown): boolean {
  if (!isSelvedgeError(error)) return false;
  const { isLaneDown, reason } = error.details;
  return isLaneDown === true || reason === "busy" || LANE_FAILED.has(error.code);
}

function isDrawn(parts: InputParts): boolean {
  return Object.values(parts).some((part) => "draw" in part);
}

/** Returns the dims of an item by input. */
export function dimsOf(parts: InputParts): Record<string, readonly number[]> {
  return Object.fromEntries(Object.entries(parts).map(([name, { dims }]) => [name, dims]));
}

/** Makes the deferred tensors. */
export function drawn(parts: InputParts): Record<string, Tensor | DeviceTensor> {
  return Object.fromEntries(
    Object.entries(parts).map(([name, part]) => [name, "draw" in part ? part.draw() : part] as const),
  );
}
