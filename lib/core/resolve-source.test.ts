import { runInNewContext } from "node:vm";
import { expect, test } from "vitest";
import { resolveAddress, resolveSource } from "./resolve-source.ts";
import type { ModelSource } from "./resolve-source.ts";

const BASE = "https://example.org/app/";
const bytesOf = async (source: unknown): Promise<number[]> => {
  const found = resolveSource(source as ModelSource, BASE);
  return typeof found === "string" ? [] : [...new Uint8Array(await found.arrayBuffer())];
};

test("bytes are copied at once, from views, from buffers of another realm and from shared memory", async () => {
  const bytes = Uint8Array.of(1, 2, 3);
  const copied = bytesOf(bytes.subarray(1));
  bytes.fill(9);
  expect(await copied).toEqual([2, 3]);
  expect(await bytesOf(runInNewContext("Uint8Array.of(4, 5).buffer"))).toEqual([4, 5]);
  expect(await bytesOf(runInNewContext("Uint8Array.of(6)"))).toEqual([6]);
  const shared = new Uint8Array(new SharedArrayBuffer(2));
  shared.set([7, 8]);
  expect(await bytesOf(shared)).toEqual([7, 8]);
});

test("a browser's Blob, which takes no shared memory, gets a copy of it", async () => {
  const { Blob } = globalThis;
  class Strict extends Blob {
    constructor(parts: BlobPart[] = []) {
      for (const part of parts)
        if (ArrayBuffer.isView(part) && part.buffer instanceof SharedArrayBuffer) throw new TypeError("shared");
      super(parts);
    }
  }
  globalThis.Blob = Strict;
  try {
    expect(await bytesOf(new Uint8Array(new SharedArrayBuffer(2)))).toEqual([0, 0]);
  } finally {
    globalThis.Blob = Blob;
  }
});

test("a file stays the file, with its name", () => {
  const file = new File(["x"], "m.onnx");
  expect(resolveSource(file, BASE)).toBe(file);
});

test("addresses become absolute, and anything else is named", () => {
  expect(resolveSource("m.onnx", BASE)).toBe("https://example.org/app/m.onnx");
  expect(resolveSource(runInNewContext("new URL('https://a.org/m')", { URL }) as URL, BASE)).toBe("https://a.org/m");
  expect(() => resolveSource("", BASE)).toThrow("source: the URL is empty: is its variable set?");
  expect(() => resolveSource("m.onnx", "")).toThrow('source: "m.onnx" is not a URL');
  const wrong = [42, null, { default: "m.onnx" }, Promise.resolve("m.onnx"), new Float32Array(2)];
  for (const [i, got] of ["42", "null", "Object", "Promise", "Float32Array"].entries())
    expect(() => resolveSource(wrong[i] as never, BASE)).toThrow(
      `source: expected a URL, bytes, a Blob or a File, got ${got}`,
    );
  expect(() => resolveAddress(new Blob([]) as never, BASE)).toThrow("source: expected a URL, got Blob");
});
