// The entries that each call reads, writes and removes, over the in-memory store.
import { beforeEach, describe, expect, test } from "vitest";
import { canonicalJson, sha256Hex } from "../core/bundle.ts";
import type { BundleChunk } from "../core/bundle.ts";
import { bundleJson } from "../core/bundle-json.ts";
import { weights } from "../test-support/cache-fixtures.ts";
import { bareManifest, identityOf } from "./manifest.ts";
import type { ManifestJson } from "./manifest.ts";
import { ModelStore } from "./model-store.ts";
import { addressOf, pieceName } from "./names.ts";
import type { SourceRecord } from "./source.ts";
import { MemoryStore } from "./stores/memory.ts";
import { outOfSpace } from "./stores/store.ts";
import type { Bytes, Store } from "./stores/store.ts";

const URL_A = "https://models.example/a.json";
const URL_B = "https://models.example/b.json";
const hash = (n: number): string => n.toString(16).padStart(64, "0");
const nothing = new Uint8Array(0);
const none: ReadonlySet<string> = new Set();
const bytesOf = (seed: number): Bytes => weights(100, seed);
const chunkOf = async (seed: number): Promise<BundleChunk> => ({ sha256: await sha256Hex(bytesOf(seed)), bytes: 100 });

let memory: MemoryStore;
let modelStore: ModelStore;
let now: number;

beforeEach(() => {
  memory = new MemoryStore();
  now = 1_000;
  modelStore = new ModelStore(memory, () => now);
});

const withPrefix = async (prefix: string): Promise<string[]> =>
  (await memory.names()).filter((x) => x.startsWith(prefix)).sort();
const put = async (...names: string[]): Promise<void> => {
  for (const name of names) await memory.write(name, nothing);
};
const write = async (...seeds: number[]): Promise<void> => {
  for (const x of seeds) await modelStore.write(await chunkOf(x), bytesOf(x));
};
const contentOf = async (blob: Blob | null): Promise<number[] | null> =>
  blob === null ? null : [...new Uint8Array(await blob.arrayBuffer())];

/** The description of a bundle with a variant of one chunk for each seed. */
async function jsonOf(name: string, ...seeds: number[]): Promise<ManifestJson> {
  const port = { name: "x", dtype: "float32", dims: [1], batchAxis: null } as const;
  const variants = seeds.map(async (x) => ({
    ...{ id: `v${x}`, needs: [] },
    files: [{ path: `${x}.onnx`, bytes: 100, chunks: [await chunkOf(x)] }],
  }));
  return bundleJson({
    model: { name, version: "7", licence: "MIT", inputs: [port], outputs: [{ ...port, name: "y" }] },
    variants: await Promise.all(variants),
  });
}

async function remember(json: ManifestJson, url: string, more: Partial<SourceRecord> = {}, beside?: string) {
  const identity = await identityOf(json);
  await modelStore.remember(json, { url, identity, validator: null, signature: null, ...more }, beside);
  return identity;
}

const identitiesAt = async (url: string): Promise<string[]> => (await modelStore.sources(url)).map((x) => x.identity);

