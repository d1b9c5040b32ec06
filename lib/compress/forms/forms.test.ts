import { describe, expect, test } from "vitest";
import { deviceBytes } from "../check/device-bytes.ts";
import { decibels, runModel, seededFloats, smallModel } from "../../test-support/compress/fixtures.ts";
import { formsFor } from "./forms.ts";
import type { Form, Target } from "./forms.ts";
import { makeForm } from "../make-form.ts";
import { Scratch } from "../onnx/written-model.ts";
import { TensorProto_DataType } from "../onnx/onnx.gen.js";
import { floatTensor } from "../onnx/tensor-proto.ts";

test.each([
  [["webgpu"], "MatMulNBits", 0.35],
  [["webgpu-f16", "webgpu"], "MatMulNBits", 0.35],
  [["webgpu", "wasm"], "DequantizeLinear", 1],
] as const)("int8 for %s stores a product as %s, and takes %d of a GPU's memory", async (targets, operator, share) => {
  const make = () =>
    smallModel({
      opset: 13,
      inputs: { x: [5, 120] },
      outputs: ["y"],
      nodes: [{ opType: "MatMul", input: ["x", "w"], output: ["y"] }],
      initializers: [floatTensor("w", [120, 96], seededFloats(120 * 96, 5))],
    });
  const feeds = { x: { dims: [5, 120], data: seededFloats(5 * 120) } };
  const samples = [{ x: { dtype: "float32" as const, ...feeds.x } }];
  const [before = []] = await runModel(make().write(), feeds);
  const form = formsFor(targets satisfies readonly Target[], ["int8"]).find((x) => x.id === "int8");
  for (const given of [[], samples]) {
    const model = make();
    await form?.make(model, given, { isSynthetic: given.length === 0 });
    expect(model.graph.nodes.map((x) => x.opType)).toContain(operator);
    expect(deviceBytes(model) / deviceBytes(make())).toBeLessThanOrEqual(share);
    for (const provider of ["cpu", "webgpu"]) {
      const [now = []] = await runModel(model.write(), feeds, { executionProviders: [provider] });
      expect(decibels(before, now), provider).toBeGreaterThan(40);
    }
  }
});

describe("the weights of a large form are rounded in parts", () => {
  const [N, LAYERS] = [740, 4];
  const make = () =>
    smallModel({
      opset: 17,
      inputs: { x: [1, N] },
      outputs: ["y"],
      nodes: Array.from({ length: LAYERS }, (_, i) => ({
        opType: "MatMul",
        input: [i === 0 ? "x" : `t${i}`, `w${i}`],
        output: [i === LAYERS - 1 ? "y" : `t${i + 1}`],
      })),
      initializers: Array.from({ length: LAYERS }, (_, i) => floatTensor(`w${i}`, [N, N], seededFloats(N * N, i))),
    });
  const formOf = (id: string, targets: readonly Target[]) => formsFor(targets, [id]).find((x) => x.id === id) as Form;
  const unused = new Scratch();
  const feeds = [{ x: { dtype: "float32", dims: [1, N], data: seededFloats(N) } }] as const;

  test.each([
    ["int8", ["wasm"]],
    ["int4", ["webgpu"]],
    ["f16", ["webgpu-f16"]],
  ] as const)("%s for %s is the same as in one part, and says how far it is", { timeout: 60_000 }, async (id, on) => {
    const form = formOf(id, on);
    const [whole, parted] = [make(), make()];
    await form.make(whole, [], { isSynthetic: true });
    const shares: number[] = [];
    await form.make(parted, [], {
      isSynthetic: true,
      between: async (share) => {
        shares.push(share);
      },
    });
    expect(shares).toEqual([0.5, 1]);
    expect(Buffer.from(parted.write()).equals(whole.write())).toBe(true);
  });

  test("by their cost, which is less for a table in 8 bits", { timeout: 60_000 }, async () => {
    const model = smallModel({
      opset: 17,
      inputs: { x: [1] },
      outputs: ["y"],
      types: { x: TensorProto_DataType.INT64 },
      nodes: [
        { opType: "Gather", input: ["table", "x"], output: ["row"] },
        { opType: "MatMul", input: ["row", "w"], output: ["y"] },
      ],
      initializers: ["table", "w"].map((name, i) => floatTensor(name, [1_024, 1_024], seededFloats(2 ** 20, i))),
    });
    const shares: number[] = [];
    const between = async (share: number): Promise<void> => {
      shares.push(share);
    };
    await formOf("int4", ["webgpu"]).make(model, [], { isSynthetic: true, between });
    expect(shares).toEqual([0.2, 1]);
  });

  test.each([
    ["int8", true, 1],
    ["int8-dynamic", true, 1],
    ["f16", true, 2],
    ["int8", false, 3],
    ["int8-dynamic", false, 3],
  ] as const)(
    "and a stop between them ends %s (synthetic: %s), which is not made again without samples (tool-stop-between)",
    async (id, isSynthetic, after) => {
      let parts = 0;
      const notes: string[] = [];
      const stop = new AbortController();
      const between = async (): Promise<void> => {
        if (++parts >= after) stop.abort();
        stop.signal.throwIfAborted();
      };
      const given = { feeds, scratch: unused, isSynthetic, between, signal: stop.signal };
      await expect(makeForm(formOf(id, ["wasm", "webgpu-f16"]), make(), given, notes)).rejects.toThrow("aborted");
      expect([parts, notes]).toEqual([after, []]);
    },
  );
});
