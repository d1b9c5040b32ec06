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
import { foldAffine } from "./fold-affine.ts";
import { fuseHardSwish } from "./fuse-hard-swish.ts";
import { readModel } from "../onnx/model.ts";
import type { OnnxModel, Transform } from "../onnx/model.ts";
import { removeUnused } from "./remove-unused.ts";
import { setDims } from "./set-dims.ts";
import { constantReshapes } from "./constant-reshapes.ts";
import { simplify } from "./simplify.ts";
import { floatTensor, int64Tensor } from "../onnx/tensor-proto.ts";

const DIMS = [2, 4, 5, 6];
const feeds = { x: { dims: DIMS, data: seededFloats(240) } };
const floats = (name: string, dims: number[], seed: number) =>
  floatTensor(
    name,
    dims,
    seededFloats(
      dims.reduce((a, b) => a * b, 1),
      seed,
    ),
  );
const scalar = (name: string, value: number) => floatTensor(name, [1], Float32Array.of(value));
const operators = (model: OnnxModel): string[] => model.graph.nodes.map((node) => node.opType);

/** Applies transforms, checks that the outputs are the same, and returns the remaining operators. */
async function after(parts: Omit<SmallModel, "opset">, ...transforms: Transform[]): Promise<string[]> {
  const [before = []] = await runModel(smallModel({ opset: 13, ...parts }).write(), feeds);
  const model = smallModel({ opset: 13, ...parts }).transform(...transforms, removeUnused());
  const [now = []] = await runModel(readModel(model.write()).write(), feeds);
  expect(largestDifference(before, now)).toBeLessThan(2e-5);
  return operators(model);
}

describe("simplify", () => {
  test.each(REAL_MODELS)(
    "keeps what $name computes, with fewer operators and none that counts dims",
    async ({ read, dims }) => {
      const x = { x: { dims, data: seededFloats(dims.reduce((a, b) => a * b, 1)) } };
      const model = readModel(read()).transform(simplify());
      const [[before = []], [now = []]] = [await runModel(read(), x), await runModel(model.write(), x)];
      expect(largestDifference(before, now)).toBeLessThan(1e-4);
      expect(
        operators(model).filter((x) => ["Shape", "Cast", "Clip", "BatchNormalization", "Constant"].includes(x)),
      ).toEqual([]);
      expect(model.graph.nodes.length).toBeLessThan(readModel(read()).graph.nodes.length / 2);
    },
  );
});

describe("foldAffine", () => {
  const conv = { opType: "Conv", attributes: { pads: [1, 1, 1, 1] } };
  const weights = [floats("w", [8, 4, 3, 3], 3), floats("b", [8], 4)];

  test("folds Mul, Add and BatchNormalization after a convolution", async () => {
    const statistics = ["g", "h", "m"].map((x, i) => floats(x, [8], 20 + i));
    const left = await after(
      {
        inputs: { x: DIMS },
        outputs: ["y"],
        nodes: [
          { ...conv, input: ["x", "w", "b"], output: ["c"] },
          { opType: "Mul", input: ["s", "c"], output: ["d"] },
          { opType: "Add", input: ["d", "t"], output: ["e"] },
          { opType: "BatchNormalization", input: ["e", "g", "h", "m", "v"], output: ["y"] },
        ],
        initializers: [
          ...weights,
          ...statistics,
          floats("s", [8, 1, 1], 7),
          scalar("t", 0.25),
          floatTensor(
            "v",
            [8],
            seededFloats(8, 9).map((x) => x + 1.5),
          ),
        ],
      },
      foldAffine(),
    );
    expect(left).toEqual(["Conv"]);
  });

  test("folds nodes after a transposed convolution", async () => {
    const left = await after(
      {
        inputs: { x: DIMS },
        outputs: ["y"],
        nodes: [
          { opType: "ConvTranspose", input: ["x", "w"], output: ["c"], attributes: { strides: [2, 2] } },
          { opType: "Mul", input: ["c", "s"], output: ["d"] },
          { opType: "Add", input: ["d", "t"], output: ["y"] },
        ],
        initializers: [floats("w", [4, 3, 2, 2], 5), floats("s", [1, 3, 1, 1], 6), floats("t", [1, 3, 1, 1], 7)],
      },
      foldAffine(),
    );
    expect(left).toEqual(["ConvTranspose"]);
  });

  test("folds a scale and a shift before a convolution without padding", async () => {
    const left = await after(
      {
        inputs: { x: DIMS },
        outputs: ["y"],
        nodes: [
          { opType: "Mul", input: ["x", "s"], output: ["d"] },
          { opType: "Add", input: ["d", "t"], output: ["e"] },
          { opType: "Conv", input: ["e", "w", "b"], output: ["y"] },
        ],
        initializers: [...weights, scalar("s", 1.5), scalar("t", -0.25)],
      },
      foldAffine(),
    );
    expect(left).toEqual(["Conv"]);
  });

  test("keeps a shift before padding, and folds the scale above it", async () => {
    const left = await after(
      {
        inputs: { x: DIMS },
        outputs: ["y"],
        nodes: [
          { opType: "Mul", input: ["x", "s"], output: ["d"] },
          { opType: "Add", input: ["d", "t"], output: ["e"] },
          { ...conv, input: ["e", "w", "b"], output: ["y"] },
        ],
        initializers: [...weights, scalar("s", 1.5), scalar("t", -0.25)],
      },
      foldAffine(),
    );
    expect(left).toEqual(["Add", "Conv"]);
  });

  test("does not fold values with other uses, or that are no per-channel scale", async () => {
    const left = await after(
      {
        inputs: { x: DIMS },
        outputs: ["y"],
        nodes: [
          { ...conv, input: ["x", "w", "b"], output: ["c"] },
          { opType: "Mul", input: ["c", "s"], output: ["d"] },
          { opType: "Add", input: ["c", "d"], output: ["e"] },
          { ...conv, input: ["x", "w", "b"], output: ["f"] },
          { opType: "Mul", input: ["f", "k"], output: ["g"] },
          { opType: "Add", input: ["e", "g"], output: ["y"] },
        ],
        initializers: [...weights, scalar("s", 2), floats("k", [6], 8)],
      },
      foldAffine(),
    );
    expect(left).toEqual(["Conv", "Mul", "Add", "Conv", "Mul", "Add"]);
  });

  test.each([
    ["each with a scale of its own keep them", "t", ["Conv", "Mul", "Conv", "Mul", "Add"]],
    ["with one scale fold it", "s", ["Conv", "Conv", "Add"]],
  ])("two convolutions with the same weights, %s", async (_, second, expected) => {
    const left = await after(
      {
        inputs: { x: DIMS },
        outputs: ["y"],
        nodes: [
          { ...conv, input: ["x", "w", "b"], output: ["c"] },
          { opType: "Mul", input: ["c", "s"], output: ["d"] },
          { opType: "Relu", input: ["x"], output: ["r"] },
          { ...conv, input: ["r", "w", "b"], output: ["e"] },
          { opType: "Mul", input: ["e", second], output: ["f"] },
          { opType: "Add", input: ["d", "f"], output: ["y"] },
        ],
        initializers: [...weights, floats("s", [8, 1, 1], 7), floats("t", [8, 1, 1], 8)],
      },
      foldAffine(),
    );
    expect(left.filter((x) => x !== "Relu")).toEqual(expected);
  });
});

