// Files without validators are compared by their content: fetched again, hashed piece by piece, and named anew where
// that differs from what is stored.
import { expect, test } from "vitest";
import { CHUNK_MAX_BYTES, sha256Hex } from "../core/bundle.ts";
import type { Bundle, BundleChunk } from "../core/bundle.ts";
import { criteriaFor, weights } from "../test-support/cache-fixtures.ts";
import { hurried } from "../test-support/fake-network.ts";
import { Downloader } from "./download.ts";
import { ModelStore } from "./model-store.ts";
import type { OpenedBundle } from "./opened.ts";
import { MemoryStore } from "./stores/memory.ts";
import type { Bytes } from "./stores/store.ts";
import { renameChanged, unvalidatedIn } from "./unvalidated-files.ts";

const HOST = "https://models.example/m/";
const { signal } = new AbortController();

/** A chunk with its address, by the name of the file. */
const chunkOf = (path: string, bytes: number, isBlind?: boolean): BundleChunk => ({
  sha256: path,
  bytes,
  url: `${HOST}${path}`,
  isUnverified: true,
  ...(isBlind !== undefined && { isBlind }),
});

function opened(variants: readonly (readonly BundleChunk[])[], assets?: readonly BundleChunk[]): OpenedBundle {
  const file = (chunk: BundleChunk) => ({ path: chunk.sha256, bytes: chunk.bytes, chunks: [chunk] });
  const bundle: Bundle = {
    format: 2,
    model: { name: "m", version: "1", licence: "MIT", inputs: [], outputs: [] },
    variants: variants.map((files, i) => ({ id: `v${i}`, needs: [], files: files.map(file) })),
    ...(assets !== undefined && { assets: assets.map(file) }),
  };
  return { bundle, identity: "id", data: null, seen: null, refused: null };
}

/** A page whose host has these files, each of which it sends in parts of `partBytes`; it stored `stored` of them. */
async function pageWith(
  files: Readonly<Record<string, Bytes>>,
  stored: readonly (readonly [BundleChunk, Bytes])[],
  partBytes = 3_000_000,
) {
  const modelStore = new ModelStore(new MemoryStore(), () => 1);
  for (const [chunk, bytes] of stored) {
    const pieces: BundleChunk[] = [];
    for (let at = 0; at < bytes.length; at += CHUNK_MAX_BYTES) {
      const piece = bytes.slice(at, at + CHUNK_MAX_BYTES);
      pieces.push({ sha256: await sha256Hex(piece), bytes: piece.length });
    }
    await modelStore.recordFile({ sha256: await hashOf(chunk), bytes: chunk.bytes }, pieces);
  }
  const asked: { readonly url: string; readonly authorization: string | null }[] = [];
  const fetchFile = (url: string, init: RequestInit): Promise<Response> => {
    asked.push({ url, authorization: new Headers(init.headers).get("authorization") });
    const bytes = files[url.slice(HOST.length)];
    if (bytes === undefined) return Promise.resolve(new Response("no", { status: 404 }));
    let at = 0;
    const body = new ReadableStream<Uint8Array>({
      pull(controller) {
        if (at < bytes.length) controller.enqueue(bytes.slice(at, at + partBytes));
        else controller.close();
        at += partBytes;
      },
    });
    return Promise.resolve(new Response(body));
  };
  return { page: new Downloader({ ...hurried, fetch: fetchFile }, modelStore), asked };
}

/** Chunks have 64 hex digits in names of entries. */
const hashOf = (chunk: BundleChunk): Promise<string> => sha256Hex(new TextEncoder().encode(chunk.sha256));
const withHash = async (chunk: BundleChunk): Promise<BundleChunk> => ({ ...chunk, sha256: await hashOf(chunk) });

const hashesIn = ({ bundle }: OpenedBundle): string[] =>
  [...bundle.variants.flatMap((x) => x.files), ...(bundle.assets ?? [])].flatMap((x) => x.chunks.map((y) => y.sha256));

test("only files with an address and without validators are listed, those of variants and assets", () => {
  const [blind, seeing, silent] = [chunkOf("a", 10, true), chunkOf("b", 10, false), chunkOf("c", 10)];
  const bare = { sha256: "d", bytes: 10, isBlind: true };
  const asset = chunkOf("e", 10, true);
  expect(unvalidatedIn(opened([[blind, seeing, silent, bare]], [asset]).bundle)).toEqual([blind, asset]);
});