describe("a chunk", () => {
  /** The same entries in a store without blobs. */
  const withoutBlobs = (): Store => ({
    kind: "indexeddb",
    names: () => memory.names(),
    read: (name) => memory.read(name),
    write: (name, bytes) => memory.write(name, bytes),
    remove: (name) => memory.remove(name),
  });

  test("is read from a store without blobs, and null where it is not there", async () => {
    await write(1);
    const own = new ModelStore(withoutBlobs(), () => 1);
    expect(await contentOf(await own.chunk(await chunkOf(1)))).toEqual([...bytesOf(1)]);
    expect(await own.chunk(await chunkOf(2))).toBeNull();
    expect(await modelStore.chunk(await chunkOf(2))).toBeNull();
  });

  test.each([
    ["other bytes", bytesOf(2)],
    ["more bytes", weights(101, 1)],
    ["no bytes", nothing],
  ])("with %s is removed, and null", async (_, bytes) => {
    const chunk = await chunkOf(1);
    const name = `chunk-${chunk.sha256}-100`;
    for (const store of [memory, withoutBlobs()]) {
      await memory.write(name, bytes);
      expect(await new ModelStore(store, () => 1).chunk(chunk)).toBeNull();
      expect(await memory.names()).toEqual([]);
    }
  });

  test("whose size is stated wrong is not it, though its hash is right", async () => {
    const { sha256 } = await chunkOf(1);
    await memory.write(`chunk-${sha256}-99`, bytesOf(1));
    expect(await modelStore.chunk({ sha256, bytes: 99 })).toBeNull();
  });

  test("that was removed while it was read is null", async () => {
    await write(1);
    const gone = { ...new Blob(["x"]), arrayBuffer: () => Promise.reject(new Error("gone")) } as unknown as Blob;
    memory.blob = () => Promise.resolve(gone);
    expect(await modelStore.chunk(await chunkOf(1))).toBeNull();
    expect((await memory.names()).length).toBe(1);
  });

  test("moves from the place of an older release, and stays there where there is no room", async () => {
    await write(1);
    const chunk = await chunkOf(1);
    const before = await memory.blob(`chunk-${chunk.sha256}-100`);
    const moved: string[] = [];
    const after = new Blob(["moved"]);
    Object.assign(memory, {
      adopt: async (name: string, bytes: Bytes) => {
        moved.push(`${name} ${bytes.length}`);
        memory.blob = () => Promise.resolve(after);
        return Promise.resolve();
      },
    });
    expect(await modelStore.chunk(chunk)).toBe(after);
    expect(moved).toEqual([`chunk-${chunk.sha256}-100 100`]);
    Object.assign(memory, { adopt: () => Promise.reject(outOfSpace("x", 1)) });
    let asked = 0;
    memory.blob = () => Promise.resolve((asked += 1) === 1 ? before : null);
    expect(await modelStore.chunk(chunk)).toBe(before);
    const store: Store = { ...withoutBlobs(), adopt: () => Promise.resolve() };
    expect(await contentOf(await new ModelStore(store, () => 1).chunk(chunk))).toEqual([...bytesOf(1)]);
  });

  test("is peeked at unchecked, where all are there and the store has blobs", async () => {
    await write(1, 2);
    const [one, two, three] = await Promise.all([1, 2, 3].map(chunkOf));
    if (one === undefined || two === undefined || three === undefined) throw new Error("three");
    expect(await contentOf(await modelStore.peek([one, two]))).toEqual([...bytesOf(1), ...bytesOf(2)]);
    expect(await modelStore.peek([one, three])).toBeNull();
    expect(await modelStore.peek([])).toBeNull();
    expect(await new ModelStore(withoutBlobs(), () => 1).peek([one])).toBeNull();
  });

  test("counts by the sizes in the names", async () => {
    await put(`chunk-${hash(1)}-5`, `chunk-${hash(2)}-7`, `chunk-${hash(3)}-x`, `part-${hash(4)}-9`);
    expect(await modelStore.bytes()).toBe(12);
    expect(await modelStore.chunks()).toEqual(new Set([`${hash(1)}-5`, `${hash(2)}-7`]));
  });
});

