import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  decibels,
  largestDifference,
  REAL_MODELS,
  runModel,
  seededFloats,
  smallModel,
} from "../../test-support/compress/fixtures.ts";
import type { SmallModel } from "../../test-support/compress/fixtures.ts";
import type { NodeSpec } from "../onnx/graph.ts";
import { readModel } from "../onnx/model.ts";
import { float16Bits } from "../onnx/float16.ts";
import { formsFor } from "../forms/forms.ts";
import { isDepthwise, isStem, quantizeInt8, quantizeWeights } from "./quantize-weights.ts";
import { simplify } from "../simplify/simplify.ts";
import { floatTensor } from "../onnx/tensor-proto.ts";

const FOLD = { extra: { "session.disable_quant_qdq": "1" } };
const floats = (name: string, dims: number[]) =>
  floatTensor(
    name,
    dims,
    seededFloats(
      dims.reduce((a, b) => a * b, 1),
      5,
    ),
  );

const CONTRIB = { domain: "com.microsoft" } as const;

/** One operator with a constant weight "w" each, and the axis that its scales must lie on. */
const USERS: readonly [string, number, Omit<SmallModel, "opset">][] = [
  ["Conv", 0, layer("Conv", [1, 4, 7, 7], [16, 4, 3, 3])],
  ["a grouped Conv", 0, layer("Conv", [1, 4, 7, 7], [16, 2, 3, 3], { group: 2 })],
  ["ConvTranspose", 1, layer("ConvTranspose", [1, 4, 7, 7], [4, 16, 3, 3])],
  ["MatMul", 1, layer("MatMul", [5, 24], [24, 16])],
  ["a batched MatMul", 2, layer("MatMul", [3, 5, 24], [3, 24, 16])],
  ["Gemm", 1, layer("Gemm", [5, 24], [24, 16])],
  ["Gemm with a transposed weight", 0, layer("Gemm", [5, 24], [16, 24], { transB: 1 })],
  ["MatMul with the weight on the left", 0, layer("MatMul", [24, 5], [16, 24], {}, { input: ["w", "x"] })],
  ["Einsum", 2, layer("Einsum", [2, 4, 5, 8], [4, 8, 16], { equation: "bhsd, hdk -> bhsk" })],
  [
    "Einsum with the weight on the left",
    0,
    layer("Einsum", [5, 24], [16, 24], { equation: "od,sd->so" }, { input: ["w", "x"] }),
  ],
  ["FusedMatMul", 1, layer("FusedMatMul", [5, 24], [24, 16], { alpha: { float: 0.5 } }, CONTRIB)],
  ["FusedMatMul with a transposed weight", 0, layer("FusedMatMul", [5, 24], [16, 24], { transB: 1 }, CONTRIB)],
  ["FusedConv", 0, layer("FusedConv", [1, 4, 7, 7], [16, 4, 3, 3], { activation: "Relu" }, CONTRIB)],
  ["FusedGemm", 0, layer("FusedGemm", [5, 24], [16, 24], { transB: 1, activation: "Relu" }, CONTRIB)],
  [
    "Attention",
    1,
    withBias(layer("Attention", [2, 5, 16], [16, 48], { num_heads: 4 }, { ...CONTRIB, input: ["x", "w", "b"] }), 48),
  ],
];

function layer(
  opType: string,
  input: number[],
  weight: number[],
  attributes = {},
  rest: Partial<NodeSpec> = {},
): Omit<SmallModel, "opset"> {
  return {
    inputs: { x: input },
    outputs: ["y"],
    nodes: [{ opType, input: ["x", "w"], output: ["y"], attributes, ...rest }],
    initializers: [floats("w", weight)],
  };
}

function withBias(parts: Omit<SmallModel, "opset">, length: number): Omit<SmallModel, "opset"> {
  return { ...parts, initializers: [...(parts.initializers ?? []), floats("b", [length])] };
}

