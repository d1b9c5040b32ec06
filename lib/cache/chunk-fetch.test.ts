// One chunk: which ranges are requested, what each answer means, and what is reported.
import { brotliCompressSync } from "node:zlib";
import { afterEach, beforeEach, expect, test } from "vitest";
import { sha256Hex } from "../core/bundle.ts";
import type { BundleChunk } from "../core/bundle.ts";
import { isSelvedgeError } from "../core/errors.ts";
import type { SelvedgeError } from "../core/errors.ts";
import { startServer } from "../compress/check/local-server.ts";
import type { LocalServer } from "../compress/check/local-server.ts";
import { weights } from "../test-support/cache-fixtures.ts";
import { hurried } from "../test-support/fake-network.ts";
import { fetchChunk, partOf } from "./chunk-fetch.ts";
import { ModelStore } from "./model-store.ts";
import { MemoryStore } from "./stores/memory.ts";
import type { Bytes } from "./stores/store.ts";

interface Answer {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array | string;
  /** Bytes after which the connection is closed. */
  readonly cutAt?: number;
  /** Whether it is closed before an answer. */
  readonly isLost?: boolean;
}

const BYTES = weights(1_000, 3);
let server: LocalServer;
let url: string;
let chunk: BundleChunk;
/** Answers in their order; the last one again. */
let answers: Answer[] = [];
let ranges: (string | undefined)[];
let modes: (RequestCache | undefined)[];
let reported: number[];

beforeEach(async () => {
  [answers, ranges, modes, reported] = [[], [], [], []];
  chunk = { sha256: await sha256Hex(BYTES), bytes: BYTES.length };
  server = await startServer((request, response) => {
    const { status = 200, headers = {}, body = BYTES, cutAt, isLost } = answers[ranges.length] ?? answers.at(-1) ?? {};
    ranges.push(request.headers.range);
    const bytes = Buffer.from(body);
    if (isLost === true) response.destroy();
    else if (cutAt === undefined) response.writeHead(status, headers).end(bytes);
    else {
      response.writeHead(status, { ...headers, "content-length": bytes.length });
      response.flushHeaders();
      response.write(bytes.subarray(0, cutAt), () => setImmediate(() => response.destroy()));
    }
  });
  url = `${server.origin}/chunks/x`;
});

afterEach(() => server.close());

const sum = (): number => reported.reduce((total, x) => total + x, 0);

function fetching(
  which: BundleChunk = chunk,
  modelStore: ModelStore | null = null,
  given = { areGiven: true },
): Promise<Bytes> {
  const effects = {
    ...hurried,
    fetch: (to: string, init: RequestInit) => {
      modes.push(init.cache);
      return fetch(to, init);
    },
  };
  const { signal } = new AbortController();
  return fetchChunk(url, which, { effects, modelStore, signal, ranges: given, report: (x) => reported.push(x) });
}

async function errorOf(work: Promise<unknown>): Promise<SelvedgeError> {
  const error: unknown = await work.then(
    () => null,
    (x: unknown) => x,
  );
  if (isSelvedgeError(error)) return error;
  throw new Error("it succeeded, or failed otherwise", { cause: error });
}

const part = (from: number, body: Uint8Array = BYTES.subarray(from)): Answer => ({
  status: 206,
  headers: { "content-range": `bytes ${from}-999/1000` },
  body,
});

test("a chunk is requested whole, and its bytes are reported", async () => {
  expect(await fetching()).toEqual(BYTES);
  expect([ranges, modes, sum()]).toEqual([[undefined], ["default"], 1_000]);
});

test("a chunk that goes into a store is not kept by the browser too", async () => {
  await fetching(chunk, new ModelStore(new MemoryStore(), () => 0));
  expect(modes).toEqual(["no-store"]);
});

test("where the connection broke, the rest is requested", async () => {
  answers = [{ cutAt: 400 }, part(400)];
  expect(await fetching()).toEqual(BYTES);
  expect([ranges, sum()]).toEqual([[undefined, "bytes=400-"], 1_000]);
});

test("a host that answers a range with the whole begins again, and is asked for no range any more", async () => {
  answers = [{ cutAt: 400 }, { cutAt: 600 }, {}];
  expect(await fetching()).toEqual(BYTES);
  expect(ranges).toEqual([undefined, "bytes=400-", undefined]);
  expect(sum()).toBe(1_000);
});