describe("a file in pieces", () => {
  const file = { sha256: hash(1), bytes: 200, url: "https://models.example/m.onnx" };

  test("is read from its pieces in their order, and null while one is missing or damaged", async () => {
    const [one, two] = [await chunkOf(1), await chunkOf(2)];
    expect(await modelStore.chunk(file)).toBeNull();
    await write(1, 2);
    await modelStore.recordFile(file, [two, one]);
    expect(await modelStore.pieces(file)).toEqual([two, one]);
    expect(await contentOf(await modelStore.chunk(file))).toEqual([...bytesOf(2), ...bytesOf(1)]);
    expect(await contentOf(await modelStore.peek([file]))).toEqual([...bytesOf(2), ...bytesOf(1)]);
    expect((await modelStore.chunks()).has(`${hash(1)}-200`)).toBe(true);
    await memory.remove(`chunk-${one.sha256}-100`);
    expect(await modelStore.chunk(file)).toBeNull();
    await memory.write(`chunk-${one.sha256}-100`, bytesOf(3));
    expect(await modelStore.chunk(file)).toBeNull();
    expect(await memory.names()).not.toContain(`chunk-${one.sha256}-100`);
  });

  test("loses its own record alone", async () => {
    const other = { ...file, sha256: hash(2) };
    const piece = await chunkOf(1);
    await write(1);
    await modelStore.recordFile(file, [piece, piece]);
    await modelStore.recordFile(other, [piece, piece]);
    await modelStore.dropFile(file);
    expect(await modelStore.pieces(file)).toEqual([]);
    expect(await withPrefix("file-")).toEqual([pieceName(other, 0, piece), pieceName(other, 1, piece)]);
    expect((await withPrefix("chunk-")).length).toBe(1);
  });
});

describe("keeping a chunk", () => {
  test("rejects with another error than a lack of room at once, and evicts nothing", async () => {
    const orphan = await chunkOf(9);
    await write(9);
    memory.write = () => Promise.reject(new Error("broken"));
    await expect(modelStore.keep(await chunkOf(1), bytesOf(1), none)).rejects.toThrow("broken");
    expect((await modelStore.chunks()).has(`${orphan.sha256}-100`)).toBe(true);
  });

  test("evicts until it fits, but not what is kept", async () => {
    memory = new MemoryStore(250);
    modelStore = new ModelStore(memory, () => now);
    const [a, b] = [await chunkOf(8), await chunkOf(9)];
    await write(8, 9);
    const both = new Set([a.sha256, b.sha256]);
    await expect(modelStore.keep(await chunkOf(1), bytesOf(1), both)).rejects.toMatchObject({ code: "quota-exceeded" });
    await modelStore.keep(await chunkOf(1), bytesOf(1), new Set([a.sha256]));
    expect(await modelStore.chunks()).toEqual(new Set([`${a.sha256}-100`, `${(await chunkOf(1)).sha256}-100`]));
  });

  test("needs no more than its own bytes where nothing else is said", async () => {
    await remember(await jsonOf("a", 1), URL_A);
    await write(1);
    expect(await modelStore.makeRoom(101, none)).toBe(0);
    expect(await modelStore.makeRoom(100, none)).toBe(100);
  });
});

describe("parts of a chunk", () => {
  const chunk = { sha256: hash(1), bytes: 10 };
  const lengths = async (): Promise<number[]> => (await modelStore.parts(chunk)).map((x) => x.length);

  test("are returned as far as they are contiguous, and short of the whole", async () => {
    expect(await lengths()).toEqual([]);
    await modelStore.keepPart(chunk, 0, new Uint8Array(4));
    await modelStore.keepPart(chunk, 4, new Uint8Array(3));
    await modelStore.keepPart(chunk, 8, new Uint8Array(1));
    await modelStore.keepPart({ sha256: hash(2), bytes: 10 }, 7, new Uint8Array(1));
    expect(await withPrefix("part-")).toEqual(
      [`part-${hash(1)}-0`, `part-${hash(1)}-4`, `part-${hash(1)}-8`, `part-${hash(2)}-7`].sort(),
    );
    expect(await lengths()).toEqual([4, 3]);
    await modelStore.keepPart(chunk, 7, new Uint8Array(1));
    expect(await lengths()).toEqual([4, 3, 1, 1]);
    await modelStore.keepPart(chunk, 9, new Uint8Array(1)); // that would be all, which is no part
    expect(await lengths()).toEqual([4, 3, 1, 1]);
    await modelStore.dropParts(chunk);
    expect(await withPrefix("part-")).toEqual([`part-${hash(2)}-7`]);
  });

  test("end at an empty one, and at one that is gone", async () => {
    await modelStore.keepPart(chunk, 0, new Uint8Array(4));
    await modelStore.keepPart(chunk, 4, nothing);
    expect(await lengths()).toEqual([4]);
    const read = memory.read.bind(memory);
    memory.read = (name) => (name.endsWith("-0") ? Promise.resolve(null) : read(name));
    expect(await lengths()).toEqual([]);
  });
});

