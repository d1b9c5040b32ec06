// A bundle: one model, several variants, as a directory with `bundle.json` and `chunks/<sha256>.bin`.
//
// This file defines the in-memory form of a bundle, and its identity. bundle-schema.ts reads that form from the JSON of
// either schema, bundle-json.ts writes it as schema 2, cache/download.ts fetches chunks, choose-variant.ts selects a
// variant. The two forms are separate on purpose: JSON may hold fields of a newer release, which are kept where the
// JSON is stored and sent, and never reach code that does not know them.
import type { DecodeSpec } from "./decode-spec.ts";
import type { ImageSpec } from "./image-spec.ts";
import type { SoundSpec } from "./sound-spec.ts";
import type { Port } from "./tensor.ts";

export type { CtcSpec, DecodeSpec, PoolSpec } from "./decode-spec.ts";
export type { ImageSpec, ResizeSpec } from "./image-spec.ts";
export type { FbankSpec, LogMelSpec, SamplesSpec, SoundSpec } from "./sound-spec.ts";

/** The schema that this version writes. */
export const BUNDLE_SCHEMA = "selvedge/bundle@2";

/** The first schema, which this version still reads. Its chunks are not compressed; their files have no extension. */
export const BUNDLE_SCHEMA_1 = "selvedge/bundle@1";

/** Bound on `bundle.json` in bytes, checked before it is parsed: enough for the chunks of some 50 GB. */
export const BUNDLE_MAX_BYTES: number = 2 * 1024 * 1024;

/** Bound on a chunk in bytes: chunks are fetched, hashed and retried whole. */
export const CHUNK_MAX_BYTES: number = 4 * 1024 * 1024;

/** Value of `TextSpec.unsupported` for a model whose pooling leaves the prompt out: right for texts without one. */
export const WITHOUT_PROMPT = "include_prompt: false";

/** Tokenization of texts for a model. */
export interface TextSpec {
  /** Path of the asset that is the tokenizer's file in the Hugging Face format (tokenizer.json). */
  readonly tokenizer: string;
  /** The most tokens per text, special tokens included; a longer text is truncated. */
  readonly maxLength: number;
  /** Name of the attention mask input: 1 for tokens, 0 for padding. */
  readonly mask?: string | undefined;
  /** Name of the token type input, which distinguishes the texts of a pair: 0 everywhere. */
  readonly types?: string | undefined;
  /** Name of the position input: 0, 1, 2 … in each row. */
  readonly positions?: string | undefined;
  /** Token past the end of a short text, where tokenizer.json names none. Default 0. */
  readonly padId?: number | undefined;
  /** The part that is kept of a longer text. Default: its begin, or as tokenizer.json says. */
  readonly keeps?: "begin" | "end" | undefined;
  /** Whether texts are made lower case first, whatever tokenizer.json does. Default false. */
  readonly lowercase?: boolean | undefined;
  /** Whether white space at both ends of a text is left out, whatever tokenizer.json does. Default false. */
  readonly trim?: boolean | undefined;
  /** Whether a text is padded to `maxLength`, for a model that takes no mask. Default: to the longest of its batch. */
  readonly fill?: boolean | undefined;
  /** Texts that `embed` puts before a text, by the name of the use, as `query`. */
  readonly prompts?: Readonly<Record<string, string>> | undefined;
  /** Name of the prompt where the caller names none. Default: none. */
  readonly prompt?: string | undefined;
  /** The part of a repository's pooling that this release does not compute; `embed` names it. Default: none. */
  readonly unsupported?: string | undefined;
}

/** Allowed padding of an input, by which requests of unlike sizes are batched. */
export interface PadSpec {
  /** Axis of any size, other than the batch axis. */
  readonly axis: number;
  /** Value past the end. Default 0. */
  readonly value?: number | undefined;
  /** The most padding without harm, as a share: 0.2 for 20 %. */
  readonly upTo: number;
}

