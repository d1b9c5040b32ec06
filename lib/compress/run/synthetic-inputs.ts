// Synthetic inputs from a model's declared inputs, for a model without samples: enough to test whether a form computes
// the same, not to measure accuracy. An undeclared size or bound is a guess, so several are offered, the likeliest
// first; the caller takes the first with which the model runs. Names that exporters give to dims and inputs say much:
// sums of other dims, a past that starts empty, channels, masks, positions.
import type { BundleInput } from "../../core/bundle.ts";
import type { Tensor } from "../../core/tensor.ts";
import type { InputSizes } from "../../source/input-sizes.ts";
import { countOf, valuesOf } from "./feeds.ts";
import type { Feed } from "./feeds.ts";
import { EARLIER_MULTIPLIER, SeededRandom } from "./seeded-random.ts";

/** Guessed sizes of a non-batch axis, in the order in which they are tried. */
const SIZES = [32, 224, 64, 16, 128, 256, 8, 512, 1, 2, 4, 3];
/** The same for the height and width of an image, and for a sound. */
const IMAGE_SIZES = [224, 256, 32, 64, 384, 512, 128, 640, 16, 8, 1_024, 48];
const SOUND_SIZES = [16_000, 32_000, 8_000, 4_000, 80_000, 512, 1_024, 48_000, 1_600, 480, 160, 1];
const FEEDS = 4;
/** Largest size of an output that may be that of an input, and how many are tried. */
const DECLARED_MAX = 4_096;
const DECLARED_COUNT = 8;
/** Maximum number of values of one sample: past it a guess of several open dims at once is no likely one. */
const VALUES_MAX = 2 ** 22;

/** Hints for guessing. */
export interface Hints {
  /** Typical sizes by the name of the dim. */
  readonly typical: Readonly<Record<string, number>>;
  /** Upper bound of integers: the number of rows of the smallest lookup table. */
  readonly bound: number;
  /** The same by the name of the input: the rows of the table that it indexes, or the size of the vocabulary. */
  readonly bounds?: Readonly<Record<string, number>>;
  /** Sizes that files beside the model state. */
  readonly sizes?: InputSizes;
  /** Further sizes of open dims, tried last. */
  readonly others?: readonly number[];
}

/** One guess of what is open. */
interface Guess {
  readonly index: number;
  /** Whether the first input alone has a length: the others may be state. */
  readonly isFirstOnly: boolean;
  readonly past: number;
  readonly channels: number;
  readonly bound: number | null;
}

/**
 * Lists the fixed sizes of outputs as sizes to try: an exporter that traced one length by mistake declares it there, and
 * the model takes no other.
 */
export function declaredSizes(outputs: readonly Pick<BundleInput, "dims">[]): number[] {
  const sizes = outputs.flatMap(({ dims }) => dims.filter((x) => typeof x === "number"));
  return [...new Set(sizes)].filter((x) => x <= DECLARED_MAX && !SIZES.includes(x)).slice(0, DECLARED_COUNT);
}

/** Iterates over sets of four synthetic feeds, the likeliest first. */
export function* syntheticInputs(inputs: readonly BundleInput[], hints: Hints): Generator<readonly Feed[]> {
  for (const make of syntheticSets(inputs, hints)) yield make(FEEDS);
}

/** Iterates over sizes of the inputs, by their names, the likeliest first. */
export function* syntheticSizes(
  inputs: readonly BundleInput[],
  hints: Hints,
): Generator<Readonly<Record<string, readonly number[]>>> {
  const known = new Set<string>();
  for (const { dims } of guesses(inputs, hints)) {
    // Guesses that differ in the bound of integers alone have the same sizes.
    const key = JSON.stringify(dims);
    if (known.has(key)) continue;
    known.add(key);
    yield Object.fromEntries(inputs.map(({ name }, i) => [name, dims[i] ?? []]));
  }
}

/** Iterates over guesses, the likeliest first: each makes as many feeds as it is asked for. */
export function* syntheticSets(
  inputs: readonly BundleInput[],
  hints: Hints,
): Generator<(count: number) => readonly Feed[]> {
  for (const { dims, bound } of guesses(inputs, hints))
    // Bounded before anything is allocated.
    if (dims.reduce((sum, x) => sum + countOf(x), 0) <= VALUES_MAX)
      yield (count) => feedsOf(inputs, dims, bound, hints, count);
}

/** Iterates over sizes of the inputs, in their order, and bounds of integers. */
function* guesses(
  inputs: readonly BundleInput[],
  hints: Hints,
): Generator<{ readonly dims: readonly (readonly number[])[]; readonly bound: number | null }> {
  const open = inputs.flatMap((x) =>
    x.dims.filter((dim) => typeof dim === "string" && hints.typical[dim] === undefined),
  );
  const isWhole = inputs.some(({ dtype }) => dtype.includes("int"));
  const isChannelOpen = inputs.some((x) =>
    x.dims.some((dim, i) => typeof dim === "string" && kindOf(x, dim, i) === "channels"),
  );
  const hasPast = open.some((x) => isPast(String(x)));
  const tried = new Set<string>();
  for (const isFirstOnly of open.length > 0 && inputs.length > 1 ? [false, true] : [false])
    for (const index of open.length > 0 ? [...SIZES, ...(hints.others ?? [])].keys() : [0])
      for (const past of hasPast ? [0, 1, 8] : [0])
        for (const channels of isChannelOpen && hints.sizes?.channels === undefined
          ? [3, 1]
          : [hints.sizes?.channels ?? 3])
          for (const bound of isWhole ? [null, 2, 1] : [null]) {
            const guess = { index, isFirstOnly, past, channels, bound };
            const dims = inputs.map((x) => dimsOf(x, guess, hints, inputs[0] === x));
            const key = JSON.stringify([dims, bound]);
            if (tried.has(key)) continue;
            tried.add(key);
            yield { dims, bound };
          }
}

