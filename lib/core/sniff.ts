// Recognises files that are deployed or picked in place of a model, by their first bytes: the formats' magic numbers, and
// for HTML and texts the rules of browsers (MIME Sniffing Standard).

/** A kind of file, as the word in an error's `details.reason`. */
export type SniffedReason =
  "git-lfs" | "html" | "picture" | "pickle" | "zip" | "gzip" | "safetensors" | "other-format" | "text";

/** A file that is not a model. */
export interface Sniffed {
  /** The word in an error's `details.reason`. */
  readonly reason: SniffedReason;
  /** Completes "… is …". */
  readonly what: string;
  readonly fix: string;
}

/** Bytes of a file that suffice to recognise it. */
export const HEAD_BYTES = 512;

const EXPORT = "Export the model to ONNX.";
/** Formats by their first bytes, as Latin-1 text. */
const FORMATS: readonly (readonly [pattern: RegExp, reason: SniffedReason, what: string, fix: string])[] = [
  [
    /^version https:\/\/git-lfs\.github\.com\//,
    "git-lfs",
    "a Git LFS pointer, not the file itself",
    "Run `git lfs pull` before deploying.",
  ],
  [/^(\xef\xbb\xbf)?\s*<(!doctype|html|!--)/i, "html", "an HTML page", "Is the path right?"],
  [
    /^\x89PNG|^\xff\xd8\xff|^GIF8|^RIFF[^]{4}WEBP|^[^]{4}ftyp(avif|heic|mif1)/,
    "picture",
    "a picture",
    "Pass the model here, and the picture to `run`.",
  ],
  [
    /^PK\x03\x04[^]*\/data\.pkl|^\x80[\x02-\x05][}c(\x8a\x95]/,
    "pickle",
    "a PyTorch checkpoint",
    "Export it: `torch.onnx.export`.",
  ],
  [/^PK\x03\x04/, "zip", "a ZIP archive", "Unpack it and use the .onnx file in it."],
  [/^\x1f\x8b\x08/, "gzip", "compressed with gzip", "Unpack it, or let the server send `Content-Encoding: gzip`."],
  [/^[^]{4}[^]\0\0\0\{\s*"/, "safetensors", "a safetensors file, which has weights alone", EXPORT],
  [
    /^GGUF|^\x89HDF\r\n|^[^]{4}TFL3/,
    "other-format",
    "a model of another format (GGUF, HDF5 or TensorFlow Lite)",
    EXPORT,
  ],
];

/** Beginnings of bundle.json: its fields are sorted by name, and the one that names its schema may come late. */
const BUNDLE = /"selvedge\/bundle@|^\s*\{\s*"(assets": ?\[\s*\{\s*"bytes"|model": ?\{)/;

/** Recognises a file by its first bytes; null where it may be a model. */
export function sniff(bytes: Uint8Array): Sniffed | null {
  const head = String.fromCharCode(...bytes.subarray(0, HEAD_BYTES));
  for (const [pattern, reason, what, fix] of FORMATS) if (pattern.test(head)) return { reason, what, fix };
  return null;
}

/** Describes a text in place of a model by its first bytes; null where they are no text. */
export function sniffText(bytes: Uint8Array): Sniffed | null {
  const head = bytes.subarray(0, HEAD_BYTES);
  if (!isText(head)) return null;
  return BUNDLE.test(String.fromCharCode(...head))
    ? {
        reason: "text",
        what: "the description of a bundle",
        fix: "The bundle's other files are found by its address: pass the URL of its bundle.json.",
      }
    : { reason: "text", what: "a text file", fix: "Is the path right?" };
}

/**
 * Whether bytes are text, by the rule of browsers (MIME Sniffing Standard, 7.2): text has no control characters. ONNX
 * files begin with one (0x08, the tag of `ir_version`), ORT files have NUL bytes.
 */
function isText(bytes: Uint8Array): boolean {
  return bytes.every((x) => x >= 0x20 || x === 0x09 || x === 0x0a || x === 0x0c || x === 0x0d || x === 0x1b);
}
