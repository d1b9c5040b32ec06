// A bundle: one model, several variants, as a directory with `bundle.json` and `chunks/<sha256>`.
// This file is what one is, and its identity. bundle-schema.ts checks one that came from outside, cache/download.ts
// fetches one, choose.ts picks a variant; the toolchain writes what these read.
import type { Port } from "./tensor.ts";

/** Names the schema that this version reads and writes. */
export const BUNDLE_SCHEMA = "selvedge/bundle@1";

/** Bounds a chunk, in bytes: chunks are fetched, hashed and retried whole. */
export const CHUNK_MAX_BYTES: number = 4 * 1024 * 1024;

/** How an image becomes a tensor; every sum is done by lib/preprocess, the same way in every place. */
export interface ImageSpec {
  /** To which size the image is brought first. */
  readonly resize: ResizeSpec;
  /** Order of the channels in the tensor. */
  readonly channels: "rgb" | "bgr" | "gray";
  /** value = (pixel · scale − mean[c]) / std[c], pixel in 0…255. Default 1/255. */
  readonly scale?: number | undefined;
  /** Subtracted after scaling, one per channel in the order of `channels`. Default 0. */
  readonly mean?: readonly number[] | undefined;
  /** Divided by after the mean, one per channel in the order of `channels`. Default 1. */
  readonly std?: readonly number[] | undefined;
  /** Order of the axes in the tensor. */
  readonly layout: "nchw" | "nhwc";
}

/** To which size an image is brought before it becomes a tensor. Sizes in pixels. */
export type ResizeSpec =
  /** Stretches to width × height. */
  | { readonly mode: "exact"; readonly width: number; readonly height: number }
  /** Scales to fit inside width × height from the top left; the rest is 0 after normalising. */
  | { readonly mode: "fit"; readonly width: number; readonly height: number }
  /** Sets the height; the width follows in proportion, is kept within [minWidth, maxWidth], and is rounded up to `multipleOf`; columns past the image are 0 after normalising. */
  | {
      readonly mode: "height";
      readonly height: number;
      readonly minWidth?: number | undefined;
      readonly maxWidth?: number | undefined;
      readonly multipleOf?: number | undefined;
    }
  /** Scales down so that the longer side is at most `maxSide`, up so that the shorter is at least `minSide` (never past maxSide); each side is stretched to the nearest multiple of `multipleOf`. */
  | {
      readonly mode: "side";
      readonly maxSide: number;
      readonly minSide?: number | undefined;
      readonly multipleOf?: number | undefined;
    };

/** How texts become the numbers that a model reads. */
export interface TextSpec {
  /** Path of the asset that is the tokenizer's file, as Hugging Face writes it (tokenizer.json). */
  readonly tokenizer: string;
  /** The most pieces that a text may have, marks counted; the rest of a longer text is left out. */
  readonly maxLength: number;
  /** Names the input that says where a piece is: 1, and 0 where a shorter text was filled up. */
  readonly mask?: string | undefined;
  /** Names the input that tells the first text of a pair from the second: 0 everywhere. */
  readonly types?: string | undefined;
}

/** How an output becomes an answer. */
export type DecodeSpec =
  /** Softmax over the last axis: a probability per class. */
  | { readonly op: "softmax" }
  /** Index of the largest value on the last axis. */
  | { readonly op: "argmax" }
  /** The `top` best classes (default 5), with labels from an asset, one a line; softmax first where `logits`. */
  | {
      readonly op: "labels";
      readonly asset: string;
      readonly top?: number | undefined;
      readonly logits?: boolean | undefined;
    }
  /** Greedy connectionist temporal classification over [batch, time, class]: class 0 separates, class i + 1 is line i of the asset. */
  | { readonly op: "ctc"; readonly asset: string };

/** How an input may be made longer, so that requests of unlike sizes run together. */
export interface PadSpec {
  /** Which axis; one of any size, and not the batch's. */
  readonly axis: number;
  /** What is put past the end. Default 0. */
  readonly value?: number | undefined;
  /** How much longer without harm, as a share: 0.2 for 20 %. */
  readonly upTo: number;
}

/** How long an output is without padding: ⌊(size + plus) / per⌋ of an input's size. */
export interface CutSpec {
  /** Which axis of the output. */
  readonly axis: number;
  /** Names the input that was padded. */
  readonly input: string;
  /** Which axis of that input. */
  readonly inputAxis: number;
  readonly per: number;
  readonly plus: number;
}

