// The memory of a run by the graph alone: as the toolchain states it, for which ONNX Runtime infers the dims.
import { describe, expect, test } from "vitest";
import { JUDGED } from "../test-support/onnx/activation-models.ts";
import { heldOut } from "../test-support/onnx/held-out-models.ts";
import { KERNEL_MODELS } from "../test-support/onnx/kernel-models.ts";
import { modelOf } from "../test-support/onnx/onnx-graphs.ts";
import type { GraphSpec, ConstantValues } from "../test-support/onnx/onnx-graphs.ts";
import { runBytes } from "../compress/check/activation-bytes.ts";
import { readModel } from "../compress/onnx/model.ts";
import { runBytesOf } from "./run-bytes.ts";

const NO_SIZES = new Map<string, readonly number[]>();
const NONE = { webgpu: false, wasm: false };
const blob = (bytes: Uint8Array): Blob => new Blob([bytes as Uint8Array<ArrayBuffer>]);

/** Compares an estimate with the toolchain's. */
async function compare(bytes: Uint8Array, dims: Readonly<Record<string, readonly number[]>>): Promise<void> {
  expect(await runBytesOf(blob(bytes), NO_SIZES)).toEqual(await runBytes(readModel(bytes), dims, NONE));
}

const dimsOf = (inputs: Readonly<Record<string, ConstantValues>>): Record<string, readonly number[]> =>
  Object.fromEntries(Object.entries(inputs).map(([name, { dims }]) => [name, dims]));

describe("dims are those that ONNX Runtime infers", () => {
  // ONNX Runtime tells no dims of a scalar, which then counts as the largest input.
  const isScalar = (title: string): boolean => /^(Size|DynamicQuantizeLinear) /.test(title);
  for (const { title, bytes, inputs } of heldOut())
    test(title, async () => {
      if (isScalar(title)) {
        const { wasm = Number.NaN } = (await runBytesOf(blob(bytes), NO_SIZES)) ?? {};
        expect(wasm).toBeLessThan((await runBytes(readModel(bytes), dimsOf(inputs), NONE)).wasm);
      } else await compare(bytes, dimsOf(inputs));
    });

  for (const [name, { dims, make }] of Object.entries(JUDGED))
    test(name, async () => {
      await compare(make().write(), { x: dims });
    });

  for (const [name, spec] of Object.entries(KERNEL_MODELS))
    test(`${name}, of one row`, async () => {
      await compare(modelOf({ ...spec, isFree: true }).write(), { x: [1, ...spec.row] });
    });
});

const message = (...fields: readonly Uint8Array[]): Uint8Array => Buffer.concat(fields);
/** Encodes a field of a message: bytes, or a small number. */
const field = (number: number, value: Uint8Array | number): Uint8Array => {
  if (typeof value === "number") return Uint8Array.of(8 * number, value);
  const size = [0, 7, 14, 21].map((shift, i) => ((value.length >> shift) & 127) | (i < 3 ? 128 : 0));
  return message(Uint8Array.of(8 * number + 2, ...size), value);
};
const word = (value: string): Uint8Array => new TextEncoder().encode(value);

test("a list of 200,000 integers that are not packed is read in a moment", async () => {
  const constantOf = (count: number): Uint8Array => {
    const ones = new Uint8Array(2 * count).map((_, i) => (i % 2 === 0 ? 8 * 7 : 1));
    const tensor = message(field(1, count > 1 ? Uint8Array.of(0xc0, 0x9a, 0x0c) : 1), field(2, 7), ones);
    const attribute = message(field(1, word("value")), field(5, tensor));
    const node = message(field(2, word("y")), field(4, word("Constant")), field(5, attribute));
    return field(7, message(field(1, node), field(12, field(1, word("y")))));
  };
  for (const count of [1, 200_000])
    expect(await runBytesOf(blob(constantOf(count)), NO_SIZES)).toEqual({ wasm: 8 * count, webgpu: 8 * count });
});

const N = 4_000;
const number = (value: number): ConstantValues => ({ dtype: "float32", dims: [1], values: [value] });
/** A model whose middle value is computed from the shape of its input. */
const shaped = (dims: readonly number[], isFree: boolean): Uint8Array => {
  const ints = (...values: number[]): ConstantValues => ({ dtype: "int64", dims: [values.length], values });
  const spec: GraphSpec = {
    inputs: { x: { dtype: "float32", dims } },
    constants: { first: { dtype: "int64", dims: [], values: [0] }, rest: ints(-1), zero: ints(0), twice: ints(2) },
    outputs: ["y"],
    nodes: [
      { opType: "Shape", input: ["x"], output: ["shape"] },
      { opType: "Gather", input: ["shape", "first"], output: ["rows"] },
      { opType: "Unsqueeze", input: ["rows", "zero"], output: ["rows1"] },
      { opType: "Concat", input: ["rows1", "twice", "rest"], output: ["to"], attributes: { axis: 0 } },
      { opType: "Reshape", input: ["x", "to"], output: ["r"] },
      { opType: "Transpose", input: ["r"], output: ["t"], attributes: { perm: [0, 2, 1] } },
      { opType: "ReduceSum", input: ["t"], output: ["y"] },
    ],
    isFree,
  };
  return modelOf(spec).write();
};

test("shapes that are computed from shapes are followed, for one row", async () => {
  const [one, two] = [
    await runBytesOf(blob(shaped([1, N], false)), NO_SIZES),
    await runBytesOf(blob(shaped([2, N], true)), NO_SIZES),
  ];
  expect(one).toEqual(two);
  expect(one?.wasm).toBe(2 * 4 * N + 4 * N + 4 + 4);
  await compare(shaped([2, N], false), { x: [2, N] });
});

