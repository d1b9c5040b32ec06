// Shapes of `bundle.json` as valibot schemas: strict on security-relevant fields (paths, sizes, counts, hashes), open
// where later schemas may grow. Unlisted fields are allowed everywhere and ignored. Encodings, element types, steps,
// backends and `needs` are words, and an unknown word is not an error. bundle-schema.ts adds the checks across fields
// and converts to the in-memory form. The published JSON schema is generated from `bundle2`
// (compress/bundle/json-schema.ts).
import * as v from "valibot";
import { BUNDLE_SCHEMA, BUNDLE_SCHEMA_1, CHUNK_MAX_BYTES } from "./bundle.ts";
import type { Bundle, BundleFile, BundleInput, BundleOutput, Variant } from "./bundle.ts";
import { IMAGE_WORDS, newerWord, OPEN_WORD, POOL_MODES, STEP_WORDS } from "./bundle-steps.ts";
import { RESAMPLE_FILTERS } from "./image-spec.ts";
import type { ProcessingStep } from "./bundle-steps.ts";

const FILE_MAX_BYTES = 16 * 1024 ** 3;
const DIM_MAX = 2 ** 31 - 1;

/** A lower-case word: ids and versions. */
const word = v.pipe(v.string(), v.regex(/^[a-z0-9][a-z0-9._-]{0,63}$/, "lower-case letters, digits, . _ and -"));

/** A word that a newer release may add to: encodings, steps, element types, backends. */
const openWord = v.pipe(v.string(), v.regex(new RegExp(`^${OPEN_WORD}$`), "letters, digits, . _ : + and -"));

/** Maximum length of a name, in characters. */
export const NAME_MAX = 200;

/**
 * A name of a port, a dim or a metric. Names of properties that every JavaScript object has are refused, since a
 * look-up by name would find those.
 */
const name = v.pipe(
  v.string(),
  v.minLength(1),
  v.maxLength(NAME_MAX),
  v.regex(
    /^(?!(?:__proto__|__(?:define|lookup)[GS]etter__|constructor|hasOwnProperty|isPrototypeOf|propertyIsEnumerable|prototype|toLocaleString|toString|valueOf)$)/,
    "a name that no JavaScript object has of itself",
  ),
);

/** Whether a bundle can hold a name of a port or a dim. */
export function isName(text: string): boolean {
  return v.is(name, text);
}

/** A number that is neither NaN nor infinite. */
const finite = v.pipe(v.number(), v.finite());

/** A share: 0 to 1. */
const share = v.pipe(finite, v.minValue(0), v.maxValue(1));

/** A size in pixels, or a count of similar magnitude. */
const size = v.pipe(v.number(), v.safeInteger(), v.minValue(1), v.maxValue(32_768));

/** An axis of a tensor. */
const axis = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(15));

/** A SHA-256. */
const sha256 = v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/, "64 lower-case hex digits"));

