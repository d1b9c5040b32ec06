// Reads an untrusted bundle.json of schema 1 or 2 into the in-memory form. Shapes are checked first (bundle-shape.ts),
// then the relations between fields; fields that are not listed there are dropped. Words of a newer release never fail
// a bundle: an unknown need, chunk encoding or session entry excludes its variant on this device; an unknown processing
// step, element type or asset encoding excludes the whole model (`Bundle.unknown`), which cache/plan.ts refuses to run;
// an unknown backend in `unchecked` is ignored.
import * as v from "valibot";
import { BUNDLE_MAX_BYTES, BUNDLE_SCHEMA_1, CHUNK_MAX_BYTES, filesOf, goldenFiles, wireBytesOf } from "./bundle.ts";
import type {
  Bundle,
  BundleChunk,
  BundleFile,
  BundleInput,
  BundleOutput,
  CutSpec,
  Unknown,
  Variant,
} from "./bundle.ts";
import { bundle1, bundle2, DTYPES } from "./bundle-shape.ts";
import type { Bundle1, Bundle2, VariantJson } from "./bundle-shape.ts";
import { fitSound, isMaskPort, soundDims } from "./fit-steps.ts";
import { inputSpec, outputSpec } from "./bundle-steps.ts";
import type { Converted } from "./bundle-steps.ts";
import { SelvedgeError } from "./errors.ts";
import type { Dtype } from "./tensor.ts";

/** Bound on how often chunks recur in a variant, on average: enough for runs of zeros, but finite. */
const REPEATED = 16;
/** Bound on a variant's expanded size as a multiple of its size on the wire, past a few chunks. */
const EXPANDED = { times: 1_000, freeBytes: 64 * 1024 * 1024 } as const;
/**
 * Bounds on one `bundle.json`: nesting depth, since identities are computed by recursion, total number of values, and
 * fields of one object, each of which costs the check of a map some microseconds.
 */
const DEPTH_MAX = 32;
const FIELDS_MAX = 1_024;
const VALUES_MAX = BUNDLE_MAX_BYTES / 4;
/** Characters of a wrong value, and of its place, that an error message quotes. */
const VALUE_MAX = 100;
const PATH_MAX = 300;
const ENCODINGS: ReadonlySet<string> = new Set(["br", "gzip"]);
const KNOWN_DTYPES: ReadonlySet<string> = new Set(DTYPES);
/** The session entries of ONNX Runtime that a bundle may set. */
const SESSION_ENTRIES: ReadonlySet<string> = new Set([
  "mlas.enable_gemm_fastmath_arm64_bfloat16",
  "optimization.disable_specified_optimizers",
  "optimization.enable_cast_chain_elimination",
  "optimization.enable_gelu_approximation",
  "optimization.minimal_build_optimizations",
  "session.disable_aot_function_inlining",
  "session.disable_double_qdq_remover",
  "session.disable_prepacking",
  "session.disable_quant_qdq",
  "session.enable_quant_qdq_cleanup",
  "session.inter_op.allow_spinning",
  "session.intra_op.allow_spinning",
  "session.qdq_matmulnbits_accuracy_level",
  "session.qdqisint8allowed",
  "session.set_denormal_as_zero",
  "session.strict_shape_type_inference",
  "session.use_device_allocator_for_initializers",
  "session.x64quantprecision",
]);

const shape2 = bundle2(false);

/**
 * Checks a parsed `bundle.json` of either schema and returns the form in memory. Its identity is that of the JSON.
 * @throws SelvedgeError `bundle-invalid`, with the place in `details.at`.
 */
