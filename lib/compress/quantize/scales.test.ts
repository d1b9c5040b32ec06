import { expect, test } from "vitest";
import { packBlocks } from "./block-layout.ts";
import { largestDifference, seededFloats } from "../../test-support/compress/fixtures.ts";
import { areHalf } from "../onnx/float16.ts";
import { fitGrid, roundRows, snapScales } from "./scales.ts";
import type { Grid } from "./scales.ts";

const rowsOf = (values: Float32Array, columns: number) => ({
  rows: values.length / columns,
  columns,
  at: (row: number, column: number) => values[row * columns + column] ?? 0,
});
const back = (values: Float32Array, columns: number, grid: Grid): number[] => {
  const blocks = Math.ceil(columns / grid.block);
  return Array.from(roundRows(rowsOf(values, columns), grid), (code, at) => {
    const i = Math.floor(at / columns) * blocks + Math.floor((at % columns) / grid.block);
    return (code - (grid.zeros?.[i] ?? 0)) * (grid.scales[i] ?? 0);
  });
};

test("zero points are used where values are one-sided, and none where they are symmetric", () => {
  const options = { bits: 4, block: 32, hasZeros: true } as const;
  expect(fitGrid(rowsOf(seededFloats(320), 32), options).zeros).toBeUndefined();
  const values = seededFloats(320).map((x) => x + 1);
  const shifted = fitGrid(rowsOf(values, 32), options);
  expect(shifted.zeros).toBeDefined();
  expect(largestDifference([...values], back(values, 32, shifted))).toBeLessThan(0.15);
});

test("scales have less error than those of the extremes, and zeros stay zeros", () => {
  const values = seededFloats(32 * 64).map((x) => x ** 3);
  const { error } = fitGrid(rowsOf(values, 32), { bits: 4, block: 32 });
  let plain = 0;
  for (let row = 0; row < 64; row++) {
    const block = values.slice(row * 32, row * 32 + 32);
    const scale = Math.max(...block.map(Math.abs)) / 7;
    plain += block.reduce((sum, x) => sum + (x - Math.round(x / scale) * scale) ** 2, 0);
  }
  expect(error).toBeLessThan(plain * 0.8);
  const nothing = rowsOf(new Float32Array(32), 32);
  const grid = fitGrid(nothing, { bits: 4, block: 32 });
  expect(packBlocks(1, 32, grid, roundRows(nothing, grid)).values).toEqual(new Uint8Array(16).fill(0x88));
});

test("a column's errors are weighted by its importance", () => {
  const values = seededFloats(32 * 64).map((x, i) => (i % 32 === 0 ? x * 0.1 : x));
  const importance = Float32Array.from({ length: 32 }, (_, i) => (i === 0 ? 1e4 : 1));
  const offBy = (grid: Grid): number =>
    back(values, 32, grid).reduce((sum, x, i) => sum + (i % 32 === 0 ? (x - (values[i] ?? 0)) ** 2 : 0), 0);
  const rows = rowsOf(values, 32);
  const weighted = offBy(fitGrid(rows, { bits: 4, block: 32, importance }));
  expect(weighted).toBeLessThan(offBy(fitGrid(rows, { bits: 4, block: 32 })) * 0.5);
});

test("a symmetric 8-bit grid has positive scales and an error of at most half a step", () => {
  const values = seededFloats(100, 3);
  const grid = fitGrid(rowsOf(values, 50), { bits: 8, block: 50, isEven: true });
  expect(grid.scales.every((x) => x > 0)).toBe(true);
  expect([...roundRows(rowsOf(values, 50), grid)].every((x) => x >= -127)).toBe(true);
  expect(largestDifference([...values], back(values, 50, grid))).toBeLessThanOrEqual(Math.max(...grid.scales) * 0.501);
});

test("scales are representable in float16, where they are normal there", () => {
  const values = seededFloats(640, 4);
  expect(areHalf(fitGrid(rowsOf(values, 32), { bits: 4, block: 32, isHalf: true }).scales)).toBe(true);
  const small = values.map((x) => x * 1e-6);
  const grid = fitGrid(rowsOf(small, 32), { bits: 4, block: 32, isHalf: true });
  expect(areHalf(grid.scales)).toBe(false);
  expect(largestDifference([...small], back(small, 32, grid))).toBeLessThan(2e-7);
});

test("a weight that is not finite has a non-finite scale", () => {
  const grid = fitGrid(rowsOf(Float32Array.of(1, Infinity), 2), { bits: 8, block: 2 });
  expect(grid.scales[0]).toBeNaN();
});

test("snapped scales are multiples of one step, a byte each, never smaller; very uneven ones are unchanged", () => {
  const scales = seededFloats(200, 8).map((x) => 0.003 + 0.002 * x);
  const snapped = snapScales(scales);
  const step = Math.max(...snapped) / 255;
  for (const [i, scale] of snapped.entries()) {
    expect(scale / step).toBe(Math.round(scale / step));
    expect(scale).toBeGreaterThanOrEqual(scales[i] ?? 0);
    expect(scale).toBeLessThan((scales[i] ?? 0) + step * 1.01);
  }
  const uneven = Float32Array.of(1, 0.001);
  expect(snapScales(uneven)).toEqual(uneven);
  expect(snapScales(Float32Array.of(1, Number.NaN))[1]).toBeNaN();
});

test("where compressed size counts, codes of short rows do not fill their range", () => {
  const rows = rowsOf(seededFloats(64 * 40, 9), 64);
  const options = { bits: 8, block: 64, isEven: true } as const;
  const spread = (isSnapped: boolean): number =>
    Math.max(...roundRows(rows, fitGrid(rows, { ...options, isSnapped })).map(Math.abs));
  expect(spread(false)).toBe(127);
  // Of uniform values the largest is about 1.73 standard deviations; the range covers 2.75.
  expect(spread(true)).toBeLessThan(100);
});
