// Inputs without dims: typed arrays alone, and tensors of ONNX Runtime Web.
import fc from "fast-check";
import * as ort from "onnxruntime-web/wasm";
import { expect, test } from "vitest";
import { browserEffects } from "../effects/effects.ts";
import { takeInputs } from "./inputs.ts";
import type { Accepts, Inputs, TensorInput } from "./inputs.ts";
import type { Feeds } from "../rpc/messages.ts";
import { ARRAY_TYPES, zeros } from "../core/tensor.ts";
import type { NumericDtype, Port, Tensor } from "../core/tensor.ts";

const effects = browserEffects();
const port = (name: string, dims: Port["dims"], dtype: Port["dtype"] = "float32"): Port => ({
  name,
  dtype,
  dims,
  batchAxis: dims[0] === "batch" ? 0 : null,
});
const accept = (...ports: Port[]): Accepts => ({ ports });
const take = (accepts: Accepts, inputs: unknown): Feeds["tensors"] =>
  (takeInputs(effects, accepts, inputs as Inputs, false) as Feeds).tensors;
const settle = async (accepts: Accepts, inputs: unknown): Promise<Feeds> =>
  takeInputs(effects, accepts, inputs as Inputs, false);

const SYMBOLS = ["batch", "width", "time"] as const;
/** Ports of a few symbolic and fixed dims, sizes of the symbols, and which inputs come without their dims. */
const cases = fc.record({
  ports: fc.array(
    fc.record({
      dims: fc.array(fc.oneof(fc.constantFrom(...SYMBOLS), fc.integer({ min: 1, max: 4 })), { maxLength: 4 }),
      dtype: fc.constantFrom(...(Object.keys(ARRAY_TYPES) as NumericDtype[])),
      isAlone: fc.boolean(),
    }),
    { minLength: 1, maxLength: 4 },
  ),
  sizes: fc.tuple(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 5 })),
});

/** Whether all dims follow: repeatedly, an array alone with one open axis at most settles its symbol. */
function follows(ports: readonly { dims: readonly (string | number)[]; isAlone: boolean }[]): boolean {
  const known = new Set(ports.filter((x) => !x.isAlone).flatMap((x) => x.dims));
  const open = (dims: readonly (string | number)[]): number =>
    dims.filter((x) => typeof x === "string" && !known.has(x)).length;
  for (let round = 0; round < ports.length; round++)
    for (const { dims } of ports) if (open(dims) <= 1) for (const dim of dims) known.add(dim);
  return ports.every(({ dims }) => open(dims) === 0);
}

