// Predicted memory against peaks that were measured: loads of 50.3 and 201 MB of float32 weights from loopback in
// Chromium 156, ONNX Runtime Web 1.30, JSPI build; for float16 the WebAssembly memory alone is known.
import { expect, test } from "vitest";
import { modelOf } from "../../test-support/onnx/onnx-graphs.ts";
import type { OnnxModel } from "../onnx/model.ts";
import { setDims } from "../simplify/set-dims.ts";
import { describeMemory, describeRun } from "./describe-memory.ts";

const N = 256;

/** A stack of products with weights of a type, cast to float32 where they are not. */
function stack(dtype: "float32" | "float16" | "int8", layers: number): OnnxModel {
  const constants: Record<string, { dtype: typeof dtype; dims: number[] }> = {};
  const nodes = Array.from({ length: layers }, (_, i) => {
    constants[`w${i}`] = { dtype, dims: [N, N] };
    const x = i === 0 ? "x" : `h${i - 1}`;
    const cast = { opType: "Cast", input: [`w${i}`], output: [`c${i}`], attributes: { to: 1 } };
    const product = { opType: "MatMul", input: [x, dtype === "float32" ? `w${i}` : `c${i}`], output: [`h${i}`] };
    return dtype === "float32" ? [product] : [cast, product];
  }).flat();
  const inputs = { x: { dtype: "float32", dims: [1, N] } } as const;
  return modelOf({ inputs, constants, outputs: [`h${layers - 1}`], nodes });
}

test.each([
  ["float32", 50.3e6, 131e6, 4],
  ["float32", 201e6, 346e6, 4],
  ["float16", 50.3e6, 150.5e6, 2],
] as const)("%s: the prediction is within 1.3 of the measured memory", (dtype, bytes, measuredBytes, size) => {
  const layers = 2;
  const weights = layers * N * N * size;
  const small = describeMemory(stack(dtype, layers), 0, weights).memoryBytes?.wasm ?? 0;
  const none = describeMemory(stack(dtype, layers), 0, 0).memoryBytes?.wasm ?? 0;
  const predicted = none + ((small - none) / weights) * bytes;
  expect(predicted / measuredBytes).toBeGreaterThan(1 / 1.3);
  expect(predicted / measuredBytes).toBeLessThan(1.3);
});

/** A stack of products with int8 weights behind DequantizeLinear, as the toolchain and exporters write them. */
function dequantized(layers: number): OnnxModel {
  const constants = Object.fromEntries(
    Array.from({ length: layers }, (_, i) => [
      [`q${i}`, { dtype: "int8" as const, dims: [N, N] }],
      [`s${i}`, { dtype: "float32" as const, dims: [N] }],
    ]).flat() as [string, { dtype: "int8" | "float32"; dims: number[] }][],
  );
  const nodes = Array.from({ length: layers }, (_, i) => [
    { opType: "DequantizeLinear", input: [`q${i}`, `s${i}`], output: [`w${i}`], attributes: { axis: 1 } },
    { opType: "MatMul", input: [i === 0 ? "x" : `h${i - 1}`, `w${i}`], output: [`h${i}`] },
  ]).flat();
  const inputs = { x: { dtype: "float32", dims: [1, N] } } as const;
  return modelOf({ inputs, constants, outputs: [`h${layers - 1}`], nodes });
}

test("weights of 8 bits count as stored, and as float32 on a GPU whose session expands them while loading", () => {
  const layers = 2;
  const weights = layers * N * N;
  const stored = describeMemory(dequantized(layers), 0, weights);
  expect(stored.tensorBytes).toBe(N * N);
  expect(stored.memoryBytes?.wasm).toBe(Math.round(50e6 + 1.2 * weights));
  expect(stored.memoryBytes?.webgpu).toBe(Math.round(75e6 + 1.1 * weights + layers * 4 * N));
  const session = { webgpu: { "session.disable_quant_qdq": "1" } };
  const expanded = describeMemory(dequantized(layers), 0, weights, session);
  expect(expanded.tensorBytes).toBe(4 * N * N);
  expect(expanded.memoryBytes?.wasm).toBe(Math.round(50e6 + 1.2 * weights));
  expect(expanded.memoryBytes?.webgpu).toBe(Math.round(75e6 + 4.1 * weights));
});

// 12 products of 2,048 × 2,048: a file of 50.4 MB, whose WebAssembly memory grew to 356.5 MB.
test("weights of 8 bits that the session expands while loading count as float32 too: within 1.3 of the measured", () => {
  const layers = 2;
  const weights = layers * N * N;
  const session = { wasm: { "session.disable_quant_qdq": "1" } };
  const { memoryBytes } = describeMemory(dequantized(layers), 0, weights, session);
  const predicted = 50e6 + (((memoryBytes?.wasm ?? 0) - 50e6) / weights) * 50.4e6;
  expect(predicted / 356.5e6).toBeGreaterThan(1 / 1.3);
  expect(predicted / 356.5e6).toBeLessThan(1.3);
});

test("a run is predicted for one item of typical sizes, and for likely ones where none are stated", async () => {
  const node = (input: string, output: string) => ({ opType: "Transpose", input: [input], output: [output] });
  const nodes = [node("x", "a"), node("a", "b"), { opType: "ReduceSum", input: ["b"], output: ["y"] }];
  const model = modelOf({ inputs: { x: { dtype: "float32", dims: [2, 7] } }, outputs: ["y"], nodes, isFree: true });
  const port = { name: "x", dtype: "float32", batchAxis: 0 } as const;
  model.transform(setDims({ x: ["n", "length"] }));
  const inputs = [{ ...port, dims: ["n", "length"] }];
  const of = async (exampleDims?: Record<string, number>): Promise<number | undefined> =>
    (await describeRun(model, { inputs, ...(exampleDims && { exampleDims }) })).activationBytes?.wasm;
  expect(await of({ n: 8, length: 100 })).toBe(4 * 4 * 100 + 4);
  expect(await of()).toBe(4 * 4 * 32 + 4);
  expect(await describeRun(stack("float32", 1), { inputs: [{ ...port, dims: [1, 100] }] })).toEqual({});
});
