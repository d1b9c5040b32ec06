import fc from "fast-check";
import { expect, test } from "vitest";
import type { Bundle, BundleInput } from "../../core/bundle.ts";
import type { Tensor } from "../../core/tensor.ts";
import { TensorProto_DataType } from "../onnx/onnx.gen.js";
import { floatTensor, int64Tensor, int8Tensor } from "../onnx/tensor-proto.ts";
import { smallModel } from "../../test-support/compress/fixtures.ts";
import { floorsOf } from "../../core/tolerances.ts";
import { readTensors } from "../../core/read-tensors.ts";
import { makeGolden, withGolden } from "./golden.ts";
import type { PackVariant } from "./pack.ts";
import { writeSafetensors } from "./safetensors.ts";

function readHeader(bytes: Uint8Array): { header: unknown; data: Uint8Array } {
  const length = Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true));
  const header: unknown = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length)));
  return { header, data: bytes.subarray(8 + length) };
}

test("tensors are written as safetensors lays them out, values on borders of 8 bytes", () => {
  const bytes = writeSafetensors({
    a: { dtype: "float32", dims: [2], data: Float32Array.of(1, 2) },
    b: { dtype: "int64", dims: [1, 1], data: BigInt64Array.of(7n) },
  });
  const { header, data } = readHeader(bytes ?? new Uint8Array(8));
  expect(header).toEqual({
    b: { dtype: "I64", shape: [1, 1], data_offsets: [0, 8] },
    a: { dtype: "F32", shape: [2], data_offsets: [8, 16] },
  });
  expect(data.byteOffset % 8).toBe(0);
  expect(new Float32Array(data.slice(8, 16).buffer)).toEqual(Float32Array.of(1, 2));
  expect(writeSafetensors({ t: { dtype: "string", dims: [1], data: ["x"] } })).toBeNull();
});

test("each tensor is aligned to its element size, in any order of types (tool-safetensors)", () => {
  const made = fc.constantFrom<(length: number) => Tensor>(
    (n) => ({ dtype: "float64", dims: [n], data: new Float64Array(n).fill(0.5) }),
    (n) => ({ dtype: "int64", dims: [n], data: new BigInt64Array(n).fill(3n) }),
    (n) => ({ dtype: "float32", dims: [n], data: new Float32Array(n).fill(0.25) }),
    (n) => ({ dtype: "int16", dims: [n], data: new Int16Array(n).fill(-2) }),
    (n) => ({ dtype: "uint8", dims: [n], data: new Uint8Array(n).fill(9) }),
  );
  fc.assert(
    fc.property(fc.array(fc.tuple(made, fc.nat(5)), { minLength: 1, maxLength: 8 }), (list) => {
      const tensors = Object.fromEntries(list.map(([make, length], i) => [`t${i}`, make(length)]));
      const { header, data } = readHeader(writeSafetensors(tensors) ?? new Uint8Array(8));
      const entries = Object.entries(header as Record<string, { data_offsets: [number, number] }>);
      expect(entries.map(([name]) => name).sort()).toEqual(Object.keys(tensors).sort());
      let end = 0;
      for (const [name, { data_offsets: offsets }] of entries) {
        const values = tensors[name]?.data as Float32Array<ArrayBuffer>;
        expect(offsets[0], "no gap").toBe(end);
        expect((data.byteOffset + offsets[0]) % values.BYTES_PER_ELEMENT, name).toBe(0);
        expect(data.slice(...offsets)).toEqual(new Uint8Array(values.buffer));
        end = offsets[1];
      }
      expect(end).toBe(data.length);
    }),
  );
});

test("a tensor whose name the format keeps for itself is refused; __proto__ is a name (tool-safetensors)", () => {
  const tensor: Tensor = { dtype: "uint8", dims: [1], data: Uint8Array.of(1) };
  expect(() => writeSafetensors({ a: tensor, ["__metadata__"]: tensor })).toThrow(
    /the name "__metadata__" is reserved/,
  );
  const bytes = writeSafetensors(Object.fromEntries([["__proto__", tensor]]));
  expect(Object.keys(readHeader(bytes ?? new Uint8Array(8)).header as object)).toEqual(["__proto__"]);
});

