// Malicious bundles: any change to a valid bundle is refused with bundle-invalid or is harmless. Harmless means that
// all resources it can lead to stay within bounds that are checked here, not read from it.
import fc from "fast-check";
import { expect, test } from "vitest";
import { CHUNK_MAX_BYTES, chunkPath, filesOf } from "./bundle.ts";
import { parseBundle } from "./bundle-schema.ts";
import { isSelvedgeError } from "./errors.ts";

const chunk = (byte: string, bytes: number) => ({ sha256: byte.repeat(32), bytes });
const good = {
  schema: "selvedge/bundle@1",
  model: {
    name: "m",
    version: "1",
    licence: "MIT",
    inputs: [{ name: "x", dtype: "float32", dims: ["batch", 3], batchAxis: 0 }],
    outputs: [{ name: "y", dtype: "float32", dims: ["batch", 5], batchAxis: 0 }],
    typical: { batch: 1 },
  },
  variants: [
    {
      id: "f32",
      needs: ["wasm"],
      session: { wasm: { "session.disable_quant_qdq": "1" } },
      files: [
        { path: "model.onnx", bytes: 30, chunks: [chunk("aa", 10), chunk("bb", 20)] },
        { path: "data/w.bin", bytes: 10, chunks: [chunk("aa", 10)] },
      ],
    },
  ],
  assets: [{ path: "labels.txt", bytes: 5, chunks: [chunk("cc", 5)] }],
};

/** Returns the bundle, or null where it is refused with bundle-invalid; any other error is thrown. */
function parsed(json: unknown): ReturnType<typeof parseBundle> | null {
  try {
    return parseBundle(json);
  } catch (error) {
    if (isSelvedgeError(error) && error.code === "bundle-invalid") return null;
    throw error;
  }
}

/** Lists the paths to all nested values. */
function waysInto(value: unknown, way: readonly (string | number)[] = []): (readonly (string | number)[])[] {
  if (typeof value !== "object" || value === null) return [way];
  const entries: [string, unknown][] = Object.entries(value);
  return [way, ...entries.flatMap(([key, x]) => waysInto(x, [...way, key]))];
}

/** Copies a value with the value at a path replaced. */
function withAt(value: unknown, way: readonly (string | number)[], other: unknown): unknown {
  const [key, ...rest] = way;
  if (key === undefined) return other;
  if (Array.isArray(value))
    return value.map((x: unknown, i) => (String(i) === String(key) ? withAt(x, rest, other) : x));
  return Object.fromEntries(
    Object.entries(value as object).map(([k, x]: [string, unknown]) => [k, k === key ? withAt(x, rest, other) : x]),
  );
}

/** Guarantees that hold whatever the bundle contains. */
function expectHarmless(bundle: ReturnType<typeof parseBundle>): void {
  const origin = "https://app.test/models/m/";
  for (const file of filesOf(bundle)) {
    const address = new URL(file.path, origin).href;
    expect(address).toBe(origin + file.path);
    expect(file.bytes).toBe(file.chunks.reduce((sum, x) => sum + x.bytes, 0));
    for (const { sha256, bytes } of file.chunks) {
      expect(new URL(chunkPath(bundle.format, sha256), origin).href).toMatch(
        /^https:\/\/app\.test\/models\/m\/chunks\/[0-9a-f]{64}(\.bin)?$/,
      );
      expect(bytes).toBeGreaterThan(0);
      expect(bytes).toBeLessThanOrEqual(CHUNK_MAX_BYTES);
    }
  }
  expect(Object.getPrototypeOf(bundle)).toBe(Object.prototype);
  expect(Reflect.get({}, "polluted")).toBeUndefined();
}

test("the valid bundle is accepted", () => {
  expectHarmless(parseBundle(good));
});

const hostile = fc.oneof(
  fc.constantFrom<unknown>(
    "../up",
    "/etc/passwd",
    "https://evil.test/x",
    "//evil.test/x",
    "a\\b",
    "a/../../b",
    "%2e%2e/x",
    "a?b",
    "a#b",
    ".",
    "..",
    "",
    " ",
    "\u0000",
    "a\n",
    "javascript:alert(1)",
    "data:,x",
    "__proto__",
    "constructor",
    -1,
    0,
    -0,
    0.5,
    1e308,
    2 ** 53,
    Number.NaN,
    Number.POSITIVE_INFINITY,
    CHUNK_MAX_BYTES + 1,
    null,
    undefined,
    true,
    [],
    {},
    "a".repeat(100_000),
    "A".repeat(64),
    "g".repeat(64),
  ),
  fc.jsonValue(),
  fc.anything({ withNullPrototype: true, maxDepth: 2 }),
);

