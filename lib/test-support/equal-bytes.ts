// Setup of the unit tests: `toEqual` compares typed arrays by their bytes first. Vitest's own comparison goes element by
// element, which takes 3 s for 1 MB. Where the bytes differ it decides as ever: not a number equals itself, whatever its
// bits.
import { expect } from "vitest";

expect.addEqualityTesters([
  (a: unknown, b: unknown): true | undefined =>
    ArrayBuffer.isView(a) && ArrayBuffer.isView(b) && a.constructor === b.constructor && hasSameBytes(a, b)
      ? true
      : undefined,
]);

function hasSameBytes(a: ArrayBufferView, b: ArrayBufferView): boolean {
  return a.byteLength === b.byteLength && Buffer.compare(bytesOf(a), bytesOf(b)) === 0;
}

function bytesOf({ buffer, byteOffset, byteLength }: ArrayBufferView): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}
