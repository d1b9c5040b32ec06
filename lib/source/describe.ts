// Describes a repository as one model with several variants: the form that the store keeps and the planner reads. The
// ports are known only once the graph is loaded, so steps are given by the names that exporters use; a step for a port
// that the graph has not is left out then.
import { canonicalJson } from "../core/bundle.ts";
import type { DecodeSpec, PortSteps, TextSpec } from "../core/bundle.ts";
import { SelvedgeError } from "../core/errors.ts";
import { IMAGE_INPUT, TEXT_INPUT } from "../core/fit-steps.ts";
import { chooseGraphs, folderOf, listGraphs } from "./onnx-files.ts";
import type { GraphFile } from "./onnx-files.ts";
import type { ProcessorFacts } from "./processor.ts";
import { TOKENIZER, tokenizerPath } from "./repository.ts";
import type { RepositoryFacts, RepositoryFile } from "./repository.ts";

/** The schema of a repository's description in the store. */
export const REPOSITORY_SCHEMA = "selvedge/repository@1";

/** Number of the rules that make a description: higher where the same files are described otherwise than before. */
export const REPOSITORY_RULES = 18;

/** A file of a description: one chunk of any size. */
export interface DescribedFile {
  /** Path as the graph's external data or a step names it. */
  readonly path: string;
  /** Absolute address, at a commit where the host has commits. */
  readonly url: string;
  readonly bytes: number;
  /** SHA-256 of the content; where the host states none, of the address and the validators (`isUnverified`). */
  readonly sha256: string;
  /** Whether the host states no hash, so that the first download is trusted. */
  readonly isUnverified?: true;
  /** Whether the host states neither a hash nor a validator: a change shows in the content alone. */
  readonly isBlind?: true;
}

/** One encoding of the model. */
export interface DescribedVariant {
  /** As transformers.js' `dtype`: `fp32`, `q8` … */
  readonly id: string;
  /** Capability words (core/bundle.ts). */
  readonly needs: readonly string[];
  /** Backends on which it is used where the caller names it and its needs are met nowhere. */
  readonly named?: readonly ("webgpu" | "wasm")[];
  /** Time relative to fp32, as measured on MiniLM. */
  readonly speed: { readonly webgpu?: number; readonly wasm?: number };
  /** Backends on which it is used only when the caller names it. */
  readonly unchecked?: readonly ("webgpu" | "wasm")[];
  /** The graph, then its external data. */
  readonly files: readonly DescribedFile[];
}

/** Description of a repository, as the store keeps it. Its identity is the SHA-256 of its canonical JSON. */
export interface RepositoryJson {
  readonly schema: typeof REPOSITORY_SCHEMA;
  /** As `owner/name`. */
  readonly name: string;
  /** Commit; empty where the host has none. */
  readonly version: string;
  readonly licence: string;
  readonly variants: readonly DescribedVariant[];
  readonly assets: readonly DescribedFile[];
  readonly steps: PortSteps;
}

/** Facts and files that a description is made of. */
export interface DescribeInput {
  readonly name: string;
  readonly version: string;
  readonly licence?: string | null;
  readonly facts: RepositoryFacts;
  readonly files: readonly RepositoryFile[];
  /** Graph to load: base name, file name or path. Default: `model`, or the only one. */
  readonly file?: string | undefined;
  /** Paths of external data by graph, relative to its folder, where the graph itself was read; else names decide. */
  readonly locations?: ReadonlyMap<string, readonly string[]> | undefined;
  /** Returns a file's address and hash. */
  readonly locate: (file: RepositoryFile) => Omit<DescribedFile, "path" | "bytes">;
}

/** Properties of an encoding. */
interface EncodingFacts {
  readonly needs: readonly string[];
  readonly speed: DescribedVariant["speed"];
  /** Whether its error is large enough to need a check before it is a default. */
  readonly isCoarse?: boolean;
}

const GPU16 = ["webgpu", "shader-f16"];
/**
 * Encodings by word. Times are MiniLM's on wasm; on WebGPU float16 was taken as 0.7. Dynamic 8-bit products have no
 * WebGPU kernels.
 */