describe("the record of an address", () => {
  test("is not written again where it is the same, but its use is", async () => {
    const json = await jsonOf("a", 1);
    await remember(json, URL_A);
    const before = await withPrefix("source-");
    now += 500;
    const identity = await remember(json, URL_A);
    expect(await withPrefix("source-")).toEqual(before);
    expect(before).toEqual([`source-${await addressOf(URL_A)}-1000`]);
    expect(await withPrefix("used-")).toEqual([`used-${identity}-1500`]);
  });

  test("keeps one earlier version beside the newest, where that is asked for", async () => {
    const [a, b, c] = [await jsonOf("a", 1), await jsonOf("a", 2), await jsonOf("a", 3)];
    const [first, second] = [await remember(a, URL_A), await identityOf(b)];
    await remember(b, URL_A, {}, first);
    expect(await identitiesAt(URL_A)).toEqual([second, first]);
    const third = await remember(c, URL_A, {}, first);
    expect(await identitiesAt(URL_A)).toEqual([third, first]);
    await remember(c, URL_A, {}, first);
    expect(await identitiesAt(URL_A)).toEqual([third, first]);
    await remember(a, URL_A, {}, first);
    expect(await identitiesAt(URL_A)).toEqual([first]);
  });

  test("is newer than the one before though the clock was set back", async () => {
    await remember(await jsonOf("a", 1), URL_A);
    now = 10;
    const second = await remember(await jsonOf("a", 2), URL_A);
    expect((await modelStore.source(URL_A))?.identity).toBe(second);
    expect(await withPrefix("source-")).toEqual([`source-${await addressOf(URL_A)}-1001`]);
    await modelStore.touch(second);
    now = 5;
    await modelStore.touch(second);
    expect(await withPrefix(`used-${second}`)).toEqual([`used-${second}-12`]);
  });

  test("keeps a signature that another app of the origin stored for the same version, and no other's", async () => {
    const [a, b] = [await jsonOf("a", 1), await jsonOf("a", 2)];
    const first = await remember(a, URL_A, { signature: { by: "k1" } });
    await remember(a, URL_A);
    expect((await modelStore.source(URL_A))?.signature).toEqual({ by: "k1" });
    await remember(a, URL_A, { signature: { by: "k2" } });
    expect((await modelStore.source(URL_A))?.signature).toEqual({ by: "k2" });
    await remember(b, URL_A, {}, first);
    expect((await modelStore.sources(URL_A)).map((x) => x.signature)).toEqual([null, { by: "k2" }]);
  });

  test("that is damaged, or another address's, is none, and gives way", async () => {
    const prefix = `source-${await addressOf(URL_A)}`;
    const identity = await identityOf(await jsonOf("a", 1));
    const other = { url: URL_B, identity, validator: null, signature: null };
    await memory.write(`${prefix}-1`, new TextEncoder().encode(canonicalJson(other)));
    await memory.write(`${prefix}-2`, new TextEncoder().encode("{"));
    expect(await modelStore.source(URL_A)).toBeNull();
    await remember(await jsonOf("a", 1), URL_A);
    expect(await withPrefix("source-")).toEqual([`${prefix}-1000`]);
  });

  test("of a newer release's version stays", async () => {
    const prefix = `source-${await addressOf(URL_A)}`;
    const text = new TextEncoder().encode('{"schema":"selvedge/bundle@9"}');
    const newer = await sha256Hex(text);
    await memory.write(`bundle-${newer}`, text);
    const source = { url: URL_A, identity: newer, validator: null, signature: null };
    await memory.write(`${prefix}-1`, new TextEncoder().encode(canonicalJson(source)));
    const own = await remember(await jsonOf("a", 1), URL_A);
    expect(await identitiesAt(URL_A)).toEqual([own, newer]);
    await modelStore.settle(URL_A, own);
    expect(await identitiesAt(URL_A)).toEqual([own, newer]);
  });

  test("leads to one version alone once that is whole, but not to one that it does not know", async () => {
    const [a, b] = [await jsonOf("a", 1), await jsonOf("a", 2)];
    const first = await remember(a, URL_A);
    const second = await remember(b, URL_A, {}, first);
    await modelStore.settle(URL_A, hash(5));
    expect(await identitiesAt(URL_A)).toEqual([second, first]);
    await modelStore.settle(URL_B, second);
    expect(await identitiesAt(URL_A)).toEqual([second, first]);
    await modelStore.settle(URL_A, first);
    expect(await identitiesAt(URL_A)).toEqual([first]);
  });

  test("comes after a description, which is written once, and anew where it is damaged", async () => {
    const json = await jsonOf("a", 1);
    const identity = await identityOf(json);
    const text = canonicalJson(json);
    await memory.write(`bundle-${identity}`, new TextEncoder().encode("damaged"));
    await remember(json, URL_A);
    expect(new TextDecoder().decode((await memory.read(`bundle-${identity}`)) ?? nothing)).toBe(text);
    const written: string[] = [];
    const writeEntry = memory.write.bind(memory);
    memory.write = (name, bytes) => {
      written.push(name.split("-")[0] ?? "");
      return writeEntry(name, bytes);
    };
    await remember(json, URL_B);
    expect(written).toEqual(["source", "used"]);
    written.length = 0;
    await remember(await jsonOf("b", 2), URL_B);
    expect(written).toEqual(["bundle", "source", "used"]);
  });

  test("is written though the description can't be read now", async () => {
    const json = await jsonOf("a", 1);
    const read = memory.read.bind(memory);
    memory.read = (name) => (name.startsWith("bundle-") ? Promise.reject(new Error("busy")) : read(name));
    await remember(json, URL_A);
    expect((await withPrefix("source-")).length).toBe(1);
    await remember(await jsonOf("a", 2), URL_A);
    expect((await withPrefix("source-")).length).toBe(1);
  });
});

