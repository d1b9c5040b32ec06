// Tiny ONNX models for tests, in Node and on test pages. They are made of compress/onnx alone: the toolchain's other
// fixtures need ONNX Runtime.
import { create } from "@bufbuild/protobuf";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { OnnxModel } from "../compress/onnx/model.ts";
import {
  AttributeProto_AttributeType,
  ModelProtoSchema,
  TensorProto_DataLocation,
  TensorProto_DataType as Type,
} from "../compress/onnx/onnx.gen.js";
import type {
  AttributeProtoSchema,
  GraphProtoSchema,
  NodeProtoSchema,
  TensorProtoSchema,
  ValueInfoProtoSchema,
} from "../compress/onnx/onnx.gen.js";
import type { Dtype } from "../core/tensor.ts";

/** ONNX's element type of each dtype. */
export const ELEMENT_TYPES: Readonly<Record<Dtype, Type>> = {
  float32: Type.FLOAT,
  uint8: Type.UINT8,
  int8: Type.INT8,
  uint16: Type.UINT16,
  int16: Type.INT16,
  int32: Type.INT32,
  int64: Type.INT64,
  string: Type.STRING,
  bool: Type.BOOL,
  float16: Type.FLOAT16,
  float64: Type.DOUBLE,
  uint32: Type.UINT32,
  uint64: Type.UINT64,
};

type ModelDims = readonly (number | string)[];
type NodeInit = MessageInitShape<typeof NodeProtoSchema>;
type ValueInit = MessageInitShape<typeof ValueInfoProtoSchema>;
type Weight = MessageInitShape<typeof TensorProtoSchema>;

/** y = x, of any dtype. */
export function identityModel(dtype: Dtype, dims: ModelDims = ["n"]): Uint8Array<ArrayBuffer> {
  return model([node("Identity", ["x"], ["y"])], [value("x", dtype, dims)], [value("y", dtype, dims)]);
}

/** y = a + b, with a and b of [n, 3]. */
export function addModel(dtype: Dtype = "float32"): Uint8Array<ArrayBuffer> {
  const dims = ["n", 3];
  return model(
    [node("Add", ["a", "b"], ["y"])],
    [value("a", dtype, dims), value("b", dtype, dims)],
    [value("y", dtype, dims)],
  );
}

/** y = next = x + sum, of [n, 3]: a running sum, where `next` feeds `sum`. */
export function sumModel(): Uint8Array<ArrayBuffer> {
  const dims = ["n", 3];
  return model(
    [node("Add", ["x", "sum"], ["next"]), node("Identity", ["next"], ["y"])],
    [value("x", "float32", dims), value("sum", "float32", dims)],
    [value("y", "float32", dims), value("next", "float32", dims)],
  );
}

/** y = x · c, of [n]; c is a float32 scalar in an external file at the given path. */
export function externalModel(path: string): Uint8Array<ArrayBuffer> {
  const constant: Weight = {
    name: "c",
    dataType: Type.FLOAT,
    dataLocation: TensorProto_DataLocation.EXTERNAL,
    externalData: [
      { key: "location", value: path },
      { key: "length", value: "4" },
    ],
  };
  const nodes = [node("Mul", ["x", "c"], ["y"])];
  return model(nodes, [value("x", "float32", ["n"])], [value("y", "float32", ["n"])], [constant]);
}

/** y = the rows, of 3 float32 each, that x (int64 [n]) selects from a table of zeros: a model of any size. */
export function tableModel(rows: number): Uint8Array<ArrayBuffer> {
  const rawData = new Uint8Array(rows * 3 * 4);
  const table: Weight = { name: "table", dataType: Type.FLOAT, dims: [BigInt(rows), 3n], rawData };
  const nodes = [node("Gather", ["table", "x"], ["y"])];
  return model(nodes, [value("x", "int64", ["n"])], [value("y", "float32", ["n", 3])], [table]);
}

/** y = zeros of the shape in x (int64): an output of any size. */
export function zerosModel(rank: number): Uint8Array<ArrayBuffer> {
  const dims = Array.from({ length: rank }, (_, axis) => `d${axis}`);
  const nodes = [node("ConstantOfShape", ["x"], ["y"])];
  return model(nodes, [value("x", "int64", [rank])], [value("y", "float32", dims)]);
}

/** Never ends: a Loop without a bound whose condition stays true. For tests of watchdogs. */
export function endlessModel(): Uint8Array<ArrayBuffer> {
  return loopModel("", [value("x", "float32", [1])]);
}

/** y = x after n (int64) iterations of a Loop: a run of any duration. */
export function turnsModel(): Uint8Array<ArrayBuffer> {
  return loopModel("n", [value("n", "int64", []), value("x", "float32", [1])]);
}

/** y = x, after a number of iterations that an input bounds; endless where no input does. */
function loopModel(turns: string, inputs: ValueInit[]): Uint8Array<ArrayBuffer> {
  const body = graph(
    [node("Identity", ["go"], ["again"]), node("Identity", ["v"], ["w"])],
    [value("i", "int64", []), value("go", "bool", []), value("v", "float32", [1])],
    [value("again", "bool", []), value("w", "float32", [1])],
  );
  const attribute = { name: "body", g: body, type: AttributeProto_AttributeType.GRAPH };
  const yes: Weight = { name: "yes", dataType: Type.BOOL, rawData: Uint8Array.of(1) };
  const loop = node("Loop", [turns, "yes", "x"], ["y"], [attribute]);
  return model([loop], inputs, [value("y", "float32", [1])], [yes]);
}

/** Uses an operator that no runtime has. */
export function unknownOperatorModel(): Uint8Array<ArrayBuffer> {
  return model([node("Selvedge", ["x"], ["y"])], [value("x", "float32", ["n"])], [value("y", "float32", ["n"])]);
}

function model(
  nodes: NodeInit[],
  inputs: ValueInit[],
  outputs: ValueInit[],
  weights: Weight[] = [],
): Uint8Array<ArrayBuffer> {
  const proto = create(ModelProtoSchema, {
    irVersion: 8n,
    opsetImport: [{ version: 13n }],
    graph: graph(nodes, inputs, outputs, weights),
  });
  return new OnnxModel(proto).write();
}

function graph(
  nodes: NodeInit[],
  input: ValueInit[],
  output: ValueInit[],
  initializer: Weight[] = [],
): MessageInitShape<typeof GraphProtoSchema> {
  return { name: "fixture", node: nodes, initializer, input, output };
}

function node(
  opType: string,
  input: string[],
  output: string[],
  attribute: MessageInitShape<typeof AttributeProtoSchema>[] = [],
): NodeInit {
  return { name: `${opType} to ${output.join()}`, opType, input, output, attribute };
}

function value(name: string, dtype: Dtype, dims: ModelDims): ValueInit {
  const dim = dims.map((size) => ({
    value:
      typeof size === "number"
        ? { case: "dimValue" as const, value: BigInt(size) }
        : { case: "dimParam" as const, value: size },
  }));
  const tensor = { elemType: ELEMENT_TYPES[dtype], shape: { dim } };
  return { name, type: { value: { case: "tensorType", value: tensor } } };
}
