// The errors for a value that an input does not take, and for one without an image, or with one that the page may not read:
// what it lacks, or what was meant in its place. Imported only then: the page's script has no room for it.
import type { BundleInput, SoundSpec } from "../core/bundle.ts";
import { kindOf, show } from "../core/check-inputs.ts";
import { withoutCredentials } from "../core/credentials.ts";
import { SelvedgeError } from "../core/errors.ts";
import { isPicturePort } from "../core/fit-steps.ts";
import { ARRAY_TYPES } from "../core/tensor.ts";
import type { Effects } from "../effects/effects.ts";
import type { Inputs, SoundInput } from "./inputs.ts";

/** Kinds that `createImageBitmap` takes, or that the page converts. */
const IMAGES =
  /^(?:Blob|File|Image(?:Data|Bitmap)|VideoFrame|OffscreenCanvas|HTML(?:Image|Video|Canvas)Element|SVGImageElement)$/;
/** Advice by the kind of a value that may hold an image. */
const INSTEAD: Readonly<Record<string, string>> = {
  Array: "one image: call `run` for each, the engine batches them",
  FileList: "a File: `files[0]`, which an empty list does not have",
  HTMLInputElement: "its File: `input.files[0]`",
  Response: "its body: `await response.blob()`",
  Promise: "what it resolves to: `await` it",
  ArrayBuffer: "`new Blob([bytes])`",
  URL: "its image: `await (await fetch(url)).blob()`",
};

/** Fields of the browser's images that say whether they hold one. */
interface Fields {
  readonly complete?: boolean;
  readonly src?: string;
  readonly currentSrc?: string;
  readonly naturalWidth?: number;
  readonly readyState?: number;
  readonly width?: number;
  readonly height?: number;
  readonly codedWidth?: number;
}

/** Returns the error for a value that is no tensor, and no object that may be an image. */
export function inputFault(port: BundleInput, mayBeImage: boolean, value: unknown): TypeError {
  const location = (value as { readonly location?: unknown } | null | undefined)?.location;
  if (location === "none") return new TypeError(`input "${port.name}": the tensor was disposed`);
  if (typeof location === "string" && !location.startsWith("cpu"))
    return new TypeError(`input "${port.name}": the tensor's location is ${show(location)}; await its getData() first`);
  const { sound, text } = port;
  if (sound) return new TypeError(`input "${port.name}": ${soundFault(sound, value)}`);
  if (text && Array.isArray(value)) return new TypeError(`input "${port.name}": expected one text or more`);
  const got = kindOf(value) === "Object" ? fieldsOf(value as object) : show(value);
  return new TypeError(`input "${port.name}": ${expected(port, mayBeImage, value)}, got ${got}`);
}

/** Describes what the input of a sound takes instead of a value. */
function soundFault({ sampleRate: rate }: SoundSpec, value: unknown): string {
  const expected = `expected a Float32Array of mono samples at ${rate} Hz`;
  if (typeof value !== "object" || value === null || !("samples" in value)) return `${expected}, got ${show(value)}`;
  const { samples, sampleRate = rate } = value as Partial<SoundInput>;
  return `${expected}, got ${show(samples)} at ${show(sampleRate)} Hz`;
}

/** Describes what an input takes instead of a value. */
function expected(port: BundleInput, mayBeImage: boolean, value: unknown): string {
  const { dtype, text, unsupported } = port;
  const isImage = /^(Blob|File|Image|Video|HTML|Offscreen)/.test(kindOf(value));
  // Of an input for pictures this is the reason why it takes none.
  if (unsupported && (isImage || !isPicturePort(port))) return `expected a tensor (${unsupported})`;
  if (!mayBeImage && isImage)
    return "the model declares no image (for an .onnx file, load(url, { image }) describes one)";
  const array = dtype === "string" ? "Array" : ARRAY_TYPES[dtype].name;
  return `expected { dtype, dims, data } or its ${array}${mayBeImage ? " or an image" : text ? " or a text" : ""}`;
}

