// Lossless serialisation to and from JSON: the scheduler's events hold Maps and infinite numbers, and a replay must
// receive equal events.

/** A value that JSON can hold. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

const MAP = "$map";
const NUMBER = "$number";
/** Limit on nesting: deeper values were not written here. */
const DEPTH = 32;

/** Converts a value of plain objects, arrays, Maps and numbers to JSON. */
export function write(value: unknown): Json {
  if (typeof value === "number") return Number.isFinite(value) ? value : { [NUMBER]: String(value) };
  if (value instanceof Map) return { [MAP]: [...value].map((pair) => pair.map(write)) };
  if (Array.isArray(value)) return value.map(write);
  if (typeof value !== "object" || value === null) return value as Json;
  const written: Record<string, Json> = {};
  for (const [key, each] of Object.entries(value)) if (each !== undefined) written[key] = write(each);
  return written;
}

/**
 * Returns the original value.
 * @throws RangeError if nested too deeply, TypeError for a malformed pair
 */
export function read(written: Json, depth: number = 0): unknown {
  if (depth > DEPTH) throw new RangeError("nested too deeply");
  if (typeof written !== "object" || written === null) return written;
  if (Array.isArray(written)) return written.map((x: Json) => read(x, depth + 1));
  const { [MAP]: pairs, [NUMBER]: number } = written as { readonly [key: string]: Json };
  if (typeof number === "string") return Number(number);
  if (Array.isArray(pairs))
    return new Map(
      pairs.map((pair: Json) => {
        if (!Array.isArray(pair) || pair.length !== 2) throw new TypeError("a map entry is not a pair");
        return read(pair, depth + 1) as [unknown, unknown];
      }),
    );
  return Object.fromEntries(Object.entries(written).map(([key, each]) => [key, read(each, depth + 1)]));
}