function feedsOf(
  inputs: readonly BundleInput[],
  dims: readonly (readonly number[])[],
  bound: number | null,
  { bound: usual, bounds = {} }: Hints,
  count: number,
): Feed[] {
  const random = new SeededRandom(7, EARLIER_MULTIPLIER);
  const next = (): number => random.next();
  return Array.from({ length: count }, () =>
    Object.fromEntries(
      inputs.map((input, i): [string, Tensor] => {
        const { name, dtype } = input;
        const size = dims[i] ?? [];
        const value = valueFor(name, dtype, bound ?? bounds[name] ?? usual, next);
        const values = Array.from({ length: countOf(size) }, (_, at) => value(at % (size.at(-1) ?? 1)));
        const data = valuesOf(input, dtype === "string" ? values.map(() => "text") : values);
        return [name, { dtype, dims: size, data } as Tensor];
      }),
    ),
  );
}

function dimsOf(input: BundleInput, guess: Guess, hints: Hints, isFirst: boolean): number[] {
  return input.dims.map((x, i) => (typeof x === "number" ? x : sizeOf(input, x, i, guess, hints, isFirst)));
}

function sizeOf(input: BundleInput, name: string, axis: number, guess: Guess, hints: Hints, isFirst: boolean): number {
  const known = hints.typical[name];
  if (known !== undefined) return known;
  // "past_sequence_length + sequence_length": of the sizes that its parts have elsewhere.
  const parts = name.split("+").map((x) => x.trim());
  if (parts.length > 1 && parts.every((x) => x !== ""))
    return parts.reduce(
      (sum, x) => sum + (/^\d+$/.test(x) ? Number(x) : sizeOf(input, x, 1, guess, hints, isFirst)),
      0,
    );
  const { sizes = {} } = hints;
  const size = SIZES[guess.index] ?? hints.others?.[guess.index - SIZES.length] ?? 1;
  switch (kindOf(input, name, axis)) {
    case "batch":
      return 1;
    case "past":
      return guess.past;
    case "total":
      return guess.past + size;
    case "channels":
      return guess.channels;
    case "height":
      return sizes.height ?? IMAGE_SIZES[guess.index] ?? 224;
    case "width":
      return sizes.width ?? sizes.height ?? IMAGE_SIZES[guess.index] ?? 224;
    case "features":
      return sizes.features ?? 80;
    case "frames":
      return sizes.frames ?? [3_000, 100, ...SIZES][guess.index] ?? 100;
    case "sound":
      return SOUND_SIZES[guess.index] ?? 16_000;
    default:
      return isFirst || !guess.isFirstOnly ? size : 1;
  }
}

type Kind = "batch" | "past" | "total" | "channels" | "height" | "width" | "features" | "frames" | "sound" | "length";

/** Returns what an open dim counts, by its name, else by its place. */
function kindOf(input: BundleInput, name: string, axis: number): Kind {
  const word = name.toLowerCase();
  if (/batch|^n$|^b$/.test(word)) return "batch";
  if (isPast(word)) return "past";
  if (/^total_seq|^total_length/.test(word)) return "total";
  if (/^(num_)?channels?$|^c$/.test(word)) return "channels";
  if (/height$|^h$/.test(word)) return "height";
  if (/width$|^w$/.test(word)) return "width";
  if (/mel_bins|n_mels|feature_(size|dim)/.test(word)) return "features";
  if (/frames/.test(word) && input.dims.length === 3) return "frames";
  if (/samples|audio|waveform/.test(word)) return "sound";
  const isUnnamed =
    word === `${input.name.toLowerCase()}_${axis}` || /^(unk|dyn|dynamic|\?|s\d+$|d\d+$|dim)/.test(word);
  if (isUnnamed && input.dims.length === 4 && input.dtype.startsWith("float")) {
    const isLast = input.dims[3] === 1 || input.dims[3] === 3;
    const kinds: readonly Kind[] = isLast
      ? ["batch", "height", "width", "channels"]
      : ["batch", "channels", "height", "width"];
    return kinds[axis] ?? "length";
  }
  if (isUnnamed && axis > 0 && /audio|waveform|^input_values$/i.test(input.name)) return "sound";
  // The first axis counts items, unless it is the only one: then it may be a length instead.
  return axis === 0 && input.dims.length > 1 ? "batch" : "length";
}

function isPast(name: string): boolean {
  return /^past/i.test(name) && !name.includes("+");
}

/** Returns the generator of an input's values; common exporters' names are recognized. */
function valueFor(name: string, dtype: string, bound: number, next: () => number): (column: number) => number {
  if (/attention_mask/i.test(name)) return () => 1;
  if (dtype.startsWith("float")) return () => next() * 2 - 1;
  if (/use_cache/i.test(name)) return () => 0;
  if (dtype === "bool") return () => Number(next() < 0.5);
  if (/mask/i.test(name)) return () => 1;
  if (/^sr$|sampl\w*_?rate/i.test(name)) return () => 16_000;
  if (/token_type|segment/i.test(name)) return () => 0;
  if (/position/i.test(name)) return (column) => column;
  return () => Math.floor(next() * bound);
}
