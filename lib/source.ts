// What `engine.load` was given, brought to one form: a bundle. A bare `.onnx` (URL, bytes, Blob or File) becomes a
// bundle of one variant that needs nothing, so that nobody must pack before trying. The work is done in the worker that
// fetches models (cache/open.ts).
import type { Bundle, BundleFile, Variant } from "./bundle.ts";
import type { CacheClient, FetchOptions } from "./cache/client.ts";
import { show } from "./feeds.ts";

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
  const from = resolve(source, baseUrl);
  const { bundle, identity, data } = await cache.open(from, options);
  const fetch = (files: readonly BundleFile[], fetching: FetchOptions): Promise<Blob[]> =>
    typeof from === "string" && data === null ? cache.files(from, files, fetching) : Promise.resolve([data as Blob]);
  return {
    bundle,
    identity,
    declared: data === null,
    async files({ files }, fetching) {
      const blobs = await fetch(files, fetching);
      return files.map(({ path }, i) => ({ path, data: blobs[i] as Blob }));
    },
    async assets(fetching) {
      const { assets = [] } = bundle;
      const blobs = assets.length === 0 ? [] : await fetch(assets, { ...fetching, onProgress: undefined });
      const texts = await Promise.all(blobs.map((blob) => blob.text()));
      return Object.fromEntries(assets.map(({ path }, i) => [path, texts[i] as string]));
    },
  };
}

/** Gives an absolute address, or the bytes. */
function resolve(source: ModelSource, base: string): string | Blob {
  if (typeof source === "string" || source instanceof URL) {
    try {
      return new URL(source, base || undefined).href;
    } catch (error) {
      throw new TypeError(`source: "${String(source)}" is not a URL`, { cause: error });
    }
  }
  if (source instanceof Blob) return source;
  if (source instanceof ArrayBuffer || source instanceof Uint8Array)
    return new Blob([source as Uint8Array<ArrayBuffer>]);
  throw new TypeError(`source: expected a URL, bytes, a Blob or a File, got ${show(source)}`);
}
