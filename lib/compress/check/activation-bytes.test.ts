// Bytes of a run by the graph alone: what is held at once, and what shares a buffer.
import { expect, test } from "vitest";
import { modelOf } from "../../test-support/onnx/onnx-graphs.ts";
import type { GraphSpec } from "../../test-support/onnx/onnx-graphs.ts";
import { runBytes } from "./activation-bytes.ts";

const N = 1_000;
const VALUE = 4 * N;
const NONE = { webgpu: false, wasm: false };
const FOLDS = { webgpu: true, wasm: true };
type Nodes = GraphSpec["nodes"];

/** Bytes of a run of nodes from x to y, without those of the ends. */
async function held(
  nodes: Nodes,
  size = N,
  constants: GraphSpec["constants"] = {},
): Promise<{ wasm: number; webgpu: number }> {
  const inputs = { x: { dtype: "float32", dims: [1, size] } } as const;
  const model = modelOf({ inputs, constants, outputs: ["y"], nodes });
  const ends = 2 * 4 * size + 4;
  const { wasm, webgpu } = await runBytes(model, { x: [1, size] }, NONE);
  return { wasm: wasm - ends, webgpu: webgpu - ends };
}

/** The sum of a value, so that the output is one number. */
const sum = (input: string): Nodes[number] => ({ opType: "ReduceSum", input: [input], output: ["y"] });
const turn = (input: string, output: string): Nodes[number] => ({
  opType: "Transpose",
  input: [input],
  output: [output],
});

test("a chain holds two values at once, however long it is", async () => {
  const chain = (length: number): Nodes => [
    ...Array.from({ length }, (_, i) => turn(i === 0 ? "x" : `v${i - 1}`, `v${i}`)),
    sum(`v${length - 1}`),
  ];
  expect((await held(chain(2))).wasm).toBe(2 * VALUE);
  expect((await held(chain(9))).wasm).toBe(2 * VALUE);
});

test("a value that is used late is held until then", async () => {
  const nodes: Nodes = [
    turn("x", "skip"),
    turn("skip", "a"),
    turn("a", "b"),
    { opType: "Add", input: ["b", "skip"], output: ["c"] },
    sum("c"),
  ];
  expect((await held(nodes)).wasm).toBe(3 * VALUE);
});

test("elementwise operators write over their input in WebAssembly, and other views take nothing anywhere", async () => {
  const shape = { dtype: "int64", dims: [2], values: [10, N / 10] } as const;
  const view: Nodes = [
    turn("x", "a"),
    { opType: "Reshape", input: ["a", "shape"], output: ["b"] },
    { opType: "Reshape", input: ["b", "shape"], output: ["c"] },
    sum("c"),
  ];
  const viewed = await held(view, N, { shape });
  expect(viewed.wasm).toBe(VALUE + 4);
  expect(viewed.webgpu).toBe(4_096 + 64);
  const elementwise: Nodes = [turn("x", "a"), { opType: "Erf", input: ["a"], output: ["b"] }, sum("b")];
  expect((await held(elementwise)).wasm).toBe(VALUE + 4);
  expect((await held(elementwise)).webgpu).toBe(2 * 4_096 + 64);
});

test("buffers on a GPU have the sizes of buckets, and are kept", async () => {
  const size = 3_000_000; // 12.0 MB: the next bucket is the one of 12.6 MB
  const { webgpu } = await held([turn("x", "a"), turn("a", "b"), turn("b", "c"), sum("c")], size);
  expect(webgpu).toBe(2 * 12_582_912 + 64);
});

test("float16 takes two bytes on a GPU, and four in WebAssembly, which computes it in float32", async () => {
  const inputs = { x: { dtype: "float16", dims: [1, 1_024] } } as const;
  const nodes: Nodes = [turn("x", "a"), turn("a", "b"), sum("b")];
  const { wasm, webgpu } = await runBytes(modelOf({ inputs, outputs: ["y"], nodes }), { x: [1, 1_024] }, NONE);
  expect(wasm).toBe(2 * 4_096 + 2 * 4_096 + 4);
  expect(webgpu).toBe(2 * 2_048 + 64 + 2 * 2_048 + 2);
});

test("weights count as none of it, what is computed from them while loading neither", async () => {
  const constants = {
    q: { dtype: "int8", dims: [N, 8] },
    s: { dtype: "float32", dims: [1], values: [0.1] },
  } as const;
  const inputs = { x: { dtype: "float32", dims: [1, N] } } as const;
  const nodes: Nodes = [
    { opType: "DequantizeLinear", input: ["q", "s"], output: ["w"] },
    { opType: "MatMul", input: ["x", "w"], output: ["y"] },
  ];
  const model = modelOf({ inputs, constants, outputs: ["y"], nodes });
  const ends = 2 * 4 * N + 4 * 8;
  expect((await runBytes(model, { x: [1, N] }, FOLDS)).wasm).toBe(ends + 4 * 8);
  expect((await runBytes(model, { x: [1, N] }, NONE)).wasm).toBe(ends + 4 * 8 + 8 * VALUE);
});

test("sizes that depend on data are taken to be those of the largest input", async () => {
  const nodes: Nodes = [
    { opType: "NonZero", input: ["x"], output: ["at"] },
    { opType: "Cast", input: ["at"], output: ["numbers"], attributes: { to: 1 } },
    sum("numbers"),
  ];
  expect((await held(nodes)).wasm).toBe(2 * VALUE);
});

test("inputs of open sizes take the given ones", async () => {
  const inputs = { x: { dtype: "float32", dims: [2, N] } } as const;
  const model = modelOf({ inputs, outputs: ["y"], nodes: [turn("x", "a"), turn("a", "b"), sum("b")], isFree: true });
  const [one, three] = [await runBytes(model, { x: [1, N] }, NONE), await runBytes(model, { x: [3, N] }, NONE)];
  expect([one.wasm - 4, three.wasm - 4]).toEqual([4 * VALUE, 12 * VALUE]);
});
