// Whether the weights of an ONNX file are float16, by its bytes.
import { describe, expect, test } from "vitest";
import { hasHalfWeights } from "./half-weights.ts";

/** A length-delimited field. */
const field = (number: number, bytes: readonly number[]): number[] => [
  8 * number + 2,
  (bytes.length & 127) | 128,
  bytes.length >> 7,
  ...bytes,
];
/** A tensor of dims 3, with an element type and raw bytes. */
const weight = (type: number, size: number): number[] =>
  field(5, [8, 3, 16, type, ...field(8, [119]), ...field(9, Array<number>(size).fill(7))]);
const model = (...weights: readonly number[][]): Blob =>
  new Blob([Uint8Array.from([8, 9, ...field(2, [112]), ...field(7, [...field(2, [103]), ...weights.flat()])])]);

describe("the weights of a model", () => {
  test("are float16 where one is, wherever it is", async () => {
    expect(await hasHalfWeights(model(weight(10, 6)))).toBe(true);
    expect(await hasHalfWeights(model(weight(1, 900), weight(7, 300), weight(10, 500)))).toBe(true);
  });

  test("are not where none is, and where the file can't be read", async () => {
    expect(await hasHalfWeights(model())).toBe(false);
    expect(await hasHalfWeights(model(weight(1, 900), weight(7, 300)))).toBe(false);
    expect(await hasHalfWeights(new Blob(["no model at all, but text"]))).toBe(false);
    const whole = model(weight(1, 900), weight(10, 6));
    expect(await hasHalfWeights(whole.slice(0, 500))).toBe(false);
  });
});
