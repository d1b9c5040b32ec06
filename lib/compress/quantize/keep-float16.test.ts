import { expect, test } from "vitest";
import { seededFloats, smallModel } from "../../test-support/compress/fixtures.ts";
import { keepFloat16 } from "./keep-float16.ts";
import { floatTensor } from "../onnx/tensor-proto.ts";

/** Two depthwise convolutions, of which only the first has outputs that count, and a plain one. */
const model = () =>
  smallModel({
    opset: 13,
    inputs: { x: [1, 32, 8, 8] },
    outputs: ["y"],
    nodes: [
      { opType: "Conv", input: ["x", "loud"], output: ["a"], attributes: { group: 32, pads: [1, 1, 1, 1] } },
      { opType: "Conv", input: ["x", "quiet"], output: ["b"], attributes: { group: 32, pads: [1, 1, 1, 1] } },
      { opType: "Mul", input: ["b", "little"], output: ["c"] },
      { opType: "Add", input: ["a", "c"], output: ["d"] },
      { opType: "Conv", input: ["d", "mix"], output: ["y"] },
    ],
    initializers: [
      floatTensor("loud", [32, 1, 3, 3], seededFloats(288, 2)),
      floatTensor("quiet", [32, 1, 3, 3], seededFloats(288, 3)),
      floatTensor("mix", [128, 32, 1, 1], seededFloats(4_096, 4)),
      floatTensor("little", [], Float32Array.of(0.01)),
    ],
  });
const feeds = [{ x: { dtype: "float32" as const, dims: [1, 32, 8, 8], data: seededFloats(2048) } }];
const facts = (name: string, group: number, dims: number[]) => ({ opType: "Conv", name, group, dims });

test("a depthwise convolution keeps 16 bits where 8 would change the outputs, and without samples", async () => {
  const store = await keepFloat16(model(), feeds, { leastDb: 60 });
  expect(store(facts("loud", 32, [32, 1, 3, 3]))).toBe("float16");
  expect(store(facts("quiet", 32, [32, 1, 3, 3]))).toBe("int8");
  expect(store(facts("mix", 1, [128, 32, 1, 1]))).toBe("int8");
  const blind = await keepFloat16(model(), []);
  expect(blind(facts("quiet", 32, [32, 1, 3, 3]))).toBe("float16");
  expect(blind(facts("mix", 1, [128, 32, 1, 1]))).toBe("int8");
});

test("a first convolution that holds most of a tiny model's weights gets 8 bits", async () => {
  const patches = smallModel({
    opset: 13,
    inputs: { x: [1, 3, 32, 32] },
    outputs: ["y"],
    nodes: [
      { opType: "Conv", input: ["x", "patch"], output: ["h"], attributes: { strides: [16, 16] } },
      { opType: "Conv", input: ["h", "mix"], output: ["y"] },
    ],
    initializers: [
      floatTensor("patch", [64, 3, 16, 16], seededFloats(64 * 768, 2)),
      floatTensor("mix", [64, 64, 1, 1], seededFloats(4_096, 3)),
    ],
  });
  const store = await keepFloat16(patches, []);
  expect(store(facts("patch", 1, [64, 3, 16, 16]))).toBe("int8");
});

test("where too many keep 16 bits, the least sensitive gives way, and no more than a name needs", async () => {
  // Both are sensitive; the larger one more so.
  const made = (rest: number) =>
    smallModel({
      ...{ opset: 13, inputs: { x: [1, 3, 16, 16] }, outputs: ["y", "z"] },
      nodes: [
        { opType: "Conv", input: ["x", "large"], output: ["y"] },
        { opType: "Conv", input: ["x", "small"], output: ["s"] },
        { opType: "Mul", input: ["s", "tenth"], output: ["m"] },
        { opType: "Add", input: ["m", "y"], output: ["h"] },
        { opType: "Conv", input: ["h", "mix"], output: ["z"] },
      ],
      initializers: [
        floatTensor("large", [64, 3, 2, 2], seededFloats(768, 2)),
        floatTensor("small", [64, 3, 2, 2], seededFloats(768, 3)),
        floatTensor("tenth", [], Float32Array.of(0.1)),
        floatTensor("mix", [rest, 64, 1, 1], seededFloats(rest * 64, 4)),
      ],
    });
  const samples = [{ x: { dtype: "float32" as const, dims: [1, 3, 16, 16], data: seededFloats(768) } }];
  const stem = (name: string) => facts(name, 1, [64, 3, 2, 2]);
  const many = await keepFloat16(made(64), samples, { leastDb: 90 });
  expect([many(stem("large")), many(stem("small"))]).toEqual(["float16", "int8"]);
  const few = await keepFloat16(made(80), samples, { leastDb: 90 });
  expect([few(stem("large")), few(stem("small"))]).toEqual(["float16", "float16"]);
});
