import { expect, test } from "vitest";
import { float16Bits, float16BitsOf, float16Value, nearestHalf } from "./float16.ts";

test("the nearest float16 is that of the bits, ties to even, for every normal value and between", () => {
  const off: number[] = [];
  for (let bits = 0x0400; bits < 0x7bff; bits++) {
    const [low, high] = [float16Value(bits), float16Value(bits + 1)];
    const middle = (low + high) / 2;
    for (const x of [low, middle, -middle, middle * (1 + Number.EPSILON), middle * (1 - Number.EPSILON)])
      if (!Object.is(nearestHalf(x), float16Value(float16Bits(x)))) off.push(x);
  }
  expect(off).toEqual([]);
});

test.each([0, -0, 2 ** -15, 65_505, Infinity, -Infinity, Number.NaN])("%d has no normal float16 and stays", (x) => {
  expect(nearestHalf(x)).toBe(Math.fround(x));
});

test("a list becomes what each of its values does", () => {
  const values: number[] = [0, -0, 65_519.99, 65_520, 1e9, Infinity, -Infinity, Number.NaN, 2 ** -24, 2 ** -25, 1e-30];
  for (let bits = 0; bits < 0x7bff; bits++) {
    const [low, high] = [float16Value(bits), float16Value(bits + 1)];
    const middle = (low + high) / 2;
    values.push(low, -middle, middle, Math.fround(middle * (1 + 2 ** -22)), Math.fround(middle * (1 - 2 ** -22)));
  }
  const list = Float32Array.from(values);
  expect(float16BitsOf(list)).toEqual(Uint16Array.from(list, float16Bits));
});