/** Lists the fields of a plain object, of which one is missing or misspelled. */
function fieldsOf(value: object): string {
  return `{ ${Object.keys(value).slice(0, 9).join(", ")} }`;
}

/** Returns the error for an input whose value the browser takes for no image. */
export function imageFault(input: string, value: object, cause: unknown): TypeError {
  const kind = kindOf(value);
  const instead = INSTEAD[kind];
  const fields = kind === "Object" ? fieldsOf(value) : kind;
  const what =
    faultOf(kind, value) ??
    // `new VideoFrame` refuses at once; a bitmap, only when it is sent.
    ((cause as Error | null)?.name === "SecurityError" ? otherOrigin(kind, value) : null) ??
    (instead !== undefined
      ? `expected an image, got ${kind}; pass ${instead}`
      : IMAGES.test(kind)
        ? "this browser can't decode it as an image"
        : `expected an image (Blob, ImageData, img, canvas, video and the like), got ${fields}`);
  return new TypeError(`input "${input}": ${what}`, { cause });
}

/** Returns what an image of the browser lacks; null where nothing is known to. */
function faultOf(kind: string, value: Fields): string | null {
  const { complete, src = "", naturalWidth, readyState = 2, width, height, codedWidth } = value;
  if (kind === "HTMLImageElement") {
    if (src === "") return "the img has no src";
    if (complete === false) return "the img is not loaded yet: `await img.decode()` first";
    return naturalWidth === 0 ? `the img's picture did not load (${withoutCredentials(src).slice(0, 200)})` : null;
  }
  if (kind === "HTMLVideoElement")
    return readyState < 2 ? "the video has no frame yet: wait for its `loadeddata` event" : null;
  if (kind === "VideoFrame") return codedWidth === 0 ? "the VideoFrame is closed" : null;
  if (width !== 0 && height !== 0) return null;
  if (kind === "ImageBitmap") return "the ImageBitmap is closed";
  return /Canvas/.test(kind) ? `the canvas has no pixels (${width} × ${height})` : null;
}

/**
 * Throws the error for inputs that the browser refuses to send to a worker: a picture of another origin, which an img, a
 * canvas or a bitmap shows, but whose pixels no page may read.
 */
export async function unsent(effects: Effects, inputs: Inputs, cause: unknown): Promise<never> {
  let error: Error = new SelvedgeError("internal", "The inputs could not be sent to the worker.", {}, cause);
  for (const [input, value] of Object.entries(inputs)) {
    const kind = kindOf(value);
    if (!IMAGES.test(kind) || !(await isTainted(effects, value as ImageBitmapSource))) continue;
    error = new TypeError(`input "${input}": ${otherOrigin(kind, value as Fields)}`, { cause });
    break;
  }
  effects.rethrow?.(error);
  throw error;
}

async function isTainted(effects: Effects, source: ImageBitmapSource): Promise<boolean> {
  const bitmap = await effects.createImageBitmap(source).catch(() => null); // closed meanwhile
  try {
    if (bitmap !== null) structuredClone(bitmap).close();
    return false;
  } catch {
    return true;
  } finally {
    bitmap?.close();
  }
}

/** Describes a picture whose pixels the page may not read, and the way out. */
function otherOrigin(kind: string, { currentSrc = "" }: Fields): string {
  const tag = kind === "HTMLVideoElement" ? "video" : "img";
  const from = URL.canParse(currentSrc) ? ` (${new URL(currentSrc).origin})` : "";
  const what = /(?:Image|Video)Element$/.test(kind) ? "the picture is" : `the ${kind} shows a picture`;
  return `${what} of another origin${from}, so the page may not read its pixels: set ${tag}.crossOrigin = "anonymous" before its src, and have that server send Access-Control-Allow-Origin`;
}
