import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test, vi } from "vitest";
import { runInChildProcess } from "../run/child-process.ts";
import {
  deadlyTranspose,
  inMemory,
  largestDifference,
  padded,
  REAL_MODELS,
  runModel,
  seededFloats,
  smallModel,
} from "../../test-support/compress/fixtures.ts";
import { readModel } from "../onnx/model.ts";
import type { OnnxModel } from "../onnx/model.ts";
import type { OptimizedModel } from "./ort-optimize.ts";
import { afterLoading, optimizeAhead, PASSES } from "./ort-optimize.ts";
import { packConstants } from "./pack-constants.ts";
import { quantizeDynamic } from "../quantize/quantize-dynamic.ts";
import { quantizeWeights } from "../quantize/quantize-weights.ts";
import { simplify } from "./simplify.ts";
import { floatTensor } from "../onnx/tensor-proto.ts";
import { Scratch, writeModel } from "../onnx/written-model.ts";
import type { WrittenModel } from "../onnx/written-model.ts";

const FOLD = { "session.disable_quant_qdq": "1" } as const;

const scratch = new Scratch();
afterAll(() => scratch.close());

/** The form after the passes, in memory. */
async function aheadOf(
  form: WrittenModel,
  session = {},
): Promise<(OptimizedModel & { readonly bytes: Uint8Array }) | null> {
  const ahead = await optimizeAhead(form, scratch, session);
  return ahead && { ...ahead, bytes: ahead.model.write() };
}

const operators = (bytes: Uint8Array): string[] => readModel(bytes).graph.nodes.map((x) => x.opType);

test("ONNX Runtime is that of the working directory, as everywhere else", async () => {
  const folder = mkdtempSync(join(tmpdir(), "selvedge-own-runtime-"));
  const at = join(folder, "node_modules", "onnxruntime-node");
  const cwd = vi.spyOn(process, "cwd").mockReturnValue(folder);
  try {
    mkdirSync(at, { recursive: true });
    writeFileSync(join(at, "package.json"), '{"name": "onnxruntime-node", "version": "1.30.0", "main": "own.js"}');
    const script = `exports.InferenceSession = {
      create: async (from, { optimizedModelFilePath }) => {
        require("node:fs").copyFileSync(${JSON.stringify(join(at, "own.onnx"))}, optimizedModelFilePath);
        return { release: async () => undefined };
      },
    };`;
    writeFileSync(join(at, "own.js"), script);
    const model = (opType: string) =>
      smallModel({ opset: 17, inputs: { x: [2] }, outputs: ["y"], nodes: [{ opType, input: ["x"], output: ["y"] }] });
    writeFileSync(join(at, "own.onnx"), model("Tanh").write());
    const left = await afterLoading(model("Relu").write(), {}, (x) => x.graph.nodes.map((node) => node.opType));
    expect(left).toEqual(["Tanh"]);
  } finally {
    cwd.mockRestore();
    rmSync(folder, { recursive: true, force: true });
  }
});

test.each(REAL_MODELS)(
  "$name has the same outputs after the passes",
  async ({ dims, read }) => {
    const form = readModel(read()).transform(simplify(), quantizeDynamic()).write();
    const ahead = await aheadOf(inMemory(readModel(form)));
    if (ahead === null) throw new Error("it stayed as it was");
    expect(ahead.bytes.length).toBeLessThanOrEqual(form.length * 1.08);
    // Nothing is left for a load to fold.
    const { graph } = readModel(ahead.bytes);
    expect(graph.nodes.filter((x) => x.input.every((name) => graph.constant(name) !== undefined))).toEqual([]);
    expect(operators(ahead.bytes).length).toBeLessThan(operators(form).length);
    const feeds = { x: { dims, data: seededFloats(dims.reduce((a, b) => a * b, 1)) } };
    const [before = []] = await runModel(form, feeds);
    for (const extra of [ahead.session, {}]) {
      const [now = []] = await runModel(ahead.bytes, feeds, { extra });
      expect(largestDifference(before, now)).toBeLessThan(1e-5);
    }
    const { log } = await runInChildProcess(ahead.bytes, "cpu", ahead.session);
    const ran = [...log.matchAll(/GraphTransformer (\w+) modified/g)].map(([, name]) => name);
    expect(ran).toContain("ConstantFolding");
    expect(ran.filter((x) => PASSES.includes(x ?? ""))).toEqual([]);
  },
  60_000,
);

