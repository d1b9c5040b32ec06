// Checks a bundle.json that came from outside. Strict on what could hurt (paths, sizes, counts, hashes), open on what
// may grow: `needs` are capability words, and one that this version does not know means "not here", never an error.
import * as v from "valibot";
import { BUNDLE_SCHEMA, CHUNK_MAX_BYTES } from "./bundle.ts";
import type { Bundle, BundleFile, BundleInput, BundleOutput, CutSpec } from "./bundle.ts";
import { SelvedgeError } from "./errors.ts";

const FILE_MAX_BYTES = 16 * 1024 ** 3;
const DIM_MAX = 2 ** 31 - 1;
/** How often chunks may recur in a variant, on average: a little zero goes a long way, but not to any length. */
const REPEATED = 16;

const name = v.pipe(v.string(), v.minLength(1), v.maxLength(200));
const word = v.pipe(v.string(), v.regex(/^[a-z0-9][a-z0-9._-]{0,63}$/, "lower-case letters, digits, . _ and -"));
const count = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const finite = v.pipe(v.number(), v.finite());
const size = v.pipe(v.number(), v.safeInteger(), v.minValue(1), v.maxValue(32_768));
const sha256 = v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/, "64 lower-case hex digits"));
/** A relative path inside a model: no scheme, no root, no `..`, no query, nothing that a URL parser would fold. */
const path = v.pipe(
  v.string(),
  v.maxLength(200),
  v.regex(/^[A-Za-z0-9_-][A-Za-z0-9._-]*(?:\/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$/, "a relative path without . or .. parts"),
);
const dtype = v.picklist([
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
]);
const dims = v.pipe(
  v.array(v.union([v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(DIM_MAX)), name])),
  v.maxLength(16),
);

const resize = v.variant("mode", [
  v.strictObject({ mode: v.literal("exact"), width: size, height: size }),
  v.strictObject({ mode: v.literal("fit"), width: size, height: size }),
  v.strictObject({
    mode: v.literal("height"),
    height: size,
    minWidth: v.optional(size),
    maxWidth: v.optional(size),
    multipleOf: v.optional(size),
  }),
  v.strictObject({
    mode: v.literal("side"),
    maxSide: size,
    minSide: v.optional(size),
    multipleOf: v.optional(size),
  }),
]);
const image = v.strictObject({
  resize,
  channels: v.picklist(["rgb", "bgr", "gray"]),
  scale: v.optional(finite),
  mean: v.optional(v.array(finite)),
  std: v.optional(v.array(v.pipe(finite, v.notValue(0)))),
  layout: v.picklist(["nchw", "nhwc"]),
});

const text = v.strictObject({
  tokenizer: path,
  maxLength: v.pipe(v.number(), v.safeInteger(), v.minValue(1), v.maxValue(1_048_576)),
  mask: v.optional(name),
  types: v.optional(name),
});

const decode = v.variant("op", [
  v.strictObject({ op: v.literal("softmax") }),
  v.strictObject({ op: v.literal("argmax") }),
  v.strictObject({
    op: v.literal("labels"),
    asset: path,
    top: v.optional(size),
    logits: v.optional(v.boolean()),
  }),
  v.strictObject({ op: v.literal("ctc"), asset: path }),
]);

