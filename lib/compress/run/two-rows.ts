// A batch of two samples, on which the source, its simplified graph and every form are compared besides single samples.
// Some faults show for several rows alone: a size of 1 that became a constant, the wrong axis, the first row for all.
import type { BundleInput } from "../../core/bundle.ts";
import type { Tensor } from "../../core/tensor.ts";
import type { OnnxSource } from "../onnx/written-model.ts";
import { countOf } from "./feeds.ts";
import type { Feed } from "./feeds.ts";
import { MAY_DIFFER, sqnr } from "./metric.ts";
import type { Outputs } from "./metric.ts";
import type { ReferenceOutputs } from "./references.ts";
import { openModel } from "./session.ts";
import type { LoadedModel } from "./session.ts";

/** Two rows with the source's outputs, together and each alone. */
export interface TwoRows extends ReferenceOutputs {
  readonly alone: readonly ReferenceOutputs[];
}

/** Two rows, together and each alone. */
interface Joined {
  readonly feed: Feed;
  readonly alone: readonly Feed[];
}

/** Ratio above which outputs are equal up to rounding. */
const EXACT_DB = 60;
/** Loss of signal-to-noise ratio in a batch that says nothing: other rows may set another range. */
const SLACK_DB = 10;

/**
 * Joins two of the samples to a batch and runs the source on it; null where it takes one row alone.
 * @param source - of the model as read
 */
export async function answerTwoRows(
  source: OnnxSource,
  inputs: readonly BundleInput[],
  samples: readonly Feed[],
): Promise<TwoRows | null> {
  // An exporter may give each input's batch a name of its own; or the names may tell two lengths apart.
  const made = [false, true].map((isByName) => twoRows(inputs, samples, isByName)).filter((x) => x !== null);
  if (made.length === 0) return null;
  const model = await openModel(source, "cpu");
  try {
    for (const { feed, alone } of made)
      try {
        const answer = async (x: Feed): Promise<ReferenceOutputs> => ({ feed: x, reference: await model.run(x) });
        const answered: ReferenceOutputs[] = [];
        for (const x of alone) answered.push(await answer(x));
        return { ...(await answer(feed)), alone: answered };
      } catch {
        // It takes the rows along other axes, or one alone.
      }
    return null;
  } finally {
    await model.release();
  }
}

/**
 * Joins the first two samples of equal dims, or one and its values in reverse order; null where no input has a batch axis.
 * @param isByName - whether inputs count rows along dims of one name alone, or else along their first open dim too
 */
export function twoRows(inputs: readonly BundleInput[], samples: readonly Feed[], isByName = false): Joined | null {
  const [first] = samples;
  if (first === undefined) return null;
  const axes = batchAxes(inputs, isByName);
  if (axes.size === 0) return null;
  const dimsOf = (x: Feed): string => JSON.stringify(inputs.map(({ name }) => x[name]?.dims));
  const pairs = samples.flatMap((x, i) => {
    const j = samples.findIndex((y, at) => at > i && dimsOf(y) === dimsOf(x));
    return j === -1 ? [] : [[i, j]];
  });
  const [i = 0, j] = pairs[0] ?? [];
  const one = samples[i] ?? first;
  const other = j === undefined ? reversed(one) : (samples[j] ?? one);
  // Inputs that count no rows are the first one's.
  const rest = Object.fromEntries(
    Object.entries(one).map(([name, x]) => [name, axes.has(name) ? (other[name] ?? x) : x]),
  );
  const feed = Object.entries(one).map(([name, tensor]): [string, Tensor] => {
    const axis = axes.get(name);
    return [name, axis === undefined ? tensor : joinTensors(tensor, rest[name] ?? tensor, axis)];
  });
  return { feed: Object.fromEntries(feed), alone: [one, rest] };
}

/** Returns the axis that counts rows of each input that has one: that named as the first open first dim, or the first open one. */
function batchAxes(inputs: readonly BundleInput[], isByName: boolean): ReadonlyMap<string, number> {
  const batch = inputs.map(({ dims }) => dims[0]).find((x) => typeof x === "string");
  const axes = new Map<string, number>();
  if (batch === undefined) return axes;
  for (const { name, dims } of inputs) {
    const named = dims.indexOf(batch);
    const axis = named === -1 && !isByName ? dims.findIndex((x) => typeof x === "string") : named;
    if (axis >= 0) axes.set(name, axis);
  }
  return axes;
}