test("a size that is given counts, and one that is not known leaves the run uncounted", async () => {
  const model = modelOf({
    inputs: { x: { dtype: "float32", dims: [1, 3, 8, 8] } },
    outputs: ["y"],
    nodes: [{ opType: "Transpose", input: ["x"], output: ["y"] }],
  });
  const [input] = model.graph.proto.input;
  const shape = input?.type?.value.case === "tensorType" ? input.type.value.value.shape : undefined;
  for (const [i, dim] of (shape?.dim ?? []).entries()) if (i > 1) dim.value = { case: "dimParam", value: `size${i}` };
  const file = blob(model.write());
  expect(await runBytesOf(file, NO_SIZES)).toBeNull();
  expect((await runBytesOf(file, new Map([["x", [1, 3, 100, 100]]])))?.wasm).toBe(4 * 30_000 * 4);
});

test("an open number of tokens is that of a text", async () => {
  const model = modelOf({
    inputs: { x: { dtype: "int64", dims: [2, 128] } },
    constants: { table: { dtype: "float32", dims: [10, 64] } },
    outputs: ["y"],
    nodes: [{ opType: "Gather", input: ["table", "x"], output: ["y"] }],
    isFree: true,
  });
  const [input] = model.graph.proto.input;
  const shape = input?.type?.value.case === "tensorType" ? input.type.value.value.shape : undefined;
  const [, tokens] = shape?.dim ?? [];
  if (tokens !== undefined) tokens.value = { case: "dimParam", value: "tokens" };
  const estimate = await runBytesOf(blob(model.write()), NO_SIZES);
  expect(estimate).toEqual(await runBytes(model, { x: [1, 128] }, NONE));
});

test("a file that is no model, or cut, has no run", async () => {
  const bytes = shaped([1, N], false);
  expect(await runBytesOf(blob(Uint8Array.of(1, 2, 3)), NO_SIZES)).toBeNull();
  for (const share of [0.2, 0.5, 0.9])
    expect(await runBytesOf(blob(bytes.subarray(0, share * bytes.length)), NO_SIZES)).toBeNull();
});

test("a slice with a step of 0, and dims that double with each node, end in no dims", async () => {
  const ints = (...values: number[]): ConstantValues => ({ dtype: "int64", dims: [values.length], values });
  const spec = { inputs: { x: { dtype: "float32", dims: [1, N] } }, outputs: ["y"], isFree: true } as const;
  const last = { opType: "Reshape", input: ["x", "to"], output: ["y"] };
  const constants = { list: ints(1, 2, 3), from: ints(2), end: ints(0), zero: ints(0), tiny: number(-1e-30) };
  for (const step of ["zero", "tiny"]) {
    const slice = { opType: "Slice", input: ["list", "from", "end", "zero", step], output: ["to"] };
    const bytes = modelOf({ ...spec, constants, nodes: [slice, last] }).write();
    expect(await runBytesOf(blob(bytes), NO_SIZES)).toEqual({ wasm: 2 * 4 * N, webgpu: 2 * 4 * N });
  }
  const doubled = Array.from({ length: 40 }, (_, i) => {
    const input = i === 0 ? "x" : `v${i - 1}`;
    return { opType: "Gather", input: [input, input], output: [i === 39 ? "y" : `v${i}`] };
  });
  expect(await runBytesOf(blob(modelOf({ ...spec, nodes: doubled }).write()), NO_SIZES)).not.toBeNull();
});

test("sizes that exceed all numbers leave the run uncounted", async () => {
  const dims = Array.from({ length: 40 }, () => 2 ** 31 - 1);
  const nodes = Array.from({ length: 20 }, (_, i) => {
    const turn = { opType: "Transpose", input: [i === 0 ? "x" : `v${i - 1}`], output: [i === 19 ? "y" : `v${i}`] };
    return { ...turn, attributes: { perm: [...dims.keys()] } };
  });
  const spec = { inputs: { x: { dtype: "float32", dims } }, outputs: ["y"], nodes } as const;
  expect(await runBytesOf(blob(modelOf(spec).write()), NO_SIZES)).toBeNull();
});

test("scales are those of the axes that are named", async () => {
  const resize = (axes: readonly number[] | undefined, ...scales: number[]): Uint8Array =>
    modelOf({
      inputs: { x: { dtype: "float32", dims: [1, 8, 10, 10] } },
      constants: {
        scales: { dtype: "float32", dims: [scales.length], values: scales },
        w: { dtype: "float32", dims: [4, 8, 1, 1] },
      },
      outputs: ["y"],
      nodes: [
        {
          ...{ opType: "Resize", input: ["x", "", "scales"], output: ["r"] },
          attributes: axes === undefined ? {} : { axes: [...axes] },
        },
        { opType: "Conv", input: ["r", "w"], output: ["c"] },
        { opType: "ReduceSum", input: ["c"], output: ["y"] },
      ],
      opset: 18,
    }).write();
  const all = await runBytesOf(blob(resize(undefined, 1, 1, 2, 3)), NO_SIZES);
  expect(all?.wasm).toBe(2 * 4 * 800 + 4 * 800 * 6 + 4 * 400 * 6 + 4);
  expect(await runBytesOf(blob(resize([2, 3], 2, 3)), NO_SIZES)).toEqual(all);
  expect(await runBytesOf(blob(resize([-1, 2], 3, 2)), NO_SIZES)).toEqual(all);
});
