// Reads a file of labels for `selvedge compress --classes` and, in the fetch worker, for `engine.load` with `labels`. A
// file that can't be labels is named with its fix: text in UTF-16 or a picture has lines too, and each became a label.
import { sniff } from "./sniff.ts";
import type { SniffedReason } from "./sniff.ts";

/** A file that holds no labels. */
export interface OtherFile {
  /** The word in an error's `details.reason`; null without one. */
  readonly reason: SniffedReason | null;
  /** Completes "… is …". */
  readonly what: string;
  readonly fix: string;
}

const AS_UTF8 = "Save it as UTF-8 (in PowerShell: `Out-File -Encoding utf8`).";
const PATH = "Is the path right?";

/** Recognises a file that is no text in UTF-8; null where it may hold labels. A byte order mark of UTF-8 is none. */
export function otherThanLabels(bytes: Uint8Array): OtherFile | null {
  const found = sniff(bytes);
  if (found !== null) {
    const { reason, what, fix } = found;
    return reason === "git-lfs" ? found : { reason, what: `${what}, not labels`, fix: reason === "gzip" ? fix : PATH };
  }
  if (isWide(bytes)) return { reason: null, what: "UTF-16, not UTF-8", fix: AS_UTF8 };
  if (bytes.includes(0)) return { reason: null, what: "a binary file, not labels", fix: PATH };
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    return null;
  } catch {
    return { reason: null, what: "not UTF-8", fix: AS_UTF8 };
  }
}

/** Whether bytes are UTF-16: by its mark, or by line ends and Latin letters, of which one byte of two is 0. */
function isWide(bytes: Uint8Array): boolean {
  const [first = 0, second = 0] = bytes;
  if ((first === 0xff && second === 0xfe) || (first === 0xfe && second === 0xff)) return true;
  const has = [false, false];
  for (const [at, byte] of bytes.entries()) if (byte === 0) has[at % 2] = true;
  return bytes.length % 2 === 0 && has[0] !== has[1];
}

/**
 * Reads labels from the bytes of a file.
 * @throws TypeError that begins with `from`
 */
export function readLabels(bytes: Uint8Array, from: string): string[] {
  const other = otherThanLabels(bytes);
  if (other !== null) throw new TypeError(`${from} is ${other.what}. ${other.fix}`);
  return parseLabels(new TextDecoder().decode(bytes), from);
}

/**
 * Reads labels from a text: a JSON array, a JSON object with `id2label` (config.json of Hugging Face) or with the class
 * numbers as keys, else one label a line, whatever ends the lines.
 * @throws TypeError that begins with `from`
 */
export function parseLabels(text: string, from: string): string[] {
  const body = text.replace(/^\ufeff/, "");
  const json = /^\s*[[{]/.test(body) ? jsonOf(body) : undefined;
  if (json === undefined) {
    if (/^\s*(?:\[\s*["{[]|\{\s*")/.test(body))
      throw new TypeError(
        `${from} begins as JSON, but can't be parsed as such: look for a comma after the last text, or a missing bracket`,
      );
    const lines = body.split(/\r\n|\r|\n/);
    while (lines.at(-1) === "") lines.pop();
    const empty = lines.indexOf("");
    if (empty !== -1)
      throw new TypeError(
        `${from}: line ${empty + 1} is empty, and each line is the label of a class: remove it, or write a name for its class`,
      );
    return lines;
  }
  const named = isRecord(json) && isRecord(json["id2label"]) ? json["id2label"] : json;
  const labels: unknown[] = Array.isArray(named)
    ? named
    : isRecord(named)
      ? Array.from(Object.keys(named), (_, i) => named[i])
      : [];
  const wrong = labels.findIndex((x) => typeof x !== "string");
  if (labels.length === 0 || wrong !== -1)
    throw new TypeError(
      `${from} ${wrong === -1 ? "holds no labels" : `has no text for class ${wrong}`}: expected one label a line, a JSON array of texts, or a config.json with "id2label"`,
    );
  return labels as string[];
}

/** Parses JSON; undefined where it is none, since a label may begin with a bracket. */
function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

function isRecord(value: unknown): value is Record<string | number, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