export function parseBundle(json: unknown): Bundle {
  checkExtent(json);
  const is1 = typeof json === "object" && json !== null && Reflect.get(json, "schema") === BUNDLE_SCHEMA_1;
  const parsed = is1 ? from1(check(bundle1, json)) : from2(check(shape2, json));
  checkNames(parsed);
  checkChunks(parsed);
  const assets = new Set((parsed.assets ?? []).map((x) => x.path));
  for (const file of filesOf(parsed)) checkFile(file);
  const inputs = new Map(parsed.model.inputs.map((x) => [x.name, x]));
  for (const port of [...parsed.model.inputs, ...parsed.model.outputs])
    if (port.batchAxis !== null && port.batchAxis >= port.dims.length)
      throw invalid(`${port.name}: batchAxis ${port.batchAxis} is outside its ${port.dims.length} dims`, port.name);
  for (const input of parsed.model.inputs) {
    checkImage(input, inputs);
    checkText(input, inputs, assets);
    checkSound(input, inputs);
    checkPad(input, parsed.model.inputs);
  }
  for (const output of parsed.model.outputs) {
    if (output.feeds !== undefined && !inputs.has(output.feeds))
      throw invalid(`${output.name}.feeds names no input: "${output.feeds}"`, output.name);
    checkDecode(output, parsed, assets);
    if (output.cut !== undefined) checkCut(output, output.cut, inputs.get(output.cut.input));
  }
  return parsed;
}

/** Checks one shape and stops at the first issue, since each issue costs a thousand times the bytes of its cause. */
function check<T>(schema: v.GenericSchema<unknown, T>, json: unknown): T {
  const result = v.safeParse(schema, json, { abortEarly: true });
  if (result.success) return result.output;
  const issue = result.issues[0];
  const at = shortened(v.getDotPath(issue) ?? "", PATH_MAX);
  // A function, since the text of a replacement has patterns of its own.
  const message = issue.message.replace(issue.received, () => shortened(issue.received, VALUE_MAX));
  throw invalid(`${at === "" ? "the bundle" : at}: ${message}`, at);
}

/** Bounds a text of the bundle in an error: logs and pages show the message. */
function shortened(text: string, max: number): string {
  return text.length > max ? `${text.slice(0, max)}…` : text;
}

/** Bounds nesting depth, number of values and fields of an object without recursion. */
function checkExtent(json: unknown): void {
  let level = [json];
  let count = 1;
  for (let depth = 0; level.length > 0; depth += 1) {
    if (depth > DEPTH_MAX) throw invalid(`its values are nested deeper than ${DEPTH_MAX} levels`, "");
    const next: unknown[] = [];
    for (const value of level) {
      if (typeof value !== "object" || value === null) continue;
      const isList = Array.isArray(value);
      const inner: readonly unknown[] = isList ? value : Object.values(value);
      if (!isList && inner.length > FIELDS_MAX)
        throw invalid(`one of its objects has more than ${FIELDS_MAX} fields`, "");
      count += inner.length;
      if (count > VALUES_MAX) throw invalid(`it holds more than ${VALUES_MAX} values`, "");
      for (const each of inner) if (typeof each === "object" && each !== null) next.push(each);
    }
    level = next;
  }
}

function from1({ model: { typical, ...model }, variants, assets }: Bundle1): Bundle {
  return {
    format: 1,
    model: { ...model, ...(typical && { exampleDims: typical }) },
    variants: variants.map(({ metric, ...variant }) => {
      const score = metric && { ...metric, reference: { value: metric.reference } };
      return withWire({ ...variant, ...(score && { score }) });
    }),
    ...(assets && { assets }),
  };
}

