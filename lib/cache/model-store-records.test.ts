// Records of a store that are damaged, long, or of what is stored in part.
import { beforeEach, expect, test } from "vitest";
import { canonicalJson, sha256Hex } from "../core/bundle.ts";
import type { BundleChunk } from "../core/bundle.ts";
import { bundleJson } from "../core/bundle-json.ts";
import { weights } from "../test-support/cache-fixtures.ts";
import { bareManifest, identityOf } from "./manifest.ts";
import type { ManifestJson } from "./manifest.ts";
import { ModelStore } from "./model-store.ts";
import { addressOf } from "./names.ts";
import { MemoryStore } from "./stores/memory.ts";

const URL_A = "https://models.example/a.onnx";
const hash = (n: number): string => n.toString(16).padStart(64, "0");
const nothing = new Uint8Array(0);

let memory: MemoryStore;
let modelStore: ModelStore;

beforeEach(() => {
  memory = new MemoryStore();
  modelStore = new ModelStore(memory, () => 1_000);
});

const chunkOf = async (seed: number): Promise<BundleChunk> => ({
  sha256: await sha256Hex(weights(100, seed)),
  bytes: 100,
});

async function remember(json: ManifestJson): Promise<string> {
  const identity = await identityOf(json);
  await modelStore.remember(json, { url: URL_A, identity, validator: null, signature: null });
  return identity;
}

test("a damaged record beside a good one is passed over, and goes once the version is whole", async () => {
  const identity = await remember(bareManifest([await chunkOf(1)]));
  const name = `source-${await addressOf(URL_A)}-2000`;
  await memory.write(name, new TextEncoder().encode("{"));
  expect((await modelStore.sources(URL_A)).map((x) => x.identity)).toEqual([identity]);
  expect((await modelStore.source(URL_A))?.identity).toBe(identity);
  await modelStore.settle(URL_A, identity);
  expect(await memory.names()).not.toContain(name);
  expect((await modelStore.source(URL_A))?.identity).toBe(identity);
});

test("a record without a description, and one that can't be read, give way", async () => {
  const address = await addressOf(URL_A);
  const source = { url: URL_A, identity: hash(1), validator: null, signature: null };
  await memory.write(`source-${address}-1`, new TextEncoder().encode(canonicalJson(source)));
  await remember(bareManifest([await chunkOf(1)]));
  expect((await memory.names()).filter((x) => x.startsWith("source-"))).toEqual([`source-${address}-1000`]);
});

test("a bare model is whole with all of its chunks, a variant with all of its files", async () => {
  await remember(bareManifest([await chunkOf(1), await chunkOf(2)]));
  const port = { name: "x", dtype: "float32", dims: [1], batchAxis: null } as const;
  const file = async (seed: number) => ({ path: `${seed}.onnx`, bytes: 100, chunks: [await chunkOf(seed)] });
  const json = bundleJson({
    model: { name: "m", version: "1", licence: "MIT", inputs: [port], outputs: [{ ...port, name: "y" }] },
    variants: [{ id: "f32", needs: [], files: [await file(1), await file(2)] }],
  });
  await memory.write(`bundle-${await identityOf(json)}`, new TextEncoder().encode(canonicalJson(json)));
  const variants = async (): Promise<string[]> => (await modelStore.bundles()).flatMap((x) => x.variants).sort();
  await modelStore.write(await chunkOf(1), weights(100, 1));
  expect(await variants()).toEqual([]);
  await modelStore.write(await chunkOf(2), weights(100, 2));
  expect(await variants()).toEqual(["f32", "model"]);
});

test("a network rate has as many digits as it needs, and a name that is longer is none", async () => {
  await memory.write("rate-1234567-1000000", nothing);
  await memory.write("rate-89-2000000-x", nothing);
  expect(await modelStore.rate()).toBe(1_234_567);
});

test("a draft has any number of chunks, and a name that is longer is none of them", async () => {
  await modelStore.beginDraft(URL_A, { etag: null, lastModified: null, bytes: 5 });
  await modelStore.noteDraft(URL_A, 123, { sha256: hash(1), bytes: 5 });
  await memory.write(`draft-${await addressOf(URL_A)}-7-${hash(2)}-5-x`, nothing);
  expect([...((await modelStore.draft(URL_A))?.chunks.keys() ?? [])]).toEqual([123]);
});
