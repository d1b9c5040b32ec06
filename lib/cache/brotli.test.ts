// The brotli decoder: its download, its start where the page's policy refuses it, and the bytes that it accepts.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { brotliCompressSync } from "node:zlib";
import init, { DecompressStream } from "brotli-dec-wasm/web";
import { afterEach, expect, test, vi } from "vitest";
import { startServer } from "../compress/check/local-server.ts";
import type { LocalServer } from "../compress/check/local-server.ts";
import { BrotliLoader, startBrotli } from "./brotli.ts";

// The real module starts once in a process, so that its start can't fail any more.
vi.mock("brotli-dec-wasm/web", async (original) => {
  const real = await original<typeof import("brotli-dec-wasm/web")>();
  return { ...real, default: vi.fn(real.default) };
});

const WASM = readFileSync(createRequire(import.meta.url).resolve("brotli-dec-wasm/web/bg.wasm"));
const FIX = "Serve brotli.wasm of the package's dist/ there, or set `assetsBase`.";
let server: LocalServer | undefined;

afterEach(async () => {
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
  await server?.close();
});

/** Returns the error of a loader whose server answers so. */
async function errorOf(status: number, type: string | null, body: string | Buffer): Promise<unknown> {
  server = await startServer((_, response) => {
    response.writeHead(status, type === null ? {} : { "content-type": type }).end(body);
  });
  const loader = new BrotliLoader();
  expect(loader.url).toBe("");
  loader.url = `${server.origin}/brotli.wasm`;
  const error: unknown = await loader.load().then(
    () => null,
    (x: unknown) => x,
  );
  await server.close();
  return error;
}

const HTML = "<!doctype html><p>";

const text = (what: string): unknown =>
  expect.stringMatching(new RegExp(`^The brotli decoder could not be loaded from http:.*/brotli\\.wasm: ${what}$`));
