// Normalises the source of `engine.load` to an absolute address, or to bytes as a Blob. The worker that fetches models
// opens it (cache/open.ts).
import { show } from "./check-inputs.ts";

/** Source of a model: the URL of a bundle.json or of an `.onnx`, or the bytes of an `.onnx`. */
export type ModelSource = string | URL | ArrayBuffer | Uint8Array | Blob;

/**
 * Returns an absolute address.
 * @throws TypeError for bytes and anything else
 */
export function resolveAddress(source: string | URL, base: string): string {
  const from = resolveSource(source, base);
  if (typeof from === "string") return from;
  throw new TypeError(`source: expected the URL of a bundle.json or of an .onnx, got bytes`);
}

/**
 * Returns an absolute address, or the bytes.
 * @throws TypeError for anything else
 */
export function resolveSource(source: ModelSource, base: string): string | Blob {
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
