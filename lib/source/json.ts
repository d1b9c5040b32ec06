// Reads fields of untrusted JSON: a field of another type counts as absent, since the files of repositories are written
// by many tools and versions.
import { SelvedgeError } from "../core/errors.ts";

/** A string, or a number that Python's json writes and JSON has not. */
const STRING_OR_WORD = /"(?:[^"\\]|\\.)*"|-?\bInfinity\b|\bNaN\b/gs;

/** A JSON object. */
export type JsonObject = Readonly<Record<string, unknown>>;

/**
 * Parses a file of a repository as a JSON object or list; NaN and Infinity, which Python writes, are null.
 * @throws SelvedgeError `bundle-invalid` that names the file
 */
export function parseJson(path: string, text: string): unknown {
  try {
    return JSON.parse(
      text.replace(/^\ufeff/, "").replace(STRING_OR_WORD, (x) => (x[0] === '"' ? x : "null")),
    ) as unknown;
  } catch (error) {
    throw new SelvedgeError("bundle-invalid", `${path} is not JSON.`, { path, reason: "not-json" }, error);
  }
}

/** Returns a value as an object; an empty one for anything else. */
export function objectOf(value: unknown): JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as JsonObject) : {};
}

/** Returns a value as a list; an empty one for anything else. */
export function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

/** Returns a value that is a text, else null. */
export function textOf(value: unknown): string | null {
  return typeof value === "string" ? value : null;
}

/** Returns a value that is a finite number, else null. */
export function numberOf(value: unknown): number | null {
  return typeof value === "number" && Number.isFinite(value) ? value : null;
}

/** Returns a value that is a whole number from 1 to `max`, else null. */
export function countOf(value: unknown, max: number = Number.MAX_SAFE_INTEGER): number | null {
  return Number.isInteger(value) && (value as number) >= 1 && (value as number) <= max ? (value as number) : null;
}

/** Returns a value that is true or false, else the default. */
export function truthOf(value: unknown, fallback: boolean): boolean {
  return typeof value === "boolean" ? value : fallback;
}
