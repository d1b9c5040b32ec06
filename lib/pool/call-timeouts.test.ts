import { expect, test } from "vitest";
import type { RawInput, WireImage } from "../rpc/messages.ts";
import { countElements, FIRST_BOUND_MS, RUN_BOUND_MIN_MS, runBound } from "./call-timeouts.ts";

const tensor = (length: number): { dtype: "float32"; dims: number[]; data: Float32Array<ArrayBuffer> } => ({
  dtype: "float32",
  dims: [length],
  data: new Float32Array(length),
});

test("the first run has the bound of a first run, later ones twenty times the slowest, ten seconds at least", () => {
  expect(runBound(0, 0, 1_000_000)).toBe(FIRST_BOUND_MS);
  expect(runBound(2_000, 2, 1_000)).toBe(40_000);
  expect(runBound(0.01, 0.001, 10)).toBe(RUN_BOUND_MIN_MS);
});

test("after a tiny run a large one has the bound of a first run at most, or twenty times the slowest (core-A7 tiny)", () => {
  expect(runBound(20, 10, 20_000)).toBe(FIRST_BOUND_MS);
  expect(runBound(20_000, 10, 2_000_000)).toBe(400_000);
});

test("the elements of all requests count: numbers, characters, samples, pixels", () => {
  const image = (value: object): RawInput => ({ kind: "image", image: value as WireImage });
  expect(countElements([])).toBe(1);
  expect(countElements([{ tensors: { a: tensor(3), b: tensor(4) }, others: null }])).toBe(8);
  expect(
    countElements([
      { tensors: { a: tensor(3) }, others: { text: { kind: "text", texts: ["ab", "", "cde"] } } },
      { tensors: {}, others: { sound: { kind: "sound", samples: new Float32Array(7) } } },
    ]),
  ).toBe(1 + 3 + 5 + 7);
  expect(countElements([{ tensors: {}, others: { image: image({ width: 3, height: 5 }) } }])).toBe(16);
  expect(
    countElements([
      { tensors: {}, others: { image: image({ displayWidth: 2, displayHeight: 4, width: 99, height: 99 }) } },
    ]),
  ).toBe(9);
  expect(countElements([{ tensors: {}, others: { image: image(new Blob(["123456"])) } }])).toBe(7);
});
