// Downloads from a real HTTP server that misbehaves. Counts requests, not only results.
import { createServer } from "node:http";
import type { Server, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, expect, test } from "vitest";
import { sha256Hex } from "../bundle.ts";
import type { BundleFile } from "../bundle.ts";
import { isSelvedgeError } from "../errors.ts";
import { fetchBare, fetchFiles, fetchJson } from "./download.ts";
import type { Progress } from "./protocol.ts";

type Answer = (response: ServerResponse, nth: number) => void;

let server: Server;
let base = "";
let answers: Map<string, Answer>;
let requests: string[];

beforeEach(async () => {
  answers = new Map();
  requests = [];
  server = createServer((request, response) => {
    const path = request.url ?? "";
    const nth = requests.filter((x) => x === path).length;
    requests.push(path);
    const answer = answers.get(path);
    if (answer === undefined) response.writeHead(404).end("not here");
    else answer(response, nth);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});

afterEach(() => {
  server.closeAllConnections();
  server.close();
});

const options = (more: { signal?: AbortSignal; onProgress?: (progress: Progress) => void } = {}) => ({
  fetch: (url: string, init: RequestInit) => fetch(url, init),
  signal: more.signal,
  onProgress: more.onProgress,
});

async function serve(content: string, answer?: Answer): Promise<BundleFile> {
  const bytes = new TextEncoder().encode(content);
  const sha256 = await sha256Hex(bytes);
  answers.set(`/chunks/${sha256}`, answer ?? ((response) => response.end(bytes)));
  return { path: "f", bytes: bytes.length, chunks: [{ sha256, bytes: bytes.length }] };
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
  const error: unknown = await promise.then(
    () => "none",
    (caught: unknown) => caught,
  );
  return isSelvedgeError(error) ? error.code : String(error);
}

const fetchOne = (file: BundleFile, more = {}) => fetchFiles(`${base}/bundle.json`, [file], options(more));

test("files come whole and in order, a chunk that recurs is fetched once", async () => {
  const a = await serve("hello ");
  const b = await serve("world");
  const both: BundleFile = { path: "both", bytes: 11, chunks: [...a.chunks, ...b.chunks] };
  const seen: Progress[] = [];
  const blobs = await fetchFiles(`${base}/bundle.json`, [both, a], options({ onProgress: (x) => seen.push(x) }));
  expect(await Promise.all(blobs.map((x) => x.text()))).toEqual(["hello world", "hello "]);
  expect(requests.length).toBe(2);
  expect(seen.at(0)).toEqual({ loadedBytes: 0, totalBytes: 11 });
  expect(seen.at(-1)).toEqual({ loadedBytes: 11, totalBytes: 11 });
});

test("a wrong chunk is fetched once more, and used if it is right then", async () => {
  const file = await serve("right", (response, nth) => response.end(nth === 0 ? "wrong" : "right"));
  const seen: Progress[] = [];
  const [blob] = await fetchOne(file, { onProgress: (x: Progress) => seen.push(x) });
  expect(await blob?.text()).toBe("right");
  expect(requests.length).toBe(2);
  expect(seen.at(-1)).toEqual({ loadedBytes: 5, totalBytes: 5 });
});

test.each<[string, string, Answer]>([
  ["one bit flipped", "integrity-failed", (response) => response.end("sight")],
  ["a truncated body", "integrity-failed", (response) => response.end("rig")],
  ["a body that is too long", "integrity-failed", (response) => response.end("right and more")],
  ["an empty body", "integrity-failed", (response) => response.end()],
  ["an SPA's HTML", "integrity-failed", (response) => response.end("<!doctype html><title>app</title>")],
  ["status 500", "download-failed", (response) => response.writeHead(500).end()],
  ["a partial answer nobody asked for", "download-failed", (response) => response.writeHead(206).end("right")],
  [
    "a connection cut in the middle",
    "download-failed",
    (response) => {
      response.writeHead(200, { "content-length": "5" });
      response.write("ri", () => response.destroy());
    },
  ],
])("%s ends in %s after one more try", async (_, code, answer) => {
  const file = await serve("right", answer);
  expect(await codeOf(fetchOne(file))).toBe(code);
  expect(requests.length).toBe(2);
});

test("a missing chunk is not asked for twice", async () => {
  const file = await serve("right", (response) => response.writeHead(404).end());
  expect(await codeOf(fetchOne(file))).toBe("download-failed");
  expect(requests.length).toBe(1);
});

test("a server that never ends is left at the declared size", async () => {
  let sent = 0;
  const file = await serve("right", (response) => {
    const push = (): void => {
      sent += 65_536;
      if (!response.destroyed) response.write(Buffer.alloc(65_536), push);
    };
    push();
  });
  expect(await codeOf(fetchOne(file))).toBe("integrity-failed");
  expect(sent).toBeLessThan(64 * 1024 * 1024);
});

test("a cancel rejects with the signal's own reason and asks for nothing more", async () => {
  const stop = new AbortController();
  const reason = new Error("the user left");
  const file = await serve("right", (response) => {
    response.writeHead(200, { "content-length": "5" });
    response.write("ri");
    stop.abort(reason);
  });
  await expect(fetchOne(file, { signal: stop.signal })).rejects.toBe(reason);
  expect(requests.length).toBe(1);
});

test("an HTML page for a bundle.json is named as such", async () => {
  answers.set("/bundle.json", (response) => response.end("<!doctype html>"));
  await expect(fetchJson(`${base}/bundle.json`, options())).rejects.toThrow(/looks like an HTML page/);
});

test("a bare model comes with its progress", async () => {
  answers.set("/m.onnx", (response) => response.end("onnx"));
  const seen: Progress[] = [];
  const blob = await fetchBare(`${base}/m.onnx`, options({ onProgress: (x) => seen.push(x) }));
  expect(await blob.text()).toBe("onnx");
  expect(seen.at(-1)?.loadedBytes).toBe(4);
});

test("a server that is not there is download-failed", async () => {
  expect(await codeOf(fetchBare("http://127.0.0.1:1/m.onnx", options()))).toBe("download-failed");
});
