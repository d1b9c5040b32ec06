// Inputs of a transformer that follow from its token ids, so that a text, or the ids alone, is a whole sample: mask,
// types and positions of a sequence, and for a decoder a past without a token. Names are those of exporters.
import type { Port, Tensor } from "../../core/tensor.ts";
import { countOf, valuesOf } from "./feeds.ts";

const PAST = "past_key_values";
const IDS: ReadonlySet<string> = new Set(["input_ids", "decoder_input_ids"]);

/** Value at a column of an input that has the dims of the ids. */
const VALUES: Readonly<Record<string, (column: number) => number>> = {
  attention_mask: () => 1,
  token_type_ids: () => 0,
  position_ids: (column) => column,
  cache_position: (column) => column,
};

/** Makes an input from the ids among the others; undefined where it does not follow from them. */
export function tensorBesideIds(input: Port, others: Readonly<Record<string, Tensor>>): Tensor | undefined {
  const ids = Object.entries(others).find(([name]) => IDS.has(name))?.[1];
  // After a past that is given, positions go on, and a mask covers both.
  if (ids === undefined || Object.keys(others).some((name) => name.startsWith(PAST))) return undefined;
  const make = (dims: readonly number[], value: (column: number) => number): Tensor => {
    const values = Array.from({ length: countOf(dims) }, (_, i) => value(i % (dims.at(-1) ?? 1)));
    return { dtype: input.dtype, dims, data: valuesOf(input, values) } as Tensor;
  };
  const value = VALUES[input.name];
  if (value !== undefined && input.dims.length <= ids.dims.length)
    return make(ids.dims.slice(-input.dims.length), value);
  if (input.name === "use_cache_branch") return make([1], () => 0);
  if (!input.name.startsWith(PAST) || input.dims.filter((x) => typeof x === "string").length !== 2) return undefined;
  // The batch, and the tokens before.
  const batch = ids.dims[0] ?? 1;
  return make(
    input.dims.map((x, axis) => (typeof x === "number" ? x : axis === 0 ? batch : 0)),
    () => 0,
  );
}
