import fc from "fast-check";
import { expect, test } from "vitest";
import { addBranch, mergedDecoder, runModel, smallModel } from "../../test-support/compress/fixtures.ts";
import { Random } from "../../test-support/random.ts";
import { subgraphs } from "./graph.ts";
import { readModel } from "./model.ts";
import { TensorProto_DataType } from "./onnx.gen.js";
import { floatTensor } from "./tensor-proto.ts";

const x = { dims: [3], data: Float32Array.of(1, -2, 0.5) };

/** A graph in which each node adds two earlier values. */
function sums(pairs: readonly (readonly [number, number])[]) {
  return smallModel({
    opset: 13,
    inputs: { x: [3] },
    outputs: [`v${pairs.length}`],
    nodes: pairs.map(([a, b], i) => ({
      opType: "Add",
      input: [a, b].map((at) => (at % (i + 1) === 0 ? "x" : `v${at % (i + 1)}`)),
      output: [`v${i + 1}`],
    })),
  });
}

const pairs = fc.array(fc.tuple(fc.nat(40), fc.nat(40)), { minLength: 1, maxLength: 30 });

test("a graph whose nodes are in any order is read, and computes the same", async () => {
  await fc.assert(
    fc.asyncProperty(pairs, fc.nat(), async (list, seed) => {
      const [whole] = await runModel(sums(list).write(), { x });
      const mixed = sums(list);
      const { node } = mixed.graph.proto;
      const random = new Random(seed);
      for (let i = node.length - 1; i > 0; i--) {
        const j = random.below(i + 1);
        [node[i], node[j]] = [node[j] as (typeof node)[0], node[i] as (typeof node)[0]];
      }
      const read = readModel(mixed.write());
      const made = new Set(["x"]);
      for (const each of read.graph.nodes) {
        expect(each.input.every((name) => made.has(name))).toBe(true);
        for (const name of each.output) made.add(name);
      }
      expect((await runModel(read.write(), { x }))[0]).toEqual(whole);
    }),
    { numRuns: 25 },
  );
});

test("a sorted graph keeps its order", () => {
  fc.assert(
    fc.property(pairs, (list) => {
      const bytes = sums(list).write();
      expect(readModel(bytes).write()).toEqual(bytes);
    }),
    { numRuns: 25 },
  );
});

test("branches are sorted too, and a node follows what its branches read", () => {
  const made = mergedDecoder(40, 32);
  for (const graph of made.graph.nodes.flatMap(subgraphs)) graph.node.reverse();
  expect(
    readModel(made.write())
      .graph.nodes.flatMap(subgraphs)[0]
      ?.node.map((node) => node.opType),
  ).toEqual("Gather MatMul Add Mul Gemm".split(" "));
  const outer = smallModel({
    opset: 13,
    inputs: { x: [3], is: [] },
    types: { is: TensorProto_DataType.BOOL },
    outputs: ["y"],
    nodes: [
      { opType: "If", input: ["is"], output: ["y"] },
      { opType: "Neg", input: ["x"], output: ["z"] },
    ],
  });
  for (const name of ["then_branch", "else_branch"] as const)
    addBranch(outer.graph.nodes[0], name, [{ opType: "Exp", input: ["z"], output: [`${name}/y`] }], `${name}/y`);
  expect(readModel(outer.write()).graph.nodes.map((node) => node.opType)).toEqual(["Neg", "If"]);
});

test("a cycle is refused by the name of the value", () => {
  const cycle = smallModel({
    opset: 13,
    inputs: { x: [3] },
    outputs: ["b"],
    nodes: [
      { opType: "Add", input: ["x", "b"], output: ["a"] },
      { opType: "Mul", input: ["a", "w"], output: ["b"] },
    ],
    initializers: [floatTensor("w", [], Float32Array.of(2))],
  });
  expect(() => readModel(cycle.write())).toThrow('the Add node "a/Add" uses "b", which no earlier node produces');
});
