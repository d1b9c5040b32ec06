// Inputs made up from what a model declares, for a model that comes without samples: enough to tell whether a form
// computes the same, not what accuracy is. A size or a bound that is not declared is a guess, so several are offered, the
// likeliest first; the caller takes the first with which the model runs.
import type { BundleInput } from "../bundle.ts";
import type { Tensor } from "../tensor.ts";
import { countOf, valuesOf } from "./feed.ts";
import type { Feed } from "./feed.ts";

/** Guessed sizes of an axis that is no batch, in the order in which they are tried. */
const SIZES = [32, 224, 64, 16, 128, 256, 8, 512, 1, 2, 4, 3];
const FEEDS = 4;

/** What a guess starts from. */
export interface Hints {
  /** Usual sizes by the name of the dim. */
  readonly typical: Readonly<Record<string, number>>;
  /** Whole numbers stay below this: the rows of the smallest table that is looked up. */
  readonly bound: number;
}

/** Lists sets of made-up feeds, the likeliest first. */
export function* madeUp(inputs: readonly BundleInput[], hints: Hints): Generator<readonly Feed[]> {
  const isOpen = inputs.some((x) => x.dims.some((dim) => typeof dim === "string" && hints.typical[dim] === undefined));
  const isWhole = inputs.some(({ dtype }) => dtype.includes("int"));
  // What only the first input has a length of, the others may have a state for.
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
    // The first axis counts items, unless it is the only one: then it may as well be a length.
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
        return [name, { dtype, dims, data: valuesOf(input, dtype === "string" ? values.map(() => "text") : values) }];
      }),
    ),
  );
}

/** Returns what makes the values of an input; names that every exporter uses are understood. */
function valueFor(name: string, dtype: string, bound: number, next: () => number): (column: number) => number {
  if (dtype.startsWith("float")) return () => next() * 2 - 1;
  if (dtype === "bool") return () => Number(next() < 0.5);
  if (/mask/i.test(name)) return () => 1;
  if (/^sr$|sampl\w*_?rate/i.test(name)) return () => 16_000;
  if (/token_type|segment/i.test(name)) return () => 0;
  if (/position/i.test(name)) return (column) => column;
  return () => Math.floor(next() * bound);
}