test("a range that begins elsewhere is not taken; the next one begins at the start", async () => {
  answers = [{ cutAt: 400 }, part(300), {}];
  expect(await fetching()).toEqual(BYTES);
  expect([ranges, sum()]).toEqual([[undefined, "bytes=400-", undefined], 1_000]);
});

test("a range that always begins elsewhere ends with what is wrong", async () => {
  const modelStore = new ModelStore(new MemoryStore(), () => 0);
  await modelStore.keepPart(partOf(chunk), 0, BYTES.slice(0, 400));
  answers = [part(300), { cutAt: 400 }, part(300), { cutAt: 400 }, part(300)];
  expect(await errorOf(fetching(chunk, modelStore))).toMatchObject({
    code: "download-failed",
    message: `${url} did not resume at the requested byte.`,
    details: { url },
  });
});

test("a range of a compressed body, or without its place, is none of the chunk", async () => {
  for (const headers of [{ "content-range": "bytes 400-999/1000", "content-encoding": "identity" }, {}]) {
    [ranges, reported] = [[], []];
    answers = [{ cutAt: 400 }, { ...part(400), headers: headers }, {}];
    expect(await fetching()).toEqual(BYTES);
    expect([ranges.length, sum()]).toEqual([3, 1_000]);
  }
});

test("status 416 begins again", async () => {
  answers = [{ cutAt: 400 }, { status: 416 }, {}];
  expect(await fetching()).toEqual(BYTES);
  expect([ranges, sum()]).toEqual([[undefined, "bytes=400-", undefined], 1_000]);
});

test("status 416 of a request for the whole is refused", async () => {
  answers = [{ status: 416 }];
  expect((await errorOf(fetching())).details).toMatchObject({ status: 416, reason: "refused" });
  expect(ranges).toHaveLength(1);
});

test("a part that was not requested is tried again, and named", async () => {
  answers = [part(500), {}];
  expect(await fetching()).toEqual(BYTES);
  [ranges, answers] = [[], [part(500)]];
  expect(await errorOf(fetching())).toMatchObject({
    code: "download-failed",
    message: `${url} answered with status 206, a part of the chunk, and all of it was requested.`,
    details: { url, status: 206, reason: "server" },
  });
  expect(ranges).toHaveLength(5);
});

test("a host that fails on ranges is asked for the whole, and ranges of other chunks are not requested", async () => {
  const given = { areGiven: true };
  answers = [{ cutAt: 400 }, { isLost: true }, {}];
  expect(await fetching(chunk, null, given)).toEqual(BYTES);
  expect([ranges, given]).toEqual([[undefined, "bytes=400-", undefined], { areGiven: false }]);
  [ranges, answers] = [[], [{ cutAt: 400 }, {}]];
  expect(await fetching(chunk, null, given)).toEqual(BYTES);
  expect(ranges).toEqual([undefined, undefined]);
});

test("a host that fails for a while on both is asked for a range again", async () => {
  const given = { areGiven: true };
  answers = [{ cutAt: 400 }, { isLost: true }, { isLost: true }, part(400)];
  expect(await fetching(chunk, null, given)).toEqual(BYTES);
  expect([ranges, given]).toEqual([[undefined, "bytes=400-", undefined, "bytes=400-"], { areGiven: true }]);
});

test("where ranges are not given, a failed request asks for none", async () => {
  answers = [{ cutAt: 400 }, { isLost: true }, {}];
  expect(await fetching(chunk, null, { areGiven: false })).toEqual(BYTES);
  expect(ranges).toEqual([undefined, undefined, undefined]);
});

test("a server that breaks at the same byte is given up after five attempts, one that goes on is not", async () => {
  answers = [{ cutAt: 400 }];
  expect((await errorOf(fetching())).details).toMatchObject({ reason: "cut" });
  expect(ranges).toHaveLength(5);
  [ranges, reported] = [[], []];
  answers = Array.from({ length: 9 }, (_, i) => (i === 0 ? { cutAt: 100 } : { ...part(100 * i), cutAt: 100 }));
  answers.push(part(900));
  expect(await fetching()).toEqual(BYTES);
  expect([ranges.length, sum()]).toEqual([10, 1_000]);
});

