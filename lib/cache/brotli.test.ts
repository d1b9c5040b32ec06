import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { brotliCompressSync } from "node:zlib";
import { afterEach, expect, test } from "vitest";
import { startServer } from "../compress/check/local-server.ts";
import type { LocalServer } from "../compress/check/local-server.ts";
import { BrotliLoader } from "./brotli.ts";

const WASM = readFileSync(createRequire(import.meta.url).resolve("brotli-dec-wasm/web/bg.wasm"));
const HTML = "<!doctype html><p>";
let server: LocalServer;

afterEach(() => server.close());

/** A loader of a server with these answers, one after the other. */
async function loaderOf(
  ...answers: readonly [status: number, type: string, body: string | Buffer][]
): Promise<BrotliLoader> {
  const left = answers.values();
  server = await startServer((_, response) => {
    const [status, type, body] = left.next().value ?? [500, "", ""];
    response.writeHead(status, { "content-type": type }).end(body);
  });
  const loader = new BrotliLoader();
  loader.url = `${server.origin}/brotli.wasm`;
  return loader;
}

test.each([
  ["is missing", 404, "text/plain", "", "setup-failed", "wasm-missing", false],
  ["is missing, with the app's page", 404, "text/html", HTML, "setup-failed", "wasm-missing", false],
  ["is answered with the app's page", 200, "text/html", HTML, "setup-failed", "wasm-html", false],
  ["is another file", 200, "application/wasm", "version https://git-lfs", "setup-failed", "wasm-invalid", false],
  ["is on a server that fails", 503, "text/plain", "", "download-failed", "server", true],
] as const)("a decoder that %s: %i %s", async (_, status, type, body, code, reason, retryable) => {
  const loader = await loaderOf([status, type, body]);
  await expect(loader.load()).rejects.toMatchObject({ code, retryable, details: { url: loader.url, reason } });
});

test("a Git LFS pointer in place of the decoder is named so", async () => {
  const loader = await loaderOf([
    200,
    "application/wasm",
    "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n",
  ]);
  await expect(loader.load()).rejects.toThrow("it is a Git LFS pointer, not the file itself. Run `git lfs pull`");
});

test("a decoder on a server that is away may come back", async () => {
  const loader = await loaderOf();
  await server.close();
  await expect(loader.load()).rejects.toMatchObject({ code: "download-failed", details: { reason: "unreachable" } });
});

test("after a failure the next call fetches the decoder again", async () => {
  const loader = await loaderOf([503, "text/plain", ""], [200, "application/wasm", WASM]);
  await expect(loader.load()).rejects.toThrow("status 503");
  const decode = await loader.load();
  const expanded = new Uint8Array(1_000);
  decode(new Uint8Array(brotliCompressSync(new Uint8Array(1_000).fill(7))), expanded);
  expect(expanded.every((x) => x === 7)).toBe(true);
});
