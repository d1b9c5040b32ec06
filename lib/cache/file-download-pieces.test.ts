// A repository's file in pieces, from a server of this machine: what is hashed when, what is resumed, and what is refused.
import { createHash } from "node:crypto";
import { afterEach, beforeEach, expect, test } from "vitest";
import { CHUNK_MAX_BYTES } from "../core/bundle.ts";
import { isSelvedgeError } from "../core/errors.ts";
import { weights } from "../test-support/cache-fixtures.ts";
import { BadServer, hurried } from "../test-support/fake-network.ts";
import { Downloader } from "./download.ts";
import { fetchFile } from "./file-download.ts";
import type { DownloadedFile, FileChunk } from "./file-download.ts";
import { ModelStore } from "./model-store.ts";
import { MemoryStore } from "./stores/memory.ts";
import type { Bytes } from "./stores/store.ts";

const LARGE = weights(CHUNK_MAX_BYTES + 5_000, 6);
let server: BadServer;

beforeEach(async () => {
  server = await BadServer.start();
});

afterEach(() => {
  server.close();
});

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");
const page = (store: MemoryStore | null): Downloader =>
  new Downloader(hurried, store === null ? null : new ModelStore(store, () => 1));

/** Serves bytes as a file with their own hash. */
function serve(
  bytes: Bytes,
  { etag = '"1"', path = "/m.bin", ...more }: { etag?: string; path?: string } & Partial<FileChunk> = {},
): FileChunk {
  server.files.set(path, { bytes, etag });
  return { sha256: sha256(bytes), bytes: bytes.length, url: `${server.url}${path}`, ...more };
}

async function download(chunk: FileChunk, downloader: Downloader, signal?: AbortSignal): Promise<DownloadedFile> {
  const room = await downloader.room("model", chunk.url, [chunk]);
  const options = { room, signal: signal ?? new AbortController().signal, headers: {}, report: () => undefined };
  return fetchFile(chunk, downloader, options);
}

async function failureOf(work: Promise<unknown>): Promise<unknown> {
  const error: unknown = await work.then(
    () => null,
    (x: unknown) => x,
  );
  return isSelvedgeError(error) ? { code: error.code, message: error.message, details: error.details } : error;
}

const isRight = async ({ blob }: DownloadedFile, bytes: Bytes): Promise<boolean> =>
  Buffer.from(await blob.arrayBuffer()).equals(bytes);

/** Downloads a part of a file and leaves, as a page that is closed. */
async function leaveMidway(chunk: FileChunk, store: MemoryStore): Promise<void> {
  const leaving = new AbortController();
  server.trick = () => ({ kind: "stall", at: CHUNK_MAX_BYTES + 1_000 });
  const downloader = page(store);
  const room = await downloader.room("model", chunk.url, [chunk]);
  const { signal } = leaving;
  const left = fetchFile(chunk, downloader, { room, signal, headers: {}, report: () => undefined });
  while (!(await store.names()).some((x) => x.startsWith("chunk-")))
    await new Promise((resolve) => setTimeout(resolve, 2));
  leaving.abort(new Error("left"));
  await expect(left).rejects.toThrow("left");
  server.trick = () => null;
  server.asked = [];
}

test("the pieces are hashed as they arrive: none is read again for the hash of the whole", async () => {
  let reads = 0;
  class Counted extends Blob {
    override arrayBuffer(): Promise<ArrayBuffer> {
      reads += 1;
      return super.arrayBuffer();
    }
  }
  class Counting extends MemoryStore {
    override async blob(name: string): Promise<Blob | null> {
      const blob = await super.blob(name);
      return blob === null || !name.startsWith("chunk-") ? blob : new Counted([blob]);
    }
  }
  const file = await download(serve(LARGE), page(new Counting()));
  expect(file.isStored).toBe(true);
  expect(reads).toBe(2); // of each piece once, as it was stored
});

test("the hash begins again with the bytes where the server does not resume", async () => {
  const chunk = serve(LARGE);
  server.files.set("/m.bin", { bytes: LARGE, etag: '"1"', hasRanges: false });
  server.trick = (_, nth) => (nth === 0 ? { kind: "cut", at: CHUNK_MAX_BYTES + 1_000 } : null);
  const file = await download(chunk, page(new MemoryStore()));
  expect(await isRight(file, LARGE)).toBe(true);
  // Cut, not resumed, fetched whole; not once more for a wrong hash.
  expect(server.asked.map((x) => x.range !== null)).toEqual([false, true, false]);
});

test("a file of which one piece is not stored is returned, and not recorded", async () => {
  const store = new MemoryStore(CHUNK_MAX_BYTES + 3_000);
  const file = await download(serve(LARGE), page(store));
  expect([file.isStored, await isRight(file, LARGE)]).toEqual([false, true]);
  const names = await store.names();
  expect(names.filter((x) => x.startsWith("chunk-")).length).toBe(1);
  expect(names.filter((x) => x.startsWith("file-"))).toEqual([]);
});

test("a file with another hash is refused without a store as well, after two downloads", async () => {
  const chunk = serve(weights(3_000, 7), { sha256: sha256(weights(3_000, 5)) });
  expect(await failureOf(download(chunk, page(null)))).toMatchObject({
    code: "integrity-failed",
    details: { reason: "hash" },
  });
  expect(server.asked.length).toBe(2);
});

test("a file without a stated hash is refused where the server sends another size", async () => {
  const chunk = serve(weights(3_000, 5), { isUnverified: true });
  server.trick = () => ({ kind: "length", bytes: 2_000 });
  for (const store of [new MemoryStore(), null])
    expect(await failureOf(download(chunk, page(store)))).toEqual({
      code: "integrity-failed",
      message: `${chunk.url} has 2000 bytes instead of 3000.`,
      details: { url: chunk.url, reason: "hash" },
    });
});

test("a download that an earlier page left goes on: by the hash, whatever the server's validators say", async () => {
  const store = new MemoryStore();
  await leaveMidway(serve(LARGE), store);
  const file = await download(serve(LARGE, { etag: '"2"' }), page(store));
  expect([file.isStored, await isRight(file, LARGE)]).toEqual([true, true]);
  expect(server.asked.map((x) => x.range)).toEqual([`bytes=${CHUNK_MAX_BYTES}-${LARGE.length - 1}`]);
});

test("without a stated hash it goes on where the validators are the same, else begins again", async () => {
  const more = { isUnverified: true, sha256: "ab".repeat(32) };
  const store = new MemoryStore();
  const chunk = serve(LARGE, more);
  await leaveMidway(chunk, store);
  const other = weights(LARGE.length, 8);
  serve(other, { ...more, etag: '"2"' });
  const file = await download(chunk, page(store));
  expect([file.isStored, await isRight(file, other)]).toEqual([true, true]);
  expect(server.asked.map((x) => x.range !== null)).toEqual([true, false]);
});

test("a graph is refused by its first bytes; another file may begin as it likes", async () => {
  const text = new TextEncoder().encode("only words ".repeat(100));
  expect(await failureOf(download(serve(text, { path: "/m.onnx" }), page(null)))).toMatchObject({
    code: "model-invalid",
    details: { reason: "text" },
  });
  for (const path of ["/vocab.txt", "/.onnx.txt"]) {
    const file = await download(serve(text, { path }), page(null));
    expect(file.blob.size).toBe(text.length);
  }
});