test("a variant's golden output is its output for the golden input", async () => {
  const model = smallModel({
    opset: 17,
    inputs: { x: [2] },
    outputs: ["y"],
    nodes: [{ opType: "Neg", input: ["x"], output: ["y"] }],
  });
  const golden = await makeGolden(model.write(), undefined, {
    x: { dtype: "float32", dims: [2], data: Float32Array.of(1, -2) },
  });
  const { header, data } = readHeader(golden?.outputs.bytes ?? new Uint8Array(8));
  const floors = expect.objectContaining({ y: expect.stringMatching(/^0\.000\d+$/) as string }) as object;
  expect(header).toEqual({ __metadata__: floors, y: { dtype: "F32", shape: [2], data_offsets: [0, 8] } });
  expect(new Float32Array(data.slice().buffer)).toEqual(Float32Array.of(-1, 2));
});

test("a second step that the model refuses leaves the golden of the first", async () => {
  const model = smallModel({
    opset: 17,
    inputs: { x: ["n", 2], state: ["n", 2] },
    outputs: ["next"],
    nodes: [{ opType: "Concat", input: ["x", "state"], output: ["next"], attributes: { axis: 1 } }],
  });
  const two: Tensor = { dtype: "float32", dims: [1, 2], data: Float32Array.of(1, -2) };
  const golden = await makeGolden(model.write(), undefined, { x: two, state: two }, { states: { next: "state" } });
  expect(golden?.outputs.bytes.length).toBeGreaterThan(8);
  expect(golden?.next).toBeUndefined();
});

/** A model with y = max(x − 1, 0) on [n, 2]. */
function gated(): { bytes: Uint8Array<ArrayBuffer>; input: BundleInput } {
  const model = smallModel({
    opset: 17,
    inputs: { x: ["n", 2] },
    outputs: ["y"],
    initializers: [floatTensor("one", [1], Float32Array.of(1))],
    nodes: [
      { opType: "Sub", input: ["x", "one"], output: ["less"] },
      { opType: "Relu", input: ["less"], output: ["y"] },
    ],
  });
  return { bytes: model.write(), input: { name: "x", dtype: "float32", dims: ["n", 2], batchAxis: 0 } };
}

const outputs = (...values: number[]): Readonly<Record<string, Tensor>> => ({
  y: { dtype: "float32", dims: [values.length], data: Float32Array.from(values) },
});

test("an output's absolute tolerance is that of its usual values, whatever its largest or a mask is (tool-golden)", () => {
  const usual = [0.5, -1, 0.25, 2, -0.125];
  const rounded = (x: number, i: number): number => x * (1 + (i % 2 === 0 ? 1e-6 : -1e-6));
  const alone = floorsOf(outputs(...usual), outputs(...usual.map(rounded)))["y"] ?? 0;
  expect(alone).toBeGreaterThan(1e-5);
  expect(alone).toBeLessThan(1e-3);
  for (const outlier of [1e6, -3.4e38]) {
    const all = [...usual, outlier];
    const floor = floorsOf(outputs(...all), outputs(...all.map(rounded)))["y"] ?? 0;
    expect(floor / alone).toBeLessThan(3);
  }
});

test("it is at most a thousandth of the largest value, and absent where the inputs change nothing (tool-golden)", () => {
  expect(floorsOf(outputs(3, 4), outputs(3.5, 3))["y"]).toBeCloseTo(4e-3, 9);
  expect(floorsOf(outputs(3, 4), outputs(3, 4))).toEqual({});
});

test("a detector that sees nothing in noise gets a louder golden (tool-golden)", async () => {
  const { bytes } = gated();
  const x: Tensor = { dtype: "float32", dims: [1, 2], data: Float32Array.of(0.5, 0.25) };
  const golden = await makeGolden(bytes, undefined, { x });
  const inputs = readHeader(golden?.inputs.bytes ?? new Uint8Array(8)).data;
  const outputs = readHeader(golden?.outputs.bytes ?? new Uint8Array(8)).data;
  expect(new Float32Array(inputs.slice().buffer)).toEqual(Float32Array.of(4, 2));
  expect(new Float32Array(outputs.slice().buffer)).toEqual(Float32Array.of(3, 1));
});

