// The thread line to the worker that fetches models: messages as types. Downloading, hashing and checking a bundle
// happen there, so that none of it costs the page's thread or its first bytes of script.
import type { Bundle, BundleFile } from "../bundle.ts";
import type { Reply } from "../reply.ts";

/** Tells how far a download is. */
export interface Progress {
  /** How many bytes have come. */
  readonly loadedBytes: number;
  /** How many will have come in the end; null while the server has not told. */
  readonly totalBytes: number | null;
}

/** A model found. */
export interface OpenedBundle {
  /** Validated; made up for a bare model. */
  readonly bundle: Bundle;
  /** 64 hex digits: the SHA-256 of the bundle's canonical JSON, or of a bare model's bytes. */
  readonly identity: string;
  /** The bytes of a bare model; null for a bundle, whose files are fetched when a variant is chosen. */
  readonly data: Blob | null;
}

/** What the worker offers. Each call carries a ticket, by which it is cancelled and its progress told. */
export interface CacheApi {
  /** Opens an address (`bundle.json`, or a bare model, which is fetched) or a bare model's bytes. */
  open(ticket: number, from: string | Blob): Promise<Reply<OpenedBundle>>;
  /** Fetches files of a bundle, each verified chunk by chunk. */
  files(ticket: number, bundleUrl: string, files: readonly BundleFile[]): Promise<Reply<Blob[]>>;
  /** Cancels a call. */
  cancel(ticket: number): Promise<Reply<null>>;
}

/** What the worker says unasked. */
export interface ProgressNotice extends Progress {
  readonly selvedge: "progress";
  readonly ticket: number;
}

/** Tells a notice from Comlink's traffic. */
export function isProgress(data: unknown): data is ProgressNotice {
  return typeof data === "object" && data !== null && "selvedge" in data && data.selvedge === "progress";
}