describe("quantizeWeights", () => {
  test.each(USERS)("stores the weight of %s with a scale for each output channel", async (_, axis, parts) => {
    const dims = Object.values(parts.inputs)[0] as number[];
    const feeds = { x: { dims, data: seededFloats(dims.reduce((a, b) => a * b, 1)) } };
    const [before = []] = await runModel(smallModel({ opset: 13, ...parts }).write(), feeds);
    const model = smallModel({ opset: 13, ...parts }).transform(quantizeWeights({ minElements: 1 }));
    const [node] = model.graph.nodes;
    expect(node?.opType).toBe("DequantizeLinear");
    expect(Number(node?.attribute[0]?.i)).toBe(axis);
    const scale = model.graph.constant(node?.input[1] ?? "");
    expect(scale?.dims).toEqual([parts.initializers?.[0]?.dims[axis]]);
    for (const options of [{}, FOLD]) {
      const [now = []] = await runModel(model.write(), feeds, options);
      // Each product is off by half a step, 1/254, at most.
      expect(largestDifference(before, now)).toBeLessThan((72 / 254) * 1.01);
      expect(largestDifference(before, now)).toBeGreaterThan(0);
    }
  });

  test("stores a table that is looked up and multiplied by once, with a scale for each row", async () => {
    const make = () =>
      smallModel({
        opset: 13,
        inputs: { x: [3] },
        outputs: ["y"],
        nodes: [
          { opType: "Cast", input: ["x"], output: ["i"], attributes: { to: 7 } },
          { opType: "Gather", input: ["w", "i"], output: ["e"] },
          { opType: "Transpose", input: ["w"], output: ["t"], attributes: { perm: [1, 0] } },
          { opType: "MatMul", input: ["e", "t"], output: ["y"] },
        ],
        initializers: [floats("w", [40, 64])],
      });
    const feeds = { x: { dims: [3], data: Float32Array.of(7, 0, 39) } };
    const [before = []] = await runModel(make().write(), feeds);
    const model = make().transform(quantizeWeights());
    expect(model.graph.nodes.filter((x) => x.opType === "DequantizeLinear")).toHaveLength(1);
    expect(model.graph.proto.initializer.find((x) => x.name.endsWith("scale"))?.dims).toEqual([40n]);
    const [now = []] = await runModel(model.write(), feeds);
    expect(decibels(before, now)).toBeGreaterThan(40);
  });

  test("stores both weights of an LSTM", async () => {
    const make = () =>
      smallModel({
        opset: 13,
        inputs: { x: [4, 2, 16] },
        outputs: ["y"],
        nodes: [{ opType: "LSTM", input: ["x", "w", "r"], output: ["y"], attributes: { hidden_size: 16 } }],
        initializers: [floats("w", [1, 64, 16]), floats("r", [1, 64, 16])],
      });
    const feeds = { x: { dims: [4, 2, 16], data: seededFloats(128) } };
    const [before = []] = await runModel(make().write(), feeds);
    const model = make().transform(quantizeWeights());
    const operators = ["Cast", "Cast", "DequantizeLinear", "DequantizeLinear", "LSTM"];
    expect(model.graph.nodes.map((x) => x.opType)).toEqual(operators);
    const [now = []] = await runModel(model.write(), feeds);
    expect(decibels(before, now)).toBeGreaterThan(35);
  });

  test("does not quantize small weights, biases and inputs", () => {
    const parts = layer("Conv", [1, 4, 7, 7], [16, 4, 3, 3]);
    const small = smallModel({ opset: 13, ...parts }).transform(quantizeWeights());
    expect(small.graph.nodes.map((x) => x.opType)).toEqual(["Conv"]);
    const given = smallModel({ opset: 13, ...parts, inputs: { ...parts.inputs, w: [16, 4, 3, 3] } });
    expect(given.transform(quantizeWeights({ minElements: 1 })).graph.nodes).toHaveLength(1);
  });

  test("stores a weight that two nodes share once", () => {
    const parts = layer("MatMul", [24, 24], [24, 24]);
    const nodes = [
      { opType: "MatMul", input: ["x", "w"], output: ["z"] },
      { opType: "MatMul", input: ["z", "w"], output: ["y"] },
    ];
    const model = smallModel({ opset: 13, ...parts, nodes }).transform(quantizeWeights({ minElements: 1 }));
    expect(model.graph.nodes.map((x) => x.opType)).toEqual(["DequantizeLinear", "MatMul", "MatMul"]);
    expect(model.graph.proto.initializer).toHaveLength(2);
  });

  test("skips a weight that two nodes read along different axes, or as something else", () => {
    const parts = layer("MatMul", [24, 24], [24, 24]);
    for (const second of [
      { opType: "Gemm", input: ["z", "w"], output: ["y"], attributes: { transB: 1 } },
      { opType: "Add", input: ["z", "w"], output: ["y"] },
    ]) {
      const nodes = [{ opType: "MatMul", input: ["x", "w"], output: ["z"] }, second];
      const model = smallModel({ opset: 13, ...parts, nodes }).transform(quantizeWeights({ minElements: 1 }));
      expect(model.graph.nodes).toHaveLength(2);
    }
  });

  test("stores a weight as the caller chooses", async () => {
    const parts = layer("Conv", [1, 4, 7, 7], [16, 4, 3, 3]);
    const make = (store: "float16" | "float32") =>
      smallModel({ opset: 13, ...parts }).transform(quantizeWeights({ minElements: 1, store: () => store }));
    expect(make("float32").graph.nodes.map((x) => x.opType)).toEqual(["Conv"]);
    expect(make("float16").graph.nodes.map((x) => x.opType)).toEqual(["Cast", "Conv"]);
    const feeds = { x: { dims: [1, 4, 7, 7], data: seededFloats(196) } };
    const [[before = []], [now = []]] = [
      await runModel(make("float32").write(), feeds),
      await runModel(make("float16").write(), feeds),
    ];
    expect(largestDifference(before, now)).toBeLessThan(36 / 2 ** 11);
  });

  test("keeps float32 where int8 and float16 cannot represent a weight", () => {
    for (const value of [Number.NaN, Infinity, 1e38]) {
      const parts = layer("MatMul", [24, 24], [24, 24]);
      const weight = seededFloats(576);
      weight[7] = value;
      const initializers = [floatTensor("w", [24, 24], weight)];
      const store = () => (value === 1e38 ? "float16" : "int8");
      const model = smallModel({ opset: 13, ...parts, initializers }).transform(
        quantizeWeights({ minElements: 1, store }),
      );
      expect(model.graph.nodes).toHaveLength(1);
    }
  });

  test("refuses an operator set without per-channel scales", () => {
    const model = smallModel({ opset: 12, ...layer("MatMul", [24, 24], [24, 24]) });
    expect(() => model.transform(quantizeWeights())).toThrow(/operator set 13, not 12/);
  });

  test.each(REAL_MODELS)("brings $name to less than half its bytes, and it runs", async ({ read, dims }) => {
    const store = (x: Parameters<typeof isStem>[0]) => (isDepthwise(x) || isStem(x) ? "float16" : "int8");
    const bytes = readModel(read())
      .transform(simplify(), quantizeWeights({ minElements: 256, store }))
      .write();
    expect(bytes.length).toBeLessThan(read().length / 2);
    const [values = []] = await runModel(
      bytes,
      { x: { dims, data: seededFloats(dims.reduce((a, b) => a * b, 1)) } },
      FOLD,
    );
    expect(values.every((x) => x >= 0 && x <= 1)).toBe(true);
  });
});