test("a variant gets a golden of its usual sizes, or of smaller ones where those are too large (tool-golden)", async () => {
  const { bytes, input } = gated();
  const of = async (n: number): Promise<unknown> => {
    const variant = { id: "f32", needs: [], files: [{ path: "m.onnx", bytes, isModel: true }] };
    const { golden } = await withGolden(variant, { inputs: [input], outputs: [] }, { n });
    return (readHeader(golden?.inputs.bytes ?? new Uint8Array(8)).header as { x: { shape: unknown } }).x.shape;
  };
  expect([await of(5), await of(2 ** 20)]).toEqual([
    [5, 2],
    [64, 2],
  ]);
});

test("a variant that gets no golden is returned as it was, with the reason", async () => {
  const whys: string[] = [];
  const large = smallModel({
    opset: 17,
    inputs: { x: [1] },
    outputs: ["y"],
    nodes: [{ opType: "Expand", input: ["x", "shape"], output: ["y"] }],
    initializers: [int64Tensor("shape", [1], [2 ** 19])],
  });
  const never = smallModel({
    opset: 17,
    inputs: { x: [2] },
    outputs: ["y"],
    nodes: [{ opType: "Gather", input: ["x", "far"], output: ["y"] }],
    initializers: [int64Tensor("far", [1], [7])],
  });
  for (const [model, dims] of [
    [large, [1]],
    [never, [2]],
  ] as const) {
    const variant = { id: "f32", needs: [], files: [{ path: "m.onnx", bytes: model.write(), isModel: true }] };
    const input = { name: "x", dtype: "float32", dims, batchAxis: null } as const;
    expect(await withGolden(variant, { inputs: [input], outputs: [] }, {}, (x) => whys.push(x))).toBe(variant);
  }
  expect(whys).toEqual([
    "an input or output holds text, or is larger than 1 MiB",
    expect.stringMatching(/^it does not run on synthetic inputs \(.*Gather/s),
  ]);
});

/** Returns the inputs of each run of a golden as numbers, by name. */
function inputsOf(golden: PackVariant["golden"]): Record<string, number[]>[] {
  return [golden, ...(golden?.next ?? [])].map((run) => {
    const { header, data } = readHeader(run?.inputs.bytes ?? new Uint8Array(8));
    const entries = Object.entries(header as Record<string, { data_offsets: [number, number] }>);
    return Object.fromEntries(
      entries.map(([name, { data_offsets: range }]) => [name, [...new Float32Array(data.slice(...range).buffer)]]),
    );
  });
}

test("the golden of a model with a state is two steps, the second without the state that the first left (tool-golden)", async () => {
  const model = smallModel({
    opset: 17,
    inputs: { x: [1, 2], s: [1, 2] },
    outputs: ["y", "n"],
    nodes: [
      { opType: "Add", input: ["x", "s"], output: ["y"] },
      { opType: "Mul", input: ["y", "y"], output: ["n"] },
    ],
  });
  const row = (...values: number[]): Tensor => ({ dtype: "float32", dims: [1, 2], data: Float32Array.from(values) });
  const golden = await makeGolden(model.write(), undefined, { x: row(1, 2), s: row(0.5, -1) }, { states: { n: "s" } });
  expect(inputsOf(golden)).toEqual([{ x: [1, 2], s: [0.5, -1] }, { x: [1, 2] }]);
  const { data } = readHeader(golden?.next?.[0]?.outputs.bytes ?? new Uint8Array(8));
  expect([...new Float32Array(data.slice().buffer)]).toEqual([3.25, 3, 3.25 ** 2, 9]); // s = (2.25, 1)
});

test("the golden of a float16 variant has a run with inputs as large as the samples' largest (tool-golden)", async () => {
  const { bytes, input } = gated();
  const variant = { id: "f16", needs: ["shader-f16"], files: [{ path: "m.onnx", bytes, isModel: true }] };
  const model = { inputs: [input], outputs: [] };
  const largest = async (baseline?: Bundle["model"]["baseline"]): Promise<number[]> => {
    const { golden } = await withGolden(variant, { ...model, baseline }, { n: 3 });
    return inputsOf(golden).map(({ x = [] }) => Math.max(...x.map(Math.abs)));
  };
  const [usual, large] = await largest({ x: { min: -700, max: 300 } });
  expect(usual).toBeLessThan(100);
  expect(large).toBeCloseTo(700, 2);
  const { golden } = await withGolden({ ...variant, needs: [] }, model, { n: 3 });
  expect(golden?.next).toBeUndefined();
});

test("the golden of weights behind DequantizeLinear is computed in float32, as browsers do (tool-golden)", async () => {
  const [rows, columns] = [23, 7];
  const weights = Int8Array.from({ length: rows * columns }, (_, i) => ((i * 29) % 255) - 127);
  const model = smallModel({
    opset: 21,
    inputs: { x: [1, rows] },
    outputs: ["y"],
    nodes: [
      { opType: "DequantizeLinear", input: ["q", "step"], output: ["w"] },
      { opType: "MatMul", input: ["x", "w"], output: ["y"] },
    ],
    initializers: [int8Tensor("q", [rows, columns], weights), floatTensor("step", [], Float32Array.of(0.01))],
  });
  const x = Float32Array.from({ length: rows }, (_, i) => Math.sin(i * i));
  const golden = await makeGolden(model.write(), undefined, { x: { dtype: "float32", dims: [1, rows], data: x } });
  const { data } = readHeader(golden?.outputs.bytes ?? new Uint8Array(8));
  for (const [column, y] of new Float32Array(data.slice().buffer).entries())
    expect(y).toBeCloseTo(
      x.reduce((sum, value, row) => sum + value * 0.01 * (weights[row * columns + column] ?? 0), 0),
      5,
    );
});

/** A model of token ids: mean of their rows in a table, times a matrix, and one huge value beside. */
function texts(table: "float32" | "int8"): Uint8Array<ArrayBuffer> {
  const [rows, width] = [50, 8];
  const draw = (i: number): number => Math.sin(i * i + 1);
  const whole = Int8Array.from({ length: rows * width }, (_, i) => Math.round(127 * draw(i)));
  const floats = Float32Array.from(whole, (x) => x / 127);
  const lookup =
    table === "float32"
      ? [{ opType: "Gather", input: ["table", "ids"], output: ["rows"] }]
      : [
          { opType: "Gather", input: ["table", "ids"], output: ["bytes"] },
          { opType: "DequantizeLinear", input: ["bytes", "step"], output: ["rows"] },
        ];
  const model = smallModel({
    opset: 17,
    inputs: { ids: [1, "t"] },
    types: { ids: TensorProto_DataType.INT64 },
    outputs: ["y"],
    nodes: [
      ...lookup,
      { opType: "ReduceMean", input: ["rows"], output: ["mean"], attributes: { axes: [1], keepdims: 0 } },
      { opType: "MatMul", input: ["mean", "w"], output: ["usual"] },
      { opType: "Concat", input: ["usual", "huge"], output: ["y"], attributes: { axis: 1 } },
    ],
    initializers: [
      table === "float32" ? floatTensor("table", [rows, width], floats) : int8Tensor("table", [rows, width], whole),
      floatTensor("step", [], Float32Array.of(1 / 127)),
      floatTensor(
        "w",
        [width, 3],
        Float32Array.from({ length: 3 * width }, (_, i) => draw(i + 7)),
      ),
      floatTensor("huge", [1, 1], Float32Array.of(1e6)),
    ],
  });
  return model.write();
}

test.each(["float32", "int8"] as const)(
  "a model of texts has a tolerance by the rounding of the rows that it looks up, in a table of %s (tool-golden)",
  async (table) => {
    const variant = { id: "f32", needs: [], files: [{ path: "m.onnx", bytes: texts(table), isModel: true }] };
    const input = { name: "ids", dtype: "int64", dims: [1, "t"], batchAxis: null } as const;
    const { golden } = await withGolden(variant, { inputs: [input], outputs: [] }, { t: 6 });
    const read = await readTensors(new Blob([golden?.outputs.bytes ?? new Uint8Array()]));
    // Of the usual values, which are near 1, and not of 1e6.
    expect(read?.numbers["y"]).toBeGreaterThan(1e-6);
    expect(read?.numbers["y"]).toBeLessThan(1e-3);
  },
);
