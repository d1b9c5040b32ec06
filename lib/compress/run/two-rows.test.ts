import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { BundleInput } from "../../core/bundle.ts";
import type { NodeSpec } from "../onnx/graph.ts";
import { TensorProto_DataType } from "../onnx/onnx.gen.js";
import type { TensorProto } from "../onnx/onnx.gen.js";
import { int64Tensor } from "../onnx/tensor-proto.ts";
import { inMemory, seededFloats, smallModel } from "../../test-support/compress/fixtures.ts";
import { Checker } from "../check/check.ts";
import { evaluateForm } from "../evaluate-form.ts";
import { runReference } from "../evaluate-source.ts";
import { formsFor } from "../forms/forms.ts";
import type { FormReport } from "../report/report.ts";
import type { Feed } from "./feeds.ts";
import { makeMetric } from "./metric.ts";
import { samplesOf } from "./samples.ts";
import { openModel } from "./session.ts";
import { answerTwoRows, joinTensors, runTwoRows, twoRows } from "./two-rows.ts";

const floats = (dims: number[], data: readonly number[]): Feed[string] => ({
  dtype: "float32",
  dims,
  data: Float32Array.from(data),
});
const input = (name: string, dims: (number | string)[]): BundleInput => ({
  ...{ name, dims, dtype: "float32", batchAxis: null },
});

test("inputs are joined along the axis that the first open dim names, wherever it lies; others stay", () => {
  const inputs = [input("x", ["n", 2]), input("state", [2, "n", 1]), input("bias", [3])];
  const sample = (by: number): Feed => ({
    x: floats([1, 2], [by, by + 1]),
    state: floats([2, 1, 1], [by, -by]),
    bias: floats([3], [7, 8, 9]),
  });
  expect(twoRows(inputs, [sample(10), sample(20)])).toEqual({
    feed: {
      x: floats([2, 2], [10, 11, 20, 21]),
      state: floats([2, 2, 1], [10, 20, -10, -20]),
      bias: floats([3], [7, 8, 9]),
    },
    alone: [sample(10), { ...sample(20), bias: sample(10)["bias"] }],
  });
  expect(twoRows([input("x", [1, 2])], [sample(10), sample(20)])).toBeNull();
  expect(twoRows(inputs, [])).toBeNull();
});

test("without two samples of equal dims the second row is the first, reversed", () => {
  const sample = (length: number): Feed => ({ x: floats([1, length], [1, 2, 3, 4].slice(0, length)) });
  const made = twoRows([input("x", ["x_0", "length"])], [sample(3), sample(4)]);
  const alone = [sample(3), { x: floats([1, 3], [3, 2, 1]) }];
  expect(made).toEqual({ feed: { x: floats([2, 3], [1, 2, 3, 3, 2, 1]) }, alone });
  const texts: Feed[string] = { dtype: "string", dims: [1, 1], data: ["a"] };
  expect(joinTensors(texts, texts, 0)).toEqual({ dtype: "string", dims: [2, 1], data: ["a", "a"] });
});

const SIZE = 6;
const tanh: NodeSpec = { opType: "Tanh", input: ["x"], output: ["y"] };
const parts = { opset: 13, inputs: { x: ["n", SIZE] }, outputs: ["y"] };