/** Length of an output without padding: ⌊(size + plus) / per⌋ of an input's size. */
export interface CutSpec {
  /** Axis of the output. */
  readonly axis: number;
  /** Name of the padded input. */
  readonly input: string;
  /** Axis of that input. */
  readonly inputAxis: number;
  /** Divisor. */
  readonly per: number;
  /** Summand, before the division. */
  readonly plus: number;
}

/** One input of a bundle's model. */
export interface BundleInput extends Port {
  /** Present where the input accepts an image instead of a tensor. */
  readonly image?: ImageSpec | undefined;
  /** Present where the input accepts texts instead of a tensor; the inputs that it names are then filled too. */
  readonly text?: TextSpec | undefined;
  /** Present where the input accepts the samples of a sound instead of a tensor. */
  readonly sound?: SoundSpec | undefined;
  /** Why a repository's pictures or sounds are not converted here, for the error; in no bundle. */
  readonly unsupported?: string | undefined;
  /** Present where the input may be padded for batching; no model is padded unless its bundle allows it. */
  readonly pad?: PadSpec | undefined;
}

/** One output of a bundle's model. */
export interface BundleOutput extends Port {
  /** Name of the input that this output feeds at the next step, where the model has a recurrent state. */
  readonly feeds?: string | undefined;
  /** Present where the output is decoded. */
  readonly decode?: DecodeSpec | undefined;
  /** Present where padding an input makes this output longer. */
  readonly cut?: CutSpec | undefined;
  /** Whether two runs with the same inputs differ, as by random numbers or the time. Default: false. */
  readonly isRandom?: boolean | undefined;
}

/** A chunk of a file: `chunks/<sha256>.bin` beside bundle.json, in an encoding that every host serves unchanged. */
export interface BundleChunk {
  /** Hash of the expanded bytes, as 64 hex digits. */
  readonly sha256: string;
  /** Size of the expanded bytes. */
  readonly bytes: number;
  /** Stored encoding, `br` or `gzip`; absent for none. A variant with another word needs a newer release. */
  readonly encoding?: string | undefined;
  /** Size as stored and sent; absent without an encoding. */
  readonly wireBytes?: number | undefined;
  /** Address of a repository's file: it is one chunk of any size, which the store keeps in pieces. */
  readonly url?: string | undefined;
  /** Whether its host states no hash: `sha256` is then of its address and validators, and the first download is trusted. */
  readonly isUnverified?: boolean | undefined;
  /** Whether its host states no validators either: a change shows in its content alone. */
  readonly isBlind?: boolean | undefined;
}

/** A file of a bundle, as a list of chunks. */
export interface BundleFile {
  /** Name, relative to the model. */
  readonly path: string;
  /** Size in bytes. */
  readonly bytes: number;
  /** Its content, in order. */
  readonly chunks: readonly BundleChunk[];
}

/** Counts of operators by placement. */
export interface Assignment {
  /** On the backend itself. */
  readonly device: number;
  /** On the CPU, for shape arithmetic only. */
  readonly shape: number;
  /** On the CPU, for anything else. */
  readonly cpu: number;
  /** Copies between the CPU and the backend, in one run. */
  readonly copies: number;
}

/** A number for each backend where it is known. */
export interface PerBackend {
  /** On WebGPU. */
  readonly webgpu?: number | undefined;
  /** On WebAssembly. */
  readonly wasm?: number | undefined;
}

/** A measured value and its 95 % interval. */
export interface ScoreValue {
  /** The metric's value. */
  readonly value: number;
  /** Lower end of its interval. */
  readonly low?: number | undefined;
  /** Upper end of its interval. */
  readonly high?: number | undefined;
}

/** A variant's score on held-out samples, beside the reference variant's on the same samples. Higher is better. */
export interface Score extends ScoreValue {
  /** Name of the metric. */
  readonly name: string;
  /** The number of samples. */
  readonly n: number;
  /** How the interval was computed: "bootstrap" or "wilson" (binomial), for another set of as many samples. */
  readonly interval?: string | undefined;
  /** Score of the reference variant. */
  readonly reference: ScoreValue;
}