/** A relative path inside a model: no scheme, root, `..` or query, nothing that a URL parser would normalise. */
const path = v.pipe(
  v.string(),
  v.maxLength(200),
  v.regex(/^[A-Za-z0-9_-][A-Za-z0-9._-]*(?:\/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$/, "a relative path without . or .. parts"),
);

/** The path of an asset. */
const asset = path;

/** Fields of sizes after scaling: with one of another form, a size is refused. */
const none = v.optional(v.never());
const no = {
  ...{ width: none, height: none, short: none, long: none, nearWidth: none, nearHeight: none, multipleOf: none },
};

const resize = v.variant("mode", [
  v.object({ mode: v.literal("exact"), width: size, height: size }),
  v.object({ mode: v.literal("fit"), width: size, height: size }),
  v.object({ mode: v.literal("crop"), width: size, height: size, shortSide: size }),
  v.object({
    mode: v.literal("height"),
    height: size,
    minWidth: v.optional(size),
    maxWidth: v.optional(size),
    multipleOf: v.optional(size),
  }),
  v.object({
    mode: v.literal("side"),
    maxSide: size,
    minSide: v.optional(size),
    multipleOf: v.optional(size),
  }),
  v.object({
    mode: v.literal("resample"),
    filter: v.picklist(RESAMPLE_FILTERS),
    to: v.optional(
      v.union([
        v.object({ ...no, width: size, height: size }),
        v.object({ ...no, short: size, long: v.optional(size), multipleOf: v.optional(size) }),
        v.object({ ...no, long: size }),
        v.object({ ...no, nearWidth: size, nearHeight: size, multipleOf: v.optional(size) }),
        v.object({ ...no, multipleOf: size }),
      ]),
    ),
    crop: v.optional(v.object({ width: size, height: size, margin: v.optional(v.picklist(["down", "even"])) })),
    pad: v.optional(v.object({ width: v.optional(size), height: v.optional(size), multipleOf: v.optional(size) })),
  }),
]);

/** The parameters of the step `image`. */
const image = {
  resize,
  channels: v.picklist(IMAGE_WORDS.channels),
  scale: v.optional(finite),
  mean: v.optional(v.array(finite)),
  std: v.optional(v.array(v.pipe(finite, v.notValue(0)))),
  layout: v.picklist(IMAGE_WORDS.layout),
  mask: v.optional(name),
};

/** A step with a word of a newer release in it, as it is read: words stay words, the rest may be anything. */
const newerStep = v.looseObject({ step: openWord, channels: v.optional(openWord), layout: v.optional(openWord) });

/** The steps with a word of a newer release in them, for the JSON schema; their other parameters may then be anything. */
function newerSteps(steps: readonly string[]): v.GenericSchema<unknown, ProcessingStep>[] {
  return steps.flatMap((step) =>
    Object.entries(STEP_WORDS[step] ?? {}).map(([path, known]) => {
      const other = new RegExp(`^(?!(?:${known.join("|")})$)${OPEN_WORD}$`);
      const inner = path
        .split(".")
        .reduceRight<v.GenericSchema>((x, key) => v.object({ [key]: x }), v.pipe(v.string(), v.regex(other)));
      return v.intersect([v.object({ step: v.literal(step) }), inner]);
    }),
  );
}

/** The parameters of the step `text`. */
const text = {
  tokenizer: path,
  maxLength: v.pipe(v.number(), v.safeInteger(), v.minValue(1), v.maxValue(1_048_576)),
  mask: v.optional(name),
  types: v.optional(name),
  positions: v.optional(name),
  padId: v.optional(v.pipe(v.number(), v.safeInteger(), v.minValue(0))),
  keeps: v.optional(v.picklist(["begin", "end"])),
  lowercase: v.optional(v.boolean()),
  trim: v.optional(v.boolean()),
  fill: v.optional(v.boolean()),
  prompts: v.optional(v.record(name, v.pipe(v.string(), v.maxLength(10_000)))),
  prompt: v.optional(name),
};

/** Samples a second. */
const sampleRate = v.pipe(v.number(), v.safeInteger(), v.minValue(1), v.maxValue(768_000));
/** Below it, Kaldi's frames of 25 ms would hold too few samples. */
const fbankRate = v.pipe(sampleRate, v.minValue(1_000));
/** Number of mel bands. */
const bands = v.pipe(size, v.maxValue(1_024));

/** The parameters of the step `log-mel`. */
const logMel = {
  sampleRate,
  bands,
  fftLength: v.optional(v.pipe(size, v.minValue(2))),
  hopLength: v.optional(size),
  seconds: v.optional(v.pipe(finite, v.gtValue(0), v.maxValue(3_600))),
};

/** The schemas of the steps that this version knows, by word. */
type StepSchemas = Readonly<Record<string, v.GenericSchema<unknown, ProcessingStep>>>;

/** The steps before a model. */
const PREPROCESS = {
  image: v.object({ step: v.literal("image"), ...image }),
  text: v.object({ step: v.literal("text"), ...text }),
  "log-mel": v.object({ step: v.literal("log-mel"), ...logMel }),
  fbank: v.object({
    ...{ step: v.literal("fbank"), sampleRate: fbankRate, bands },
    frames: size,
    mean: v.optional(finite),
    std: v.optional(v.pipe(finite, v.notValue(0))),
  }),
  samples: v.object({
    step: v.literal("samples"),
    sampleRate,
    normalize: v.optional(v.boolean()),
    mask: v.optional(name),
  }),
};

/** The steps after a model. */
const POSTPROCESS = {
  softmax: v.object({ step: v.literal("softmax") }),
  argmax: v.object({ step: v.literal("argmax") }),
  labels: v.object({ step: v.literal("labels"), asset, top: v.optional(size) }),
  sigmoid: v.object({ step: v.literal("sigmoid") }),
  ctc: v.object({
    step: v.literal("ctc"),
    asset,
    blank: v.optional(v.pipe(v.number(), v.safeInteger(), v.minValue(0))),
    logits: v.optional(v.boolean()),
  }),
  pool: v.object({
    step: v.literal("pool"),
    mode: v.picklist(POOL_MODES),
    mask: v.optional(name),
    dims: v.optional(size),
    normalize: v.optional(v.boolean()),
  }),
  tokens: v.object({
    step: v.literal("tokens"),
    asset,
    text: name,
    aggregate: v.optional(v.picklist(["none", "simple", "first", "average", "max"])),
    ignore: v.optional(v.pipe(v.array(name), v.maxLength(64))),
  }),
  detect: v.object({
    step: v.literal("detect"),
    form: v.picklist(["queries", "anchors"]),
    asset,
    boxes: v.optional(name),
    image: name,
    scores: v.optional(v.picklist(["softmax", "sigmoid"])),
    threshold: v.optional(share),
    iou: v.optional(share),
    top: v.optional(size),
  }),
  segment: v.object({ step: v.literal("segment"), image: name, asset, stretch: v.optional(v.boolean()) }),
  mask: v.object({ step: v.literal("mask"), image: name }),
  depth: v.object({ step: v.literal("depth"), image: name }),
  points: v.object({
    step: v.literal("points"),
    form: v.picklist(["heatmaps", "shares"]),
    image: name,
    asset: v.optional(asset),
  }),
};

/** Returns the schema of a step: full where the step is known, else any object with a word. */
function step(known: StepSchemas, published: boolean): v.GenericSchema<unknown, ProcessingStep> {
  const names = Object.keys(known);
  if (published) {
    const other = v.pipe(v.string(), v.regex(new RegExp(`^(?!(?:${names.join("|")})$)${OPEN_WORD}$`)));
    return v.union([...Object.values(known), ...newerSteps(names), v.object({ step: other })]);
  }
  const unknown = v.object({ step: openWord });
  return v.lazy((value) => {
    if (newerWord(value) !== undefined) return newerStep;
    const word: unknown = typeof value === "object" && value !== null ? Reflect.get(value, "step") : undefined;
    return (typeof word === "string" && names.includes(word) ? known[word] : undefined) ?? unknown;
  });
}

const count = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
/** The element types that this version knows. */
export const DTYPES = [
  "float32",
  "float64",
  "float16",
  "int8",
  "uint8",
  "int16",
  "uint16",
  "int32",
  "uint32",
  "int64",
  "uint64",
  "bool",
  "string",
] as const;
const dtype = v.picklist(DTYPES);
const port = {
  name,
  dims: v.pipe(
    v.array(v.union([v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(DIM_MAX)), name])),
    v.maxLength(16),
  ),
  batchAxis: v.nullable(axis),
};
const pad = v.object({
  axis,
  value: v.optional(finite),
  upTo: v.pipe(v.number(), v.finite(), v.gtValue(0), v.maxValue(1)),
});
const cut = v.object({
  axis,
  input: name,
  inputAxis: axis,
  per: size,
  plus: v.pipe(v.number(), v.integer(), v.minValue(-32_768), v.maxValue(32_768)),
});