test("the passes are those of this ONNX Runtime, except those left to the load or CPU-specific ones", async () => {
  const form = smallModel({
    opset: 17,
    inputs: { x: [2] },
    outputs: ["y"],
    nodes: [{ opType: "Relu", input: ["x"], output: ["y"] }],
  });
  const { log } = await runInChildProcess(form.write(), "cpu", {});
  const ran = new Set([...log.matchAll(/GraphTransformer (\w+) modified/g)].map(([, name]) => name ?? ""));
  expect(PASSES.filter((x) => !ran.has(x))).toEqual([]);
  expect([...ran].filter((x) => !PASSES.includes(x)).sort()).toEqual([
    "CastFloat16Transformer",
    "ConstantFolding",
    "ConvAddActivationFusion",
    "EnsureUniqueDQForNodeUnit",
    "FreeDimensionOverrideTransformer",
    "FuseFp16InitializerToFp32NodeTransformer",
    "MemcpyTransformer",
    "NchwcTransformer",
    "NhwcTransformer",
    "RemoveDuplicateCastTransformer",
    "TransposeOptimizer_CPUExecutionProvider",
  ]);
});

test("weights in 8 bits stay in 8 bits, and are folded by the load", async () => {
  const nodes = [
    { opType: "Gather", input: ["table", "ids"], output: ["rows"] },
    { opType: "Tanh", input: ["rows"], output: ["y"] },
  ];
  const model = smallModel({
    opset: 17,
    inputs: { x: [3] },
    outputs: ["y"],
    nodes: [{ opType: "Cast", input: ["x"], output: ["ids"], attributes: { to: 7 } }, ...nodes],
    initializers: [floatTensor("table", [500, 64], seededFloats(32_000))],
  });
  const form = model.transform(quantizeWeights()).write();
  expect(form.length).toBeLessThan(40_000);
  const ahead = await aheadOf(inMemory(readModel(form)), FOLD);
  expect(ahead?.bytes.length).toBeLessThan(40_000);
  expect(ahead?.session).toMatchObject(FOLD);
  const feeds = { x: { dims: [3], data: Float32Array.of(1, 499, 7) } };
  const [before, now] = [
    await runModel(form, feeds),
    await runModel(ahead?.bytes ?? form, feeds, { extra: ahead?.session ?? {} }),
  ];
  expect(largestDifference(before[0] ?? [], now[0] ?? [])).toBeLessThan(1e-6);
});

test("a form whose weights lie in a file has the passes applied, and reads them from files", async () => {
  const nodes = [
    { opType: "Gather", input: ["table", "ids"], output: ["rows"] },
    { opType: "Add", input: ["rows", "more"], output: ["sum"] },
    { opType: "Tanh", input: ["sum"], output: ["y"] },
  ];
  const model = smallModel({
    opset: 17,
    inputs: { x: [3] },
    outputs: ["y"],
    nodes: [{ opType: "Cast", input: ["x"], output: ["ids"], attributes: { to: 7 } }, ...nodes],
    initializers: [
      floatTensor("table", [2_000, 64], seededFloats(128_000)),
      floatTensor("more", [64], seededFloats(64)),
    ],
  });
  const bytes = model.write();
  const ahead = await optimizeAhead(await writeModel(model, scratch, 0), scratch);
  const kept = ahead?.model.graph.proto.initializer.map((x) => x.rawData.length) ?? [];
  expect(Math.max(...kept)).toBe(512_000);
  const feeds = { x: { dims: [3], data: Float32Array.of(1, 1_999, 7) } };
  const [[before = []], [now = []]] = [
    await runModel(bytes, feeds),
    await runModel(ahead?.model.write() ?? new Uint8Array(), feeds, { extra: ahead?.session ?? {} }),
  ];
  expect(largestDifference(before, now)).toBeLessThan(1e-6);
});

