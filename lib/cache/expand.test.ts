// Compressed chunks: whatever bytes arrive, never more than the chunk's size is held.
import { brotliCompressSync, gzipSync } from "node:zlib";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { sha256Hex } from "../core/bundle.ts";
import type { BundleChunk } from "../core/bundle.ts";
import { isSelvedgeError } from "../core/errors.ts";
import { expandChunk } from "./expand.ts";
import { weights } from "../test-support/cache-fixtures.ts";
import { hurried } from "../test-support/fake-network.ts";
import type { Bytes } from "./stores/store.ts";

const text = new Uint8Array(Buffer.from("the same words again and again, ".repeat(2_000)));
const encoders = {
  br: (bytes: Uint8Array): Bytes => new Uint8Array(brotliCompressSync(bytes)),
  gzip: (bytes: Uint8Array): Bytes => new Uint8Array(gzipSync(bytes)),
};
const expand = (chunk: BundleChunk, wire: Bytes): Promise<Bytes> => expandChunk(chunk, wire, hurried.loadBrotli);

async function chunkOf(bytes: Uint8Array<ArrayBuffer>, encoding?: string): Promise<BundleChunk> {
  return { sha256: await sha256Hex(bytes), bytes: bytes.length, encoding };
}

async function codeOf(work: Promise<unknown>): Promise<string> {
  const error: unknown = await work.catch((caught: unknown) => caught);
  return isSelvedgeError(error) ? error.code : String(error);
}

const Native = DecompressionStream;

/** As Chromium's, whose DecompressionStream knows no brotli; that of newer Nodes does. */
class WithoutBrotli extends Native {
  constructor(format: CompressionFormat) {
    if ((format as string) === "brotli") throw new TypeError("no brotli");
    super(format);
  }
}

beforeEach(() => {
  vi.stubGlobal("DecompressionStream", WithoutBrotli);
});
afterEach(() => {
  vi.unstubAllGlobals();
});

test("a chunk without an encoding is what was stored", async () => {
  const wire = weights(100);
  expect(await expand(await chunkOf(wire), wire)).toBe(wire);
});

describe.each(["br", "gzip"] as const)("%s", (encoding) => {
  test("expands to the chunk's bytes, weights and text alike", async () => {
    for (const bytes of [text, weights(300_000), new Uint8Array(4 * 2 ** 20)])
      expect(Buffer.compare(await expand(await chunkOf(bytes, encoding), encoders[encoding](bytes)), bytes)).toBe(0);
  });

  test("a chunk that expands to more, to less, is cut short or damaged is integrity-failed", async () => {
    const chunk = await chunkOf(text, encoding);
    const wire = encoders[encoding](text);
    const damaged = wire.slice();
    damaged.fill(0xff, 10, 40);
    const bomb = encoders[encoding](new Uint8Array(64 * 2 ** 20));
    for (const wrong of [
      bomb,
      encoders[encoding](text.slice(0, -1)),
      encoders[encoding](new Uint8Array([...text, 1])),
      wire.slice(0, -20),
      damaged,
      text,
      new Uint8Array(0),
    ])
      expect(await codeOf(expand(chunk, wrong))).toBe("integrity-failed");
  });
});

test("an encoding without a decoder is integrity-failed, not the encoded bytes", async () => {
  expect(await codeOf(expand(await chunkOf(text, "zstd"), text))).toBe("integrity-failed");
});

test("a decoder that can't be loaded is an error of its own, since the bytes may be right", async () => {
  const wire = encoders.br(text);
  const chunk = await chunkOf(text, "br");
  await expect(expandChunk(chunk, wire, () => Promise.reject(new Error("offline")))).rejects.toThrow("offline");
});

test("of a chunk that expands to a thousand times its size, at most a slice is expanded (store-bomb)", async () => {
  const seen = { largest: 0, expandedBytes: 0 };
  // As browsers do: a write is expanded whole, whoever reads the output.
  class Bomb extends TransformStream<Bytes, Bytes> {
    constructor() {
      super({
        transform(slice, controller) {
          seen.largest = Math.max(seen.largest, slice.byteLength);
          for (let i = 0; i < slice.byteLength; i += 1) controller.enqueue(new Uint8Array(1_000));
          seen.expandedBytes += 1_000 * slice.byteLength;
        },
      });
    }
  }
  vi.stubGlobal("DecompressionStream", Bomb);
  for (const [bytes, wire] of [
    [500, 100_000],
    [4_200_000, 300_000],
  ] as const) {
    Object.assign(seen, { largest: 0, expandedBytes: 0 });
    const chunk = { ...(await chunkOf(text, "br")), bytes };
    expect(await codeOf(expand(chunk, new Uint8Array(wire)))).toBe("integrity-failed");
    expect(seen.largest).toBeLessThanOrEqual(4_096);
    expect(seen.expandedBytes).toBeLessThanOrEqual(bytes + 2 * 4_096 * 1_000);
  }
  const whole = { ...(await chunkOf(text, "br")), bytes: 9_000_000 };
  expect(await expand(whole, new Uint8Array(9_000))).toHaveLength(9_000_000);
});