const axis = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(15));
const pad = v.strictObject({
  axis,
  value: v.optional(finite),
  upTo: v.pipe(v.number(), v.finite(), v.gtValue(0), v.maxValue(1)),
});
const cut = v.strictObject({
  axis,
  input: name,
  inputAxis: axis,
  per: size,
  plus: v.pipe(v.number(), v.integer(), v.minValue(-32_768), v.maxValue(32_768)),
});
const input = v.strictObject({
  name,
  dtype,
  dims,
  batchAxis: v.nullable(axis),
  image: v.optional(image),
  text: v.optional(text),
  pad: v.optional(pad),
});
const output = v.strictObject({
  name,
  dtype,
  dims,
  batchAxis: v.nullable(axis),
  feeds: v.optional(name),
  decode: v.optional(decode),
  cut: v.optional(cut),
});
const chunk = v.strictObject({
  sha256,
  bytes: v.pipe(v.number(), v.safeInteger(), v.minValue(1), v.maxValue(CHUNK_MAX_BYTES)),
});
const file = v.strictObject({
  path,
  bytes: v.pipe(v.number(), v.safeInteger(), v.minValue(1), v.maxValue(FILE_MAX_BYTES)),
  chunks: v.pipe(v.array(chunk), v.minLength(1), v.maxLength(65_536)),
});
const session = v.record(v.pipe(v.string(), v.regex(/^[a-z][a-z0-9_.]*$/)), v.string());
const variant = v.strictObject({
  id: word,
  needs: v.pipe(v.array(v.pipe(v.string(), v.minLength(1), v.maxLength(100))), v.maxLength(32)),
  session: v.optional(v.strictObject({ webgpu: v.optional(session), wasm: v.optional(session) })),
  files: v.pipe(v.array(file), v.minLength(1), v.maxLength(64)),
  metric: v.optional(v.strictObject({ name, value: finite, reference: finite, n: count })),
  speed: v.optional(v.strictObject({ webgpu: v.optional(finite), wasm: v.optional(finite) })),
  unchecked: v.optional(v.pipe(v.array(v.picklist(["webgpu", "wasm"])), v.maxLength(2))),
  assignment: v.optional(
    v.strictObject({
      webgpu: v.optional(v.strictObject({ device: count, shape: count, cpu: count, copies: count })),
      wasm: v.optional(v.strictObject({ device: count, shape: count, cpu: count, copies: count })),
    }),
  ),
});
const bundle: v.GenericSchema<unknown, Bundle> = v.strictObject({
  schema: v.literal(BUNDLE_SCHEMA),
  model: v.strictObject({
    name: word,
    version: word,
    licence: name,
    description: v.optional(v.pipe(v.string(), v.maxLength(2_000))),
    inputs: v.pipe(v.array(input), v.minLength(1), v.maxLength(256)),
    outputs: v.pipe(v.array(output), v.minLength(1), v.maxLength(256)),
    typical: v.optional(v.record(name, v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(65_536)))),
    baseline: v.optional(v.record(name, v.record(name, v.union([finite, v.array(finite)])))),
  }),
  variants: v.pipe(v.array(variant), v.minLength(1), v.maxLength(32)),
  assets: v.optional(v.pipe(v.array(file), v.maxLength(64))),
});

/**
 * Checks a parsed `bundle.json` and returns it typed.
 * @throws SelvedgeError `bundle-invalid`, with the place in `details.at`.
 */
export function parseBundle(json: unknown): Bundle {
  const result = v.safeParse(bundle, json);
  if (!result.success) {
    const issue = result.issues[0];
    const at = v.getDotPath(issue) ?? "";
    throw invalid(`${at === "" ? "the bundle" : at}: ${issue.message}`, at);
  }
  const parsed = result.output;
  unique(
    parsed.variants.map((x) => x.id),
    "variants",
    "id",
  );
  unique(
    parsed.model.inputs.map((x) => x.name),
    "model.inputs",
    "name",
  );
  unique(
    parsed.model.outputs.map((x) => x.name),
    "model.outputs",
    "name",
  );
  checkChunks(parsed);
  const assets = new Set((parsed.assets ?? []).map((x) => x.path));
  for (const file of parsed.assets ?? []) checkFile(file, `assets.${file.path}`);
  for (const variant of parsed.variants) {
    unique(
      variant.files.map((x) => x.path),
      `variants.${variant.id}.files`,
      "path",
    );
    for (const file of variant.files) checkFile(file, `variants.${variant.id}.files.${file.path}`);
  }
  const inputs = new Map(parsed.model.inputs.map((x) => [x.name, x]));
  for (const port of [...parsed.model.inputs, ...parsed.model.outputs])
    if (port.batchAxis !== null && port.batchAxis >= port.dims.length)
      throw invalid(`${port.name}: batchAxis ${port.batchAxis} is outside its ${port.dims.length} dims`, port.name);
  for (const input of parsed.model.inputs) {
    checkImage(input);
    checkText(input, inputs, assets);
    checkPad(input, parsed.model.inputs);
  }
  for (const output of parsed.model.outputs) {
    if (output.feeds !== undefined && !inputs.has(output.feeds))
      throw invalid(`${output.name}.feeds names no input: "${output.feeds}"`, output.name);
    if (output.decode !== undefined && "asset" in output.decode && !assets.has(output.decode.asset))
      throw invalid(`${output.name}.decode names no asset: "${output.decode.asset}"`, output.name);
    if (output.cut !== undefined) checkCut(output, output.cut, inputs.get(output.cut.input));
  }
  return parsed;
}

