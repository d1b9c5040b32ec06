// The choice of a decoder by the chunk's encoding, and how bytes are written to a stream and counted.
import { afterEach, expect, test, vi } from "vitest";
import { isSelvedgeError } from "../core/errors.ts";
import type { SelvedgeError } from "../core/errors.ts";
import { expandChunk } from "./expand.ts";
import type { Bytes } from "./stores/store.ts";

const SHA256 = "ab".repeat(32);
const unasked = (): Promise<never> => Promise.reject(new Error("No decoder is needed"));

interface Seen {
  readonly formats: string[];
  readonly writes: number[];
  isClosed: boolean;
  isAborted: boolean;
  isCancelled: boolean;
}

/** Stubs DecompressionStream by one that passes on each write `times` over, and knows the formats. */
function platform(formats: readonly string[], times = 1): Seen {
  const seen: Seen = { formats: [], writes: [], isClosed: false, isAborted: false, isCancelled: false };
  class Repeating {
    readonly readable: ReadableStream<Bytes>;
    readonly writable: WritableStream<Bytes>;
    constructor(format: string) {
      seen.formats.push(format);
      if (!formats.includes(format)) throw new TypeError(format);
      let output: ReadableStreamDefaultController<Bytes>;
      this.readable = new ReadableStream<Bytes>({
        start(controller) {
          output = controller;
        },
        cancel() {
          seen.isCancelled = true;
        },
      });
      this.writable = new WritableStream<Bytes>({
        write(slice) {
          seen.writes.push(slice.byteLength);
          for (let i = 0; i < times; i += 1) output.enqueue(slice);
        },
        close() {
          seen.isClosed = true;
          output.close();
        },
        abort() {
          seen.isAborted = true;
        },
      });
    }
  }
  vi.stubGlobal("DecompressionStream", Repeating);
  return seen;
}

afterEach(() => {
  vi.unstubAllGlobals();
});

async function errorOf(work: Promise<unknown>): Promise<SelvedgeError> {
  const error: unknown = await work.catch((x: unknown) => x);
  if (isSelvedgeError(error)) return error;
  throw new Error("it succeeded, or failed otherwise", { cause: error });
}

const chunk = (bytes: number, encoding: string) => ({ sha256: SHA256, bytes, encoding });
const bytes = (size: number): Bytes => new Uint8Array(size).map((_, i) => i);

test.each([
  ["br", "brotli"],
  ["gzip", "gzip"],
  ["deflate", "deflate"],
])("a chunk of %s is expanded by the browser's own %s where that is there", async (encoding, format) => {
  const seen = platform([format]);
  expect(await expandChunk(chunk(9, encoding), bytes(9), unasked)).toEqual(bytes(9));
  expect(seen.formats).toEqual([format]);
});

test("brotli that the browser does not know is expanded by the decoder that is loaded", async () => {
  platform([]);
  const decode = (wire: Bytes, expanded: Bytes): void => {
    expanded.set(wire);
  };
  expect(await expandChunk(chunk(9, "br"), bytes(9), () => Promise.resolve(decode))).toEqual(bytes(9));
});

test("another encoding that the browser does not know has no decoder", async () => {
  platform([]);
  expect(await errorOf(expandChunk(chunk(9, "zstd"), bytes(9), unasked))).toMatchObject({
    code: "integrity-failed",
    message: `The chunk ${SHA256} does not expand to its 9 bytes by "zstd".`,
    details: { chunk: SHA256, encoding: "zstd" },
    cause: expect.objectContaining({ name: "TypeError", message: 'no decoder for "zstd"' }) as unknown,
  });
});

test.each([
  [0, []],
  [1, [1]],
  [4_096, [4_096]],
  [4_097, [4_096, 1]],
  [9_000, [4_096, 4_096, 808]],
])("%i bytes are written in slices of 4 KiB, and the stream is closed", async (size, writes) => {
  const seen = platform(["gzip"]);
  expect(await expandChunk(chunk(size, "gzip"), bytes(size), unasked)).toEqual(bytes(size));
  expect([seen.writes, seen.isClosed]).toEqual([writes, true]);
});

test("fewer bytes than the chunk has are an error", async () => {
  platform(["gzip"]);
  expect((await errorOf(expandChunk(chunk(10, "gzip"), bytes(9), unasked))).cause).toMatchObject({
    name: "RangeError",
    message: "fewer bytes than the chunk has",
  });
});

test("at the first byte beyond the chunk the stream is ended at both sides", async () => {
  const seen = platform(["gzip"], 2);
  expect((await errorOf(expandChunk(chunk(8_192, "gzip"), bytes(9_000), unasked))).cause).toMatchObject({
    name: "RangeError",
    message: "more bytes than the chunk has",
  });
  expect(seen).toMatchObject({ isCancelled: true, isAborted: true, isClosed: false });
  expect(seen.writes.length).toBeLessThan(3);
});

test("each part of the output has its place after those before it", async () => {
  platform(["gzip"], 2);
  const wire = bytes(6_000);
  const [first, second] = [wire.slice(0, 4_096), wire.slice(4_096)];
  expect(await expandChunk(chunk(12_000, "gzip"), wire, unasked)).toEqual(
    new Uint8Array([...first, ...first, ...second, ...second]),
  );
});