test("an array alone equals the explicit tensor wherever its dims follow, and is refused elsewhere", () => {
  fc.assert(
    fc.property(cases, ({ ports, sizes }) => {
      const sizeOf = (dim: string | number): number =>
        typeof dim === "number" ? dim : (sizes[SYMBOLS.findIndex((x) => x === dim)] as number);
      const accepts = accept(...ports.map(({ dims, dtype }, i) => port(`x${i}`, dims, dtype)));
      const explicit: Record<string, TensorInput> = {};
      const given: Record<string, Inputs[string]> = {};
      for (const [i, { dims: wanted, dtype, isAlone }] of ports.entries()) {
        const dims = wanted.map(sizeOf);
        const data = zeros(
          dtype,
          dims.reduce((a, b) => a * b, 1),
        );
        new Uint8Array(data.buffer).forEach((_, at, bytes) => (bytes[at] = i + at));
        const tensor = { dtype, dims, data } as Tensor;
        explicit[`x${i}`] = tensor;
        given[`x${i}`] = isAlone ? tensor.data : tensor;
      }
      if (follows(ports)) expect(take(accepts, given)).toEqual(take(accepts, explicit));
      else expect(() => take(accepts, given)).toThrow(/alone don't determine \[.*[a-z].*[a-z].*\]/);
    }),
    { numRuns: 500 },
  );
});

test("sizes that other inputs fix may come in any order, and from what is known before", () => {
  const accepts = accept(port("a", ["batch", "width"]), port("b", ["width"]));
  expect(take(accepts, { a: new Float32Array(6), b: new Float32Array(3) })["a"]?.dims).toEqual([2, 3]);
  const symbols = new Map([["width", { size: 2, input: "state" }]]);
  const alone = { ...accept(port("a", ["batch", "width"])), symbols };
  expect(take(alone, { a: new Float32Array(6) })["a"]?.dims).toEqual([3, 2]);
});

test.each<[string, Port, unknown, RegExp]>([
  [
    "two open dims",
    port("x", ["batch", "time", 4]),
    new Float32Array(8),
    /^RangeError: input "x": 8 elements alone don't determine \[batch, time, 4\]; pass \{ dtype, dims, data \}, as dims \[1, 2, 4\]$/,
  ],
  ["one open dim twice", port("x", ["n", "n"]), new Float32Array(4), /pass \{ dtype, dims, data \}$/],
  ["no elements for two", port("x", ["n", "w", 3]), new Float32Array(0), /pass \{ dtype, dims, data \}$/],
  ["three open dims", port("x", ["batch", "h", "w"]), new Float32Array(8), /pass \{ dtype, dims, data \}$/],
  [
    "two that no batch of one fills",
    port("x", ["batch", "w", 3]),
    new Float32Array(8),
    /pass \{ dtype, dims, data \}$/,
  ],
  [
    "a count that does not fill the dims",
    port("x", ["batch", 3]),
    new Float32Array(7),
    /^RangeError.*dims \[3, 3\] need 9 elements, data has 7$/,
  ],
  ["too few elements for fixed dims", port("x", [3]), new Float32Array(2), /^RangeError.*need 3 elements, data has 2/],
  ["no element", port("x", ["batch", 3]), new Float32Array(0), /^RangeError.*batch is empty/],
  ["a dim of 0", port("x", ["width", 0]), new Float32Array(0), /^RangeError.*don't determine \[width, 0\]/],
  ["dims that the model does not declare", port("x", []), new Float32Array(2), /^RangeError.*don't determine \[\]/],
  ["another array type", port("x", [2]), new Float64Array(2), /^TypeError.*must be a Float32Array, got Float64Array/],
  [
    "a plain array",
    port("x", [2]),
    [1, 2],
    /^TypeError.*expected \{ dtype, dims, data \} or its Float32Array, got Array/,
  ],
  ["a DataView", port("x", [2]), new DataView(new ArrayBuffer(8)), /^TypeError.*or its Float32Array, got DataView/],
])("an array alone is refused for %s", async (_, wanted, value, message) => {
  const error = await settle(accept(wanted), { x: value }).catch((caught: unknown) => caught);
  expect(String(error)).toMatch(message);
});

test("a scalar takes an array of one element, and an input of strings a plain array", () => {
  expect(take(accept(port("x", [], "int64")), { x: BigInt64Array.of(16000n) })["x"]).toEqual({
    dtype: "int64",
    dims: [],
    data: BigInt64Array.of(16000n),
  });
  expect(take(accept(port("x", ["n"], "string")), { x: ["a", "b"] })["x"]).toEqual({
    dtype: "string",
    dims: [2],
    data: ["a", "b"],
  });
});

test("tensors of ONNX Runtime Web are taken, whatever their type", () => {
  const given = {
    f: new ort.Tensor("float32", Float32Array.of(1, 2), [1, 2]),
    h: new ort.Tensor("float16", Uint16Array.of(0x3c00, 0), [1, 2]),
    i: new ort.Tensor("int64", BigInt64Array.of(-1n, 2n), [1, 2]),
    b: new ort.Tensor("bool", [true, false], [1, 2]),
    s: new ort.Tensor("string", ["a", "b"], [1, 2]),
  };
  const ports = Object.entries(given).map(([name, { type }]) => port(name, ["batch", "width"], type as Port["dtype"]));
  expect(take(accept(...ports), given)).toEqual({
    f: { dtype: "float32", dims: [1, 2], data: Float32Array.of(1, 2) },
    h: { dtype: "float16", dims: [1, 2], data: Uint16Array.of(0x3c00, 0) },
    i: { dtype: "int64", dims: [1, 2], data: BigInt64Array.of(-1n, 2n) },
    b: { dtype: "bool", dims: [1, 2], data: Uint8Array.of(1, 0) },
    s: { dtype: "string", dims: [1, 2], data: ["a", "b"] },
  });
});

test("an ort.Tensor that was disposed of has no data to await", async () => {
  const x = new ort.Tensor("float32", Float32Array.of(1, 2), [1, 2]);
  x.dispose();
  await expect(settle(accept(port("x", [1, 2])), { x })).rejects.toThrow(/^input "x": the tensor was disposed$/);
});

test("an ort.Tensor that is not on the CPU says where it is and what to do", async () => {
  const x = ort.Tensor.fromGpuBuffer({} as never, { dataType: "float32", dims: [1, 2] });
  await expect(settle(accept(port("x", [1, 2])), { x })).rejects.toThrow(
    'input "x": the tensor\'s location is "gpu-buffer"; await its getData() first',
  );
});

test("{ type, dims, data } is taken as { dtype, dims, data }, and its type is checked", () => {
  const data = Float32Array.of(1, 2);
  expect(take(accept(port("x", [2])), { x: { type: "float32", dims: [2], data } })["x"]).toEqual({
    dtype: "float32",
    dims: [2],
    data,
  });
  expect(() => take(accept(port("x", [2])), { x: { type: "int4", dims: [2], data } })).toThrow(
    'input "x": expected dtype float32, got "int4"',
  );
});

test("an object that lacks a field of a tensor is shown with the fields that it has", async () => {
  const data = Float32Array.of(1, 2);
  const refused = (x: object): Promise<unknown> => settle(accept(port("x", [2])), { x });
  await expect(refused({ dtype: "float32", data })).rejects.toThrow("got { dtype, data }");
  await expect(refused({ type: "float32", shape: [2], data })).rejects.toThrow("got { type, shape, data }");
});

test("dims that are no numbers are refused as such, beside an array alone that shares their symbol", () => {
  const accepts = accept(port("a", ["width"]), port("b", ["width"]));
  const a = { dtype: "float32", dims: [2n], data: Float32Array.of(1, 2) };
  expect(() => take(accepts, { a, b: Float32Array.of(1, 2) })).toThrow(/^input "a": /);
});

/** Arrays without memory: their buffer was moved, or is shorter than the view by now. */
const gone: readonly [string, () => Float32Array][] = [
  [
    "a detached array",
    () => {
      const data = new Float32Array(3);
      structuredClone(data.buffer, { transfer: [data.buffer] });
      return data;
    },
  ],
  [
    "a view beyond its resized buffer",
    () => {
      const options = { maxByteLength: 24 };
      const buffer = Reflect.construct(ArrayBuffer, [12, options]) as ArrayBuffer & { resize(bytes: number): void };
      const data = new Float32Array(buffer, 4, 2);
      buffer.resize(4);
      return data;
    },
  ],
];

test.each(gone)("%s alone is named as such, whatever the dims", (_, make) => {
  for (const dims of [["batch", 3], [1, 3], [1, "n"], ["batch", "n"], []] as const)
    expect(() => take(accept(port("x", dims)), { x: make() }), String(dims)).toThrow(
      'input "x": its buffer is detached or resized',
    );
  const sound = { op: "log-mel", sampleRate: 16_000, bands: 4 } as const;
  const heard: Accepts = { ports: [{ ...port("x", ["batch", 4, "n"]), sound }] };
  for (const x of [make(), { samples: make() }, { samples: make(), sampleRate: 16_000 }])
    expect(() => take(heard, { x })).toThrow('input "x": its buffer is detached or resized');
});

test("a sound without samples is an empty one, not a detached one", () => {
  const sound = { op: "log-mel", sampleRate: 16_000, bands: 4 } as const;
  const heard: Accepts = { ports: [{ ...port("x", ["batch", 4, "n"]), sound }] };
  expect(() => take(heard, { x: { samples: new Float32Array(0) } })).not.toThrow();
});

test("an empty array alone is an empty batch, not a detached one", () => {
  expect(() => take(accept(port("x", ["batch", 3])), { x: new Float32Array(0) })).toThrow("the batch is empty");
});