test("a chunk with a wrong hash is fetched once more, past every cache, and then refused", async () => {
  const other = weights(1_000, 4);
  answers = [{ body: other }];
  expect(await errorOf(fetching())).toMatchObject({
    code: "integrity-failed",
    message: `${url} does not match the SHA-256 in its name.`,
    details: { url, hash: await sha256Hex(other), reason: "hash" },
  });
  expect([ranges, modes, sum()]).toEqual([[undefined, undefined], ["default", "reload"], 0]);
  [answers, ranges] = [[{ body: other }, {}], []];
  expect(await fetching()).toEqual(BYTES);
});

test.each([
  [999, "999"],
  [0, "0"],
  [1_001, "more than 1000"],
])("a chunk of %i bytes has the wrong size", async (size, got) => {
  answers = [{ body: weights(size, 3) }];
  expect(await errorOf(fetching())).toMatchObject({
    code: "integrity-failed",
    message: `${url} has ${got} bytes instead of 1000.`,
    details: { url, reason: "hash" },
  });
  expect(sum()).toBe(0);
});

test("a start page or a Git LFS pointer in the chunk's place is named with its fix; other files are wrong bytes", async () => {
  answers = [{ body: "<!doctype html><title>An app</title>" }];
  expect(await errorOf(fetching())).toMatchObject({
    code: "download-failed",
    message: `${url} is an HTML page, not a chunk of the model. Deploy chunks/ with bundle.json, outside of rewrites to a start page.`,
    details: { url, reason: "html" },
    cause: expect.objectContaining({ code: "integrity-failed" }) as unknown,
  });
  answers = [{ body: "version https://git-lfs.github.com/spec/v1\n" }];
  expect(await errorOf(fetching())).toMatchObject({
    message: `${url} is a Git LFS pointer, not the file itself, not a chunk of the model. Run \`git lfs pull\` before deploying.`,
    details: { reason: "git-lfs" },
  });
  answers = [{ body: "PK\u0003\u0004" }];
  expect((await errorOf(fetching())).code).toBe("integrity-failed");
});

test("an error that is none of wrong bytes stays as it is", async () => {
  answers = [{ status: 404 }];
  expect(await errorOf(fetching())).toMatchObject({ code: "download-failed", details: { status: 404 } });
});

test("parts that an earlier page stored are not fetched again", async () => {
  const modelStore = new ModelStore(new MemoryStore(), () => 0);
  await modelStore.keepPart(partOf(chunk), 0, BYTES.slice(0, 300));
  answers = [part(300)];
  expect(await fetching(chunk, modelStore)).toEqual(BYTES);
  expect([ranges, reported[0], sum()]).toEqual([["bytes=300-"], 300, 1_000]);
});

test("parts of an encoded chunk have a name of their own", () => {
  expect(partOf({ sha256: "ab", bytes: 9 })).toEqual({ sha256: "ab", bytes: 9 });
  expect(partOf({ sha256: "ab", bytes: 9, encoding: "br", wireBytes: 4 })).toEqual({ sha256: "ab.br", bytes: 4 });
});

test("an encoded chunk is expanded; one that arrives expanded is taken by its hash", async () => {
  const text = new Uint8Array(Buffer.from("again and again, ".repeat(100)));
  const wire = brotliCompressSync(text);
  const encoded = { sha256: await sha256Hex(text), bytes: text.length, encoding: "br", wireBytes: wire.length };
  answers = [{ body: wire }];
  expect(await fetching(encoded)).toEqual(text);
  expect(sum()).toBe(wire.length);
  [reported, answers] = [[], [{ body: text }]];
  expect(await fetching(encoded)).toEqual(text);
  expect(sum()).toBe(wire.length);
  const other = text.slice();
  other[1_000] = 1;
  for (const body of [other, text.slice(0, -1), new Uint8Array([...text, 1])]) {
    [reported, answers] = [[], [{ body }]];
    expect((await errorOf(fetching(encoded))).code).toBe("integrity-failed");
    expect(sum()).toBe(0);
  }
  [reported, ranges, answers] = [[], [], [{ body: text, cutAt: 900 }, { body: text }]];
  expect(await fetching(encoded)).toEqual(text);
  expect([ranges, sum()]).toEqual([[undefined, undefined], wire.length]);
});