/** A known input and its expected output, as safetensors files whose tensors are named as the model's ports. */
export interface GoldenRun<File = BundleFile> {
  /** Inputs of the run. */
  readonly inputs: File;
  /** Computed by this variant on the CPU. */
  readonly outputs: File;
}

/** The known answers of a variant. */
export interface Golden<File = BundleFile> extends GoldenRun<File> {
  /** Further runs in their order; a recurrent state that the inputs of one lack is what the run before it left. */
  readonly next?: readonly GoldenRun<File>[] | undefined;
}

/** One encoding of a bundle's model. */
export interface Variant {
  /** Name, such as `int8`. */
  readonly id: string;
  /**
   * Capability words, all of which must hold: `webgpu`, `wasm`, `shader-f16`, `maxBufferSize>=N` … A word that this
   * version does not know does not hold. Reading a bundle adds `encoding:<word>` and `session:<entry>` for chunk
   * encodings and session entries that this version does not know.
   */
  readonly needs: readonly string[];
  /** Backends on which a caller who names it gets it where its needs are met nowhere; of repositories alone. */
  readonly named?: readonly ("webgpu" | "wasm")[] | undefined;
  /** ONNX Runtime session configuration entries per backend, as `{ "session.disable_quant_qdq": "1" }`. */
  readonly session?:
    | {
        readonly webgpu?: Readonly<Record<string, string>> | undefined;
        readonly wasm?: Readonly<Record<string, string>> | undefined;
      }
    | undefined;
  /** The first file is the model; others are its external data, by the path in the model. */
  readonly files: readonly BundleFile[];
  /** Bytes of its files as sent, each chunk counted once; computed from the chunks. */
  readonly wireBytes?: number | undefined;
  /** Predicted peak memory of a load, in bytes (predict-memory.ts). */
  readonly memoryBytes?: PerBackend | undefined;
  /**
   * Predicted memory of one run beside that, in bytes: values between operators, inputs and outputs, for one item of the
   * sizes of `exampleDims`, or of likely sizes. Default: read from the graph where that is here.
   */
  readonly activationBytes?: PerBackend | undefined;
  /** Size of the largest weight as a GPU holds it, in bytes: one buffer. */
  readonly tensorBytes?: number | undefined;
  /**
   * Whether a row's answer depends on the others of its batch, as where activations are quantized by the largest value of
   * a batch. Requests are not batched then. Default: read from the graph on this device (mixes-rows.ts); on a server,
   * whose graph can't be read, requests are not batched.
   */
  readonly mixesRows?: boolean | undefined;
  /** Absent where the toolchain did not measure it. */
  readonly score?: Score | undefined;
  /** A known answer, which WebGPU must give before its first request. */
  readonly golden?: Golden | undefined;
  /** Time relative to the reference variant on the same backend, measured at packing; below 1 is faster. */
  readonly speed?: PerBackend | undefined;
  /** Backends on which the variant was not validated at packing: it is used there only when the caller names it. */
  readonly unchecked?: readonly ("webgpu" | "wasm")[] | undefined;
  /** Placement of its operators, from ONNX Runtime's own log. */
  readonly assignment?:
    { readonly webgpu?: Assignment | undefined; readonly wasm?: Assignment | undefined } | undefined;
}

/** A feature of a bundle that only a newer release knows, without which its model can't be run. */
export interface Unknown {
  /** Where it occurs: the name of a port, or the path of an asset. */
  readonly at: string;
  readonly kind: "step" | "encoding" | "dtype";
  /** The unknown word. */
  readonly word: string;
}

/** Conversions of what an input takes instead of a tensor; images are apart. */
export type InputReader = Pick<BundleInput, "text" | "sound" | "unsupported">;

