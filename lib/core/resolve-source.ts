// Normalises the source of `engine.load` to an absolute address, or to bytes as a Blob. The worker that fetches models
// opens it (cache/open.ts).
import { kindOf, show } from "./check-inputs.ts";

/** A repository in the Hugging Face layout. */
export interface RepositorySource {
  /** As `"owner/name"`. */
  readonly repo: string;
  /** Branch, tag or commit. Default `"main"`; a branch that moved is an update. */
  readonly revision?: string | undefined;
  /** Address of the hub. Default: the engine's `hub.host`, else `https://huggingface.co`. */
  readonly host?: string | undefined;
  /**
   * Returns an access token for a private or gated repository. Every visitor of the page can read it: use a token of
   * the visitor, or serve the files from your own origin.
   */
  readonly token?: (() => string | Promise<string>) | undefined;
  /** Encoding, as `"q8"` or `"fp16"`. Default: the one that suits this device. */
  readonly dtype?: string | undefined;
  /** Graph, as `"encoder_model"`. Default: `"model"`, or the only one. */
  readonly file?: string | undefined;
}

/**
 * Source of a model: the URL of a bundle.json, of an `.onnx`, or of a folder in the Hugging Face layout (with a slash at
 * the end); or the bytes of an `.onnx`.
 */
export type ModelSource = string | URL | ArrayBuffer | Uint8Array | Blob;

/**
 * Returns an absolute address.
 * @throws TypeError for bytes and anything else
 */
export function resolveAddress(source: string | URL, base: string): string {
  const from = resolveSource(source, base);
  if (typeof from === "string") return from;
  throw new TypeError(`source: expected a URL, got ${show(source)}`);
}

/**
 * Returns an absolute address, or the bytes.
 * @throws TypeError for anything else
 */
export function resolveSource(source: ModelSource, base: string): string | Blob {
  // `instanceof` fails on values of another realm.
  const kind = kindOf(source);
  if (/^(String|URL)$/.test(kind)) {
    if (source === "") throw new TypeError("source: the URL is empty: is its variable set?");
    try {
      return new URL(source as string, base || undefined).href;
    } catch {
      // Firefox's error has the whole URL.
      throw new TypeError(`source: ${show(source)} is not a URL`);
    }
  }
  if (/^(Blob|File)$/.test(kind)) return source as Blob;
  if (/^(ArrayBuffer|Uint8Array)$/.test(kind))
    try {
      return new Blob([source as ArrayBuffer]);
    } catch {
      return new Blob([(source as ArrayBuffer).slice()]); // it takes no shared memory
    }
  throw new TypeError(`source: expected a URL, bytes, a Blob or a File, got ${show(source)}`);
}
