// What `engine.load` was given, brought to one form: a bundle. A bare `.onnx` (URL, bytes, Blob or File) becomes a
// bundle of one variant that needs nothing, so that nobody must pack before trying.
import { BUNDLE_SCHEMA, sha256Hex } from "./bundle.ts";
import type { Bundle, BundleFile, Variant } from "./bundle.ts";
import type { CacheClient, FetchOptions } from "./cache/client.ts";
import { SelvedgeError } from "./errors.ts";

/** What a model may be loaded from: the URL of a bundle.json or of an `.onnx`, or the bytes of an `.onnx`. */
export type ModelSource = string | URL | ArrayBuffer | Uint8Array | Blob;

/** A model found, its weights not yet fetched unless it is bare. */
export interface Opened {
  readonly bundle: Bundle;
  /** 64 hex digits: what results, measurements and locks key on. */
  readonly identity: string;
  /** Whether the bundle declares the model's inputs and outputs; a bare model tells them once it is loaded. */
  readonly declared: boolean;
  /** Fetches a variant's files. */
  files(variant: Variant, options: FetchOptions): Promise<{ path: string; data: Blob }[]>;
  /** Fetches the assets as text, by path. */
  assets(options: FetchOptions): Promise<Record<string, string>>;
}

/** Opens a source; fetches `bundle.json`, or the whole of a bare model. */
export async function openSource(
  source: ModelSource,
  baseUrl: string,
  cache: CacheClient,
  options: FetchOptions,
): Promise<Opened> {
  if (typeof source === "string" || source instanceof URL) {
    const url = resolve(source, baseUrl);
    if (url.pathname.endsWith(".json")) return openBundle(url.href, cache, options);
    const data = await cache.bare(url.href, options);
    if (await looksLikeHtml(data)) {
      const message = `${url.href} is an HTML page, not an ONNX model: is the path right?`;
      throw new SelvedgeError("model-invalid", message, { url: url.href });
    }
    return openBare(url.pathname.split("/").pop() ?? "", data);
  }
  if (source instanceof Blob) return openBare("name" in source ? String(source.name) : "", source);
  if (source instanceof ArrayBuffer || source instanceof Uint8Array)
    return openBare("", new Blob([source as Uint8Array<ArrayBuffer>]));
  const got = Object.prototype.toString.call(source).slice(8, -1);
  throw new TypeError(`source: expected a URL, an ArrayBuffer, a Uint8Array, a Blob or a File, got ${got}`);
}

function resolve(source: string | URL, base: string): URL {
  let url: URL;
  try {
    url = base === "" ? new URL(source) : new URL(source, base);
  } catch (error) {
    throw new TypeError(`source: "${String(source)}" is not a URL`, { cause: error });
  }
  if (!/^(https?|blob|data):$/.test(url.protocol)) throw new TypeError(`source: can't load from ${url.protocol} URLs`);
  return url;
}

async function openBundle(url: string, cache: CacheClient, options: FetchOptions): Promise<Opened> {
  const { bundle, identity } = await cache.bundle(url, options);
  return {
    bundle,
    identity,
    declared: true,
    async files(variant, fetching) {
      const blobs = await cache.files(url, variant.files, fetching);
      return variant.files.map((file, i) => ({ path: file.path, data: blobs[i] as Blob }));
    },
    async assets(fetching) {
      const files: readonly BundleFile[] = bundle.assets ?? [];
      if (files.length === 0) return {};
      const blobs = await cache.files(url, files, { ...fetching, onProgress: undefined });
      const texts = await Promise.all(blobs.map((blob) => blob.text()));
      return Object.fromEntries(files.map((file, i) => [file.path, texts[i] as string]));
    },
  };
}

/** Many servers answer a wrong path with their start page and status 200. */
async function looksLikeHtml(data: Blob): Promise<boolean> {
  return /^\s*<(!doctype|html)/i.test(await data.slice(0, 100).text());
}

async function openBare(name: string, data: Blob): Promise<Opened> {
  if (data.size === 0) throw new SelvedgeError("model-invalid", "The model is empty (0 bytes).", { bytes: 0 });
  const path = "model.onnx";
  const variant: Variant = { id: "model", needs: [], files: [{ path, bytes: data.size, chunks: [] }] };
  const model = { name: name || "model", version: "0", licence: "unknown", inputs: [], outputs: [] };
  return {
    bundle: { schema: BUNDLE_SCHEMA, model, variants: [variant] },
    identity: await sha256Hex(await data.arrayBuffer()),
    declared: false,
    files: () => Promise.resolve([{ path, data }]),
    assets: () => Promise.resolve({}),
  };
}
