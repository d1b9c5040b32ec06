import { expect, test } from "vitest";
import { mergedDecoder, seededFloats, smallModel } from "../../test-support/compress/fixtures.ts";
import { formsFor } from "../forms/forms.ts";
import { float16Tensor, floatTensor, uint8Tensor } from "../onnx/tensor-proto.ts";
import { weightWidths, wideShare } from "./weight-widths.ts";

const model = () =>
  smallModel({
    opset: 13,
    inputs: { x: ["n", 64] },
    outputs: ["y"],
    nodes: [
      { opType: "MatMul", input: ["x", "a"], output: ["h"] },
      { opType: "Add", input: ["h", "bias"], output: ["r"] },
      { opType: "MatMul", input: ["r", "b"], output: ["y"] },
    ],
    initializers: [
      floatTensor("a", [64, 96], seededFloats(64 * 96, 3)),
      floatTensor("bias", [96], seededFloats(96, 4)),
      floatTensor("b", [96, 32], seededFloats(96 * 32, 5)),
    ],
  });

test.each([
  ["f32", { 4: 0, 8: 0, 16: 0, 32: 1 }],
  ["int8", { 4: 0, 8: 1, 16: 0, 32: 0 }],
  ["int4", { 4: 1, 8: 0, 16: 0, 32: 0 }],
] as const)("the weights of %s are counted by the bits that they are stored in, without scales", async (id, widths) => {
  const made = model();
  await formsFor(["webgpu", "wasm"])
    .find((x) => x.id === id)
    ?.make(made, [], { isSynthetic: true });
  expect(weightWidths(made)).toEqual(widths);
});

test("weights left in 16 bits are counted as such, as float16 or as two bytes", async () => {
  const made = model();
  const isLeft = (name: string): boolean => name === "b";
  await formsFor(["wasm"])
    .find((x) => x.id === "int8")
    ?.make(made, [], { isSynthetic: true, isLeft });
  expect(wideShare(weightWidths(made))).toBeCloseTo(1 / 3, 9);
  const half = model();
  half.graph.proto.initializer = half.graph.proto.initializer.map((x) =>
    x.name === "b" ? float16Tensor("b", [96, 32], new Uint16Array(96 * 32)) : x,
  );
  half.graph.changed();
  expect(weightWidths(half)[16]).toBeCloseTo(1 / 3, 9);
});

test("weights in 4 bits that only branches read are counted as such", async () => {
  const made = mergedDecoder(64, 64);
  await formsFor(["webgpu"])
    .find((x) => x.id === "int4")
    ?.make(made, [], { isSynthetic: true });
  // The table keeps 8 bits: it is looked up.
  expect(weightWidths(made)).toEqual({ 4: 0.5, 8: 0.5, 16: 0, 32: 0 });
});

/** A model of one layer whose inputs are, in order, values and constants: a float, bytes, or a list of bytes. */
function layerOf(opType: string, inputs: readonly string[], attributes: Readonly<Record<string, number>> = {}) {
  const tensorOf = (kind: string, name: string) => {
    if (kind === "bytes") return uint8Tensor(name, [32, 32], new Uint8Array(1024));
    if (kind === "list") return uint8Tensor(name, [1024], new Uint8Array(1024));
    return floatTensor(name, [16, 32], seededFloats(512, 3));
  };
  const names = inputs.map((kind, i) => (kind === "" || kind === "x" ? kind : `c${i}`));
  return smallModel({
    opset: 13,
    inputs: { x: ["n", 32] },
    outputs: ["y"],
    nodes: [{ opType, domain: "com.microsoft", input: names, output: ["y"], attributes }],
    initializers: inputs.flatMap((kind, i) => (kind === "" || kind === "x" ? [] : [tensorOf(kind, names[i] ?? "")])),
  });
}

const matrix = ["x", "x", "bytes", "float", "", "bytes", "float", "", "", "", "", "bytes", "bytes"];
test.each([
  ["GatherND", ["bytes", "x"], {}, 8],
  ["GatherElements", ["bytes", "x"], {}, 8],
  ["QGemm", ["x", "float", "bytes", "bytes", "float", "bytes", "", "float", "bytes"], {}, 8],
  ["DynamicQuantizeLSTM", ["x", "bytes", "bytes", "float", "", "float", "", "", "float", "bytes", "float"], {}, 8],
  [
    "QEmbedLayerNormalization",
    ["x", "x", "bytes", "bytes", "bytes", "float", "float", "", "float", "float", "float"],
    {},
    8,
  ],
  ["QMoE", matrix, {}, 4],
  ["QMoE", matrix, { expert_weight_bits: 8 }, 8],
  ["MoE", ["x", "x", "bytes", "", "bytes"], {}, 8],
  ["MatMulBnb4", ["x", "list", "float"], {}, 4],
  ["QLinearMatMul", ["x", "float", "bytes", "bytes", "float", "bytes", "float", "bytes"], {}, 8],
  ["LSTM", ["x", "bytes", "bytes", "float", "", "float"], {}, 8],
] as const)("weights of %s count by their bits, its scales, biases and states do not", (opType, inputs, more, bits) => {
  expect(weightWidths(layerOf(opType, inputs, more))).toMatchObject({ [bits]: 1 });
});
