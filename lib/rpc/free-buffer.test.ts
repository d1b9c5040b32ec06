import { expect, test } from "vitest";
import { freeBuffer } from "./free-buffer.ts";

test("a freed buffer is released at once, small buffers and their neighbours stay", () => {
  const large = new Uint8Array(1_000_000);
  const beside = new Uint8Array(1_000_000).fill(7);
  const small = Uint8Array.of(1, 2, 3);
  freeBuffer(large);
  freeBuffer(small);
  expect([large.byteLength, large.buffer.byteLength]).toEqual([0, 0]);
  expect([...small]).toEqual([1, 2, 3]);
  expect(beside.every((x) => x === 7)).toBe(true);
});

test("a buffer that was freed already is not an error", () => {
  const bytes = new Uint8Array(1_000_000);
  freeBuffer(bytes);
  freeBuffer(bytes);
  expect(bytes.byteLength).toBe(0);
});
