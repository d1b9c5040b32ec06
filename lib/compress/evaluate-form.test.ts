import { brotliCompressSync, constants } from "node:zlib";
import { expect, test } from "vitest";
import { seededFloats } from "../test-support/compress/fixtures.ts";
import { compressedBytes } from "./evaluate-form.ts";

test.each([
  [1, 100],
  [1, 100_000],
  [5, 10_000],
  [5, 50_000],
  [60, 4_000],
])("all of the compressed bytes count: %i pieces of %i numbers", async (count, size) => {
  const pieces = Array.from({ length: count }, (_, i) => new Uint8Array(seededFloats(size, i + 1).buffer));
  const params = { [constants.BROTLI_PARAM_QUALITY]: 5, [constants.BROTLI_PARAM_LGWIN]: 22 };
  const whole = brotliCompressSync(Buffer.concat(pieces), { params }).length;
  expect(Math.abs((await compressedBytes(pieces)) / whole - 1)).toBeLessThan(0.02);
});