const chunkBytes = v.pipe(v.number(), v.safeInteger(), v.minValue(1), v.maxValue(CHUNK_MAX_BYTES));
const chunk1 = v.object({ sha256, bytes: chunkBytes });
const chunk2 = v.object({
  sha256,
  bytes: chunkBytes,
  encoding: v.optional(openWord),
  wireBytes: v.optional(chunkBytes),
});
const fileOf = <T extends v.GenericSchema>(chunk: T) =>
  v.object({
    path,
    bytes: v.pipe(v.number(), v.safeInteger(), v.minValue(1), v.maxValue(FILE_MAX_BYTES)),
    chunks: v.pipe(v.array(chunk), v.minLength(1), v.maxLength(65_536)),
  });
const filesOf = <T extends v.GenericSchema>(chunk: T) =>
  v.pipe(v.array(fileOf(chunk)), v.minLength(1), v.maxLength(64));

/**
 * Session entries by name. Names with a word for a file or a model format are refused; others that are not known exclude
 * their variant (bundle-schema.ts).
 */
const session = v.record(
  v.pipe(
    v.string(),
    v.maxLength(100),
    v.regex(
      /^(?!(?:.*[._])?(?:path|file|folder|format|context)(?:[._]|$))[a-z][a-z0-9_.]*$/,
      "a session entry in lower case that names no path, file or format",
    ),
  ),
  v.pipe(v.string(), v.maxLength(1_000)),
);
const perBackend = <T extends v.GenericSchema>(value: T) =>
  v.object({ webgpu: v.optional(value), wasm: v.optional(value) });
const variant = {
  id: word,
  needs: v.pipe(v.array(v.pipe(v.string(), v.minLength(1), v.maxLength(100))), v.maxLength(32)),
  session: v.optional(perBackend(session)),
  speed: v.optional(perBackend(finite)),
  unchecked: v.optional(v.pipe(v.array(openWord), v.maxLength(16))),
  assignment: v.optional(perBackend(v.object({ device: count, shape: count, cpu: count, copies: count }))),
};
const estimate = { value: finite, low: v.optional(finite), high: v.optional(finite) };
const goldenRun = { inputs: fileOf(chunk2), outputs: fileOf(chunk2) };
const variant2 = v.object({
  ...variant,
  files: filesOf(chunk2),
  wireBytes: v.optional(count),
  memoryBytes: v.optional(perBackend(count)),
  activationBytes: v.optional(perBackend(count)),
  tensorBytes: v.optional(count),
  mixesRows: v.optional(v.boolean()),
  score: v.optional(
    v.object({ name, n: count, ...estimate, interval: v.optional(name), reference: v.object(estimate) }),
  ),
  golden: v.optional(
    v.object({ ...goldenRun, next: v.optional(v.pipe(v.array(v.object(goldenRun)), v.maxLength(16))) }),
  ),
});
const variant1 = v.object({
  ...variant,
  files: filesOf(chunk1),
  metric: v.optional(v.object({ name, value: finite, reference: finite, n: count })),
});