/** Steps by the names of ports; one for a port that the model has not is ignored. */
export interface PortSteps {
  /** Tokenization, by input name. */
  readonly texts: Readonly<Record<string, TextSpec>>;
  /** Conversion of images, by input name. */
  readonly images: Readonly<Record<string, ImageSpec>>;
  /** Conversion of sounds, by input name. Default: none. */
  readonly sounds?: Readonly<Record<string, SoundSpec>> | undefined;
  /** Settings of pictures or sounds that this release does not compute, by input name. Default: none. */
  readonly unsupported?: Readonly<Record<string, string>> | undefined;
  /** Decoding, by output name. */
  readonly decodes: Readonly<Record<string, DecodeSpec>>;
  /** Texts of assets that are in no file, by path. */
  readonly assets: Readonly<Record<string, string>>;
  /** Number of the rules that a stored description was made by (source/describe.ts); 1 where it has none. */
  readonly rules?: number | undefined;
}

/** A validated bundle in memory, read from either schema. */
export interface Bundle {
  /** The schema that it was read from, which determines the names of its chunks. */
  readonly format: BundleFormat;
  /** Properties that all variants have in common. */
  readonly model: {
    readonly name: string;
    readonly version: string;
    readonly licence: string;
    readonly description?: string | undefined;
    readonly inputs: readonly BundleInput[];
    readonly outputs: readonly BundleOutput[];
    /** A typical size for each symbolic dim, used to measure backends. */
    readonly exampleDims?: Readonly<Record<string, number>> | undefined;
    /** Steps by the names of ports that are known only once the model is loaded; a repository's. */
    readonly steps?: PortSteps | undefined;
    /** Sketches of inputs and outputs over the samples, to detect drift later. */
    readonly baseline?: Readonly<Record<string, Readonly<Record<string, number | readonly number[]>>>> | undefined;
  };
  /** In the order of preference without measurements. */
  readonly variants: readonly Variant[];
  /** Label tables and the like, shared by all variants. */
  readonly assets?: readonly BundleFile[] | undefined;
  /** Set where this release can't run the model at all. */
  readonly unknown?: Unknown | undefined;
}

/** The number of a bundle schema. */
export type BundleFormat = 1 | 2;

/** The parsed JSON of a `bundle.json`; it may hold fields of newer releases. */
export type BundleJson = Readonly<Record<string, unknown>> & { readonly schema: string };

/** Returns the address of a chunk, relative to its `bundle.json`. */
export function chunkPath(format: BundleFormat, sha256: string): string {
  return format === 1 ? `chunks/${sha256}` : `chunks/${sha256}.bin`;
}

/** Returns the size of a chunk as stored and sent. */
export function wireBytesOf(chunk: BundleChunk): number {
  return chunk.wireBytes ?? chunk.bytes;
}

/** Lists the files of a bundle: each variant's with its golden files, then the assets. */
export function filesOf({ variants, assets = [] }: Pick<Bundle, "variants" | "assets">): readonly BundleFile[] {
  return [...variants.flatMap((x) => [...x.files, ...goldenFiles(x.golden)]), ...assets];
}

/** Lists the files of a golden: the inputs and outputs of each run. */
export function goldenFiles<File>(golden: Golden<File> | undefined): readonly File[] {
  if (golden === undefined) return [];
  return [golden, ...(golden.next ?? [])].flatMap(({ inputs, outputs }) => [inputs, outputs]);
}

/**
 * Computes a bundle's identity: the SHA-256 of its canonical JSON (keys sorted, no white space; RFC 8785 for the values
 * that the schema admits), as 64 hex digits. The JSON is the received one, fields of newer releases included, whichever
 * schema it has.
 */
export async function bundleIdentity(json: BundleJson): Promise<string> {
  return sha256Hex(new TextEncoder().encode(canonicalJson(json)));
}

/** Writes JSON with sorted keys and no white space. */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(",")}]`;
  if (typeof value === "object" && value !== null) {
    const entries = Object.entries(value).filter(([, x]) => x !== undefined);
    entries.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
    return `{${entries.map(([k, x]) => `${JSON.stringify(k)}:${canonicalJson(x)}`).join(",")}}`;
  }
  return JSON.stringify(value);
}

/** Computes the SHA-256 of bytes by WebCrypto, as 64 hex digits. */
export async function sha256Hex(bytes: Uint8Array<ArrayBuffer> | ArrayBuffer): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(digest, (x) => x.toString(16).padStart(2, "0")).join("");
}