describe("the list of bundles", () => {
  test("has each with its addresses, bytes, variants and pin, the most recently used first", async () => {
    const first = await remember(await jsonOf("a", 1, 2), URL_A);
    now += 10;
    const second = await remember(await jsonOf("b", 2, 3), URL_B);
    await remember(await jsonOf("b", 2, 3), `${URL_B}?v=2`);
    await write(1, 2);
    await modelStore.pin(first, true);
    expect(await modelStore.bundles()).toEqual([
      {
        ...{ identity: second, name: "b", version: "7", urls: [URL_B, `${URL_B}?v=2`], bytes: 100 },
        ...{ usedMs: 1_011, isPinned: false, variants: ["v2"] },
      },
      {
        ...{ identity: first, name: "a", version: "7", urls: [URL_A], bytes: 200 },
        ...{ usedMs: 1_000, isPinned: true, variants: ["v1", "v2"] },
      },
    ]);
    now += 10;
    await modelStore.touch(first);
    await modelStore.pin(first, false);
    expect((await modelStore.bundles()).map((x) => [x.identity, x.isPinned])).toEqual([
      [first, false],
      [second, false],
    ]);
  });

  test("names a bare model by its file, or as model where no address is known; its chunks count once", async () => {
    const chunk = await chunkOf(1);
    const identity = await remember(bareManifest([chunk, chunk]), "https://models.example/path/m.onnx");
    expect(await modelStore.bundles()).toMatchObject([{ name: "m.onnx", version: "", bytes: 0, variants: [] }]);
    await write(1);
    expect(await modelStore.bundles()).toMatchObject([{ identity, bytes: 100, variants: ["model"] }]);
    for (const name of await withPrefix("source-")) await memory.remove(name);
    expect(await modelStore.bundles()).toMatchObject([{ identity, name: "model", urls: [] }]);
  });

  test("names an address once, though two records have it, and reads no entry that only looks like a record", async () => {
    const identity = await remember(await jsonOf("a", 1), URL_A);
    const address = await addressOf(URL_A);
    const source = { url: URL_A, identity, validator: null, signature: "other" };
    const other = { ...source, url: URL_B };
    await memory.write(`source-${address}-1`, new TextEncoder().encode(canonicalJson(source)));
    for (const name of [`xsource-${address}-1`, `source-${address}-1x`, `source-${address.slice(1)}-1`])
      await memory.write(name, new TextEncoder().encode(canonicalJson(other)));
    expect((await modelStore.bundles()).map((x) => x.urls)).toEqual([[URL_A]]);
  });

  test("leaves out what is damaged or can't be read", async () => {
    const first = await remember(await jsonOf("a", 1), URL_A);
    const second = await remember(await jsonOf("b", 2), URL_B);
    await memory.write(`bundle-${hash(1)}`, new TextEncoder().encode("{}"));
    const read = memory.read.bind(memory);
    memory.read = (name) => (name === `bundle-${first}` ? Promise.reject(new Error("busy")) : read(name));
    expect((await modelStore.bundles()).map((x) => x.identity)).toEqual([second]);
    await expect(modelStore.bundle(first)).rejects.toThrow("busy");
    expect(await modelStore.bundle(hash(1))).toBeNull();
    expect(await modelStore.bundle(hash(2))).toBeNull();
  });
});