/** Evaluates other nodes as a form of y = tanh(x). */
async function asForm(nodes: readonly NodeSpec[], initializers: readonly TensorProto[]): Promise<Partial<FormReport>> {
  const folder = mkdtempSync(join(tmpdir(), "selvedge-rows-"));
  try {
    const path = join(folder, "model.onnx");
    const source = inMemory(smallModel({ ...parts, nodes: [tanh] }));
    writeFileSync(path, source.source);
    const feeds = Array.from({ length: 40 }, (_, i): Feed => ({
      x: floats([1, SIZE], [...seededFloats(SIZE, i + 1)]),
    }));
    const metric = await makeMetric("sqnr", { hasLabels: false });
    const run = await runReference(path, samplesOf(feeds), metric, undefined, { fittedMost: Infinity }, []);
    const checked = feeds.filter((_, i) => run.split.isScored(i)).slice(0, 8);
    const rows = await answerTwoRows(path, [input("x", ["n", SIZE])], checked);
    const checker = new Checker(source.source, checked, { rows: rows?.feed });
    const [form] = formsFor(["wasm"], ["int8"]).filter((x) => x.id === "int8");
    if (form === undefined) throw new Error("no int8");
    const made = { form, ...inMemory(smallModel({ ...parts, nodes, initializers })) };
    const more = {
      labels: undefined,
      signal: undefined,
      targets: ["wasm"],
      onProgress: () => undefined,
      mark: () => undefined,
    } as const;
    const { references, split, score: referenceScore, tally: referenceTally } = run;
    return await evaluateForm(made, {
      ...{ ...more, references, split, referenceScore, referenceTally, metric, rows, checker, checked },
      ...{ complete: (model) => model, behind: [], options: {} },
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

test("a form that is right for single rows alone is refused, with the reason", { timeout: 60_000 }, async () => {
  const right = await asForm([tanh], []);
  expect(right).toMatchObject({ isWithinBudget: true, checks: [{ target: "wasm", verdict: "passed" }] });
  const firstForAll: NodeSpec[] = [
    { opType: "Gather", input: ["x", "zero"], output: ["first"], attributes: { axis: 0 } },
    { opType: "Shape", input: ["x"], output: ["dims"] },
    { opType: "Expand", input: ["first", "dims"], output: ["all"] },
    { opType: "Tanh", input: ["all"], output: ["y"] },
  ];
  const wrong = await asForm(firstForAll, [int64Tensor("zero", [1], [0])]);
  expect(wrong).toMatchObject({ score: 200, isWithinBudget: false, checks: [] });
  expect(wrong.why).toMatch(/^it computes a batch of two samples otherwise than each alone: SQNR -?\d/);
  const oneRow: NodeSpec[] = [
    { opType: "Reshape", input: ["x", "one"], output: ["flat"] },
    { opType: "Tanh", input: ["flat"], output: ["y"] },
  ];
  const stuck = await asForm(oneRow, [int64Tensor("one", [2], [1, SIZE])]);
  expect(stuck.why).toMatch(/^it does not run: with two samples in one batch, /);
});

test("classes of a batch that differ from those of each row count, alone and beside floats", async () => {
  const firstForAll: NodeSpec[] = [
    { opType: "Gather", input: ["x", "zero"], output: ["first"], attributes: { axis: 0 } },
    { opType: "Shape", input: ["x"], output: ["dims"] },
    { opType: "Expand", input: ["first", "dims"], output: ["all"] },
  ];
  const classOf = (x: string, opType = "ArgMax"): NodeSpec[] => [
    { opType, input: [x], output: ["index"], attributes: { axis: 1, keepdims: 0 } },
    { opType: "Cast", input: ["index"], output: ["class"], attributes: { to: TensorProto_DataType.FLOAT } },
  ];
  const tanhOf = (x: string): NodeSpec => ({ ...tanh, input: [x] });
  const made = (outputs: string[], nodes: NodeSpec[]): Uint8Array => {
    const initializers = [int64Tensor("zero", [1], [0])];
    return smallModel({ ...parts, outputs, nodes, initializers }).write();
  };
  const samples = [
    [0, 1, 2, 3, 4, 5],
    [5, 4, 3, 2, 1, 0],
  ].map((x): Feed => ({ x: floats([1, SIZE], x) }));
  const lossOf = async (outputs: string[], source: NodeSpec[], form: NodeSpec[]): Promise<string | null> => {
    const rows = await answerTwoRows(made(outputs, source), [input("x", ["n", SIZE])], samples);
    const model = await openModel(made(outputs, form), "cpu");
    try {
      return rows && (await runTwoRows(model, rows)).loss;
    } finally {
      await model.release();
    }
  };
  const whole = classOf("x");
  expect(await lossOf(["class"], whole, whole)).toBeNull();
  expect(await lossOf(["class"], whole, [...firstForAll, ...classOf("all")])).toBe('50 % of "class" differ');
  // A fault of each row alone lowers the score.
  expect(await lossOf(["class"], whole, classOf("x", "ArgMin"))).toBeNull();
  const both = [...classOf("x"), tanhOf("x")];
  expect(await lossOf(["class", "y"], both, [...firstForAll, ...classOf("all"), tanhOf("x")])).toMatch(
    /^50 % of "class"/,
  );
  // Wrong classes do not excuse floats that are right for each row alone.
  const wrong = [...firstForAll, ...classOf("x", "ArgMin"), tanhOf("all")];
  expect(await lossOf(["class", "y"], both, wrong)).toMatch(/^SQNR /);
});