function from2({ model, variants, assets = [] }: Bundle2): Bundle {
  const unknown: Unknown[] = [];
  const specOf = <T>(at: string, converted: Converted<T>): T | undefined => {
    if (converted.unknown === undefined) return converted.spec;
    unknown.push({ at, kind: "step", word: converted.unknown });
    return undefined;
  };
  // A word that is not a Dtype is kept unchanged, so that it matches no Dtype; a model with `unknown` is never run.
  const dtypeOf = ({ name, dtype }: { readonly name: string; readonly dtype: string }): { readonly dtype: Dtype } => {
    if (!KNOWN_DTYPES.has(dtype)) unknown.push({ at: name, kind: "dtype", word: dtype });
    return { dtype: dtype as Dtype };
  };
  const inputs = model.inputs.map(({ preprocess, ...x }) => ({
    ...x,
    ...dtypeOf(x),
    ...specOf(x.name, inputSpec(preprocess)),
  }));
  const outputs = model.outputs.map(({ postprocess, ...x }) => ({
    ...x,
    ...dtypeOf(x),
    ...specOf(x.name, outputSpec(postprocess)),
  }));
  for (const { path, chunks } of assets)
    for (const word of unknownEncodings(chunks)) unknown.push({ at: path, kind: "encoding", word });
  return {
    format: 2,
    model: { ...model, inputs, outputs },
    variants: variants.map(withWire),
    ...(assets.length > 0 && { assets }),
    ...(unknown[0] && { unknown: unknown[0] }),
  };
}

/**
 * Adds a variant's size on the wire. Adds the words in it that this version does not know as needs; leaves out unknown
 * backends.
 */
function withWire({ unchecked, ...variant }: VariantJson): Variant {
  const { session = {}, files, golden } = variant;
  const own = [...files, ...goldenFiles(golden)];
  const encodings = unknownEncodings(own.flatMap((x) => x.chunks)).map((x) => `encoding:${x}`);
  const entries = Object.values(session).flatMap((x) => Object.keys(x ?? {}));
  const unknown = entries.filter((x) => !SESSION_ENTRIES.has(x)).map((x) => `session:${x}`);
  const chunks = new Map(files.flatMap((x) => x.chunks).map((x) => [x.sha256, x]));
  const wireBytes = [...chunks.values()].reduce((sum, x) => sum + wireBytesOf(x), 0);
  // The wire size of an unknown encoding is not known; the variant is never fetched.
  if (encodings.length === 0 && variant.wireBytes !== undefined && variant.wireBytes !== wireBytes)
    throw invalid(
      `variants.${variant.id}: its chunks are ${wireBytes} bytes on the wire, not ${variant.wireBytes}`,
      variant.id,
    );
  const known = unchecked?.filter((x) => x === "webgpu" || x === "wasm");
  return {
    ...variant,
    needs: [...new Set([...variant.needs, ...encodings, ...unknown])],
    wireBytes: encodings.length === 0 ? wireBytes : (variant.wireBytes ?? wireBytes),
    ...(known && known.length > 0 && { unchecked: known }),
  };
}

function unknownEncodings(chunks: readonly BundleChunk[]): string[] {
  const words = chunks.map((x) => x.encoding).filter((x) => x !== undefined);
  return [...new Set(words)].filter((x) => !ENCODINGS.has(x));
}

function checkNames({ model, variants }: Bundle): void {
  unique(
    variants.map((x) => x.id),
    "variants",
    "id",
  );
  unique(
    model.inputs.map((x) => x.name),
    "model.inputs",
    "name",
  );
  unique(
    model.outputs.map((x) => x.name),
    "model.outputs",
    "name",
  );
  for (const { id, files } of variants)
    unique(
      files.map((x) => x.path),
      `variants.${id}.files`,
      "path",
    );
}

/**
 * Checks that all mentions of a chunk agree, and bounds the expansion from wire bytes, so no bundle is a decompression
 * bomb.
 */
