import { expect, test } from "vitest";

test("large typed arrays are compared in milliseconds, wherever they stand", () => {
  const bytes = new Uint8Array(2_000_000).map((_, i) => i);
  const before = process.cpuUsage();
  expect([{ bytes }]).toEqual([{ bytes: bytes.slice() }]);
  const { user } = process.cpuUsage(before);
  expect(user / 1_000).toBeLessThan(1_000); // 6 s element by element
});

test("what differs in an element, a zero's sign, its length or its type is not equal", () => {
  expect(Uint8Array.of(1, 2)).not.toEqual(Uint8Array.of(1, 3));
  expect(Float32Array.of(0)).not.toEqual(Float32Array.of(-0));
  expect(Uint8Array.of(1)).not.toEqual(Uint8Array.of(1, 0));
  expect(Uint8Array.of(1)).not.toEqual(Int8Array.of(1));
});

test("numbers that are none are equal whatever their bits", () => {
  const odd = new Float32Array(Uint32Array.of(0x7fc00001).buffer);
  expect(odd).toEqual(Float32Array.of(NaN));
});
