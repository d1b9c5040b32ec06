import fc from "fast-check";
import { expect, test } from "vitest";
import {
  decibels,
  largestDifference,
  REAL_MODELS,
  runModelOften,
  seededFloats,
  smallModel,
} from "../../test-support/compress/fixtures.ts";
import type { NodeSpec } from "../onnx/graph.ts";
import { inferValues } from "../run/infer-values.ts";
import { nameDims } from "./name-dims.ts";
import { readModel } from "../onnx/model.ts";
import type { OnnxModel } from "../onnx/model.ts";
import { quantizeDynamic } from "../quantize/quantize-dynamic.ts";
import { simplify } from "./simplify.ts";
import { floatTensor, int64Tensor } from "../onnx/tensor-proto.ts";
import { slice } from "../../test-support/slice.ts";

/** Returns the dims that ONNX Runtime infers, once they are named. */
async function dimsOf(model: OnnxModel, ...names: string[]): Promise<unknown[]> {
  await nameDims(model);
  const values = await inferValues(readModel(model.write()));
  return names.map((name) => values.get(name)?.dims);
}

const CONV = floatTensor("w", [4, 2, 3, 3], seededFloats(72));

test("dims after windows are named by all that they depend on, and other operators propagate the names", async () => {
  const conv = (output: string, attributes: NonNullable<NodeSpec["attributes"]>): NodeSpec => {
    return { opType: "Conv", input: ["x", "w"], output: [output], attributes };
  };
  const model = smallModel({
    opset: 13,
    inputs: { x: ["batch", 2, 16, "width"] },
    outputs: ["y"],
    nodes: [
      conv("same", { pads: [1, 1, 1, 1] }),
      conv("half", { pads: [1, 1, 1, 1], strides: [2, 2] }),
      conv("halved", { auto_pad: "SAME_UPPER", strides: [2, 2] }),
      conv("wide", { dilations: [1, 2], pads: [1, 2, 1, 2] }),
      { opType: "Relu", input: ["half"], output: ["r"] },
      { opType: "MaxPool", input: ["r"], output: ["m"], attributes: { kernel_shape: [2, 2], strides: [2, 2] } },
      { opType: "Add", input: ["same", "wide"], output: ["s"] },
      { opType: "Reshape", input: ["m", "flat"], output: ["f"] },
      { opType: "Reshape", input: ["m", "list"], output: ["l"] },
      ...["s", "halved", "f", "l"].map((x): NodeSpec => {
        return { opType: "ReduceSum", input: [x], output: [`${x}-sum`], attributes: { keepdims: 0 } };
      }),
      { opType: "Sum", input: ["s-sum", "halved-sum", "f-sum", "l-sum"], output: ["y"] },
    ],
    initializers: [CONV, int64Tensor("flat", [3], [0, 16, -1]), int64Tensor("list", [1], [-1])],
  });
  expect(await dimsOf(model, "same", "half", "halved", "s", "m", "f", "l")).toEqual([
    ["batch", 4, 16, "width"],
    ["batch", 4, 8, "(width+1)/2"],
    ["batch", 4, 8, "(width-1)/2 SAME_UPPER"],
    ["batch", 4, 16, "width"],
    ["batch", 4, 4, "((width+1)/2+0)/2"],
    ["batch", 16, "((width+1)/2+0)/2"],
    ["16*((width+1)/2+0)/2*batch"],
  ]);
});

test("a model whose own dim names are wrong is not changed", async () => {
  const make = () =>
    smallModel({
      opset: 13,
      inputs: { x: [1, 2, 16, "size"], z: [1, 2, 16, "size"] },
      outputs: ["y", "v"],
      nodes: ["xy", "zv"].map(([input = "", output = ""]) => {
        return { opType: "Conv", input: [input, "w"], output: [output], attributes: { strides: [2, 2] } };
      }),
      initializers: [CONV],
    });
  const feed = (x: number, z: number) => {
    const tensor = (size: number) => {
      return { dtype: "float32", dims: [1, 2, 16, size], data: new Float32Array(32 * size) } as const;
    };
    return { x: tensor(x), z: tensor(z) };
  };
  const [honest, lying] = [make(), make()];
  await nameDims(honest, [feed(8, 8), feed(9, 9)]);
  await nameDims(lying, [feed(8, 8), feed(8, 9)]);
  expect([honest, lying].map((model) => model.graph.proto.valueInfo.length)).toEqual([2, 0]);
});

