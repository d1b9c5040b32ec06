// byob readers of Blobs' streams are refused, also in the built workers.
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { afterAll, beforeAll, expect, test } from "vitest";
import { refuseBlobByob } from "./no-byob.ts";

const LIB = join(dirname(fileURLToPath(import.meta.url)), "../..");
const stream = Reflect.get(Blob.prototype, "stream");
const getReader = Reflect.get(ReadableStream.prototype, "getReader");

beforeAll(refuseBlobByob);
afterAll(() => {
  Object.assign(Blob.prototype, { stream });
  Object.assign(ReadableStream.prototype, { getReader });
});

test("a Blob's stream has no reader into buffers, and its default reader reads it whole", async () => {
  const made = new Blob(["weights"]).stream();
  expect(() => made.getReader({ mode: "byob" })).toThrow(TypeError);
  const reader = made.getReader();
  const parts: Uint8Array[] = [];
  for (let part = await reader.read(); !part.done; part = await reader.read()) parts.push(part.value);
  expect(Buffer.concat(parts).toString()).toBe("weights");
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

test.each(["jspi", "wasm"])("worker-%s.js refuses them: a bundler drops an import that nothing uses", async (name) => {
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
  expect(outputFiles[0]?.text).toContain("Chromium loses such reads");
});