test("storage in 16 bits does not hide a constant from the passes, and is kept in the result", async () => {
  // A decomposed layer normalization, whose factor a pass must see; and subnormal float16 numbers.
  const factor = Float32Array.from({ length: 128 }, (_, i) => (i % 2 === 0 ? 1 : 3 * 2 ** -24));
  const model = smallModel({
    opset: 17,
    inputs: { x: [2, 128] },
    outputs: ["y"],
    nodes: [
      { opType: "ReduceMean", input: ["x"], output: ["mean"], attributes: { axes: [1] } },
      { opType: "Sub", input: ["x", "mean"], output: ["off"] },
      { opType: "Pow", input: ["off", "two"], output: ["square"] },
      { opType: "ReduceMean", input: ["square"], output: ["spread"], attributes: { axes: [1] } },
      { opType: "Add", input: ["spread", "least"], output: ["more"] },
      { opType: "Sqrt", input: ["more"], output: ["root"] },
      { opType: "Div", input: ["off", "root"], output: ["even"] },
      { opType: "Mul", input: ["even", "factor"], output: ["scaled"] },
      { opType: "Add", input: ["scaled", "bias"], output: ["y"] },
    ],
    initializers: [
      floatTensor("two", [], Float32Array.of(2)),
      floatTensor("least", [], Float32Array.of(1e-5)),
      floatTensor("factor", [128], factor),
      floatTensor("bias", [128], seededFloats(128)),
    ],
  });
  const form = model.transform(packConstants({ minElements: 64, isExact: false })).write();
  expect(operators(form)).toContain("Cast");
  const ahead = await aheadOf(inMemory(readModel(form)));
  if (ahead === null) throw new Error("it stayed as it was");
  expect(operators(ahead.bytes).sort()).toEqual(["Cast", "Cast", "LayerNormalization"]);
  const feeds = { x: { dims: [2, 128], data: seededFloats(256) } };
  const [[before = []], [now = []]] = [
    await runModel(form, feeds),
    await runModel(ahead.bytes, feeds, { extra: ahead.session }),
  ];
  expect(largestDifference(before, now)).toBeLessThan(1e-6);
});

/** A Conv with weights in 8 bits, and an Add that is fused into it once they are folded. */
function fusedOnceFolded(): OnnxModel {
  return smallModel({
    opset: 17,
    inputs: { x: [1, 32, 8, 8] },
    outputs: ["y"],
    nodes: [
      { opType: "Conv", input: ["x", "w"], output: ["sum"] },
      { opType: "Add", input: ["sum", "more"], output: ["y"] },
    ],
    initializers: [
      floatTensor("w", [32, 32, 3, 3], seededFloats(9_216)),
      floatTensor("more", [32, 1, 1], seededFloats(32)),
    ],
  }).transform(quantizeWeights());
}

test.each([
  ["whose passes need what is folded", inMemory(fusedOnceFolded())],
  ["that takes ONNX Runtime down", inMemory(deadlyTranspose())],
  [
    "that ONNX Runtime cannot read",
    { model: deadlyTranspose(), source: new TextEncoder().encode("<!doctype html>"), byteLength: 15 },
  ],
])("a form %s stays as it is", async (_, form) => {
  expect(await aheadOf(form, FOLD)).toBeNull();
});

test("passes that are run ahead leave a Pad before a MaxPool, whose zeros they would drop", async () => {
  const left = await afterLoading(padded("MaxPool").write(), {}, ({ graph }) => graph.nodes.map((x) => x.opType));
  expect(left).toEqual(["Pad", "MaxPool"]);
});