test("outputs are unchanged for all sizes: ONNX Runtime refuses a run whose dim names are wrong", async () => {
  const window = fc.record({
    kernel: fc.integer({ min: 1, max: 3 }),
    stride: fc.integer({ min: 1, max: 2 }),
    pad: fc.integer({ min: 0, max: 1 }),
    isPool: fc.boolean(),
    isCeil: fc.boolean(),
  });
  // Branches whose values could share buffers, were they of one shape.
  const branch = fc.array(window, { minLength: 1, maxLength: 3 });
  await fc.assert(
    fc.asyncProperty(fc.array(branch, { minLength: 2, maxLength: 4 }), async (branches) => {
      const nodes: NodeSpec[] = [];
      const initializers = [floatTensor("one", [1], Float32Array.of(1))];
      const ends = branches.map((windows, b) => {
        let at = "x";
        for (const [i, { kernel, stride, pad, isPool, isCeil }] of windows.entries()) {
          const name = `${b}-${i}`;
          const attributes = { kernel_shape: [kernel], strides: [stride], pads: [pad, pad] };
          if (isPool && pad < kernel)
            nodes.push({
              opType: "MaxPool",
              input: [at],
              output: [name],
              attributes: { ...attributes, ceil_mode: isCeil ? 1 : 0 },
            });
          else {
            initializers.push(floatTensor(`w${name}`, [2, 2, kernel], seededFloats(4 * kernel, 1 + b + i)));
            nodes.push({ opType: "Conv", input: [at, `w${name}`], output: [name], attributes });
          }
          nodes.push({ opType: "Sigmoid", input: [name], output: [(at = `${name}s`)] });
        }
        nodes.push({ opType: "ReduceSum", input: [at], output: [`${b}`], attributes: { keepdims: 0 } });
        return `${b}`;
      });
      nodes.push({ opType: "Sum", input: ends, output: ["y"] });
      const parts = { opset: 13, inputs: { x: ["batch", 2, "width"] }, outputs: ["y"], nodes, initializers };
      const model = smallModel(parts);
      await nameDims(model);
      const sizes = [
        [1, 24],
        [2, 17],
      ] as const;
      const list = sizes.map(([batch, width]) => {
        return { x: { dims: [batch, 2, width], data: seededFloats(batch * 2 * width) } };
      });
      const before = await runModelOften(smallModel(parts).write(), list);
      for (const graphOptimizationLevel of ["disabled", "all"] as const) {
        const now = await runModelOften(model.write(), list, { graphOptimizationLevel });
        for (const [i, [values = []]] of now.entries())
          expect(largestDifference(before[i]?.[0] ?? [], values)).toBeLessThan(1e-4);
      }
    }),
    { numRuns: slice(50, 200) },
  );
});

test.each(REAL_MODELS)("$name, in float32 and in integers, answers the same at each size", async ({ read, dims }) => {
  for (const transform of [[], [quantizeDynamic()]]) {
    const plain = readModel(read()).transform(simplify(), ...transform);
    const named = readModel(plain.write());
    await nameDims(named);
    expect(named.graph.proto.valueInfo.length).toBeGreaterThan(10);
    const sizes = [dims, dims.map((x, i) => (i === 0 ? x + 1 : i === 3 ? x + 32 : x))];
    const list = sizes.map((size) => ({ x: { dims: size, data: seededFloats(size.reduce((a, b) => a * b, 1)) } }));
    const runs = [await runModelOften(plain.write(), list), await runModelOften(named.write(), list)] as const;
    for (const i of sizes.keys()) {
      const [before = [], now = []] = runs.map((x) => x[i]?.[0]);
      // Fusions differ where more dims are known, and with them the last digits; in integers those become steps.
      if (transform.length === 0) expect(largestDifference(before, now)).toBeLessThan(1e-5);
      else expect(decibels(before, now)).toBeGreaterThan(30);
    }
  }
});
