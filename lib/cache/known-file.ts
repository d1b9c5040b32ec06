// Facts of a file before its download, and the errors for one that is no model.
import type { BundleChunk } from "../core/bundle.ts";
import { SelvedgeError } from "../core/errors.ts";
import type { ErrorDetails } from "../core/errors.ts";
import type { Sniffed } from "../core/sniff.ts";
import type { Validator } from "./source.ts";
import type { Bytes } from "./stores/store.ts";
import { validatorOf } from "./validator.ts";

/** A file of a repository, known before its download. */
export interface KnownFile {
  /** Key of its draft, in place of the address: the same file may come from several. */
  readonly draft: string;
  readonly bytes: number;
  /** Whether its hash is stated: then the hash decides, and a server's validators need not. */
  readonly isHashed: boolean;
  /** Whether it is a graph, whose first bytes differ from those of other formats. */
  readonly isGraph: boolean;
  /** Headers of each request, as `authorization`. */
  readonly headers: Readonly<Record<string, string>>;
  /** Receives each downloaded piece, in the order of arrival; `null` where all are discarded. */
  readonly onPiece: (piece: { readonly index: number; readonly bytes: Bytes } | null) => void;
  /** Pieces that are recorded as stored. */
  readonly pieces: readonly BundleChunk[];
}

/**
 * Returns the validators of an answer, or of none; those of a file whose hash is stated are the same in every answer.
 * `known` is null for a bare model.
 */
export function validatorFor(known: KnownFile | null, headers: Headers | null, isRange: boolean): Validator {
  const file = headers === null ? null : validatorOf(headers, isRange);
  if (known === null) return file ?? { etag: null, lastModified: null, bytes: null };
  const bytes = file?.bytes ?? known.bytes;
  return known.isHashed || file === null ? { etag: null, lastModified: known.draft, bytes } : { ...file, bytes };
}

/** Returns the error for a file of another kind. */
export function notModel(name: string, { reason, what, fix }: Sniffed, details: ErrorDetails): SelvedgeError {
  const message = `${name} is ${what}, not an ONNX model. ${fix}`;
  return new SelvedgeError("model-invalid", message, { ...details, reason, final: true });
}

/** Returns the error for an empty model; `hint` follows the sentence. */
export function empty(hint = ""): SelvedgeError {
  return new SelvedgeError("model-invalid", `The model is empty (0 bytes).${hint}`, { bytes: 0, reason: "empty" });
}
