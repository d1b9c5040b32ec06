import { expect, test } from "vitest";
import { modelOf } from "../../test-support/onnx/onnx-graphs.ts";
import { readModel } from "../../compress/onnx/model.ts";
import { endlessModel, identityModel } from "../../test-support/backend-models.ts";
import { hasRareOperator, operatorName } from "./operators.ts";

const x = { dtype: "float32", dims: [2, 3] } as const;
const node = (opType: string, domain = "") => ({ opType, domain, input: ["x"], output: ["y"] });
const writeModel = (...nodes: ReturnType<typeof node>[]): Uint8Array =>
  modelOf({ inputs: { x }, outputs: ["y"], nodes, constants: { w: { dtype: "float32", dims: [1000] } } }).write();

test("a model is rare where one of its operators is not among the usual ones", () => {
  const usual = new Set(["Relu", "com.microsoft:Gelu"]);
  expect(hasRareOperator(writeModel(node("Relu"), node("Relu", "ai.onnx")), usual)).toBe(false);
  expect(hasRareOperator(writeModel(node("Relu"), node("Sinh")), usual)).toBe(true);
  expect(hasRareOperator(writeModel(node("Gelu", "com.microsoft")), usual)).toBe(false);
  expect(hasRareOperator(writeModel(node("Gelu")), usual)).toBe(true);
});

test("operators in subgraphs and in functions count", () => {
  const outer = readModel(endlessModel()).graph.nodes.map(({ opType, domain }) => operatorName(opType, domain));
  const all = [...readModel(endlessModel()).graph.all()].flatMap((graph) => graph.nodes.map(({ opType }) => opType));
  expect(hasRareOperator(endlessModel(), new Set(outer))).toBe(true);
  expect(hasRareOperator(endlessModel(), new Set(all))).toBe(false);
});

test("what is no ONNX file is left to ONNX Runtime", () => {
  expect(hasRareOperator(new TextEncoder().encode("<!doctype html><p>Not found</p>"), new Set())).toBe(false);
  expect(hasRareOperator(new Uint8Array(), new Set())).toBe(false);
});

test("of the head of a file the nodes that are whole count", () => {
  const model = writeModel(node("Relu"), node("Sinh"), node("Relu"));
  const usual = new Set(["Relu"]);
  const found = Array.from({ length: model.length + 1 }, (_, i) => hasRareOperator(model.subarray(0, i), usual));
  const from = found.indexOf(true);
  expect(from).toBeGreaterThan(0);
  expect(from).toBeLessThan(model.length / 2);
  expect(found.slice(from).every((each) => each)).toBe(true);
});

test("the usual operators are those that the profile ran", () => {
  expect(hasRareOperator(identityModel("float32"))).toBe(false);
  expect(hasRareOperator(writeModel(node("Inverse", "com.microsoft")))).toBe(true);
});
