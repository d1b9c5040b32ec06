// Opens what a model is loaded from: a bundle by its `bundle.json`, or a bare `.onnx`, which becomes a bundle of one
// variant that needs nothing.
import { BUNDLE_SCHEMA, bundleIdentity, sha256Hex } from "../bundle.ts";
import { parseBundle } from "../bundle-schema.ts";
import { SelvedgeError } from "../errors.ts";
import { fetchBare, fetchJson } from "./download.ts";
import type { DownloadOptions } from "./download.ts";
import type { Bundle } from "../bundle.ts";

/** A bundle found, and what it is known by. */
export interface OpenedBundle {
  /** Validated; made up for a bare model. */
  readonly bundle: Bundle;
  /** 64 hex digits: the SHA-256 of the bundle's canonical JSON, or of a bare model's bytes. */
  readonly identity: string;
  /** The bytes of a bare model; null for a bundle. */
  readonly data: Blob | null;
}

/** Opens an absolute address, or bytes. */
export async function open(from: string | Blob, options: DownloadOptions): Promise<OpenedBundle> {
  if (typeof from !== "string") return bare("name" in from ? String(from.name) : "", from);
  const { protocol, pathname } = new URL(from);
  if (!/^(https?|blob|data):$/.test(protocol)) throw new TypeError(`source: can't load from ${protocol} URLs`);
  if (pathname.endsWith(".json")) {
    const bundle = parseBundle(await fetchJson(from, options));
    return { bundle, identity: await bundleIdentity(bundle), data: null };
  }
  const data = await fetchBare(from, options);
  if (await looksLikeHtml(data)) {
    const message = `${from} is an HTML page, not an ONNX model: is the path right?`;
    throw new SelvedgeError("model-invalid", message, { url: from });
  }
  return bare(pathname.split("/").pop() ?? "", data);
}

async function bare(name: string, data: Blob): Promise<OpenedBundle> {
  if (data.size === 0) throw new SelvedgeError("model-invalid", "The model is empty (0 bytes).", { bytes: 0 });
  const files = [{ path: "model.onnx", bytes: data.size, chunks: [] }];
  const bundle = {
    schema: BUNDLE_SCHEMA,
    model: { name: name || "model", version: "0", licence: "unknown", inputs: [], outputs: [] },
    variants: [{ id: "model", needs: [], files }],
  } as const;
  return { bundle, identity: await sha256Hex(await data.arrayBuffer()), data };
}

/** Many servers answer a wrong path with their start page and status 200. */
async function looksLikeHtml(data: Blob): Promise<boolean> {
  return /^\s*<(!doctype|html)/i.test(await data.slice(0, 100).text());
}
