// Opens what a model is loaded from: a bundle by its `bundle.json`, or a bare `.onnx`, which becomes a bundle of one
// variant that needs nothing. What was found is remembered, so that the next page finds it without a network.
import { BUNDLE_SCHEMA, bundleIdentity } from "../bundle.ts";
import type { Bundle } from "../bundle.ts";
import { parseBundle } from "../bundle-schema.ts";
import { isSelvedgeError } from "../errors.ts";
import { bareBytes, fetchBare } from "./bare.ts";
import type { Downloader, DownloadOptions } from "./download.ts";
import { isBare } from "./manifest.ts";

/** A bundle found, and what it is known by. */
export interface OpenedBundle {
  /** Validated; made up for a bare model. */
  readonly bundle: Bundle;
  /** 64 hex digits: the SHA-256 of the bundle's canonical JSON, or of the list of a bare model's chunks. */
  readonly identity: string;
  /** The bytes of a bare model; null for a bundle. */
  readonly data: Blob | null;
}

/** How long a bundle that is stored waits for the server's `bundle.json`, before it is used as it is. */
const ASK_MS = 5_000;

/** Opens an absolute address, or bytes. */
export async function open(
  from: string | Blob,
  downloader: Downloader,
  options: DownloadOptions,
): Promise<OpenedBundle> {
  if (typeof from !== "string") {
    const { identity, data } = await bareBytes(from);
    return { bundle: madeUp("name" in from ? String(from.name) : "", data), identity, data };
  }
  const { protocol, pathname } = new URL(from);
  if (!/^(https?|blob|data):$/.test(protocol)) throw new TypeError(`source: can't load from ${protocol} URLs`);
  if (pathname.endsWith(".json")) return openBundle(from, downloader, options.signal);
  const { identity, data } = await fetchBare(from, downloader, options);
  return { bundle: madeUp(pathname.split("/").pop() ?? "", data), identity, data };
}

/** Opens a `bundle.json`: the server's, or the stored one where the server can't be reached. */
async function openBundle(url: string, downloader: Downloader, signal: AbortSignal): Promise<OpenedBundle> {
  const { shelf, effects } = downloader;
  const stored = await storedBundle(url, downloader);
  const late = new AbortController();
  const cancel =
    stored === null
      ? (): void => undefined
      : effects.setTimer(() => {
          late.abort();
        }, ASK_MS);
  try {
    const both = AbortSignal.any([signal, late.signal]);
    const bundle = parseBundle(await downloader.json(url, both, stored === null ? undefined : 1));
    const identity = await bundleIdentity(bundle);
    // Not stored is not remembered, no more.
    await shelf?.remember(bundle, { url, identity, validator: null }).catch(() => undefined);
    return { bundle, identity, data: null };
  } catch (error) {
    signal.throwIfAborted();
    const isAway =
      late.signal.aborted || (isSelvedgeError(error) && isUnreachable(error.details["status"], error.code));
    if (stored === null || !isAway) throw error;
    await shelf?.touch(stored.identity).catch(() => undefined);
    return stored;
  } finally {
    cancel();
  }
}

/** Gives the bundle that an address led to last. */
async function storedBundle(url: string, { shelf }: Downloader): Promise<OpenedBundle | null> {
  if (shelf === null) return null;
  try {
    const source = await shelf.source(url);
    const bundle = source === null ? null : await shelf.bundle(source.identity);
    return source === null || bundle === null || isBare(bundle)
      ? null
      : { bundle, identity: source.identity, data: null };
  } catch {
    return null; // a store that fails is a store that is not there
  }
}

/** Tells a network or a server that is away from one that says what is wrong. */
function isUnreachable(status: unknown, code: string): boolean {
  return code === "download-failed" && (typeof status !== "number" || status >= 500 || status === 429);
}

function madeUp(name: string, data: Blob): Bundle {
  return {
    schema: BUNDLE_SCHEMA,
    model: { name: name || "model", version: "0", licence: "unknown", inputs: [], outputs: [] },
    variants: [{ id: "model", needs: [], files: [{ path: "model.onnx", bytes: data.size, chunks: [] }] }],
  };
}