const FORMS: Readonly<Record<string, EncodingFacts>> = {
  fp32: { needs: [], speed: { webgpu: 1, wasm: 1 } },
  fp16: { needs: GPU16, speed: { webgpu: 0.7 } },
  q8: { needs: ["wasm"], speed: { wasm: 0.5 } },
  int8: { needs: ["wasm"], speed: { wasm: 0.5 } },
  uint8: { needs: ["wasm"], speed: { wasm: 0.5 } },
  q4: { needs: [], speed: { webgpu: 1, wasm: 1.4 }, isCoarse: true },
  q4f16: { needs: GPU16, speed: { webgpu: 0.75 }, isCoarse: true },
  bnb4: { needs: ["wasm"], speed: { wasm: 1.4 }, isCoarse: true },
};
const OTHER: EncodingFacts = { needs: [], speed: { webgpu: 1, wasm: 1.4 }, isCoarse: true };
/** Size above which a finer encoding is no alternative to a coarse one. */
const LARGE_BYTES = 2 * 1024 ** 3;
/** Bound on tokens where no file has one. */
const MAX_LENGTH = 512;

/**
 * Describes a repository.
 * @throws SelvedgeError `model-invalid` without a graph, or with several of which none is chosen; `download-failed` for
 * a missing part
 */
export function describeRepository(input: DescribeInput): RepositoryJson {
  const { name, version, licence = null, facts, files } = input;
  const byPath = new Map(files.map((x) => [x.path, x]));
  const graphs = chooseGraphs(listGraphs([...byPath.keys()]), input.file, name);
  const described = graphs.map((graph) => describeGraph(graph, byPath, input));
  const tokenizer = byPath.get(tokenizerPath(new Set(byPath.keys())) ?? "");
  const steps = stepsOf(facts, tokenizer !== undefined);
  const assets =
    tokenizer === undefined || Object.keys(steps.texts).length === 0 ? [] : [fileOf(tokenizer, TOKENIZER, input)];
  return {
    schema: REPOSITORY_SCHEMA,
    name,
    version,
    licence: licence ?? "unknown",
    variants: withChecks(described),
    assets,
    steps: { ...steps, rules: REPOSITORY_RULES },
  };
}

function describeGraph(
  graph: GraphFile,
  byPath: ReadonlyMap<string, RepositoryFile>,
  input: DescribeInput,
): DescribedVariant {
  const folder = folderOf(graph.path);
  const { needs, speed } = FORMS[graph.dtype] ?? OTHER;
  const read = input.locations?.get(graph.path);
  // A graph that could not be read names none.
  const own = read?.length === 0 && graph.data.length > 0 ? undefined : read;
  if (own === undefined) checkShards(graph, input);
  const data = own?.map((x) => `${folder}${x}`) ?? graph.data;
  const files = [graph.path, ...data].map((path) => {
    const file = byPath.get(path);
    if (file === undefined) throw missingPart(input.name, path);
    return fileOf(file, path.slice(folder.length), input);
  });
  return { id: graph.dtype, needs, speed, files };
}

function fileOf(file: RepositoryFile, path: string, { locate, name }: DescribeInput): DescribedFile {
  if (file.bytes === null || file.bytes === 0) throw sizeless(name, file.path);
  return { path, bytes: file.bytes, ...locate(file) };
}

/** Returns the error for a file whose host does not state its size. */
export function sizeless(repository: string, path: string): SelvedgeError {
  const message = `${repository}: the host does not state the size of ${path}, or it is 0: serve it with Content-Length and without compression.`;
  return new SelvedgeError("bundle-invalid", message, { path, reason: "no-size" });
}

/** Refuses a graph whose external data is not all there, by the numbers in the names and in config.json. */
function checkShards({ path, data }: GraphFile, { name, facts }: DescribeInput): void {
  const file = path.slice(path.lastIndexOf("/") + 1);
  const told = facts.config?.externalData ?? {};
  const wanted = told[file] ?? told[file.slice(0, -".onnx".length)] ?? 0;
  const numbers = data.map((x) => Number(/_data_(\d+)$/.exec(x)?.[1] ?? 0));
  const count = Math.max(wanted, ...numbers.map((x) => x + 1));
  for (let i = 0; i < count; i += 1) {
    if (numbers.includes(i)) continue;
    const missing = `${path}_data${i === 0 ? "" : `_${i}`}`;
    throw missingPart(name, missing);
  }
}