test("fuseHardSwish replaces four nodes by two", async () => {
  const left = await after(
    {
      inputs: { x: DIMS },
      outputs: ["y"],
      nodes: [
        { opType: "Mul", input: ["x", "wide"], output: ["v"] },
        { opType: "Add", input: ["v", "three"], output: ["a"] },
        { opType: "Clip", input: ["a", "zero", "six"], output: ["b"] },
        { opType: "Mul", input: ["v", "b"], output: ["c"] },
        { opType: "Div", input: ["c", "six"], output: ["y"] },
      ],
      initializers: [
        scalar("wide", 6),
        ...[3, 0, 6].map((x, i) => floatTensor(["three", "zero", "six"][i] ?? "", [], Float32Array.of(x))),
      ],
    },
    fuseHardSwish(),
  );
  expect(left).toEqual(["Mul", "HardSigmoid", "Mul"]);
});

describe("constantReshapes", () => {
  const reshape = (...parts: string[]): Omit<SmallModel, "opset"> => ({
    inputs: { x: DIMS },
    outputs: ["y"],
    nodes: [
      { opType: "Shape", input: ["x"], output: ["shape"] },
      { opType: "Slice", input: ["shape", "0", "1", "0"], output: ["first"] },
      { opType: "Slice", input: ["shape", "2", "3", "0"], output: ["third"] },
      { opType: "Gather", input: ["shape", "3"], output: ["fourth"] },
      { opType: "Concat", input: parts, output: ["target"], attributes: { axis: 0 } },
      { opType: "Reshape", input: ["x", "target"], output: ["y"] },
    ],
    initializers: [0, 1, 2, 3, 4, 20].map((x) => int64Tensor(String(x), [1], [x])),
  });

  test("writes 0 for a dim at its own position, and -1 for one remaining", async () => {
    expect(await after(reshape("first", "fourth", "20"), constantReshapes())).toEqual(["Reshape"]);
  });

  test("does not change a target with two remaining dims", async () => {
    expect(await after(reshape("fourth", "third", "4", "2"), constantReshapes())).toContain("Shape");
  });
});

test("constantsToInitializers keeps a constant that is an output, and prune removes unused nodes", () => {
  const model = smallModel({
    opset: 13,
    inputs: { x: DIMS },
    outputs: ["y", "k"],
    nodes: ["k", "used", "unused"].map((name) => ({ opType: "Constant", input: [], output: [name] })),
  });
  model.graph.proto.node.forEach((node, i) => {
    node.attribute = [{ name: "value", t: scalar("", i) } as never];
    node.attribute[0]!.graphs = [];
  });
  model.graph.insertAfter(model.graph.nodes[2]!, { opType: "Mul", input: ["x", "used"], output: ["y"] });
  model.transform(constantsToInitializers(), removeUnused());
  expect(operators(model)).toEqual(["Constant", "Mul"]);
  expect(model.graph.proto.initializer.map((x) => x.name)).toEqual(["used"]);
});

describe("setDims", () => {
  const identity = () =>
    smallModel({
      opset: 13,
      inputs: { x: DIMS },
      outputs: ["y"],
      nodes: [{ opType: "Relu", input: ["x"], output: ["y"] }],
    });

  test("names and fixes dims", () => {
    const model = identity().transform(setDims({ x: ["batch", 4, "height", 6] }));
    const type = readModel(model.write()).graph.proto.input[0]?.type?.value;
    const dims = type?.case === "tensorType" ? (type.value.shape?.dim ?? []) : [];
    expect(dims.map((x) => x.value.value)).toEqual(["batch", 4n, "height", 6n]);
  });

  test("refuses a name and a rank that are not the model's", () => {
    expect(() => identity().transform(setDims({ z: ["n"] }))).toThrow(/no input or output "z"/);
    expect(() => identity().transform(setDims({ x: ["n"] }))).toThrow(/4 dims, not 1/);
  });
});
