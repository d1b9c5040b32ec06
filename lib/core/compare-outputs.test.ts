import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { faultOf } from "./compare-outputs.ts";
import type { Tensors } from "./compare-outputs.ts";
import { NUDGE_COUNT, effectsOf, floorsFor, floorsOf, nudged, roundingOf } from "./tolerances.ts";
import type { Tensor } from "./tensor.ts";

const floats = (...values: number[]): Tensor => ({
  dtype: "float32",
  dims: [1, values.length],
  data: Float32Array.from(values),
});

describe("the comparison", () => {
  const value = fc.double({ min: -1e6, max: 1e6, noNaN: true });
  const tensor = (...values: number[]): Tensors => ({ y: floats(...values) });

  test("accepts what differs by less than the tolerance of the largest reference, and nothing that differs by more", () => {
    fc.assert(
      fc.property(fc.array(value, { minLength: 2, maxLength: 9 }), fc.nat(), (values, at) => {
        const scale = Math.max(...values.map(Math.abs));
        fc.pre(scale > 1e-2);
        const off = (by: number): Tensors => tensor(...values.map((x, i) => (i === at % values.length ? x + by : x)));
        const isRefused = (outputs: Tensors, isHalf: boolean): boolean =>
          faultOf(outputs, tensor(...values), isHalf) !== null;
        expect(isRefused(off(0.9e-3 * scale), false)).toBe(false);
        expect(isRefused(off(1.1e-3 * scale), false)).toBe(true);
        expect(isRefused(off(1.9e-2 * scale), true)).toBe(false);
        expect(isRefused(off(2.1e-2 * scale), true)).toBe(true);
      }),
    );
  });

  test("is not blinded by a mask, nor by a reference that is not finite", () => {
    const expected = tensor(-3.4e38, -Infinity, 1);
    expect(faultOf(tensor(-3.4e38, -3e38, 1), expected, false)).toBeNull();
    expect(faultOf(tensor(-3.4e38, -Infinity, 1.01), expected, false)).toBe("error 0.01 above 0.001");
    expect(faultOf(tensor(-3.3e38, -Infinity, 1), expected, false)).toContain("above 0.001");
    for (const value of [0, 3e38, Infinity, NaN, -0.5])
      expect(faultOf(tensor(-3.4e38, value, 1), expected, false)).toBe('"y" is not infinite');
  });

  test("is not blinded by one huge value where the toolchain gives a floor", () => {
    const expected = tensor(1e6, 1, -0.5);
    const floors = { y: 1e-4 };
    const fault = (...values: number[]): string | null => faultOf(tensor(...values), expected, false, { floors });
    expect(faultOf(tensor(1e6, 3, -0.5), expected, false)).toBeNull();
    expect(fault(1e6, 3, -0.5)).toContain("above 0.001");
    expect(fault(1e6, 1.01, -0.5)).toContain("above 0.001");
    expect(fault(1.002e6, 1, -0.5)).toContain("above 0.001");
    expect(fault(1.0009e6, 1.0009, -0.5004)).toBeNull();
  });

  test("rounding explains what is within sixteen times its effect, or the tolerance of the usual size", () => {
    const near = tensor(1e-4);
    const isRefused = (by: number, rounding: number, isHalf: boolean, floor?: number): boolean => {
      const floors = floor === undefined ? undefined : { y: floor };
      return faultOf(tensor(1e-4 + by), near, isHalf, { floors, rounding: { y: rounding } }) !== null;
    };
    for (const isHalf of [false, true]) {
      const byEffect = roundingOf(1e-4, 0, isHalf);
      expect([isRefused(1.5e-3, byEffect, isHalf), isRefused(1.7e-3, byEffect, isHalf)]).toEqual([false, true]);
      expect([isRefused(1e-3, byEffect, isHalf, 1e-5), isRefused(2e-3, byEffect, isHalf, 1e-5)]).toEqual([false, true]);
      const [usual, bound] = [roundingOf(0, 5, isHalf), isHalf ? 0.1 : 5e-3];
      expect([isRefused(0.9 * bound, usual, isHalf), isRefused(1.1 * bound, usual, isHalf)]).toEqual([false, true]);
      expect(isRefused(NaN, 1, isHalf)).toBe(true);
    }
    expect(roundingOf(undefined, undefined, false)).toBe(0);
  });

  test("effects are those that exceed an element's own rounding, and of a mask none", () => {
    const effect = (before: readonly number[], after: readonly number[]): number | undefined =>
      effectsOf(tensor(...before), tensor(...after)).get("y");
    expect(effect([1, 2], [1, 2.5])).toBe(0.5);
    expect(effect([1e6, 1], [1e6 + 1, 1])).toBe(0); // moved, in proportion
    expect(effect([1, 2], [1, 2])).toBeUndefined();
    expect(effect([-3.4e38, 1], [-3.3e38, 1])).toBeUndefined();
    for (const mask of [-3.4e38, -Infinity, NaN]) {
      expect(effect([0.3, 1], [mask, 1])).toBeUndefined(); // moved across a cut
      expect(effect([0.3, 1], [mask, 1.5])).toBe(0.5);
    }
    expect(effect([1, 2], [1])).toBeUndefined();
    // A floor is a hundred times the effect, a ten thousandth of the middle at least, a thousandth of the largest at most.
    const floorOf = (before: readonly number[], after: readonly number[]): number | undefined =>
      floorsOf(tensor(...before), tensor(...after))["y"];
    expect(floorOf([0, 100, 100], [1e-4, 100, 100])).toBeCloseTo(1e-2, 4);
    expect(floorOf([0, 100, 100], [1, 100, 100])).toBeCloseTo(0.1, 6);
    expect(floorOf([1, 1], [1, 1])).toBeUndefined();
  });

  test("rounding changes floats alone, and no mask", () => {
    const values = [0.5, 0, 1, -3.4e38, 300];
    const ids: Tensor = { dtype: "int64", dims: [1, 1], data: BigInt64Array.of(7n) };
    const changed = nudged({ x: floats(...values), ids });
    expect(changed?.["ids"]).toBe(ids);
    const near = [...(changed?.["x"]?.data as Float32Array)].map((x, i) => x / (values[i] as number));
    for (const i of [0, 4]) expect(Math.abs((near[i] ?? 0) - 1)).toBeCloseTo(2 ** -20, 7);
    expect([...(changed?.["x"]?.data as Float32Array)].slice(1, 4)).toEqual([0, 1, Math.fround(-3.4e38)]);
    expect(nudged({ ids })).toBeNull();
  });

  test("several changes of one input differ, each up for half of the values", () => {
    const before = new Float32Array(10_000).fill(0.5);
    const signs = Array.from({ length: NUDGE_COUNT }, (_, round) => {
      const changed = nudged({ x: floats(...before) }, round)?.["x"]?.data as Float32Array;
      return changed.map((x) => Math.sign(x - 0.5));
    });
    for (const [i, own] of signs.entries())
      for (const [j, other] of signs.entries()) {
        const sum = own.reduce((total, x, at) => total + (i === j ? x : x * (other[at] ?? 0)), 0);
        expect(Math.abs(sum)).toBeLessThan(400); // four standard deviations
      }
  });

  test("floors for other inputs are the largest known, and a ten thousandth of the middle of the magnitudes", () => {
    const floorOf = (...values: number[]): number | undefined =>
      floorsFor([{ floors: { y: 1e-5 } }, { floors: { y: 1e-4 } }, {}], tensor(...values))["y"];
    for (const values of [
      [0.2, 0.1, -0.1],
      [1e6, 0.2, -0.2],
      [-3.4e38, 0.2, 0.2],
      [0, 0, 0],
    ])
      expect(floorOf(...values)).toBe(1e-4);
    expect(floorOf(100, 200, 300)).toBeCloseTo(1.9e-2, 3);
    expect(floorsFor([{ floors: { y: 1e-4 } }], { z: floats(1) })).toEqual({});
  });

  test("accepts zeros where the reference is zeros, and refuses an output that is absent", () => {
    expect(faultOf(tensor(0, 0), tensor(0, 0), false)).toBeNull();
    expect(faultOf(tensor(0, 1e-3), tensor(0, 0), false)).not.toBeNull();
    expect(faultOf({}, tensor(0, 0), false)).toBe('no output "y"');
  });

  test("reads float16", () => {
    const half: Tensor = { dtype: "float16", dims: [3], data: Uint16Array.of(0x3c00, 0xc000, 0x0001) };
    expect(faultOf({ y: { ...half, data: Uint16Array.of(0x3c10, 0xc000, 0) } }, { y: half }, false)).toBeNull();
    expect(faultOf({ y: { ...half, data: Uint16Array.of(0x7c00, 0xc000, 0) } }, { y: half }, false)).toContain(
      "finite",
    );
  });

  test("counts the elements of integers that differ, however large others are: one in a hundred may", () => {
    const ids = (...values: number[]): Tensors => ({
      y: { dtype: "int64", dims: [values.length], data: BigInt64Array.from(values, BigInt) },
    });
    expect(faultOf(ids(29_000, 45, 400), ids(29_000, 17, 400), false)).toBe('"y" differs in 1 of 3');
    expect(faultOf(ids(29_001), ids(29_000), false)).toBe('"y" differs in 1 of 1');
    const many = Array.from({ length: 200 }, (_, i) => i);
    expect(faultOf(ids(...many.slice(0, 198), 7, 7), ids(...many), false)).toBeNull();
    expect(faultOf(ids(...many.slice(0, 197), 7, 7, 7), ids(...many), false)).toBe('"y" differs in 3 of 200');
    const samples = (...values: number[]): Tensors => ({
      y: { dtype: "int16", dims: [2], data: Int16Array.from(values) },
    });
    expect(faultOf(samples(30_001, -2_999), samples(30_000, -3_000), false)).toBeNull();
    expect(faultOf(samples(31_000, -3_000), samples(30_000, -3_000), false)).toBe("error 0.033 above 0.001");
  });

  test("copies no float32 elements", () => {
    const uncopied = (...values: number[]): Tensors => {
      const { y } = tensor(...values);
      Object.defineProperty(y?.data, Symbol.iterator, {
        value: () => {
          throw new TypeError("copied");
        },
      });
      return { y: y as Tensor };
    };
    expect(faultOf(uncopied(1, 2), uncopied(1, 2), false)).toBeNull();
    expect(faultOf(uncopied(1, 2.1), uncopied(1, 2), false)).toBe("error 0.05 above 0.001");
  });
});
