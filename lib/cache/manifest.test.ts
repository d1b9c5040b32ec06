// Stored forms of models: what is accepted, and what a stored one counts as.
import { expect, test } from "vitest";
import { canonicalJson, CHUNK_MAX_BYTES, sha256Hex } from "../core/bundle.ts";
import type { Bundle } from "../core/bundle.ts";
import { bundleJson } from "../core/bundle-json.ts";
import { allChunks, bareManifest, identityOf, isBare, parseManifest, readManifest } from "./manifest.ts";
import { MemoryStore } from "./stores/memory.ts";

const hash = (n: number): string => n.toString(16).padStart(64, "0");
const chunk = (n: number) => ({ sha256: hash(n), bytes: 10 + n });
const file = (path: string, n: number) => ({ path, bytes: 10 + n, chunks: [chunk(n)] });
const port = { name: "x", dtype: "float32", dims: [1], batchAxis: null } as const;
const bundle: Bundle = {
  format: 2,
  model: { name: "m", version: "1", licence: "MIT", inputs: [port], outputs: [{ ...port, name: "y" }] },
  variants: [
    { id: "a", needs: [], files: [file("a.onnx", 1), file("a.data", 2)] },
    { id: "b", needs: [], files: [file("b.onnx", 3)] },
  ],
  assets: [file("table.bin", 4)],
};

/** Stores bytes under an identity, their own unless another is given. */
async function storedAs(text: string, identity?: string): Promise<{ store: MemoryStore; identity: string }> {
  const store = new MemoryStore();
  const bytes = new TextEncoder().encode(text);
  const name = identity ?? (await sha256Hex(bytes));
  await store.write(`bundle-${name}`, bytes);
  return { store, identity: name };
}

test("a bare model's list of chunks is read as it was written", () => {
  const manifest = bareManifest([chunk(1), { sha256: "abcdef0123456789".repeat(4), bytes: CHUNK_MAX_BYTES }]);
  expect(parseManifest(JSON.parse(JSON.stringify(manifest)))).toEqual(manifest);
  expect(manifest.schema).toBe("selvedge/bare@1");
  expect(isBare(manifest)).toBe(true);
  expect(isBare(bundle)).toBe(false);
});

test.each<[string, unknown]>([
  ["no chunk", []],
  ["more than 4,096 chunks", Array.from({ length: 4_097 }, (_, i) => chunk(i))],
  ["an empty chunk", [{ sha256: hash(1), bytes: 0 }]],
  ["a chunk beyond the bound", [{ sha256: hash(1), bytes: CHUNK_MAX_BYTES + 1 }]],
  ["a part of a byte", [{ sha256: hash(1), bytes: 1.5 }]],
  ["a hash that is too short", [{ sha256: hash(1).slice(1), bytes: 1 }]],
  ["a hash that is too long", [{ sha256: `0${hash(1)}`, bytes: 1 }]],
  ["a hash with more behind it", [{ sha256: `${hash(1)}/x`, bytes: 1 }]],
  ["a hash in capitals", [{ sha256: "A".repeat(64), bytes: 1 }]],
  ["a field that is not known", [{ ...chunk(1), url: "https://else.example" }]],
  ["no size", [{ sha256: hash(1) }]],
])("a bare model with %s is refused", (_, chunks) => {
  expect(() => parseManifest({ schema: "selvedge/bare@1", chunks })).toThrow(/./);
});

test("a bare model may have a chunk of one byte, and 4,096 chunks", () => {
  for (const chunks of [[{ sha256: hash(1), bytes: 1 }], Array.from({ length: 4_096 }, (_, i) => chunk(i))])
    expect(parseManifest({ schema: "selvedge/bare@1", chunks })).toEqual({ schema: "selvedge/bare@1", chunks });
  expect(() => parseManifest({ schema: "selvedge/bare@1", chunks: [chunk(1)], more: 1 })).toThrow(/./);
});

test.each([null, undefined, "selvedge/bare@1", 1, [], {}, { schema: "selvedge/bare@2" }])(
  "%j is an invalid bundle",
  (json) => {
    expect(() => parseManifest(json)).toThrow(expect.objectContaining({ code: "bundle-invalid" }));
  },
);

test("all chunks are those of each variant and of the assets; a bare model's are its own", () => {
  expect(allChunks(bundle).map((x) => x.sha256)).toEqual([1, 2, 3, 4].map(hash));
  expect(allChunks(bareManifest([chunk(7), chunk(8)])).map((x) => x.sha256)).toEqual([7, 8].map(hash));
});

test("an identity is the hash of the canonical JSON, whatever the order of the fields", async () => {
  const json = bundleJson(bundle);
  const expected = await sha256Hex(new TextEncoder().encode(canonicalJson(json)));
  expect(await identityOf(json)).toBe(expected);
  expect(await identityOf(Object.fromEntries(Object.entries(json).reverse()) as never)).toBe(expected);
});

test("a stored manifest is known with the chunks that it names", async () => {
  const { store, identity } = await storedAs(canonicalJson(bundleJson(bundle)));
  const found = await readManifest(store, identity);
  expect(found).toMatchObject({ state: "known", manifest: { model: { name: "m" } } });
  expect([...(found?.hashes ?? [])].sort()).toEqual([1, 2, 3, 4].map(hash));
  expect(await readManifest(store, hash(9))).toBeNull();
});

test("one of a schema that this release does not know is newer, and keeps each hash in its text", async () => {
  const { store, identity } = await storedAs(`{"schema":"selvedge/bundle@9","of":["${hash(1)}","x${hash(2)}"]}`);
  expect(await readManifest(store, identity)).toEqual({
    state: "newer",
    manifest: null,
    hashes: new Set([hash(1), hash(2)]),
  });
});

test("one whose hash is not its name is damaged, and keeps each hash in its text, even where it would parse", async () => {
  const { store, identity } = await storedAs(canonicalJson(bundleJson(bundle)), hash(9));
  expect(await readManifest(store, identity)).toEqual({
    state: "damaged",
    manifest: null,
    hashes: new Set([1, 2, 3, 4].map(hash)),
  });
  const broken = await storedAs("no hash", hash(9));
  expect(await readManifest(broken.store, hash(9))).toEqual({ state: "damaged", manifest: null, hashes: new Set() });
});

test("a store that can't be read rejects, as the store does", async () => {
  const { store, identity } = await storedAs("{}");
  store.read = () => Promise.reject(new Error("busy"));
  await expect(readManifest(store, identity)).rejects.toThrow("busy");
});
