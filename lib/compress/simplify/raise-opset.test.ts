import { describe, expect, test } from "vitest";
import { constantsToInitializers } from "./constants-to-initializers.ts";
import {
  largestDifference,
  REAL_MODELS,
  runModel,
  seededFloats,
  smallModel,
} from "../../test-support/compress/fixtures.ts";
import type { SmallModel } from "../../test-support/compress/fixtures.ts";
import type { NodeSpec } from "../onnx/graph.ts";
import { readModel } from "../onnx/model.ts";
import { TensorProto_DataType } from "../onnx/onnx.gen.js";
import { removeUnused } from "./remove-unused.ts";
import { raiseOpset } from "./raise-opset.ts";
import { floatTensor } from "../onnx/tensor-proto.ts";

const DIMS = [2, 3, 4, 6];
const feeds = { x: { dims: DIMS, data: seededFloats(2 * 3 * 4 * 6) } };
const one = (node: Omit<NodeSpec, "input" | "output">, more: Partial<SmallModel> = {}): Omit<SmallModel, "opset"> => ({
  inputs: { x: DIMS },
  outputs: ["y"],
  nodes: [{ input: ["x"], output: ["y"], ...node }],
  ...more,
});
const float = (value: number) => ({ float: value });

/** Models whose operators change between an older operator set and 13. */
const CHANGED: readonly [string, number, Omit<SmallModel, "opset">][] = [
  ["Clip with both bounds", 9, one({ opType: "Clip", attributes: { min: float(-0.3), max: float(0.4) } })],
  ["Clip with a lower bound", 10, one({ opType: "Clip", attributes: { min: float(0) } })],
  ["Clip with an upper bound", 7, one({ opType: "Clip", attributes: { max: float(0.1) } })],
  ["Pad by zeros", 10, one({ opType: "Pad", attributes: { pads: [0, 0, 1, 2, 0, 0, 0, 1] } })],
  ["Pad by a value", 9, one({ opType: "Pad", attributes: { pads: [0, 0, 1, 0, 0, 0, 0, 1], value: float(2.5) } })],
  ["Pad by reflection", 9, one({ opType: "Pad", attributes: { pads: [0, 0, 1, 1, 0, 0, 1, 1], mode: "reflect" } })],
  ["Slice with axes", 9, one({ opType: "Slice", attributes: { axes: [1, 3], starts: [0, -4], ends: [2, -1] } })],
  [
    "Slice to INT64_MAX",
    9,
    one({ opType: "Slice", attributes: { axes: [3], starts: [2], ends: [Number.MAX_SAFE_INTEGER * 2 ** 12] } }),
  ],
  ["Slice without axes", 9, one({ opType: "Slice", attributes: { starts: [0, 1], ends: [9, 3] } })],
  ["Unsqueeze", 11, one({ opType: "Unsqueeze", attributes: { axes: [0, 3] } })],
  ["Softmax along the last axis", 11, one({ opType: "Softmax", attributes: { axis: 3 } })],
  ["Softmax by its old default axis", 11, one({ opType: "Softmax" })],
  ["Softmax over a middle axis", 9, one({ opType: "Softmax", attributes: { axis: 2 } })],
  ["LogSoftmax by its old default axis", 12, one({ opType: "LogSoftmax" })],
  ["Hardmax by its old default axis", 10, one({ opType: "Hardmax" })],
  ["ReduceSum", 11, one({ opType: "ReduceSum", attributes: { axes: [1, -1], keepdims: 0 } })],
  ["ReduceSum over all", 9, one({ opType: "ReduceSum" })],
  ["ReduceMean", 9, one({ opType: "ReduceMean", attributes: { axes: [-1] } })],
  ["Dropout", 7, one({ opType: "Dropout", attributes: { ratio: float(0.3) } })],
  ["Dropout of 10", 10, one({ opType: "Dropout", attributes: { ratio: float(0.3) } })],
  [
    "Squeeze",
    9,
    one(
      { opType: "Squeeze" },
      {
        nodes: [
          { opType: "Unsqueeze", input: ["x"], output: ["u"], attributes: { axes: [1] } },
          { opType: "Squeeze", input: ["u"], output: ["y"], attributes: { axes: [1] } },
        ],
      },
    ),
  ],
  [
    "Split by sizes",
    11,
    one(
      { opType: "Split" },
      {
        outputs: ["y", "z"],
        nodes: [{ opType: "Split", input: ["x"], output: ["y", "z"], attributes: { axis: 3, split: [2, 4] } }],
      },
    ),
  ],
  [
    "Split in halves",
    9,
    one(
      { opType: "Split" },
      { outputs: ["y", "z"], nodes: [{ opType: "Split", input: ["x"], output: ["y", "z"], attributes: { axis: 2 } }] },
    ),
  ],
  [
    "TopK",
    9,
    one(
      { opType: "TopK" },
      {
        outputs: ["y", "z"],
        types: { z: 7 },
        nodes: [{ opType: "TopK", input: ["x"], output: ["y", "z"], attributes: { k: 2, axis: 3 } }],
      },
    ),
  ],
  [
    "Upsample",
    9,
    one(
      { opType: "Upsample" },
      {
        nodes: [{ opType: "Upsample", input: ["x", "s"], output: ["y"], attributes: { mode: "nearest" } }],
        initializers: [floatTensor("s", [4], Float32Array.of(1, 1, 2, 1.5))],
      },
    ),
  ],
  [
    "Resize of 10, linear",
    10,
    one(
      { opType: "Resize" },
      {
        nodes: [{ opType: "Resize", input: ["x", "s"], output: ["y"], attributes: { mode: "linear" } }],
        initializers: [floatTensor("s", [4], Float32Array.of(1, 1, 2, 2))],
      },
    ),
  ],
  [
    "BatchNormalization",
    7,
    one(
      { opType: "BatchNormalization" },
      {
        nodes: [{ opType: "BatchNormalization", input: ["x", "g", "b", "m", "v"], output: ["y"] }],
        initializers: ["g", "b", "m", "v"].map((x) => floatTensor(x, [3], Float32Array.of(0.5, 1, 2))),
      },
    ),
  ],
];