test("any value in any place of a valid bundle is refused or harmless", () => {
  const ways = waysInto(good);
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(), hostile), { minLength: 1, maxLength: 3 }), (changes) => {
      const changed = changes.reduce<unknown>((json, [n, other]) => {
        try {
          return withAt(json, ways[n % ways.length] ?? [], other);
        } catch {
          return json; // a value on the path was replaced before
        }
      }, good);
      const bundle = parsed(changed);
      if (bundle !== null) expectHarmless(bundle);
    }),
    { numRuns: 2_000 },
  );
});

test("any other value is refused", () => {
  fc.assert(
    fc.property(fc.anything({ withNullPrototype: true }), (json) => {
      expect(parsed(json)).toBeNull();
    }),
  );
});

test("names of a prototype are harmless wherever they occur", () => {
  for (const key of ["__proto__", "constructor", "prototype", "toString", "hasOwnProperty"]) {
    const evil = JSON.stringify({ polluted: "yes" });
    // Parsed from JSON, which makes own properties of such names; a literal would not.
    for (const place of [`"schema":`, `"name":`, `"id":`, `"path":`, `"sha256":`, `"wasm":`]) {
      const text = JSON.stringify(good).replace(place, `"${key}":${evil},${place}`);
      const bundle = parsed(JSON.parse(text));
      if (bundle !== null) expectHarmless(bundle);
    }
  }
});

const withFile = (change: object): unknown =>
  withAt(good, ["variants", 0, "files", 0], { ...good.variants[0]?.files[0], ...change });

test.each<[string, unknown]>([
  ["a size that the chunks do not add up to", withFile({ bytes: 31 })],
  ["a chunk that claims a terabyte", withFile({ bytes: 2 ** 40, chunks: [chunk("aa", 2 ** 40)] })],
  ["the same small chunk a hundred thousand times", withFile({ bytes: 1e5, chunks: Array(1e5).fill(chunk("aa", 1)) })],
  [
    "a file of sixteen petabytes from one chunk",
    withFile({ bytes: CHUNK_MAX_BYTES * 65_536, chunks: Array(65_536).fill(chunk("aa", CHUNK_MAX_BYTES)) }),
  ],
  ["a gigabyte from one small chunk", withFile({ bytes: 1e9, chunks: Array(1_000).fill(chunk("aa", 1e6)) })],
  ["one hash with two sizes", withFile({ bytes: 30, chunks: [chunk("aa", 10), chunk("aa", 20)] })],
  ["one hash with two sizes in two files", withFile({ bytes: 20, chunks: [chunk("aa", 20)] })],
  ["two files of the same path", withFile({ path: "data/w.bin" })],
  ["a file whose path is a folder of another", withFile({ path: "data" })],
  ["no chunks", withFile({ bytes: 0, chunks: [] })],
])("%s is refused", (_, json) => {
  expect(parsed(json)).toBeNull();
});

test("a bundle of a hundred thousand variants is refused at once", () => {
  const startMs = performance.now();
  const variants = Array.from({ length: 100_000 }, (_, i) => ({ ...good.variants[0], id: `v${i}` }));
  expect(parsed({ ...good, variants })).toBeNull();
  expect(performance.now() - startMs).toBeLessThan(5_000);
});

test("ten thousand nested arrays are refused without a stack overflow", () => {
  const deep: unknown = JSON.parse("[".repeat(5_000) + "]".repeat(5_000));
  for (const way of waysInto(good)) expect(parsed(withAt(good, way, deep))).toBeNull();
});

test("an object with many fields is refused before its shape is checked", () => {
  const many = (count: number, value: unknown): unknown =>
    Object.fromEntries(Array.from({ length: count }, (_, i) => [`field${i}`, value]));
  for (const way of [["more"], ["model", "typical"], ["model", "baseline"], ["variants", 0, "session", "wasm"]]) {
    const into = (count: number): unknown =>
      withAt(
        { ...good, more: {}, model: { ...good.model, baseline: {} } },
        way,
        many(count, way.includes("wasm") ? "1" : way.includes("baseline") ? {} : 1),
      );
    expect(() => parseBundle(into(100_000))).toThrow("one of its objects has more than 1024 fields");
    expect(() => parseBundle(into(1_025))).toThrow("more than 1024 fields");
    expect(parsed(into(1_024))).not.toBeNull();
  }
});