describe("quantizeInt8", () => {
  const finite = fc.float({ noNaN: true, noDefaultInfinity: true, max: 2 ** 100, min: -(2 ** 100) });

  test("is off by half a step at most, and uses the whole range", () => {
    const shaped = fc
      .tuple(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 4 }), fc.nat(2))
      .chain(([a, b, c, axis]) =>
        fc.record({
          dims: fc.constant([a, b, c]),
          axis: fc.constant(axis),
          values: fc.array(finite, { minLength: a * b * c, maxLength: a * b * c }),
        }),
      );
    fc.assert(
      fc.property(shaped, ({ dims, axis, values }) => {
        const weights = Float32Array.from(values);
        const { values: quantized, scales } = quantizeInt8(weights, dims, axis);
        const inner = dims.slice(axis + 1).reduce((x, y) => x * y, 1);
        const peaks = new Map<number, number>();
        for (const [i, weight] of weights.entries()) {
          const channel = Math.floor(i / inner) % (dims[axis] ?? 1);
          const scale = scales[channel] ?? Number.NaN;
          expect(Math.abs(weight - (quantized[i] ?? 0) * scale)).toBeLessThanOrEqual(scale * 0.50001);
          peaks.set(channel, Math.max(peaks.get(channel) ?? 0, Math.abs(quantized[i] ?? 0)));
        }
        for (const [channel, peak] of peaks) if ((scales[channel] ?? 0) > 2 ** -126) expect(peak).toBe(127);
      }),
      { numRuns: 1_000 },
    );
  });

  test("returns zeros for a channel of zeros", () => {
    const { values, scales } = quantizeInt8(new Float32Array(4), [2, 2], 0);
    expect([...values]).toEqual([0, 0, 0, 0]);
    expect(scales.every((x) => x > 0)).toBe(true);
  });
});