function checkChunks({ variants, assets = [] }: Bundle): void {
  const known = new Map<string, BundleChunk>();
  for (const [at, files] of [
    ...variants.map((x) => [`variants.${x.id}`, filesOf({ variants: [x] })] as const),
    ["assets", assets] as const,
  ]) {
    const own = new Map<string, BundleChunk>();
    for (const chunk of files.flatMap((x) => x.chunks)) {
      checkWire(chunk, at);
      const first = known.get(chunk.sha256) ?? chunk;
      if (first.bytes !== chunk.bytes || first.encoding !== chunk.encoding || first.wireBytes !== chunk.wireBytes)
        throw invalid(`${at}: the chunk ${chunk.sha256} has two sizes or encodings`, at);
      known.set(chunk.sha256, chunk);
      own.set(chunk.sha256, chunk);
    }
    const distinct = [...own.values()].reduce((sum, x) => sum + x.bytes, 0);
    const wire = [...own.values()].reduce((sum, x) => sum + (isKnownEncoding(x) ? wireBytesOf(x) : x.bytes), 0);
    if (distinct > EXPANDED.times * wire + EXPANDED.freeBytes)
      throw invalid(`${at}: ${wire} bytes on the wire can't be ${distinct} bytes of a model`, at);
    const claimed = files.reduce((sum, x) => sum + x.bytes, 0);
    if (claimed > REPEATED * distinct + CHUNK_MAX_BYTES)
      throw invalid(`${at}: ${claimed} bytes of ${distinct} that repeat`, at);
    const paths = files.map((x) => x.path);
    const folder = paths.find((x) => paths.some((y) => y.startsWith(`${x}/`)));
    if (folder !== undefined) throw invalid(`${at}: "${folder}" is a file and a folder`, at);
  }
}

/**
 * A chunk that is stored unencoded has one size; an encoded one declares its size on the wire, which is no larger. For
 * an encoding of a newer release neither holds: its chunks are never fetched.
 */
function checkWire(chunk: BundleChunk, at: string): void {
  if (!isKnownEncoding(chunk)) return;
  const { sha256, bytes, encoding, wireBytes } = chunk;
  const isRight =
    encoding === undefined ? (wireBytes ?? bytes) === bytes : wireBytes !== undefined && wireBytes <= bytes;
  if (!isRight) throw invalid(`${at}: the chunk ${sha256} has ${wireBytes ?? "no"} bytes on the wire`, at);
}

function isKnownEncoding({ encoding }: BundleChunk): boolean {
  return encoding === undefined || ENCODINGS.has(encoding);
}

function checkFile({ path, bytes, chunks }: BundleFile): void {
  const sum = chunks.reduce((total, x) => total + x.bytes, 0);
  if (sum !== bytes) throw invalid(`${path}: its chunks hold ${sum} bytes, not ${bytes}`, path);
}

function checkImage(input: BundleInput, inputs: ReadonlyMap<string, BundleInput>): void {
  if (input.image === undefined) return;
  const { mask } = input.image;
  const port = mask === undefined || mask === input.name ? undefined : inputs.get(mask);
  if (mask !== undefined && port === undefined)
    throw invalid(`${input.name}.image.mask names no other input: "${mask}"`, input.name);
  if (port !== undefined && (!isMaskPort(port) || port.batchAxis !== input.batchAxis))
    throw invalid(`${port.name}: a pixel mask is [batch, height, width] of whole numbers, bool or float32`, port.name);
  const channels = input.image.channels === "gray" ? 1 : 3;
  if (input.dims.length !== 4) throw invalid(`${input.name}: an image input has 4 dims`, input.name);
  if (!["float32", "float16", "uint8"].includes(input.dtype) && KNOWN_DTYPES.has(input.dtype))
    throw invalid(`${input.name}: an image input is float32, float16 or uint8, not ${input.dtype}`, input.name);
  const { resize } = input.image;
  if (resize.mode === "crop" && resize.shortSide < Math.max(resize.width, resize.height))
    throw invalid(
      `${input.name}.image.resize.shortSide is ${resize.shortSide}, less than ${resize.width} × ${resize.height}`,
      input.name,
    );
  for (const key of ["mean", "std"] as const) {
    const list = input.image[key];
    if (list !== undefined && list.length !== channels)
      throw invalid(`${input.name}.image.${key} has ${list.length} values for ${channels} channels`, input.name);
  }
}

