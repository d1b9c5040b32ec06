import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { faultOf } from "./compare-outputs.ts";
import type { Tensors } from "./compare-outputs.ts";
import { floorScales, floorsFor, nudged, widened } from "./other-floors.ts";
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

  test("wider bounds are those of the inputs' rounding, and of the usual size where an output is nearly zero", () => {
    const near = tensor(1e-4);
    const isRefused = (by: number, floors: Record<string, number> | undefined, changed: Tensors | null): boolean =>
      faultOf(tensor(1e-4 + by), near, false, widened(floors, new Map([["y", 5]]), near, changed, false)) !== null;
    // One value of 5 is known, so one that is nearly zero may be off by a thousandth of that.
    expect([isRefused(4e-3, undefined, null), isRefused(6e-3, undefined, null)]).toEqual([false, true]);
    // A known floor grows by the rounding alone.
    expect([isRefused(1e-4, { y: 1e-5 }, null), isRefused(1e-4, { y: 1e-5 }, near)]).toEqual([true, true]);
    expect(isRefused(6e-3, { y: 1e-5 }, tensor(1e-4 + 1e-4))).toBe(false);
    expect(isRefused(2e-2, { y: 1e-5 }, tensor(1e-4 + 1e-4))).toBe(true);
    expect(isRefused(NaN, undefined, tensor(1e-3))).toBe(true);
  });

  test("bounds by the inputs' rounding are the same in float16, and a tenth of the largest value at most", () => {
    const isRefused = (value: number, by: number, effect: number, isHalf: boolean): boolean => {
      const bounds = widened(undefined, new Map([["y", 0.2]]), tensor(value), tensor(value + effect), isHalf);
      return faultOf(tensor(value + by), tensor(value), isHalf, bounds) !== null;
    };
    for (const isHalf of [false, true]) {
      expect([isRefused(1e-4, 9e-3, 1e-4, isHalf), isRefused(1e-4, 1.1e-2, 1e-4, isHalf)]).toEqual([false, true]);
      // A model that rounds: a nudge moves it to the next step.
      expect([isRefused(0.5, 0.006, 0.006, isHalf), isRefused(0.5, -0.5, 0.006, isHalf)]).toEqual([false, true]);
    }
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

  test("floors for other inputs grow with the middle of the magnitudes, and by no single value", () => {
    const scales = floorScales([{ outputs: tensor(1, -2, 3), floors: { y: 1e-4 } }]);
    const floorOf = (...values: number[]): number | undefined => floorsFor(scales, tensor(...values))["y"];
    expect(floorOf(2, 1, -1)).toBeCloseTo(1e-4, 9); // never below the known floor
    expect(floorOf(1e6, 2, -2)).toBeCloseTo(1e-4, 9);
    expect(floorOf(-3.4e38, 2, 2)).toBeCloseTo(1e-4, 9);
    expect(floorOf(100, 200, 300)).toBeCloseTo(1e-2, 6);
    expect(floorOf(0, 0, 0)).toBe(1e-4);
    const faint = floorScales([{ outputs: tensor(1e6, 1e-3, 1e-3), floors: { y: 1 } }]);
    expect(floorsFor(faint, tensor(50, 50, 50))["y"]).toBe(1);
    expect(floorsFor(faint, tensor(5e4, 5e4, 5e4))["y"]).toBeCloseTo(50, 3); // the relative bound of the largest
    expect(floorsFor(scales, { z: floats(1) })).toEqual({});
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