describe("float16Bits", () => {
  test.each([
    [0, 0x0000],
    [-0, 0x8000],
    [1, 0x3c00],
    [-2, 0xc000],
    [65_504, 0x7bff],
    [65_519.9, 0x7bff],
    [65_520, 0x7c00],
    [-Infinity, 0xfc00],
    [Number.NaN, 0x7e00],
    [2 ** -14, 0x0400],
    [2 ** -24, 0x0001],
    [2 ** -25, 0x0000],
    [2 ** -14 - 2 ** -25, 0x0400],
    [1 + 2 ** -11, 0x3c00],
    [1 + 3 * 2 ** -11, 0x3c02],
    [2 - 2 ** -12, 0x4000],
    [0.1, 0x2e66],
  ])("writes %d", (value, bits) => {
    expect(float16Bits(value)).toBe(bits);
  });

  test("is the nearest float16 to any value", () => {
    const value = (bits: number): number => {
      const exponent = (bits >> 10) & 31;
      const fraction = bits & 1023;
      return exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15);
    };
    fc.assert(
      fc.property(fc.double({ min: 0, max: 65_504, noNaN: true }), (x) => {
        const bits = float16Bits(x);
        for (const other of [bits - 1, bits + 1].filter((y) => y >= 0 && y < 0x7c00))
          expect(Math.abs(value(bits) - x)).toBeLessThanOrEqual(Math.abs(value(other) - x));
      }),
    );
  });
});

test("a small last layer is complete in every form: weights rounded for blocks are stored only in blocks", async () => {
  for (const [rows, columns] of [
    [10, 64],
    [40, 32],
    [10, 200],
  ] as const) {
    const parts = layer("Gemm", [1, columns], [rows, columns], { transB: 1 });
    const x = { dims: [1, columns], data: seededFloats(columns) };
    const [expected = []] = await runModel(smallModel({ opset: 13, ...parts }).write(), { x });
    const feeds = Array.from({ length: 8 }, (_, i) => ({ x: { ...x, data: seededFloats(columns, i + 1) } }));
    for (const form of formsFor(["webgpu", "wasm"])) {
      const model = smallModel({ opset: 13, ...parts });
      const samples = feeds.map(({ x: { data, dims } }) => ({ x: { dtype: "float32", dims, data } as const }));
      await form.make(model, samples);
      const [now = []] = await runModel(model.write(), { x });
      expect(decibels(expected, now), `${form.id} of ${rows} × ${columns}`).toBeGreaterThan(15);
    }
  }
});
