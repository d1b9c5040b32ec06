// Values as JSON can hold them, and back, exactly: what the scheduler is told has Maps and infinite numbers in it, and a
// replay must be told the very same.

/** A value that JSON can hold. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

const MAP = "$map";
const NUMBER = "$number";
/** How deep a value may be: what is deeper was not written here. */
const DEPTH = 32;

/** Makes a value of plain objects, lists, Maps and numbers one that JSON can hold. */
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
 * Gives what was written.
 * @throws RangeError for what is nested too deeply, TypeError for a pair that is none
 */
export function read(written: Json, depth: number = 0): unknown {
  if (depth > DEPTH) throw new RangeError("it is nested too deeply");
  if (typeof written !== "object" || written === null) return written;
  if (Array.isArray(written)) return written.map((x: Json) => read(x, depth + 1));
  const { [MAP]: pairs, [NUMBER]: number } = written as { readonly [key: string]: Json };
  if (typeof number === "string") return Number(number);
  if (Array.isArray(pairs))
    return new Map(
      pairs.map((pair: Json) => {
        if (!Array.isArray(pair) || pair.length !== 2) throw new TypeError("a map has an entry that is no pair");
        return read(pair, depth + 1) as [unknown, unknown];
      }),
    );
  return Object.fromEntries(Object.entries(written).map(([key, each]) => [key, read(each, depth + 1)]));
}
