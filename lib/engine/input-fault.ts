// The errors for a value that an input does not take, and for one that gives no image: what it lacks, or what was meant
// in its place. Imported only then: the page's script has no room for it.
import type { BundleInput } from "../core/bundle.ts";
import { kindOf, show } from "../core/check-inputs.ts";
import { withoutCredentials } from "../core/credentials.ts";
import { ARRAY_TYPES } from "../core/tensor.ts";

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
  readonly naturalWidth?: number;
  readonly readyState?: number;
  readonly width?: number;
  readonly height?: number;
  readonly codedWidth?: number;
}

/** Returns the error for a value that is no tensor, and no object that may be an image. */
export function inputFault(port: BundleInput, mayBeImage: boolean, value: unknown): TypeError {
  const location = (value as { readonly location?: unknown } | null | undefined)?.location;
  if (typeof location === "string" && !location.startsWith("cpu"))
    return new TypeError(`input "${port.name}": the tensor's location is ${show(location)}; await its getData() first`);
  const got = kindOf(value) === "Object" ? fieldsOf(value as object) : show(value);
  return new TypeError(`input "${port.name}": ${expected(port, mayBeImage, value)}, got ${got}`);
}

/** Describes what an input takes instead of a value. */
function expected({ dtype, text, unsupported }: BundleInput, mayBeImage: boolean, value: unknown): string {
  if (unsupported) return `expected a tensor (${unsupported})`;
  if (!mayBeImage && /^(Blob|File|Image|Video|HTML|Offscreen)/.test(kindOf(value)))
    return "the model declares no image (load(url, { image }) describes one)";
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