test("a file whose content is the same keeps its name; one that changed is named by its address and content", async () => {
  const [same, other, text] = await Promise.all(
    [chunkOf("same", 100, true), chunkOf("other", 100, true), chunkOf("text", 100, true)].map(withHash),
  );
  if (same === undefined || other === undefined || text === undefined) throw new Error("three files");
  const [old, changed] = [weights(100, 1), weights(100, 2)];
  const stored = opened([[same, other], [other]], [text]);
  const before = structuredClone(stored.bundle);
  const { page, asked } = await pageWith({ same: old, other: changed, text: changed }, [
    [chunkOf("same", 100), old],
    [chunkOf("other", 100), old],
    [chunkOf("text", 100), old],
  ]);
  const renamed = await renameChanged(stored, criteriaFor(), page, signal);
  const nameOf = async (path: string): Promise<string> =>
    sha256Hex(new TextEncoder().encode(`${HOST}${path} ${await sha256Hex(changed)}`));
  const [newOther, newText] = [await nameOf("other"), await nameOf("text")];
  expect(hashesIn(renamed)).toEqual([same.sha256, newOther, newOther, newText]);
  expect(renamed).toMatchObject({ identity: "id", data: null, bundle: { model: { name: "m" } } });
  expect(renamed.bundle.variants[0]?.files[1]).toEqual({
    path: other.sha256,
    bytes: 100,
    chunks: [{ ...other, sha256: newOther }],
  });
  expect(stored.bundle).toEqual(before);
  // A file in two variants is fetched once.
  expect(asked).toEqual(["same", "other", "text"].map((x) => ({ url: `${HOST}${x}`, authorization: null })));
});

test("what has validators, or is not stored, is not fetched and keeps its name", async () => {
  const [seeing, absent] = await Promise.all([chunkOf("seeing", 100), chunkOf("absent", 100, true)].map(withHash));
  if (seeing === undefined || absent === undefined) throw new Error("two files");
  const stored = opened([[seeing, absent]]);
  const { page, asked } = await pageWith({ seeing: weights(100, 2), absent: weights(100, 2) }, [
    [chunkOf("seeing", 100), weights(100, 1)],
  ]);
  const renamed = await renameChanged(stored, criteriaFor(), page, signal);
  expect(hashesIn(renamed)).toEqual([seeing.sha256, absent.sha256]);
  expect(renamed.bundle.assets).toEqual([]);
  expect(asked).toEqual([]);
});

test("without a store, or with one that fails, nothing is fetched", async () => {
  const blind = await withHash(chunkOf("blind", 100, true));
  const { page, asked } = await pageWith({ blind: weights(100, 2) }, [[chunkOf("blind", 100), weights(100, 1)]]);
  const failing = new MemoryStore();
  failing.names = () => Promise.reject(new Error("the store failed"));
  for (const modelStore of [null, new ModelStore(failing, () => 1)]) {
    const renamed = await renameChanged(
      opened([[blind]]),
      criteriaFor(),
      new Downloader(page.effects, modelStore),
      signal,
    );
    expect(hashesIn(renamed)).toEqual([blind.sha256]);
  }
  expect(asked).toEqual([]);
});

test("the token goes to the host, and a file that is not there rejects", async () => {
  const blind = await withHash(chunkOf("blind", 100, true));
  const bytes = weights(100, 1);
  const { page, asked } = await pageWith({ blind: bytes }, [[chunkOf("blind", 100), bytes]]);
  const renamed = await renameChanged(opened([[blind]]), criteriaFor({ token: "secret" }), page, signal);
  expect(hashesIn(renamed)).toEqual([blind.sha256]);
  expect(asked).toEqual([{ url: `${HOST}blind`, authorization: "Bearer secret" }]);
  const gone = await pageWith({}, [[chunkOf("blind", 100), bytes]]);
  await expect(renameChanged(opened([[blind]]), criteriaFor(), gone.page, signal)).rejects.toMatchObject({
    code: "download-failed",
    details: { status: 404 },
  });
});

test.each([
  ["a byte more than a piece, in parts across its end", CHUNK_MAX_BYTES + 1, 3_000_000],
  ["two pieces, in one part", 2 * CHUNK_MAX_BYTES, 2 * CHUNK_MAX_BYTES],
])("a file of %s is hashed as its download was", async (_, size, partBytes) => {
  const large = await withHash(chunkOf("large", size, true));
  const bytes = new Uint8Array(size);
  bytes.set(weights(1_000), size - 1_000);
  const here = [[chunkOf("large", size), bytes] as const];
  const { page } = await pageWith({ large: bytes }, here, partBytes);
  expect(hashesIn(await renameChanged(opened([[large]]), criteriaFor(), page, signal))).toEqual([large.sha256]);
  const changed = bytes.slice();
  changed[size - 1] = (changed[size - 1] ?? 0) ^ 1;
  const other = await pageWith({ large: changed }, here, partBytes);
  const [name] = hashesIn(await renameChanged(opened([[large]]), criteriaFor(), other.page, signal));
  expect(name).not.toBe(large.sha256);
  expect(name).toMatch(/^[0-9a-f]{64}$/);
});
