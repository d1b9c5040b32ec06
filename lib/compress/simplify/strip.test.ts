import { expect, test } from "vitest";
import { decibels, REAL_MODELS, runModel, seededFloats, smallModel } from "../../test-support/compress/fixtures.ts";
import { readModel } from "../onnx/model.ts";
import { packConstants } from "./pack-constants.ts";
import { strip } from "./strip.ts";
import { floatTensor } from "../onnx/tensor-proto.ts";

test.each(REAL_MODELS)("$name without its names answers the same, and its interface is the same", async (real) => {
  const feeds = { x: { dims: real.dims, data: seededFloats(real.dims.reduce((a, b) => a * b, 1)) } };
  const before = readModel(real.read());
  const names = [...before.graph.proto.input, ...before.graph.proto.output].map((x) => x.name);
  const model = readModel(real.read()).transform(strip());
  expect(model.byteLength).toBeLessThan(before.byteLength - 10_000);
  expect([...model.graph.proto.input, ...model.graph.proto.output].map((x) => x.name)).toEqual(names);
  expect(await runModel(model.write(), feeds)).toEqual(await runModel(before.write(), feeds));
});

test("an inner value does not take the name of an output", async () => {
  const model = smallModel({
    opset: 13,
    inputs: { "1": [2] },
    outputs: ["0"],
    nodes: [
      { opType: "Abs", input: ["1"], output: ["first"] },
      { opType: "Neg", input: ["first"], output: ["second"] },
      { opType: "Exp", input: ["second"], output: ["0"] },
    ],
  });
  const feeds = { "1": { dims: [2], data: Float32Array.of(1, -2) } };
  const before = await runModel(model.write(), feeds);
  expect(await runModel(model.transform(strip()).write(), feeds)).toEqual(before);
});

const withConstant = (values: Float32Array) =>
  smallModel({
    opset: 13,
    inputs: { x: [1] },
    outputs: ["y"],
    nodes: [{ opType: "Add", input: ["x", "c"], output: ["y"] }],
    initializers: [floatTensor("c", [values.length], values)],
  });
const answer = async (model: ReturnType<typeof withConstant>): Promise<number[]> =>
  (await runModel(model.write(), { x: { dims: [1], data: Float32Array.of(0) } }))[0] ?? [];

test.each([
  ["a mask", -1e4, "DequantizeLinear"],
  ["a mask of the lowest float", -3.4028234663852886e38, "DequantizeLinear"],
  ["zeros", 0, "DequantizeLinear"],
])("%s is stored in 8 bits and is exactly what it was", async (_, bound, operator) => {
  const values = Float32Array.from({ length: 1024 }, (__, i) => (i % 3 === 0 ? bound : 0));
  const model = withConstant(values).transform(packConstants());
  expect(model.graph.nodes.map((x) => x.opType)).toEqual([operator, "Add"]);
  expect(await answer(model)).toEqual(Array.from(values, (x) => x + 0));
});

test("integer multiples of a number that is not among them are stored in 8 bits, exactly", async () => {
  const values = Float32Array.from({ length: 512 }, (_, i) => (20 + (i % 101)) * 0.3125);
  const model = withConstant(values).transform(packConstants());
  expect(model.graph.nodes[0]?.opType).toBe("DequantizeLinear");
  expect(await answer(model)).toEqual([...values]);
});

test("numbers representable in float16 are stored so; others only with isExact false", async () => {
  const half = Float32Array.from({ length: 300 }, (_, i) => 1 + i / 1024);
  const exact = withConstant(half).transform(packConstants());
  expect(exact.graph.nodes[0]?.opType).toBe("Cast");
  expect(await answer(exact)).toEqual([...half]);
  const wide = seededFloats(300);
  expect(withConstant(wide).transform(packConstants()).graph.nodes).toHaveLength(1);
  const near = withConstant(wide).transform(packConstants({ isExact: false }));
  expect(decibels([...wide], await answer(near))).toBeGreaterThan(70);
});
