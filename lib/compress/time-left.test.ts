import { expect, test } from "vitest";
import { TimeLeft } from "./time-left.ts";
import type { WorkPart } from "./time-left.ts";

const BOTH = ["webgpu-f16", "webgpu", "wasm"] as const;
const FORMS = [
  { id: "f32", targets: BOTH },
  { id: "int8", targets: BOTH },
  { id: "int4", targets: ["webgpu-f16", "webgpu"] },
  { id: "f16", targets: ["webgpu-f16"] },
  { id: "int8-dynamic", targets: ["wasm"] },
] as const;

/** Returns an estimate, and a function that makes the next form: the seconds of its parts, and of all that follows. */
function clockFor(
  forms: readonly (typeof FORMS)[number][],
  isPlain = false,
): {
  left: TimeLeft;
  make: (parts: Partial<Record<WorkPart, number>>, again?: number) => void;
} {
  let ms = 1_000;
  const left = new TimeLeft(forms, isPlain, () => ms);
  let next = 0;
  const make = (parts: Partial<Record<WorkPart, number>>, again = 0): void => {
    left.started(forms[next++]?.id ?? "");
    for (const [part, seconds] of Object.entries(parts)) {
      ms += seconds * 1_000;
      left.mark(part as WorkPart);
    }
    left.evaluated();
    ms += again * 1_000;
    left.mark("make");
    left.done();
  };
  return { left, make };
}

test("nothing is said before int8 was made; then each form takes its parts, on its own targets", () => {
  for (const [isPlain, [int4, f16, dynamic]] of [
    [false, [36, 6, 32]],
    [true, [16, 24, 16]],
  ] as const) {
    const { left, make } = clockFor(FORMS, isPlain);
    expect(left.text()).toBe("");
    make({ make: 0, measure: 3, webgpu: 9, wasm: 4 });
    expect(left.text()).toBe("");
    make({ make: 40, measure: 2, webgpu: 5, wasm: 3 });
    // f16 has some kernels of its own, which take as long to compile as those of float32 took.
    const [ofInt4, ofF16, ofDynamic] = [int4 + 2 + 5, f16 + 2 + 7, dynamic + 2 + 3 + 1.5];
    expect(left.seconds()).toBeCloseTo(ofInt4 + ofF16 + ofDynamic);
    make({ make: 60, measure: 2, webgpu: 5 });
    expect(left.seconds()).toBeCloseTo(ofF16 + ofDynamic);
    make({ make: 1, measure: 2, webgpu: 6 });
    expect(left.text()).toBe(`, about ${Math.ceil(ofDynamic)} s left for the forms, more where one misses its budget`);
    make({ make: 50, measure: 2, wasm: 3 });
    expect(left.text()).toBe("");
  }
});

test("minutes are said as minutes", () => {
  const { left, make } = clockFor(FORMS.slice(1, 3));
  make({ make: 600 });
  expect(left.text()).toBe(", about 9 min left for the forms, more where one misses its budget");
});

test("a form with as many bits as one that missed its budget, or fewer, is made again too", () => {
  const { left, make } = clockFor(FORMS.slice(1));
  make({ make: 20 }, 400);
  expect(left.seconds()).toBeCloseTo(18 + 400 + 3 + (16 + 1.5 + 400));
  const other = clockFor(FORMS.slice(1));
  other.make({ make: 20 });
  other.make({ make: 30 }, 300);
  expect(other.left.seconds()).toBeCloseTo(3 + 16 + 1.5);
});

test("a form that could not be made leaves nothing but its place", () => {
  const left = new TimeLeft(FORMS.slice(1, 3), false, () => 0);
  left.started("int8");
  left.done();
  expect(left.seconds()).toBeNull();
});
