import { expect, test } from "vitest";
import { resolveShapes } from "./shape-option.ts";

const inputs = [
  { name: "pixel_values", dims: ["batch_size", "num_channels", "height", "width"] },
  { name: "state", dims: [2, "batch_size", "past"] },
];

test("shapes are given by input, or by the name of a dim", () => {
  expect(resolveShapes(["pixel_values=1x3x224x160", "past=0"], inputs)).toEqual({
    batch_size: 1,
    num_channels: 3,
    height: 224,
    width: 160,
    past: 0,
  });
  expect(resolveShapes(["state=2,1,16"], inputs)).toEqual({ batch_size: 1, past: 16 });
});

test.each([
  ["pixel_values", 'expected sizes, got "pixel_values"'],
  ["pixel_values=1x3x224", "has 3 sizes"],
  ["state=3x1x1", "sets axis 0 to 3"],
  ["sequence=8", 'no input or open dim "sequence": it takes pixel_values [batch_size'],
  ["height=-1", "expected sizes"],
])("the shape %s is refused with what the model has", (shape, words) => {
  expect(() => resolveShapes([shape], inputs)).toThrow(words);
});

test("two sizes of one dim are refused", () => {
  expect(() => resolveShapes(["past=4", "state=2x1x8"], inputs)).toThrow('sets "past" to 8, but it is 4 already');
});