describe("raiseOpset", () => {
  test.each(CHANGED)("keeps what %s of operator set %i computes", async (_, opset, parts) => {
    const before = await runModel(smallModel({ opset, ...parts }).write(), feeds);
    const raised = smallModel({ opset, ...parts }).transform(raiseOpset(13));
    const after = await runModel(readModel(raised.write()).write(), feeds);
    expect(raised.opset).toBe(13);
    before.forEach((values, i) => expect(largestDifference(values, after[i] ?? [])).toBeLessThanOrEqual(1e-6));
  });

  test.each(CHANGED)("keeps what %s of operator set %i computes up to the highest", async (_, opset, parts) => {
    const before = await runModel(smallModel({ opset, ...parts }).write(), feeds);
    const raised = smallModel({ opset, ...parts }).transform(raiseOpset(21));
    const after = await runModel(readModel(raised.write()).write(), feeds);
    expect(raised.opset).toBe(21);
    before.forEach((values, i) => expect(largestDifference(values, after[i] ?? [])).toBeLessThanOrEqual(1e-6));
  });

  test.each(REAL_MODELS)("changes no bit of what $name computes", async ({ read, dims }) => {
    const x = { x: { dims, data: seededFloats(dims.reduce((a, b) => a * b, 1)) } };
    const raised = readModel(read()).transform(raiseOpset(13), constantsToInitializers(), removeUnused());
    expect(raised.graph.nodes.some((node) => node.opType === "Constant")).toBe(false);
    const [[before = []], [after = []]] = [await runModel(read(), x), await runModel(raised.write(), x)];
    expect(largestDifference(before, after)).toBe(0);
  });

  test("refuses an operator that it does not know, by name", () => {
    const model = smallModel({ opset: 9, ...one({ opType: "Unheard" }) });
    expect(() => model.transform(raiseOpset(13))).toThrow(/operator Unheard of "y\/Unheard" cannot be raised/);
  });

  test("refuses a Clip whose bounds' type is not certain", () => {
    const model = smallModel({
      opset: 9,
      ...one({ opType: "Clip", attributes: { min: float(0) } }, { types: { x: 10, y: 10 } }),
    });
    expect(() => model.transform(raiseOpset(13))).toThrow(/Clip.*not float32 throughout/);
  });

  test("does not change operators of other domains", () => {
    const model = smallModel({ opset: 9, ...one({ opType: "Anything" }) });
    model.graph.proto.node[0]!.domain = "com.example";
    expect(model.transform(raiseOpset(13)).graph.nodes[0]?.opType).toBe("Anything");
  });

  test("does not change a model that is already there", () => {
    const model = smallModel({ opset: 17, ...one({ opType: "Relu" }) });
    const bytes = model.write();
    expect(model.transform(raiseOpset(13)).write()).toEqual(bytes);
  });

  test("reaches into subgraphs", () => {
    const branch = smallModel({
      opset: 9,
      inputs: {},
      outputs: ["b"],
      nodes: [{ opType: "Clip", input: ["x"], output: ["b"], attributes: { min: float(0) } }],
    });
    const model = smallModel({ opset: 9, ...one({ opType: "If" }) });
    const node = model.graph.proto.node[0]!;
    node.attribute = [
      { $typeName: "onnx.AttributeProto", name: "then_branch", type: 5, g: branch.graph.proto } as never,
    ];
    node.attribute[0]!.graphs = [];
    model.transform(raiseOpset(13));
    expect(branch.graph.proto.node[0]?.input).toEqual(["x", "b/min"]);
  });

  test.each([7, 22, 9.5, Number.NaN])("takes no version %d", (version) => {
    expect(() => raiseOpset(version)).toThrow(RangeError);
  });

  test("refuses a model that is too old", () => {
    const model = smallModel({ opset: 6, ...one({ opType: "Relu" }) });
    expect(() => model.transform(raiseOpset(13))).toThrow(/too old/);
  });
});

test("a Softmax along the last axis stays one operator where the rank follows from a lookup", async () => {
  const make = () =>
    smallModel({
      opset: 12,
      inputs: { x: [5, 4] },
      outputs: ["y"],
      nodes: [
        { opType: "Cast", input: ["x"], output: ["i"], attributes: { to: TensorProto_DataType.INT64 } },
        { opType: "Gather", input: ["table", "i"], output: ["e"] },
        { opType: "Softmax", input: ["e"], output: ["y"], attributes: { axis: 2 } },
      ],
      initializers: [floatTensor("table", [3, 8], seededFloats(24))],
    });
  const model = make().transform(raiseOpset(13));
  expect(model.graph.nodes.map((x) => x.opType)).toEqual(["Cast", "Gather", "Softmax"]);
  const looked = { x: { dims: [5, 4], data: Float32Array.from({ length: 20 }, (_, i) => i % 3) } };
  const [[before = []], [now = []]] = [await runModel(make().write(), looked), await runModel(model.write(), looked)];
  expect(largestDifference(before, now)).toBe(0);
});