const escaped = (x: string): string => x.replaceAll(/[.\\()`]/g, "\\$&");

test("the decoder starts from the bytes that are passed", async () => {
  await startBrotli(WASM);
  expect(vi.mocked(init).mock.calls.at(-1)).toEqual([{ module_or_path: WASM }]);
});

test.each([
  [500, "text/plain", "x", "download-failed", "server", "status 500."],
  [429, "text/plain", "x", "download-failed", "server", "status 429."],
  [404, "text/plain", "x", "setup-failed", "wasm-missing", `status 404. ${FIX}`],
  [200, "text/html; charset=utf-8", "x", "setup-failed", "wasm-html", `it is an HTML page. ${FIX}`],
] as const)(
  "an answer %i of type %s is named, and final where waiting does not help",
  async (status, type, body, code, reason, what) => {
    expect(await errorOf(status, type, body)).toMatchObject({
      code,
      message: text(escaped(what)),
      details: { reason, final: code === "setup-failed" },
    });
  },
);

test.each([null, "x-text/html"])("a file of type %s is tried, whatever it is called", async (type) => {
  vi.mocked(init).mockRejectedValueOnce(new WebAssembly.CompileError("expected magic word"));
  expect(await errorOf(200, type, "x")).toMatchObject({
    code: "setup-failed",
    message: text(escaped(`it does not start. ${FIX}`)),
    details: { reason: "wasm-invalid", final: true },
    cause: expect.any(WebAssembly.CompileError) as unknown,
  });
});

test.each([
  "Refused to compile: 'unsafe-eval' is not allowed",
  "violates the following Content Security Policy directive",
  "blocked by Content-Security-Policy",
])("a policy that forbids WebAssembly is named with what it must allow: %s", async (message) => {
  vi.mocked(init).mockRejectedValueOnce(new WebAssembly.CompileError(message));
  expect(await errorOf(200, "application/wasm", WASM)).toMatchObject({
    code: "setup-failed",
    message: text(escaped("allow `script-src 'wasm-unsafe-eval'`.")),
    details: { reason: "wasm-csp", final: true },
  });
});

test("a server that is away is a failed request, which may pass", async () => {
  vi.stubGlobal("fetch", () => Promise.reject(new TypeError("Failed to fetch")));
  expect(await errorOf(200, null, "")).toMatchObject({
    code: "download-failed",
    message: text("the request failed\\."),
    details: { reason: "unreachable", final: false },
    cause: expect.any(TypeError) as unknown,
  });
});

test("a server that sends nothing for 20 s has stalled", async () => {
  const signals: AbortSignal[] = [];
  vi.useFakeTimers();
  vi.stubGlobal("fetch", (_: string, { signal }: { signal: AbortSignal }) => {
    signals.push(signal);
    return new Promise((_, reject) => {
      signal.addEventListener("abort", () => {
        reject(signal.reason as Error);
      });
    });
  });
  const loader = new BrotliLoader();
  loader.url = "http://app.example/brotli.wasm";
  const failed = expect(loader.load()).rejects.toMatchObject({
    code: "download-failed",
    message: text("no data for 20 s\\."),
    details: { reason: "stalled", final: false },
  });
  await vi.advanceTimersByTimeAsync(60_000);
  vi.useRealTimers();
  await failed;
  expect(signals.map((x) => x.aborted)).toEqual([true]);
});

test("the watch of the request ends with it", async () => {
  const signals: (AbortSignal | null | undefined)[] = [];
  const real = fetch;
  vi.stubGlobal("fetch", (to: string, init: RequestInit) => {
    signals.push(init.signal);
    return real(to, init);
  });
  await errorOf(200, "application/wasm", WASM);
  expect(signals.map((x) => x?.aborted)).toEqual([true]);
});

test("bytes that are no brotli, go on or end early, or do not fill the room exactly are refused, and nothing is kept", async () => {
  const decode = await startBrotli(WASM);
  const free = vi.spyOn(DecompressStream.prototype, "free");
  const wire = new Uint8Array(brotliCompressSync(new Uint8Array(1_000).fill(7)));
  const decoded = (bytes: Uint8Array<ArrayBuffer>, room: number) => () => {
    decode(bytes, new Uint8Array(room));
  };
  expect(decoded(wire, 1_000)).not.toThrow();
  expect(decoded(wire, 999)).toThrow(new RangeError("it expands to 1000 bytes"));
  expect(decoded(wire, 1_001)).toThrow(new RangeError("it expands to 1000 bytes"));
  expect(decoded(wire, 500)).toThrow(/^the stream ends with code -?\d+ at byte \d+ of \d+$/);
  expect(decoded(wire.slice(0, -1), 1_000)).toThrow(/^the stream ends with code -?\d+ at byte (\d+) of \1$/);
  expect(decoded(new Uint8Array([...wire, 1, 2]), 1_000)).toThrow(
    new RegExp(`^the stream ends with code -?\\d+ at byte ${wire.length} of ${wire.length + 2}$`),
  );
  expect(decoded(new Uint8Array([255, 255, 255, 255]), 1_000)).toThrow();
  expect(free).toHaveBeenCalledTimes(7);
});

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
  ["is on a server that fails", 503, "text/plain", "", "download-failed", "server", true],
] as const)("a decoder that %s: %i %s", async (_, status, type, body, code, reason, retryable) => {
  const loader = await loaderOf([status, type, body]);
  await expect(loader.load()).rejects.toMatchObject({ code, retryable, details: { url: loader.url, reason } });
});

test("a Git LFS pointer in place of the decoder is named so", async () => {
  vi.mocked(init).mockRejectedValueOnce(new WebAssembly.CompileError("expected magic word"));
  const loader = await loaderOf([
    200,
    "application/wasm",
    "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n",
  ]);
  await expect(loader.load()).rejects.toThrow("it is a Git LFS pointer, not the file itself. Run `git lfs pull`");
});

test("a decoder on a server that is away may come back", async () => {
  const loader = await loaderOf();
  await server?.close();
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
