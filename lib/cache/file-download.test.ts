// A repository's file from a server of this machine: its hash, its record, and what is said where it is another one.
import { createHash } from "node:crypto";
import { afterEach, beforeEach, expect, test } from "vitest";
import { CHUNK_MAX_BYTES } from "../core/bundle.ts";
import { isSelvedgeError } from "../core/errors.ts";
import type { SelvedgeError } from "../core/errors.ts";
import { weights } from "../test-support/cache-fixtures.ts";
import { BadServer, hurried } from "../test-support/fake-network.ts";
import { Downloader } from "./download.ts";
import { fetchFile, isFile } from "./file-download.ts";
import type { DownloadedFile, FileChunk } from "./file-download.ts";
import { ModelStore } from "./model-store.ts";
import { addressOf } from "./names.ts";
import { MemoryStore } from "./stores/memory.ts";
import type { Bytes } from "./stores/store.ts";

const BYTES = weights(3_000, 5);
let server: BadServer;
let store: MemoryStore;
let reported: number;
let headers: Headers[];

beforeEach(async () => {
  server = await BadServer.start();
  store = new MemoryStore();
  [reported, headers] = [0, []];
});

afterEach(() => {
  server.close();
});

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

const page = (kept: MemoryStore | null = store): Downloader => {
  const effects = {
    ...hurried,
    fetch: (to: string, init: RequestInit) => {
      headers.push(new Headers(init.headers));
      return fetch(to, init);
    },
  };
  return new Downloader(effects, kept === null ? null : new ModelStore(kept, () => 1));
};

/** Serves bytes as a file, whose hash is that of others. */
function serve(bytes: Bytes, more: Partial<FileChunk> = {}, path = "/vocab.bin"): FileChunk {
  server.files.set(path, { bytes, etag: '"x"' });
  return { sha256: sha256(BYTES), bytes: bytes.length, url: `${server.url}${path}`, ...more };
}

async function download(chunk: FileChunk, downloader = page()): Promise<DownloadedFile> {
  const room = await downloader.room("model", chunk.url, [chunk]);
  return fetchFile(chunk, downloader, {
    ...{ room, signal: new AbortController().signal, headers: { "x-own": "1" } },
    report: (bytes) => {
      reported += bytes;
    },
  });
}

async function errorOf(work: Promise<unknown>): Promise<SelvedgeError> {
  const error: unknown = await work.then(
    () => null,
    (x: unknown) => x,
  );
  if (isSelvedgeError(error)) return error;
  throw new Error("it succeeded, or failed otherwise", { cause: error });
}

const bytesOf = async ({ blob }: DownloadedFile): Promise<Bytes> => new Uint8Array(await blob.arrayBuffer());

test("a chunk that has an address is a repository's file", () => {
  expect([isFile({ sha256: "x", bytes: 1, url: "u" }), isFile({ sha256: "x", bytes: 1 })]).toEqual([true, false]);
});

test("a file is fetched with the headers, its bytes are reported, and it is recorded once its hash matched", async () => {
  const chunk = serve(BYTES);
  const file = await download(chunk);
  expect(await bytesOf(file)).toEqual(BYTES);
  expect([file.isStored, reported]).toEqual([true, 3_000]);
  expect(new Set(headers.map((x) => x.get("x-own")))).toEqual(new Set(["1"]));
  expect(await page().stored(chunk)).toMatchObject({ size: 3_000 });
  expect((await store.names()).filter((x) => x.startsWith("draft-"))).toEqual([]);
});

test("a file of several pieces is hashed in the order of its bytes", async () => {
  const large = weights(CHUNK_MAX_BYTES + 5_000, 6);
  const file = await download(serve(large, { sha256: sha256(large) }));
  expect([file.isStored, file.blob.size]).toEqual([true, large.length]);
});

test("without a store, or without room, a file is returned and not recorded", async () => {
  for (const kept of [null, new MemoryStore(100)]) {
    const chunk = serve(BYTES);
    const file = await download(chunk, page(kept));
    expect([file.isStored, file.blob.size]).toEqual([false, 3_000]);
    expect(await page(kept).stored(chunk)).toBeNull();
  }
});

test("a store that fails to record counts as absent", async () => {
  class Failing extends MemoryStore {
    override write(name: string, bytes: Bytes): Promise<void> {
      return name.startsWith("file-") ? Promise.reject(new Error("broken")) : super.write(name, bytes);
    }
  }
  const file = await download(serve(BYTES), page(new Failing()));
  expect([file.isStored, file.blob.size]).toEqual([false, 3_000]);
});

test("a file with another hash is fetched twice, then refused with both hashes, and nothing of it is kept", async () => {
  const other = weights(3_000, 7);
  const chunk = serve(other);
  expect(await errorOf(download(chunk))).toMatchObject({
    code: "integrity-failed",
    message: `${chunk.url} has the SHA-256 ${sha256(other)}, but its host states ${chunk.sha256}: it was damaged on the way, or replaced.`,
    details: { url: chunk.url, hash: sha256(other), reason: "hash" },
  });
  expect(server.asked.filter((x) => x.method === "GET")).toHaveLength(2);
  expect(reported).toBe(0);
  expect((await store.names()).filter((x) => /^(draft|file)-/.test(x))).toEqual([]);
});

test("a file that was damaged once is right at the second attempt", async () => {
  server.trick = (_, nth) => (nth === 0 ? { kind: "flip", at: 9 } : null);
  const file = await download(serve(BYTES));
  expect(await bytesOf(file)).toEqual(BYTES);
  expect([file.isStored, reported]).toEqual([true, 3_000]);
});

test("another kind of file in its place is named", async () => {
  const pointer = new Uint8Array(3_000);
  pointer.set(Buffer.from("PK\u0003\u0004"));
  expect((await errorOf(download(serve(pointer)))).message).toMatch(
    /or replaced\. It is a ZIP archive\. Unpack it and use the \.onnx file in it\.$/,
  );
});

test("a file without a stated hash is taken by its size", async () => {
  const other = weights(3_000, 7);
  const file = await download(serve(other, { isUnverified: true }));
  expect(await bytesOf(file)).toEqual(other);
  expect(file.isStored).toBe(true);
});

test("a file is in use while it is fetched, by its own address, and no longer after, whether it came or not", async () => {
  const downloader = page();
  const chunk = serve(BYTES);
  const draft = await addressOf(`sha256:${chunk.sha256}`);
  const room = await downloader.room("model", chunk.url, [chunk]);
  let during: Set<string> | undefined;
  const report = (): void => {
    void downloader.uses.kept().then((x) => (during = x));
  };
  await fetchFile(chunk, downloader, { room, signal: new AbortController().signal, headers: {}, report });
  expect(during?.has(draft)).toBe(true);
  expect(await downloader.uses.kept()).toEqual(new Set());
  server.files.delete("/vocab.bin");
  await errorOf(download({ ...chunk, sha256: "cd".repeat(32) }, downloader));
  expect(await downloader.uses.kept()).toEqual(new Set());
});

test("a store whose records can't be read or removed does not keep a file from being fetched", async () => {
  class Failing extends MemoryStore {
    override names(): Promise<string[]> {
      return Promise.reject(new Error("broken"));
    }
  }
  const chunk = serve(BYTES);
  expect((await download(chunk, page(new Failing()))).blob.size).toBe(3_000);
  const other = serve(weights(3_000, 7));
  expect((await errorOf(download(other, page(new Failing())))).details["reason"]).toBe("hash");
});