/** Returns the error for external data that a repository has not. */
export function missingPart(repository: string, path: string): SelvedgeError {
  return new SelvedgeError(
    "download-failed",
    `${repository} lacks ${path}, a part of the model's weights: upload it, or take another revision.`,
    { repository, path, reason: "not-found", final: true },
  );
}

/** Keeps coarse encodings from being a default beside a finer one; lets float16 run on wasm where nothing else does. */
function withChecks(variants: readonly DescribedVariant[]): DescribedVariant[] {
  const runsOn = (x: DescribedVariant, backend: "webgpu" | "wasm"): boolean =>
    backend === "webgpu" ? !x.needs.includes("wasm") : !x.needs.includes("webgpu");
  const isCoarse = (x: DescribedVariant): boolean => (FORMS[x.id] ?? OTHER).isCoarse === true;
  const bytesOf = (x: DescribedVariant): number => x.files.reduce((sum, y) => sum + y.bytes, 0);
  const isFine = (x: DescribedVariant): boolean => !isCoarse(x) && bytesOf(x) < LARGE_BYTES;
  const hasWasm = variants.some((x) => runsOn(x, "wasm"));
  return variants.map((x) => {
    const needs = hasWasm ? x.needs : [];
    // wasm computes it too, if slower than other encodings.
    const named = needs.includes("shader-f16") ? { named: ["wasm"] as const } : {};
    if (!isCoarse(x)) return { ...x, needs, ...named };
    const unchecked = (["webgpu", "wasm"] as const).filter((backend) =>
      // float16 needs a feature of the GPU, so only what every GPU runs is an alternative there.
      variants.some((y) => isFine(y) && runsOn(y, backend) && (y.needs.length < 2 || x.needs.length >= 2)),
    );
    return { ...x, needs, ...named, ...(unchecked.length > 0 && { unchecked }) };
  });
}

/** Returns the steps that a repository's files declare, by the names of ports that exporters use. */
export function stepsOf(facts: RepositoryFacts, hasTokenizer: boolean): PortSteps {
  const { config, processor, vocabulary } = facts;
  const keeps = facts.tokenizer?.keeps ?? null;
  const padId = facts.tokenizer?.padId ?? config?.padId ?? null;
  const fill = processor?.textLength ?? null;
  const text: TextSpec = {
    tokenizer: TOKENIZER,
    maxLength: Math.min(facts.maxLength ?? MAX_LENGTH, fill ?? Infinity),
    mask: "attention_mask",
    types: "token_type_ids",
    ...(config?.hasOffset !== true && { positions: "position_ids" }),
    ...(padId !== null && padId !== 0 && { padId }),
    ...(keeps !== null && { keeps }),
    ...(facts.sentence?.lowercase === true && { lowercase: true }),
    ...(facts.sentence?.trim === true && { trim: true }),
    ...(fill !== null && { fill: true }),
  };
  const { pooling = null, normalize = false, prompts = {}, prompt = null, unsupported = null } = facts.sentence ?? {};
  const pool: DecodeSpec | null =
    pooling === null ? null : { op: "pool", mode: pooling, mask: "attention_mask", ...(normalize && { normalize }) };
  const task = taskOf(facts);
  const steps = Object.values(task);
  const table = steps.some((x) => x.op === "ctc") ? vocabulary?.lines : config?.labels;
  const hasTable = steps.some((x) => "asset" in x);
  const hasPrompts = Object.keys(prompts).length > 0;
  const { unsupported: sound, ...sounds } = soundsOf(processor);
  // A tokenizer beside a processor of sounds is one of characters, which answers are decoded by.
  const lacksTokenizer = facts.tokenizer !== null && !hasTokenizer && processor?.isSound !== true;
  const reasons = { ...(lacksTokenizer && { [TEXT_INPUT]: NO_TOKENIZER }), ...sound };
  return {
    texts: hasTokenizer
      ? {
          [TEXT_INPUT]: {
            ...text,
            ...(hasPrompts && { prompts }),
            ...(prompt !== null && { prompt }),
            ...(unsupported !== null && { unsupported }),
          },
        }
      : {},
    ...sounds,
    ...(Object.keys(reasons).length > 0 && { unsupported: reasons }),
    images: processor?.image == null ? {} : { [IMAGE_INPUT]: { ...processor.image, mask: "pixel_mask" } },
    decodes: { ...task, ...(pool !== null && { last_hidden_state: pool, token_embeddings: pool }) },
    assets: hasTable ? { [LABELS]: `${(table ?? []).join("\n")}\n` } : {},
  };
}