describe("an older release's records", () => {
  test("of a bundle move when it is used; those of others stay", async () => {
    const identity = await remember(await jsonOf("a", 1), URL_A);
    const other = await remember(await jsonOf("b", 2), URL_B);
    await modelStore.pin(identity, true);
    const [own] = await withPrefix(`source-${await addressOf(URL_A)}`);
    const moved: string[] = [];
    const names = [...(await memory.names()), `bundle-${hash(9)}`];
    const adopt = (name: string): Promise<void> => Promise.resolve(void moved.push(name));
    Object.assign(memory, { oldNames: () => Promise.resolve(names), adopt });
    await modelStore.touch(identity);
    expect(moved.sort()).toEqual([`bundle-${identity}`, `pin-${identity}`, own].sort());
    moved.length = 0;
    await modelStore.touch(hash(9)); // its entry is gone
    expect(moved).toEqual([]);
    Object.assign(memory, { oldNames: () => Promise.reject(new Error("busy")) });
    now += 7;
    await modelStore.touch(other);
    expect(await withPrefix(`used-${other}`)).toEqual([`used-${other}-1007`]);
  });
});

describe("signed releases", () => {
  const seen = (release: number, key = "k m") => ({ newest: { [key]: { release, identity: hash(1) } }, models: {} });

  test("are none at first, added one after the other, and written only where they changed", async () => {
    expect(await modelStore.releases()).toEqual({ newest: {}, models: {} });
    const both = await Promise.all([modelStore.noteReleases(seen(1)), modelStore.noteReleases(seen(2, "k n"))]);
    expect(both[1].newest).toEqual({ ...seen(1).newest, ...seen(2, "k n").newest });
    expect(await modelStore.releases()).toEqual(both[1]);
    const before = await withPrefix("releases-");
    expect(before).toEqual(["releases-1001"]);
    now += 100;
    await modelStore.noteReleases(seen(2, "k n"));
    expect(await withPrefix("releases-")).toEqual(before);
  });

  test("of several entries are merged, the newest last; a damaged one is empty", async () => {
    const encode = (json: unknown): Bytes => new TextEncoder().encode(JSON.stringify(json));
    await memory.write("releases-2", encode({ newest: {}, models: { u: "new" } }));
    await memory.write("releases-1", encode({ ...seen(5), models: { u: "old" } }));
    await memory.write("releases-3", new TextEncoder().encode("{"));
    expect(await modelStore.releases()).toEqual({ ...seen(5), models: { u: "new" } });
    const read = memory.read.bind(memory);
    memory.read = (name) => (name === "releases-2" ? Promise.resolve(null) : read(name));
    expect((await modelStore.releases()).models).toEqual({ u: "old" });
  });

  test("are noted after a note that failed", async () => {
    const names = memory.names.bind(memory);
    memory.names = () => Promise.reject(new Error("busy"));
    await expect(modelStore.noteReleases(seen(1))).rejects.toThrow("busy");
    memory.names = names;
    expect(await modelStore.noteReleases(seen(2))).toEqual(seen(2));
  });

  test("of the first package release are read by the address, the newest, and removed once they are included", async () => {
    const address = await addressOf(URL_A);
    await put(`release-${address}-3`, `release-${address}-4`, `release-${await addressOf(URL_B)}-9`);
    expect(await modelStore.releaseNote(URL_A)).toBe(4);
    expect(await modelStore.releaseNote("https://models.example/c.json")).toBeNull();
    await modelStore.noteReleases(seen(1));
    expect((await withPrefix("release-")).length).toBe(3);
    await modelStore.noteReleases(seen(1), URL_A);
    expect(await withPrefix("release-")).toEqual([`release-${await addressOf(URL_B)}-9`]);
  });
});

