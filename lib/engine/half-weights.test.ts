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
/** A tensor of dims 3 in a field, with an element type and raw bytes. */
const tensor = (number: number, type: number, size: number): number[] =>
  field(number, [8, 3, 16, type, ...field(8, [119]), ...field(9, Array<number>(size).fill(7))]);
const weight = (type: number, size: number): number[] => tensor(5, type, size);
/** A node with an attribute. */
const node = (name: string, value: readonly number[]): number[] => {
  const attribute = field(5, [...field(1, [...new TextEncoder().encode(name)]), ...value]);
  return field(1, [...field(1, [120]), ...field(2, [121]), ...field(4, [67]), ...attribute]);
};
const model = (...weights: readonly number[][]): Blob =>
  new Blob([Uint8Array.from([8, 9, ...field(2, [112]), ...field(7, [...field(2, [103]), ...weights.flat()])])]);

describe("the weights of a model", () => {
  test("are float16 where one is, wherever it is", async () => {
    expect(await hasHalfWeights(model(weight(10, 6)))).toBe(true);
    expect(await hasHalfWeights(model(weight(1, 900), weight(7, 300), weight(10, 500)))).toBe(true);
  });

  test("are float16 where a node holds such a constant, or casts to it, in a branch too (half nodes)", async () => {
    const constant = node("value", tensor(5, 10, 6_000));
    expect(await hasHalfWeights(model(node("axis", [24, 10]), constant))).toBe(true);
    expect(await hasHalfWeights(model(weight(1, 9_000), node("to", [24, 10])))).toBe(true);
    expect(await hasHalfWeights(model(node("then_branch", field(6, [...weight(1, 40), ...constant]))))).toBe(true);
    expect(
      await hasHalfWeights(model(node("to", [24, 1]), node("axis", [24, 10]), node("value", tensor(5, 1, 600)))),
    ).toBe(false);
  });

  test("are not where none is, and where the file can't be read", async () => {
    expect(await hasHalfWeights(model())).toBe(false);
    expect(await hasHalfWeights(model(weight(1, 900), weight(7, 300)))).toBe(false);
    expect(await hasHalfWeights(new Blob(["no model at all, but text"]))).toBe(false);
    const whole = model(weight(1, 900), weight(10, 6));
    expect(await hasHalfWeights(whole.slice(0, 500))).toBe(false);
  });
});
