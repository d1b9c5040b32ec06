// Replies in JSON without tensors.
import { ReplyError } from "./failure.ts";

/** Parses JSON. @throws ReplyError */
export function parse(text: string, parser: (text: string) => unknown = JSON.parse): unknown {
  try {
    return parser(text);
  } catch {
    throw new ReplyError("the reply is not JSON");
  }
}

/** Decodes UTF-8. @throws ReplyError */
export function decodeText(bytes: Uint8Array, at: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new ReplyError(`${at} is not UTF-8 text`);
  }
}

/** Returns a value as an object. @throws ReplyError */
export function asObject(value: unknown, at: string): Readonly<Record<string, unknown>> {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw new ReplyError(`${at} is not a JSON object`);
}

/** Longest text of a value in a message. */
const CUT_AT = 200;

/** Formats a reply's value for a message. Replies may hold values of any size and depth. */
export function brief(value: unknown): string {
  let text = "a value nested too deeply";
  try {
    // A long integer is an object here (json-tensors.ts).
    text = (JSON.stringify(value) ?? "nothing").replace(/\{"digits":"(-?\d+)"\}/g, "$1");
  } catch {
    // Too deep.
  }
  return text.length > CUT_AT ? `${text.slice(0, CUT_AT)}…` : text;
}

/** Returns a name or a version as text; null where there is none. */
export function textOf(value: unknown): string | null {
  return typeof value === "string" || typeof value === "number" ? String(value) : null;
}

/** Returns the names and versions of a list as texts; an empty one where there is none. */
export function texts(value: unknown): string[] {
  return Array.isArray(value) ? value.flatMap((x) => textOf(x) ?? []) : [];
}