/** Joins two tensors of one type along an axis; the other dims are equal. */
export function joinTensors(a: Tensor, b: Tensor, axis: number): Tensor {
  const chunks = [a, b].map((x) => ({ data: x.data, size: countOf(x.dims.slice(axis)) }));
  const values: unknown[] = [];
  for (let at = 0; at < countOf(a.dims.slice(0, axis)); at++)
    for (const { data, size } of chunks) for (let i = at * size; i < (at + 1) * size; i++) values.push(data[i]);
  const dims = a.dims.map((x, i) => (i === axis ? x + (b.dims[axis] ?? 0) : x));
  return { ...a, dims, data: likeOf(a, values) } as Tensor;
}

function reversed(feed: Feed): Feed {
  const turned = (x: Tensor): Tensor => ({ ...x, data: likeOf(x, Array.from<unknown>(x.data).reverse()) }) as Tensor;
  return Object.fromEntries(Object.entries(feed).map(([name, x]) => [name, turned(x)]));
}

/** Returns values as a list of a tensor's type. */
function likeOf({ data }: Tensor, values: readonly unknown[]): Tensor["data"] {
  return (data.constructor as unknown as { from(x: readonly unknown[]): Tensor["data"] }).from(values);
}

/**
 * Runs a form on two rows, together and each alone; returns its outputs together, and how far these are off where each
 * row alone is not, else null. Whole numbers, as classes, have no noise: of those the values that differ count.
 * @param random - names of outputs that no check compares
 */
export async function runTwoRows(
  model: LoadedModel,
  { feed, reference, alone }: TwoRows,
  random: readonly string[] = [],
): Promise<{ readonly outputs: Outputs; readonly loss: string | null }> {
  const singles: Pair[] = [];
  for (const x of alone) singles.push({ outputs: await model.run(x.feed), reference: x.reference });
  let outputs: Outputs;
  try {
    outputs = await model.run(feed);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new Error(`with two samples in one batch, ${reason}`, { cause: error });
  }
  const names = Object.keys(reference).filter((x) => !random.includes(x));
  return { outputs, loss: lossOf(names, { outputs, reference }, singles) };
}

interface Pair {
  readonly outputs: Outputs;
  readonly reference: Outputs;
}

function lossOf(names: readonly string[], together: Pair, singles: readonly Pair[]): string | null {
  const isWhole = (name: string): boolean => Array.from(together.reference[name]?.data ?? []).every(Number.isInteger);
  const floats = names.filter((x) => !isWhole(x));
  if (floats.length > 0) {
    const [db, aloneDb] = [[together], singles].map((pairs) => sqnr(pairs.map((x) => only(floats, x)))) as [
      number,
      number,
    ];
    if (db < Math.min(EXACT_DB, aloneDb) - SLACK_DB) return `SQNR ${db.toFixed(1)} dB`;
  }
  for (const name of names.filter(isWhole)) {
    const share = differingShare(name, [together]);
    if (share > differingShare(name, singles) + MAY_DIFFER)
      return share > 1 ? `"${name}" has other dims` : `${(share * 100).toFixed(0)} % of "${name}" differ`;
  }
  return null;
}

function only(names: readonly string[], { outputs, reference }: Pair): Pair {
  const of = (x: Outputs): Outputs => Object.fromEntries(names.flatMap((name) => (x[name] ? [[name, x[name]]] : [])));
  return { outputs: of(outputs), reference: of(reference) };
}

/**
 * Returns the share of an output's whole numbers that a form has not: Infinity where the dims differ. A float that is
 * whole by chance, as a saturated probability, may be off by rounding.
 */
function differingShare(name: string, pairs: readonly Pair[]): number {
  let [differing, count] = [0, 0];
  for (const { outputs, reference } of pairs) {
    const [now, was] = [outputs[name], reference[name]];
    if (was === undefined || now?.dims.join() !== was.dims.join()) return Infinity;
    for (let i = 0; i < was.data.length; i++)
      if (!(Math.abs((now.data[i] ?? 0) - (was.data[i] ?? 0)) < 0.5)) differing++;
    count += was.data.length;
  }
  return differing / Math.max(1, count);
}