const exampleDims = v.optional(v.record(name, v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(65_536))));
const model = {
  name: word,
  version: word,
  licence: name,
  description: v.optional(v.pipe(v.string(), v.maxLength(2_000))),
  baseline: v.optional(v.record(name, v.record(name, v.union([finite, v.array(finite)])))),
};
const ports = <T extends v.GenericSchema>(port: T) => v.pipe(v.array(port), v.minLength(1), v.maxLength(256));

/** A variant, with backends of newer releases allowed. */
export type VariantJson = Omit<Variant, "unchecked"> & { readonly unchecked?: readonly string[] | undefined };

/** A bundle of schema 1. */
export interface Bundle1 {
  readonly model: Omit<Bundle["model"], "exampleDims"> & { readonly typical?: Bundle["model"]["exampleDims"] };
  readonly variants: readonly (Omit<VariantJson, "score"> & {
    readonly metric?:
      { readonly name: string; readonly value: number; readonly reference: number; readonly n: number } | undefined;
  })[];
  readonly assets?: readonly BundleFile[] | undefined;
}

/** A bundle of schema 2. */
export interface Bundle2 {
  readonly model: Omit<Bundle["model"], "inputs" | "outputs"> & {
    readonly inputs: readonly (Omit<BundleInput, "image" | "text" | "sound" | "dtype"> & {
      readonly dtype: string;
      readonly preprocess?: readonly ProcessingStep[] | undefined;
    })[];
    readonly outputs: readonly (Omit<BundleOutput, "decode" | "dtype"> & {
      readonly dtype: string;
      readonly postprocess?: readonly ProcessingStep[] | undefined;
    })[];
  };
  readonly variants: readonly VariantJson[];
  readonly assets?: readonly BundleFile[] | undefined;
}

/** The shape of schema 1. */
export const bundle1: v.GenericSchema<unknown, Bundle1> = v.object({
  schema: v.literal(BUNDLE_SCHEMA_1),
  model: v.object({
    ...model,
    inputs: ports(
      v.object({
        ...port,
        dtype,
        image: v.optional(v.object(image)),
        text: v.optional(v.object(text)),
        pad: v.optional(pad),
      }),
    ),
    outputs: ports(
      v.object({
        ...port,
        dtype,
        feeds: v.optional(name),
        decode: v.optional(
          v.variant("op", [
            v.object({ op: v.literal("softmax") }),
            v.object({ op: v.literal("argmax") }),
            v.object({
              op: v.literal("labels"),
              asset,
              top: v.optional(size),
              logits: v.optional(v.boolean()),
            }),
            v.object({ op: v.literal("ctc"), asset }),
          ]),
        ),
        cut: v.optional(cut),
      }),
    ),
    typical: exampleDims,
  }),
  variants: v.pipe(v.array(variant1), v.minLength(1), v.maxLength(32)),
  assets: v.optional(v.pipe(v.array(fileOf(chunk1)), v.maxLength(64))),
});

/** Returns the shape of schema 2. `published` writes open lists as unions, for the JSON schema. */
export function bundle2(published: boolean): v.GenericSchema<unknown, Bundle2> {
  const steps = (known: StepSchemas) => v.optional(v.pipe(v.array(step(known, published)), v.maxLength(16)));
  const port2 = { ...port, dtype: published ? v.union([dtype, openWord]) : openWord };
  return v.object({
    $schema: v.optional(v.pipe(v.string(), v.maxLength(2_000))),
    schema: v.literal(BUNDLE_SCHEMA),
    model: v.object({
      ...model,
      inputs: ports(v.object({ ...port2, preprocess: steps(PREPROCESS), pad: v.optional(pad) })),
      outputs: ports(
        v.object({
          ...port2,
          feeds: v.optional(name),
          postprocess: steps(POSTPROCESS),
          cut: v.optional(cut),
          isRandom: v.optional(v.boolean()),
        }),
      ),
      exampleDims,
    }),
    variants: v.pipe(v.array(variant2), v.minLength(1), v.maxLength(32)),
    assets: v.optional(v.pipe(v.array(fileOf(chunk2)), v.maxLength(64))),
  });
}
