import { create, toBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { isSelvedgeError } from "../../core/errors.ts";
import { REAL_MODELS, smallModel } from "../../test-support/compress/fixtures.ts";
import {
  AttributeProtoSchema,
  FunctionProtoSchema,
  GraphProtoSchema,
  ModelProtoSchema,
  NodeProtoSchema,
  SparseTensorProtoSchema,
  TensorProto_DataType,
  TensorProtoSchema,
  TrainingInfoProtoSchema,
} from "./onnx.gen.js";
import { readModel, tensorBorders } from "./model.ts";
import { floatTensor, int64Tensor } from "./tensor-proto.ts";

const scaled = () =>
  smallModel({
    opset: 13,
    inputs: { x: ["n"] },
    outputs: ["y"],
    nodes: [{ opType: "Mul", input: ["x", "s"], output: ["y"] }],
    initializers: [floatTensor("s", [2], Float32Array.of(2, 3))],
  });

/** Reads bytes and returns the error's code, or "read" if there was none; any other error fails the test. */
function codeOf(bytes: Uint8Array): string {
  try {
    readModel(bytes);
    return "read";
  } catch (error) {
    if (isSelvedgeError(error)) return error.code;
    throw error;
  }
}

describe("readModel", () => {
  test.each(REAL_MODELS)("reads $name and writes the same bytes", ({ read }) => {
    const bytes = read();
    expect(Buffer.compare(readModel(bytes).write(), bytes)).toBe(0);
  });

  test("does not copy weights", () => {
    const bytes = scaled().write();
    expect(readModel(bytes).graph.constant("s")?.rawData.buffer).toBe(bytes.buffer);
  });

  test("copies a model apart from its weights", () => {
    const model = scaled();
    model.proto.$unknown = [{ no: 9_000, wireType: 2, data: Uint8Array.of(3, 1, 2, 3) }];
    const bytes = model.write();
    const copy = model.copy();
    expect(Buffer.compare(copy.write(), bytes)).toBe(0);
    expect(copy.graph.constant("s")?.rawData).toBe(model.graph.constant("s")?.rawData);
    copy.graph.proto.initializer.length = 0;
    for (const node of copy.graph.nodes) [node.name, node.opType, node.input[0]] = ["other", "Add", "y"];
    expect(Buffer.compare(model.write(), bytes)).toBe(0);
  });

  test.each(REAL_MODELS)("copies $name", ({ read }) => {
    const bytes = read();
    expect(Buffer.compare(readModel(bytes).copy().write(), bytes)).toBe(0);
  });

  test("keeps fields that the schema does not know", () => {
    const model = scaled();
    model.proto.$unknown = [{ no: 9_000, wireType: 2, data: Uint8Array.of(3, 1, 2, 3) }];
    const bytes = model.write();
    expect(readModel(bytes).proto.$unknown).toHaveLength(1);
    expect(Buffer.compare(readModel(bytes).write(), bytes)).toBe(0);
  });

  test.each(REAL_MODELS)("refuses $name cut at any length", ({ read }) => {
    const bytes = read();
    fc.assert(
      fc.property(fc.integer({ min: 0, max: bytes.length - 1 }), (length) => {
        expect(codeOf(bytes.subarray(0, length))).toBe("model-invalid");
      }),
      { numRuns: 60 },
    );
  });

  test("reads or refuses any bytes, and never fails in another way", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        expect(["read", "model-invalid"]).toContain(codeOf(bytes));
      }),
      { numRuns: 2_000 },
    );
  });

  test("reads or refuses a model with any one byte changed", () => {
    const bytes = scaled().write();
    fc.assert(
      fc.property(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }), (at, change) => {
        const altered = bytes.slice();
        altered[at] = (altered[at] ?? 0) ^ change;
        expect(["read", "model-invalid"]).toContain(codeOf(altered));
      }),
      { numRuns: 2_000 },
    );
  });

  test.each<[string, (model: ReturnType<typeof scaled>) => void, RegExp]>([
    ["values both raw and typed", (m) => m.graph.proto.initializer[0]?.floatData.push(1, 2), /twice/],
    ["too few values", (m) => (m.graph.proto.initializer[0]!.dims = [3n]), /8 bytes/],
    ["negative dims", (m) => (m.graph.proto.initializer[0]!.dims = [-2n]), /impossible dims/],
    [
      "dims whose product overflows",
      (m) => (m.graph.proto.initializer[0]!.dims = [1n << 40n, 1n << 40n]),
      /impossible/,
    ],
    ["an unknown element type", (m) => (m.graph.proto.initializer[0]!.dataType = 99), /element type 99/],
    [
      "a cycle",
      (m) => {
        m.graph.proto.node[0]!.input[1] = "y";
      },
      /"y", which no earlier node produces/,
    ],
    ["the same initializer twice", (m) => m.graph.proto.initializer.push(m.graph.proto.initializer[0]!), /twice/],
    ["values in another file", (m) => (m.graph.proto.initializer[0]!.dataLocation = 1), /another file/],
    ["an input that no node produces", (m) => (m.graph.proto.node[0]!.input[1] = "nowhere"), /"nowhere"/],
    ["an output that no node produces", (m) => (m.graph.proto.output[0]!.name = "z"), /"z"/],
    ["no output", (m) => (m.graph.proto.output = []), /no output/],
    ["no operator set", (m) => (m.proto.opsetImport = []), /operator set/],
    ["no format version", (m) => (m.proto.irVersion = 0n), /version of the format/],
  ])("refuses a model with %s", (_, spoil, message) => {
    const model = scaled();
    spoil(model);
    expect(() => readModel(toBinary(ModelProtoSchema, model.proto))).toThrow(message);
  });

  /** A tensor that shows 1 in its typed field and 777 in raw_data. */
  const twoFaced = () => {
    const tensor = floatTensor("two", [1], Float32Array.of(777));
    tensor.floatData = [1];
    return tensor;
  };
  const attribute = (fields: object) => create(AttributeProtoSchema, { name: "value", ...fields });
  const sparse = () => ({ values: twoFaced(), indices: int64Tensor("i", [1], [0]), dims: [4n] });
  const functionWith = (fields: object) =>
    create(FunctionProtoSchema, { name: "f", domain: "own", input: ["x"], output: ["x"], ...fields });
  const graphWith = (fields: object) => create(GraphProtoSchema, { name: "g", ...fields });

  test.each<[string, (model: ReturnType<typeof scaled>) => void]>([
    ["an initializer", (m) => m.graph.proto.initializer.push(twoFaced())],
    ["a sparse initializer", (m) => m.graph.proto.sparseInitializer.push(create(SparseTensorProtoSchema, sparse()))],
    ["an attribute", (m) => m.graph.proto.node[0]!.attribute.push(attribute({ t: twoFaced() }))],
    ["a list", (m) => m.graph.proto.node[0]!.attribute.push(attribute({ tensors: [twoFaced()] }))],
    ["a sparse attribute", (m) => m.graph.proto.node[0]!.attribute.push(attribute({ sparseTensor: sparse() }))],
    ["a sparse list", (m) => m.graph.proto.node[0]!.attribute.push(attribute({ sparseTensors: [sparse()] }))],
    [
      "a subgraph",
      (m) => m.graph.proto.node[0]!.attribute.push(attribute({ g: graphWith({ initializer: [twoFaced()] }) })),
    ],
    [
      "a subgraph of a list",
      (m) => m.graph.proto.node[0]!.attribute.push(attribute({ graphs: [graphWith({ initializer: [twoFaced()] })] })),
    ],
    [
      "a function's body",
      (m) =>
        m.proto.functions.push(
          functionWith({ node: [{ opType: "Constant", attribute: [attribute({ t: twoFaced() })] }] }),
        ),
    ],
    [
      "a function's default",
      (m) => m.proto.functions.push(functionWith({ attributeProto: [attribute({ t: twoFaced() })] })),
    ],
    [
      "a step of training",
      (m) =>
        m.proto.trainingInfo.push(
          create(TrainingInfoProtoSchema, { algorithm: graphWith({ initializer: [twoFaced()] }) }),
        ),
    ],
    [
      "the first step of training",
      (m) =>
        m.proto.trainingInfo.push(
          create(TrainingInfoProtoSchema, { initialization: graphWith({ initializer: [twoFaced()] }) }),
        ),
    ],
  ])("refuses a tensor with two values in %s (store-B13)", (_, spoil) => {
    const model = scaled();
    spoil(model);
    expect(() => readModel(toBinary(ModelProtoSchema, model.proto))).toThrow(/twice, in raw_data and in a typed field/);
  });

  /** A model that calls the first of `count` functions, each of which calls the next that many times. */
  const calling = (count: number, times: number) => {
    const model = scaled();
    const call = (i: number, to: string) => ({ opType: `f${i}`, domain: "own", input: ["x"], output: [to] });
    model.proto.functions = Array.from({ length: count }, (_, i) =>
      create(FunctionProtoSchema, {
        name: `f${i}`,
        domain: "own",
        input: ["x"],
        output: ["y0"],
        node: Array.from({ length: times }, (_, k) =>
          i === count - 1 ? { opType: "Relu", input: ["x"], output: [`y${k}`] } : call(i + 1, `y${k}`),
        ),
      }),
    );
    model.graph.proto.node = [create(NodeProtoSchema, call(0, "y"))];
    return toBinary(ModelProtoSchema, model.proto);
  };

  test("refuses functions that expand exponentially, in time that does not (store-C1)", () => {
    expect(() => readModel(calling(40, 2))).toThrow(/functions expand to more than 100000 nodes/);
    expect(() => readModel(calling(17, 2))).toThrow(/functions expand/);
    expect(() => readModel(calling(10, 2))).not.toThrow();
    expect(() => readModel(calling(500, 1))).not.toThrow();
  });

  test("refuses functions that recurse through a subgraph (store-C1)", () => {
    const model = scaled();
    const inner = graphWith({ node: [{ opType: "f", domain: "own", input: ["x"], output: ["z"] }] });
    const node = [{ opType: "If", input: ["x"], output: ["x2"], attribute: [attribute({ g: inner })] }];
    model.proto.functions = [functionWith({ node, output: ["x2"] })];
    expect(() => readModel(toBinary(ModelProtoSchema, model.proto))).toThrow(/"f" calls itself/);
  });

  test.each([TensorProto_DataType.INT4, TensorProto_DataType.UINT4])(
    "refuses a wrong count of typed 4-bit values, and reads two per element (store-C13), type %i",
    (dataType) => {
      const reading = (dims: bigint[], int32Data: number[]) => {
        const model = scaled();
        model.graph.proto.initializer.push(create(TensorProtoSchema, { name: "q", dataType, dims, int32Data }));
        return codeOf(toBinary(ModelProtoSchema, model.proto));
      };
      expect(reading([1n << 40n], [1])).toBe("model-invalid");
      expect(reading([4n], [1, 2, 3, 4])).toBe("model-invalid");
      expect(reading([3n], [1, 2])).toBe("read");
    },
  );

  test("reads many subgraphs and many names without copying the names for each (store-C14)", () => {
    const model = scaled();
    const relu = Array.from({ length: 20_000 }, (_, i) => ({ opType: "Relu", input: ["x"], output: [`r${i}`] }));
    const body = graphWith({ node: [{ opType: "Relu", input: ["r7"], output: ["z"] }], output: [{ name: "z" }] });
    const ifs = Array.from({ length: 2_000 }, (_, i) => ({
      opType: "If",
      input: ["x"],
      output: [`i${i}`],
      attribute: [attribute({ g: body })],
    }));
    model.graph.proto.node.unshift(...[...relu, ...ifs].map((x) => create(NodeProtoSchema, x)));
    const bytes = toBinary(ModelProtoSchema, model.proto);
    const start = process.cpuUsage();
    readModel(bytes);
    const { user, system } = process.cpuUsage(start);
    // 40 million names were copied, which took 3 s.
    expect((user + system) / 1e6).toBeLessThan(1.5);
  });

  test("refuses messages nested too deep", () => {
    const within = (field: number, bytes: Uint8Array): Uint8Array => {
      const { length } = bytes;
      return Uint8Array.from([field, (length & 127) | 128, ((length >> 7) & 127) | 128, length >> 14, ...bytes]);
    };
    // A graph (field 6) in an attribute (5) of a node (1) of a graph …, and the outermost as the model's (7).
    let graph: Uint8Array = new Uint8Array();
    for (let depth = 0; depth < 200; depth++) graph = within(0x0a, within(0x2a, within(0x32, graph)));
    expect(() => readModel(within(0x3a, graph))).toThrow(/nested too deep/);
  });

  test("refuses a path, and names the function that reads one", () => {
    expect(() => readModel("model.onnx" as never)).toThrow(/^readModel: .*got string: readModelFile\(path\)/);
  });

  test("refuses an empty file, and text", () => {
    expect(codeOf(new Uint8Array())).toBe("model-invalid");
    expect(codeOf(new TextEncoder().encode("<!doctype html><title>404</title>"))).toBe("model-invalid");
  });
});

test("tensorBorders returns the offsets of the larger tensors", () => {
  const model = scaled();
  const values = Float32Array.from({ length: 2_000 }, (_, i) => i);
  model.graph.addInitializer(floatTensor("large", [2_000], values));
  const bytes = model.write();
  const [border] = tensorBorders(bytes);
  expect(tensorBorders(bytes)).toHaveLength(1);
  expect(bytes.slice(border, (border ?? 0) + 8)).toEqual(new Uint8Array(values.buffer, 0, 8));
});
