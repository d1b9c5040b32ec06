// A data: URL is a file: messages and details of an error show its beginning alone.
import { isSelvedgeError, SelvedgeError } from "../core/errors.ts";

const LONG = /(data:[^\s"'`]{60})[^\s"'`]{20,}/g;

/** Returns an error whose texts have no whole data: URL; any other value, and an error without one, is returned as it is. */
export function withShortAddresses(error: unknown): unknown {
  if (!isSelvedgeError(error)) return error;
  const { code, message, details, cause } = error;
  const text = short(message);
  const shown = Object.entries(details).map(([name, x]) => [name, typeof x === "string" ? short(x) : x] as const);
  if (text === message && shown.every(([name, x]) => x === details[name])) return error;
  return new SelvedgeError(code, text, Object.fromEntries(shown), cause);
}

function short(text: string): string {
  return text.replace(LONG, "$1…");
}
