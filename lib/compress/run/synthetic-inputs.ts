// Synthetic inputs from a model's declared inputs, for a model without samples: enough to test whether a form computes
// the same, not to measure accuracy. An undeclared size or bound is a guess, so several are offered, the likeliest
// first; the caller takes the first with which the model runs.
import type { BundleInput } from "../../core/bundle.ts";
import type { Tensor } from "../../core/tensor.ts";
import { countOf, valuesOf } from "./feeds.ts";
import type { Feed } from "./feeds.ts";

/** Guessed sizes of a non-batch axis, in the order in which they are tried. */
const SIZES = [32, 224, 64, 16, 128, 256, 8, 512, 1, 2, 4, 3];
const FEEDS = 4;

/** Hints for guessing. */
export interface Hints {
  /** Typical sizes by the name of the dim. */
  readonly typical: Readonly<Record<string, number>>;
  /** Upper bound of integers: the number of rows of the smallest lookup table. */
  readonly bound: number;
}

/** Iterates over sets of synthetic feeds, the likeliest first. */
export function* syntheticInputs(inputs: readonly BundleInput[], hints: Hints): Generator<readonly Feed[]> {
  const isOpen = inputs.some((x) => x.dims.some((dim) => typeof dim === "string" && hints.typical[dim] === undefined));
  const isWhole = inputs.some(({ dtype }) => dtype.includes("int"));
  // Where only the first input has a length, the others may be state.
  for (const others of isOpen && inputs.length > 1 ? [undefined, 1] : [undefined])
    for (const size of isOpen ? SIZES : SIZES.slice(0, 1))
      for (const bound of isWhole ? [hints.bound, 2, 1] : [hints.bound])
        yield feedsOf(inputs, hints, { size, others: others ?? size, bound });
}

function feedsOf(
  inputs: readonly BundleInput[],
  { typical }: Hints,
  { size, others, bound }: { readonly size: number; readonly others: number; readonly bound: number },
): Feed[] {
  let state = 7;
  const next = (): number => {
    state = (state * 16_807) % 2_147_483_647;
    return state / 2_147_483_647;
  };
  const sizeOf = (input: BundleInput, name: string, axis: number): number => {
    if (typical[name] !== undefined) return typical[name];
    if (/batch|^n$|^b$/i.test(name)) return 1;
    // The first axis counts items, unless it is the only one: then it may be a length instead.
    if (axis === 0 && input.dims.length > 1) return 1;
    return input === inputs[0] ? size : others;
  };
  return Array.from({ length: FEEDS }, () =>
    Object.fromEntries(
      inputs.map((input): [string, Tensor] => {
        const { name, dtype } = input;
        const dims = input.dims.map((x, i) => (typeof x === "number" ? x : sizeOf(input, x, i)));
        const count = countOf(dims);
        const value = valueFor(name, dtype, bound, next);
        const values = Array.from({ length: count }, (_, i) => value(i % (dims.at(-1) ?? 1)));
        const data = valuesOf(input, dtype === "string" ? values.map(() => "text") : values);
        return [name, { dtype, dims, data } as Tensor];
      }),
    ),
  );
}

/** Returns the generator of an input's values; common exporters' names are recognized. */
function valueFor(name: string, dtype: string, bound: number, next: () => number): (column: number) => number {
  if (dtype.startsWith("float")) return () => next() * 2 - 1;
  if (dtype === "bool") return () => Number(next() < 0.5);
  if (/mask/i.test(name)) return () => 1;
  if (/^sr$|sampl\w*_?rate/i.test(name)) return () => 16_000;
  if (/token_type|segment/i.test(name)) return () => 0;
  if (/position/i.test(name)) return (column) => column;
  return () => Math.floor(next() * bound);
}