/** Returns the conversions of sounds, and the setting for which pictures or sounds are not converted. */
function soundsOf(processor: ProcessorFacts | null): Pick<PortSteps, "sounds" | "unsupported"> {
  if (processor === null) return {};
  const { file, className, sound, unsupported, isSound } = processor;
  if (unsupported === null && sound === null) return {};
  if (sound !== null) return { sounds: { [SOUND_INPUTS[sound.op === "log-mel" ? 0 : 1]]: sound } };
  const text = `${file}: "${unsupported}" of ${className ?? "a processor without a class"} is not supported`;
  return { unsupported: Object.fromEntries((isSound ? SOUND_INPUTS : [IMAGE_INPUT]).map((x) => [x, text])) };
}

/** Names of the inputs for sounds: of Whisper's spectrogram, and of any other form. */
const SOUND_INPUTS = ["input_features", "input_values"] as const;

/** Returns the decoding of a model's task, by the head that the names of its classes end in. */
function taskOf({ config, processor, vocabulary }: RepositoryFacts): Record<string, DecodeSpec> {
  const is = (head: RegExp): boolean => config?.architectures.some((x) => head.test(x)) === true;
  const image = IMAGE_INPUT;
  if (is(/ForDepthEstimation$/)) return { predicted_depth: { op: "depth", image } };
  const asset = LABELS;
  if (is(/ForCTC$/))
    return vocabulary === null ? {} : { logits: { op: "ctc", asset, blank: vocabulary.blank, logits: true } };
  if (config === null || config.labels === null) return {};
  const hasClasses = is(/For(Sequence|Image|Audio)Classification(WithTeacher)?$/) || config.isClassifier;
  if (hasClasses && config.problem !== "regression")
    return { logits: { op: "labels", asset, logits: config.problem === "multi-label" ? "sigmoid" : true } };
  if (is(/ForTokenClassification$/)) return { logits: { op: "tokens", asset, text: TEXT_INPUT } };
  if (is(/ForObjectDetection$/))
    return { logits: { op: "detect", form: "queries", boxes: "pred_boxes", asset, image, ...topOf(processor) } };
  if (is(/ForSemanticSegmentation$/)) {
    const resize = processor?.image?.resize;
    const isCropped = resize?.mode === "resample" && resize.crop !== undefined;
    return { logits: { op: "segment", asset, image, ...(isCropped && { stretch: true }) } };
  }
  return {};
}

function topOf(processor: ProcessorFacts | null): { readonly top?: number } {
  return processor?.boxes == null ? {} : { top: processor.boxes };
}

const LABELS = "labels.txt";
const NO_TOKENIZER =
  "the repository has no tokenizer.json, which texts are read by: AutoTokenizer.from_pretrained(…).save_pretrained(…) writes it";

/** Facts of a file whose host states no SHA-256. */
export interface FilePlace {
  readonly url: string;
  readonly bytes: number | null;
  /** Git's id of the content. */
  readonly oid?: string | null;
  readonly etag?: string | null;
  readonly lastModified?: string | null;
}

/**
 * Returns the text whose SHA-256 stands for such a file: git's id of its content, else its address and what its host says
 * of it.
 */
export function placeOf({ url, bytes, oid = null, etag = null, lastModified = null }: FilePlace): string {
  return canonicalJson(oid === null ? { url, bytes, etag, lastModified } : { oid, bytes });
}
