// Blobs' streams are replaced, also in the built workers.
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { afterAll, beforeAll, expect, test } from "vitest";
import { replaceBlobStreams } from "./blob-streams.ts";

const LIB = join(dirname(fileURLToPath(import.meta.url)), "../..");
const stream = Reflect.get(Blob.prototype, "stream");

beforeAll(replaceBlobStreams);
afterAll(() => {
  Object.assign(Blob.prototype, { stream });
});

test.each([0, 7, 4 * 2 ** 20, 9_000_000])(
  "a Blob's stream of %i bytes has no reader into buffers, and is read whole",
  async (size) => {
    const bytes = Uint8Array.from({ length: size }, (_, i) => (i * 31) % 251);
    const made = new Blob([bytes]).stream();
    expect(() => made.getReader({ mode: "byob" })).toThrow(TypeError);
    const reader = made.getReader();
    const [parts, copies]: [Uint8Array[], Uint8Array[]] = [[], []];
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      parts.push(part.value);
      copies.push(part.value.slice());
    }
    expect(Buffer.compare(Buffer.concat(copies), bytes)).toBe(0);
    // Each was released as soon as the next was read: that needs no garbage collection.
    const large = parts.filter((_, i) => (copies[i]?.length ?? 0) >= 64 * 1024);
    expect(large.map((x) => x.length)).toEqual(large.map(() => 0));
  },
);

test("a Blob that can't be read fails its stream with the browser's error", async () => {
  class LostBlob extends Blob {
    override arrayBuffer(): Promise<ArrayBuffer> {
      return Promise.reject(new DOMException("lost", "NotReadableError"));
    }
    override slice(): Blob {
      return this;
    }
  }
  const reader = new LostBlob(["x"]).stream().getReader();
  await expect(reader.read()).rejects.toMatchObject({ name: "NotReadableError" });
});

test("other streams keep their readers into buffers", async () => {
  const bytes = new ReadableStream({
    type: "bytes",
    start(controller) {
      controller.enqueue(new Uint8Array([1, 2, 3]));
      controller.close();
    },
  });
  const { value } = await bytes.getReader({ mode: "byob" }).read(new Uint8Array(3));
  expect([...(value ?? [])]).toEqual([1, 2, 3]);
});

test.each(["jspi", "wasm"])("worker-%s.js replaces them: a bundler drops an import that nothing uses", async (name) => {
  const { outputFiles } = await build({
    entryPoints: [join(LIB, `worker/worker-${name}.ts`)],
    bundle: true,
    minify: true,
    write: false,
    format: "iife",
    platform: "browser",
    target: "es2022",
    define: { "import.meta.url": "self.location.href" },
    logLevel: "error",
  });
  expect(outputFiles[0]?.text).toContain("Blob.prototype.stream=");
});
