// Content codings as servers send them: whether a body is what its Content-Encoding says, and compressed once. Works on
// the beginning of a body, since a whole one is not always kept.
import { brotliDecompressSync, constants, gunzipSync, inflateRawSync, inflateSync } from "node:zlib";
import type { SiteFile } from "./evidence.ts";
import { isOk } from "./http.ts";

/** Fault of a coding. */
export interface CodingFault {
  /** twice: compressed twice, declared once; undone: not compressed as declared. */
  readonly kind: "twice" | "false";
  /** Value of the Content-Encoding. */
  readonly declared: string;
  /** First bytes of the body as sent. */
  readonly body: Uint8Array;
}

const CODINGS = ["gzip", "br", "deflate"] as const;
const START_BYTES = 64 * 1024;

/**
 * Returns the fault in the coding of a file, in either of its answers; null where there is none that shows.
 * @param isContent whether bytes begin as the file's content does
 */
export function codingFault(file: SiteFile, isContent: (start: Uint8Array) => boolean): CodingFault | null {
  for (const answer of [file.answer, file.packed]) {
    const declared = answer?.headers["content-encoding"] ?? "";
    if (answer === null || !isOk(answer) || declared === "" || answer.body.byteLength === 0) continue;
    const body = answer.body.subarray(0, START_BYTES);
    const start = undo(body, declared);
    if (start === undefined) continue;
    if (start === null) return { kind: "false", declared, body };
    const isTwice = !isContent(start) && CODINGS.some((coding) => isContent(undo(start, coding) ?? new Uint8Array()));
    if (isTwice) return { kind: "twice", declared, body };
  }
  return null;
}

/**
 * Undoes codings at the beginning of a body: null where it has none such, undefined where that does not show, as for a
 * coding that is not known here.
 */
function undo(body: Uint8Array, declared: string): Uint8Array | null | undefined {
  let start: Uint8Array = body;
  for (const coding of declared
    .toLowerCase()
    .split(/\s*,\s*/)
    .reverse()) {
    const decode = DECODERS[coding.trim()];
    if (decode === undefined) return undefined;
    try {
      start = decode(start);
    } catch {
      return null;
    }
    // Of a body that is cut, brotli may give nothing yet.
    if (start.byteLength === 0) return undefined;
  }
  return start;
}

const CUT = { finishFlush: constants.Z_SYNC_FLUSH };
const DECODERS: Readonly<Record<string, (body: Uint8Array) => Uint8Array>> = {
  identity: (body) => body,
  gzip: (body) => gunzipSync(body, CUT),
  "x-gzip": (body) => gunzipSync(body, CUT),
  deflate: (body) => {
    try {
      return inflateSync(body, CUT);
    } catch {
      return inflateRawSync(body, CUT); // without zlib's header, which browsers take too
    }
  },
  br: (body) => brotliDecompressSync(body, { finishFlush: constants.BROTLI_OPERATION_FLUSH }),
};

/** Whether bytes begin as WebAssembly does. */
export function isWasmStart(start: Uint8Array): boolean {
  return [0x00, 0x61, 0x73, 0x6d].every((x, i) => start[i] === x);
}

/** Whether bytes begin as a text does; the last character may be cut. */
export function isTextStart(start: Uint8Array): boolean {
  if (start.byteLength === 0) return false;
  try {
    return !new TextDecoder("utf-8", { fatal: true }).decode(start, { stream: true }).includes("\0");
  } catch {
    return false;
  }
}

/** Whether bytes do not begin as a compressed file does: a model has no mark of its own. */
export function isPlainStart(start: Uint8Array): boolean {
  return start.byteLength > 0 && !(start[0] === 0x1f && start[1] === 0x8b);
}