/** What a chunk may be named for is settled once, and little can't claim to be much: no bundle is a bomb. */
function checkChunks({ variants, assets = [] }: Bundle): void {
  const sizes = new Map<string, number>();
  for (const [at, files] of [
    ...variants.map((x) => [`variants.${x.id}`, x.files] as const),
    ["assets", assets] as const,
  ]) {
    const own = new Map<string, number>();
    for (const { sha256, bytes } of files.flatMap((x) => x.chunks)) {
      if ((sizes.get(sha256) ?? bytes) !== bytes) throw invalid(`${at}: the chunk ${sha256} has two sizes`, at);
      sizes.set(sha256, bytes);
      own.set(sha256, bytes);
    }
    const distinct = [...own.values()].reduce((sum, x) => sum + x, 0);
    const claimed = files.reduce((sum, x) => sum + x.bytes, 0);
    if (claimed > REPEATED * distinct + CHUNK_MAX_BYTES)
      throw invalid(`${at}: ${claimed} bytes of ${distinct} that repeat`, at);
    const paths = files.map((x) => x.path);
    const folder = paths.find((x) => paths.some((y) => y.startsWith(`${x}/`)));
    if (folder !== undefined) throw invalid(`${at}: "${folder}" is a file and a folder`, at);
  }
}

function checkFile(file: BundleFile, at: string): void {
  const sum = file.chunks.reduce((total, x) => total + x.bytes, 0);
  if (sum !== file.bytes) throw invalid(`${at}: its chunks hold ${sum} bytes, not ${file.bytes}`, at);
}

function checkImage(input: BundleInput): void {
  if (input.image === undefined) return;
  const channels = input.image.channels === "gray" ? 1 : 3;
  if (input.dims.length !== 4) throw invalid(`${input.name}: an image input has 4 dims`, input.name);
  if (input.dtype !== "float32" && input.dtype !== "float16" && input.dtype !== "uint8")
    throw invalid(`${input.name}: an image input is float32, float16 or uint8, not ${input.dtype}`, input.name);
  for (const key of ["mean", "std"] as const) {
    const list = input.image[key];
    if (list !== undefined && list.length !== channels)
      throw invalid(`${input.name}.image.${key} has ${list.length} values for ${channels} channels`, input.name);
  }
}

/** Pieces and what goes with them are rows of whole numbers, one for each text. */
function checkText(
  { name, text, image }: BundleInput,
  inputs: ReadonlyMap<string, BundleInput>,
  assets: ReadonlySet<string>,
): void {
  if (text === undefined) return;
  if (!assets.has(text.tokenizer)) throw invalid(`${name}.text names no asset: "${text.tokenizer}"`, name);
  if (image !== undefined) throw invalid(`${name}: an input takes images or texts, not both`, name);
  const filled = [name, text.mask, text.types].filter((x) => x !== undefined);
  unique(filled, `model.inputs.${name}.text`, "input");
  for (const each of filled) {
    const port = inputs.get(each);
    if (port === undefined) throw invalid(`${name}.text names no input: "${each}"`, name);
    const isRow = port.dims.length === 2 && port.batchAxis === 0 && typeof port.dims[0] === "string";
    if (!isRow) throw invalid(`${each}: what texts fill is [batch, length], with the batch on axis 0`, each);
    if (!["int64", "int32", ...(each === name ? [] : ["float32"])].includes(port.dtype))
      throw invalid(`${each}: texts can't fill an input of ${port.dtype}`, each);
    if (typeof port.dims[1] === "number" && port.dims[1] < text.maxLength)
      throw invalid(`${name}.text.maxLength is ${text.maxLength}, more than "${each}" takes`, name);
  }
}

/** Padding is of an axis of any size, and of every input that shares that size. */
function checkPad({ name, dtype, dims, batchAxis, pad }: BundleInput, inputs: readonly BundleInput[]): void {
  if (pad === undefined) return;
  const symbol = dims[pad.axis];
  if (typeof symbol !== "string" || pad.axis === batchAxis)
    throw invalid(`${name}.pad: axis ${pad.axis} has no size of its own to pad`, name);
  if (dtype === "string") throw invalid(`${name}.pad: text can't be padded`, name);
  for (const other of inputs)
    if (other.dims.some((dim, axis) => dim === symbol && (axis !== other.pad?.axis || other.pad.upTo !== pad.upTo)))
      throw invalid(`${name}.pad: "${symbol}" is also in "${other.name}", which must be padded by as much`, name);
}

function checkCut({ name, dims, batchAxis }: BundleOutput, cut: CutSpec, input: BundleInput | undefined): void {
  if (cut.axis >= dims.length || cut.axis === batchAxis)
    throw invalid(`${name}.cut: axis ${cut.axis} is not one that can be cut`, name);
  if (input?.pad?.axis !== cut.inputAxis)
    throw invalid(`${name}.cut: axis ${cut.inputAxis} of "${cut.input}" is not padded`, name);
}

function unique(values: readonly string[], at: string, key: string): void {
  const seen = new Set<string>();
  for (const value of values) {
    if (seen.has(value)) throw invalid(`${at}: the ${key} "${value}" stands twice`, at);
    seen.add(value);
  }
}

function invalid(message: string, at: string): SelvedgeError {
  return new SelvedgeError("bundle-invalid", `bundle.json is not valid: ${message}`, { at });
}