/** Token ids and the inputs beside them are rows of whole numbers, one for each text. */
function checkText(
  { name, text, image }: BundleInput,
  inputs: ReadonlyMap<string, BundleInput>,
  assets: ReadonlySet<string>,
): void {
  if (text === undefined) return;
  if (!assets.has(text.tokenizer)) throw invalid(`${name}.text names no asset: "${text.tokenizer}"`, name);
  if (image !== undefined) throw invalid(`${name}: an input takes images or texts, not both`, name);
  const filled = [name, text.mask, text.types, text.positions].filter((x) => x !== undefined);
  unique(filled, `model.inputs.${name}.text`, "input");
  for (const each of filled) {
    const port = inputs.get(each);
    if (port === undefined) throw invalid(`${name}.text names no input: "${each}"`, name);
    const isRow = port.dims.length === 2 && port.batchAxis === 0 && typeof port.dims[0] === "string";
    if (!isRow)
      throw invalid(`${each}: an input that texts fill must be [batch, length], with the batch on axis 0`, each);
    const fits = ["int64", "int32", ...(each === name ? [] : ["float32"])].includes(port.dtype);
    if (!fits && KNOWN_DTYPES.has(port.dtype))
      throw invalid(`${each}: texts can't fill an input of ${port.dtype}`, each);
    if (typeof port.dims[1] === "number" && port.dims[1] < text.maxLength)
      throw invalid(`${name}.text.maxLength is ${text.maxLength}, more than "${each}" takes`, name);
  }
}

/** The tensor of a sound has the dims of its step, and its mask is another input with a number for each sample. */
function checkSound(input: BundleInput, inputs: ReadonlyMap<string, BundleInput>): void {
  const { name, sound, dims, dtype } = input;
  const mask = sound?.op === "samples" ? sound.mask : undefined;
  const port = mask === undefined || mask === name ? undefined : inputs.get(mask);
  if (mask !== undefined && port === undefined)
    throw invalid(`${name}.sound.mask names no other input: "${mask}"`, name);
  if (port !== undefined && KNOWN_DTYPES.has(port.dtype) && !isMaskPort(port, 2))
    throw invalid(
      `${port.name}: a mask of samples is [batch, length] of int64, int32, uint8, bool or float32`,
      port.name,
    );
  if (sound === undefined || !KNOWN_DTYPES.has(dtype) || fitSound(input, sound, [...inputs.values()]) !== null) return;
  throw invalid(
    `${name}: the step ${sound.op} makes float32 or float16 of [${soundDims(sound)
      .map((x) => x ?? "any")
      .join(", ")}], not ${dtype} of [${dims.join(", ")}]`,
    name,
  );
}

/** Padding applies to an axis of any size, and to every input that shares that size. */
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

/** A step names assets, inputs and outputs that are there. */
function checkDecode({ name, decode }: BundleOutput, { model }: Bundle, assets: ReadonlySet<string>): void {
  if (decode === undefined) return;
  const fields = decode as Readonly<Record<string, unknown>>;
  const isInput = (x: string): boolean => model.inputs.some((port) => port.name === x);
  const isOutput = (x: string): boolean => model.outputs.some((port) => port.name === x);
  for (const [field, kind, has] of [
    ["asset", "asset", (x: string) => assets.has(x)],
    ["mask", "input", isInput],
    ["text", "input", isInput],
    ["image", "input", isInput],
    ["boxes", "output", isOutput],
  ] as const) {
    const value = fields[field];
    if (typeof value === "string" && !has(value))
      throw invalid(`${name}: its postprocessing names no ${kind}: "${value}"`, name);
  }
  if (decode.op === "detect" && decode.form === "queries" && decode.boxes === undefined)
    throw invalid(`${name}: the step detect of queries must name the output with the boxes`, name);
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
    if (seen.has(value)) throw invalid(`${at}: the ${key} "${value}" occurs twice`, at);
    seen.add(value);
  }
}

function invalid(message: string, at: string): SelvedgeError {
  return new SelvedgeError("bundle-invalid", `bundle.json is not valid: ${message}`, { at, reason: "schema" });
}
