// Tiny ONNX models for tests, written byte by byte. Separate from the graph writer of lib/compress, which needs the
// generated schema: this is enough to encode Identity, in a browser too.
import type { Dtype } from "../core/tensor.ts";

/** onnx.proto, TensorProto.DataType. */
const ELEMENT_TYPES: Readonly<Record<Dtype, number>> = {
  float32: 1,
  uint8: 2,
  int8: 3,
  uint16: 4,
  int16: 5,
  int32: 6,
  int64: 7,
  string: 8,
  bool: 9,
  float16: 10,
  float64: 11,
  uint32: 12,
  uint64: 13,
};

type Bytes = Uint8Array<ArrayBuffer>;
type Dims = readonly (number | string)[];

/** y = x, of any dtype. */
export function identityModel(dtype: Dtype, dims: Dims = ["n"]): Bytes {
  return model([node("Identity", ["x"], ["y"])], [value("x", dtype, dims)], [value("y", dtype, dims)]);
}

/** y = a + b, with a and b of [n, 3]. */
export function addModel(dtype: Dtype = "float32"): Bytes {
  const dims = ["n", 3];
  return model(
    [node("Add", ["a", "b"], ["y"])],
    [value("a", dtype, dims), value("b", dtype, dims)],
    [value("y", dtype, dims)],
  );
}

/** y = next = x + sum, of [n, 3]: a running sum, where `next` feeds `sum`. */
export function sumModel(): Bytes {
  const dims = ["n", 3];
  return model(
    [node("Add", ["x", "sum"], ["next"]), node("Identity", ["next"], ["y"])],
    [value("x", "float32", dims), value("sum", "float32", dims)],
    [value("y", "float32", dims), value("next", "float32", dims)],
  );
}

/** y = x · c, of [n]; c is a float32 scalar in an external file at the given path. */
export function externalModel(path: string): Bytes {
  const location = join([text(1, "location"), text(2, path)]);
  const length = join([text(1, "length"), text(2, "4")]);
  const constant = join([int(2, 1), text(8, "c"), field(13, location), field(13, length), int(14, 1)]);
  const nodes = [node("Mul", ["x", "c"], ["y"])];
  return model(nodes, [value("x", "float32", ["n"])], [value("y", "float32", ["n"])], [constant]);
}

/** y = the rows, of 3 float32 each, that x (int64 [n]) selects from a table of zeros: a model of any size. */
export function tableModel(rows: number): Bytes {
  const raw = new Uint8Array(rows * 3 * 4);
  const table = join([int(1, rows), int(1, 3), int(2, ELEMENT_TYPES.float32), text(8, "table"), field(9, raw)]);
  const nodes = [node("Gather", ["table", "x"], ["y"])];
  return model(nodes, [value("x", "int64", ["n"])], [value("y", "float32", ["n", 3])], [table]);
}

/** y = zeros of the shape in x (int64): an output of any size. */
export function zerosModel(rank: number): Bytes {
  const dims = Array.from({ length: rank }, (_, axis) => `d${axis}`);
  const nodes = [node("ConstantOfShape", ["x"], ["y"])];
  return model(nodes, [value("x", "int64", [rank])], [value("y", "float32", dims)]);
}

/** Never ends: a Loop without a bound whose condition stays true. For tests of watchdogs. */
export function endlessModel(): Bytes {
  return loopModel("", [value("x", "float32", [1])]);
}

/** y = x after n (int64) iterations of a Loop: a run of any duration. */
export function turnsModel(): Bytes {
  return loopModel("n", [value("n", "int64", []), value("x", "float32", [1])]);
}

/** y = x, after a number of iterations that an input bounds; endless where no input does. */
function loopModel(turns: string, inputs: Bytes[]): Bytes {
  const body = graph(
    [node("Identity", ["go"], ["again"]), node("Identity", ["v"], ["w"])],
    [value("i", "int64", []), value("go", "bool", []), value("v", "float32", [1])],
    [value("again", "bool", []), value("w", "float32", [1])],
  );
  const attribute = join([text(1, "body"), field(6, body), int(20, 5)]);
  const yes = join([int(2, ELEMENT_TYPES.bool), field(9, new Uint8Array([1])), text(8, "yes")]);
  const loop = node("Loop", [turns, "yes", "x"], ["y"], [attribute]);
  return model([loop], inputs, [value("y", "float32", [1])], [yes]);
}

/** Uses an operator that no runtime has. */
export function unknownOperatorModel(): Bytes {
  return model([node("Selvedge", ["x"], ["y"])], [value("x", "float32", ["n"])], [value("y", "float32", ["n"])]);
}

function model(nodes: Bytes[], inputs: Bytes[], outputs: Bytes[], initializers: Bytes[] = []): Bytes {
  const opset = int(2, 13);
  return join([int(1, 8), field(7, graph(nodes, inputs, outputs, initializers)), field(8, opset)]);
}

function graph(nodes: Bytes[], inputs: Bytes[], outputs: Bytes[], initializers: Bytes[] = []): Bytes {
  return join([
    ...nodes.map((each) => field(1, each)),
    text(2, "fixture"),
    ...initializers.map((each) => field(5, each)),
    ...inputs.map((each) => field(11, each)),
    ...outputs.map((each) => field(12, each)),
  ]);
}

function node(operator: string, inputs: string[], outputs: string[], attributes: Bytes[] = []): Bytes {
  return join([
    ...inputs.map((name) => text(1, name)),
    ...outputs.map((name) => text(2, name)),
    text(3, `${operator} to ${outputs.join()}`),
    text(4, operator),
    ...attributes.map((each) => field(5, each)),
  ]);
}

function value(name: string, dtype: Dtype, dims: Dims): Bytes {
  const shape = join(dims.map((dim) => field(1, typeof dim === "number" ? int(1, dim) : text(2, dim))));
  const tensor = join([int(1, ELEMENT_TYPES[dtype]), field(2, shape)]);
  return join([text(1, name), field(2, field(1, tensor))]);
}

/** A field of bytes: its number with wire type 2, the length, the bytes. */
function field(number: number, bytes: Bytes): Bytes {
  return join([varint((number << 3) | 2), varint(bytes.length), bytes]);
}

function text(number: number, content: string): Bytes {
  return field(number, new TextEncoder().encode(content));
}

function int(number: number, content: number): Bytes {
  return join([varint(number << 3), varint(content)]);
}

function varint(content: number): Bytes {
  const bytes: number[] = [];
  let rest = content;
  for (; rest > 127; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 128);
  return new Uint8Array([...bytes, rest]);
}

function join(parts: Bytes[]): Bytes {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
