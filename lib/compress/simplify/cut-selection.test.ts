import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { detector, runModel, seededFloats, smallModel } from "../../test-support/compress/fixtures.ts";
import { compress } from "../compress.ts";
import { makeNode } from "../onnx/graph.ts";
import { readModel } from "../onnx/model.ts";
import type { OnnxModel } from "../onnx/model.ts";
import { TensorProto_DataType } from "../onnx/onnx.gen.js";
import { floatTensor, int64Tensor } from "../onnx/tensor-proto.ts";
import { addOutputs, cutSelection } from "./cut-selection.ts";

const outputsOf = ({ graph }: OnnxModel): string[] => graph.proto.output.map((x) => x.name);
const image = (seed: number): Float32Array => seededFloats(3 * 16 * 16, 1 + seed * 7_368_787);

test("a detector is cut before its suppression, and joined again it answers as before", async () => {
  const cut = cutSelection(detector());
  expect(cut).toMatchObject({ operators: ["NonMaxSuppression"], behind: ["detections", "kept"] });
  expect([...(cut?.read ?? [])].sort()).toEqual(["boxes", "list", "scores"]);
  const head = cut?.head ?? detector();
  expect(outputsOf(head).sort()).toEqual(["boxes", "list", "scores"]);
  expect(head.graph.nodes.some((x) => x.opType === "NonMaxSuppression")).toBe(false);
  // A transform took a name of the part behind.
  head.graph.proto.node.push(makeNode({ opType: "Neg", input: ["scores"], output: ["at"] }));
  addOutputs(head, ["at"]);
  const whole = cut?.join(head) ?? head;
  expect(outputsOf(whole)).toEqual(["detections", "kept"]);
  const observed = outputsOf(cut?.join(head, true) ?? head);
  expect(observed.slice(0, 2)).toEqual(["detections", "kept"]);
  expect(observed.slice(2).sort()).toEqual(["boxes", "list", "scores"]);
  const feed = { x: { dims: [1, 3, 16, 16], data: image(1) } };
  const [was, now] = [await runModel(detector().write(), feed), await runModel(whole.write(), feed)];
  expect(was[1]?.length).toBeGreaterThan(3);
  expect(now).toEqual(was);
});

describe("a model is not cut", () => {
  const topK = (after: "MatMul" | "Neg"): OnnxModel =>
    smallModel({
      opset: 13,
      inputs: { x: ["n", 64] },
      outputs: ["y"],
      nodes: [
        { opType: "MatMul", input: ["x", "a"], output: ["h"] },
        { opType: "TopK", input: ["h", "k"], output: ["best", "at"] },
        { opType: after, input: after === "Neg" ? ["best"] : ["best", "b"], output: ["y"] },
      ],
      initializers: [
        floatTensor("a", [64, 64], seededFloats(64 * 64)),
        floatTensor("b", [16, 32], seededFloats(16 * 32)),
        int64Tensor("k", [1], [16]),
      ],
    });

  test("where many weights follow the selection: they would stay float32", () => {
    expect(cutSelection(topK("Neg"))?.read).toEqual(["h"]);
    expect(cutSelection(topK("MatMul"))).toBeNull();
  });

  test("where the selection is of an input: every form selects the same", () => {
    const model = smallModel({
      opset: 13,
      inputs: { x: ["n", 64], mask: ["m"] },
      outputs: ["y"],
      nodes: [
        { opType: "NonZero", input: ["mask"], output: ["at"] },
        { opType: "MatMul", input: ["x", "a"], output: ["h"] },
        { opType: "Gather", input: ["h", "at"], output: ["y"] },
      ],
      initializers: [floatTensor("a", [64, 64], seededFloats(64 * 64))],
    });
    expect(cutSelection(model)).toBeNull();
  });

  test("where only shapes are selected", () => {
    const model = smallModel({
      opset: 13,
      inputs: { x: ["n"] },
      outputs: ["y"],
      types: { y: TensorProto_DataType.INT64 },
      nodes: [
        { opType: "Shape", input: ["x"], output: ["shape"] },
        { opType: "ConstantOfShape", input: ["shape"], output: ["zeros"] },
        { opType: "NonZero", input: ["zeros"], output: ["y"] },
      ],
    });
    expect(cutSelection(model)).toBeNull();
  });

  test("where nothing selects but the class of an answer", () => {
    const model = smallModel({
      opset: 13,
      inputs: { x: ["n", 8] },
      outputs: ["y"],
      types: { y: TensorProto_DataType.INT64 },
      nodes: [{ opType: "ArgMax", input: ["x"], output: ["y"], attributes: { axis: 1 } }],
    });
    expect(cutSelection(model)).toBeNull();
  });
});

describe("compress", () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "selvedge-selection-"));
  });
  afterEach(() => {
    rmSync(folder, { recursive: true, force: true });
  });

  test(
    "scores a detector by the boxes before the suppression, and writes it whole (tool-selection)",
    { timeout: 120_000 },
    async () => {
      const [path, samples, out] = [join(folder, "model.onnx"), join(folder, "x.jsonl"), join(folder, "out")];
      writeFileSync(path, detector().write());
      const images = Array.from({ length: 64 }, (_, i) => ({ x: { dims: [1, 3, 16, 16], data: [...image(i)] } }));
      writeFileSync(samples, images.map((x) => JSON.stringify(x)).join("\n"));
      const report = await compress(path, { out, samples, targets: ["wasm"], forms: ["int8"], sensitivityMs: 0 });
      const int8 = report.forms.find((x) => x.id === "int8");
      expect(int8).toMatchObject({ isWithinBudget: true, checks: [{ target: "wasm", verdict: "passed" }] });
      expect(report.notes.join(" ")).toContain("what NonMaxSuppression selects");
      expect(report.defaults).toEqual({ wasm: "int8" });
      const written = readModel(readFileSync(join(out, "int8.onnx")));
      expect(outputsOf(written)).toEqual(["detections", "kept"]);
      const [detections, kept] = await runModel(written.write(), { x: { dims: [1, 3, 16, 16], data: image(1) } });
      expect(kept?.length).toBeGreaterThan(3);
      expect(detections?.length).toBe(((kept?.length ?? 0) / 3) * 4);
    },
  );
});