describe("the network rate", () => {
  test("is the last that was noted, whole, and the only one kept", async () => {
    expect(await modelStore.rate()).toBeNull();
    await modelStore.noteRate(1_234.6);
    expect(await withPrefix("rate-")).toEqual(["rate-1235-1000"]);
    now += 1;
    await modelStore.noteRate(7);
    expect(await withPrefix("rate-")).toEqual(["rate-7-1001"]);
    expect(await modelStore.rate()).toBe(7);
    await modelStore.noteRate(7);
    expect(await withPrefix("rate-")).toEqual(["rate-7-1001"]);
  });

  test("of several is the newest, whatever else has such a name", async () => {
    await put("rate-5-100", "rate-6-300", "rate-7-200", "rate-8-x", "xrate-9-900", "rate-9-900x");
    expect(await modelStore.rate()).toBe(6);
  });
});

describe("a draft", () => {
  const validator = { etag: null, lastModified: null, bytes: 5 };

  test("has its own chunks alone, and takes the place of an older one", async () => {
    await modelStore.beginDraft(URL_A, validator);
    await modelStore.noteDraft(URL_A, 0, { sha256: hash(1), bytes: 5 });
    await modelStore.beginDraft(URL_B, validator);
    await modelStore.noteDraft(URL_B, 1, { sha256: hash(2), bytes: 6 });
    expect(await withPrefix(`draft-${await addressOf(URL_A)}`)).toEqual([
      `draft-${await addressOf(URL_A)}-0-${hash(1)}-5`,
      `draft-${await addressOf(URL_A)}-head-1000`,
    ]);
    await put(`draft-${await addressOf(URL_B)}-2-${hash(3)}-x`, `xdraft-${await addressOf(URL_B)}-2-${hash(3)}-6`);
    expect((await modelStore.draft(URL_B))?.chunks).toEqual(new Map([[1, { sha256: hash(2), bytes: 6 }]]));
    now += 1;
    await modelStore.beginDraft(URL_A, { ...validator, bytes: 6 });
    expect(await modelStore.draft(URL_A)).toEqual({ validator: { ...validator, bytes: 6 }, chunks: new Map() });
    await modelStore.endDraft(URL_A);
    expect(await modelStore.draft(URL_A)).toBeNull();
    expect(await modelStore.draft(URL_B)).not.toBeNull();
  });

  test("whose head is damaged is none", async () => {
    await memory.write(`draft-${await addressOf(URL_A)}-head-5`, new TextEncoder().encode('{"etag":1}'));
    await modelStore.noteDraft(URL_A, 0, { sha256: hash(1), bytes: 5 });
    expect(await modelStore.draft(URL_A)).toBeNull();
  });
});

test("everything is removed but the records of signed releases, and the bytes of chunks are returned", async () => {
  await remember(await jsonOf("a", 1), URL_A);
  await write(1, 2);
  await put("releases-5", `release-${hash(1)}-3`, "xreleases-1", "unknown", "releasesx", `part-${hash(3)}-0`);
  expect(await modelStore.clear()).toBe(200);
  expect((await memory.names()).sort()).toEqual([`release-${hash(1)}-3`, "releases-5"]);
});