/** One input of a bundle's model. */
export interface BundleInput extends Port {
  /** Present where an image may be given instead of a tensor. */
  readonly image?: ImageSpec | undefined;
  /** Present where texts may be given instead of a tensor; the inputs that it names are then filled as well. */
  readonly text?: TextSpec | undefined;
  /** Present where it may be padded to run together with others; no model is padded unless its bundle says so. */
  readonly pad?: PadSpec | undefined;
}

/** One output of a bundle's model. */
export interface BundleOutput extends Port {
  /** Names the input that this output feeds at the next step, where the model keeps a recurrent state. */
  readonly feeds?: string | undefined;
  /** Present where the output is decoded to an answer. */
  readonly decode?: DecodeSpec | undefined;
  /** Present where padding an input makes this output longer. */
  readonly cut?: CutSpec | undefined;
}

/** A piece of a file: `chunks/<sha256>` beside bundle.json, hash and size of the uncompressed bytes. */
export interface BundleChunk {
  readonly sha256: string;
  readonly bytes: number;
}

/** A file of a bundle, as a list of chunks. */
export interface BundleFile {
  readonly path: string;
  readonly bytes: number;
  readonly chunks: readonly BundleChunk[];
}

/** Counts operators by where they run. */
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

/** One encoding of a bundle's model. */
export interface Variant {
  readonly id: string;
  /** Capability words, all of which must be there: `webgpu`, `wasm`, `shader-f16`, `maxBufferSize>=N` … A word that this version does not know is not there. */
  readonly needs: readonly string[];
  /** ONNX Runtime session configuration entries per backend, as `{ "session.disable_quant_qdq": "1" }`. */
  readonly session?:
    | {
        readonly webgpu?: Readonly<Record<string, string>> | undefined;
        readonly wasm?: Readonly<Record<string, string>> | undefined;
      }
    | undefined;
  /** The first file is the model; others are its external data, by the path that the model names. */
  readonly files: readonly BundleFile[];
  /** What it scored over `n` samples where the toolchain measured it, beside the reference variant; higher is better. */
  readonly metric?:
    { readonly name: string; readonly value: number; readonly reference: number; readonly n: number } | undefined;
  /** Milliseconds against the reference variant on the same backend, as measured when packed; below 1 is faster. */
  readonly speed?: { readonly webgpu?: number | undefined; readonly wasm?: number | undefined } | undefined;
  /** Backends on which it was not checked, or not found good, when packed: it is taken there only by name. */
  readonly unchecked?: readonly ("webgpu" | "wasm")[] | undefined;
  /** Where its operators run, by ONNX Runtime's own log. */
  readonly assignment?:
    { readonly webgpu?: Assignment | undefined; readonly wasm?: Assignment | undefined } | undefined;
}

/** A validated `bundle.json`. */
export interface Bundle {
  /** Names the schema; another one is refused. */
  readonly schema: typeof BUNDLE_SCHEMA;
  /** What all variants have in common. */
  readonly model: {
    readonly name: string;
    readonly version: string;
    readonly licence: string;
    readonly description?: string | undefined;
    readonly inputs: readonly BundleInput[];
    readonly outputs: readonly BundleOutput[];
    /** A usual size for each symbolic dim: what a probe runs on. */
    readonly typical?: Readonly<Record<string, number>> | undefined;
    /** Sketches of inputs and outputs over the samples, so that drift can be told later. */
    readonly baseline?: Readonly<Record<string, Readonly<Record<string, number | readonly number[]>>>> | undefined;
  };
  /** In the order of preference where nothing has been measured. */
  readonly variants: readonly Variant[];
  /** Label tables and the like, shared by all variants. */
  readonly assets?: readonly BundleFile[] | undefined;
}

/**
 * Computes a bundle's identity: the SHA-256 of its canonical JSON (keys sorted, no white space; RFC 8785 for the
 * values that the schema admits), as 64 hex digits.
 */
export async function bundleIdentity(json: Bundle): Promise<string> {
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

/** Hashes bytes with WebCrypto, as 64 hex digits. */
export async function sha256Hex(bytes: Uint8Array<ArrayBuffer> | ArrayBuffer): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(digest, (x) => x.toString(16).padStart(2, "0")).join("");
}
