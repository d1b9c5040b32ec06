// Weights around an If, which only its branches read, as in merged decoders.
import { expect, test } from "vitest";
import { addBranch, decibels, mergedDecoder, seededFloats, smallModel } from "../../test-support/compress/fixtures.ts";
import type { FormId } from "../forms/forms.ts";
import { formsFor, TARGETS } from "../forms/forms.ts";
import type { OnnxModel } from "../onnx/model.ts";
import { TensorProto_DataType } from "../onnx/onnx.gen.js";
import { bitsOf, elementCount, floatsOf, floatTensor } from "../onnx/tensor-proto.ts";
import { Scratch } from "../onnx/written-model.ts";
import type { Feed } from "../run/feeds.ts";
import { openModel, runAll } from "../run/session.ts";
import { KeptRounding } from "./kept-rounding.ts";
import { roundLayers } from "./round-weights.ts";
import { roundRows } from "./scales.ts";
import type { ValueRows } from "./scales.ts";

const [ROWS, WIDTH] = [320, 64];
const feeds = [0, 1].map((isCached): Feed => ({
  ids: { dtype: "int64", dims: [5], data: BigInt64Array.from([3n, 200n, 319n, 0n, 77n]) },
  isCached: { dtype: "bool", dims: [], data: Uint8Array.of(isCached) },
}));

async function answers(model: OnnxModel): Promise<number[][]> {
  const session = await openModel(model.write(), "cpu");
  const all: number[][] = [];
  for (const feed of feeds) all.push(Array.from((await session.run(feed))["logits"]?.data ?? [], Number));
  await session.release();
  return all;
}

/** Bytes of constants by their bits. */
function bytesByBits(model: OnnxModel): Map<number, number> {
  const bytes = new Map<number, number>();
  for (const graph of model.graph.all())
    for (const tensor of graph.proto.initializer) {
      const bits = bitsOf(tensor.dataType);
      bytes.set(bits, (bytes.get(bits) ?? 0) + (elementCount(tensor) * bits) / 8);
    }
  return bytes;
}

test.each([
  ["int8", 35, 0.27],
  ["int8-dynamic", 30, 0.28],
  ["int4", 15, 0.27],
] as const satisfies readonly (readonly [FormId, number, number])[])(
  "%s of a model whose weights only branches read stores each of them once",
  async (id, leastDb, share) => {
    const whole = mergedDecoder(ROWS, WIDTH);
    const before = await answers(whole);
    const form = formsFor(TARGETS, [id]).find((x) => x.id === id);
    const model = mergedDecoder(ROWS, WIDTH);
    await form?.make(model, [], { isSynthetic: true });
    const after = await answers(model);
    for (const [i, logits] of before.entries()) expect(decibels(logits, after[i] ?? [])).toBeGreaterThan(leastDb);
    const bytes = bytesByBits(model);
    const all = [...bytes.values()].reduce((a, b) => a + b, 0);
    expect(all).toBeLessThan(share * (ROWS + WIDTH) * WIDTH * 4);
    expect((bytes.get(16) ?? 0) + (bytes.get(32) ?? 0)).toBeLessThan(0.15 * all);
  },
);

test("a weight that only branches read is rounded by its inputs there (tool-branches)", async () => {
  const next = seededFloats(2_000, 11);
  const many = Array.from({ length: 24 }, (_, i): Feed => ({
    ids: {
      dtype: "int64",
      dims: [60],
      data: BigInt64Array.from({ length: 60 }, (_, j) => BigInt(Math.floor(Math.abs(next[i * 60 + j] ?? 0) * 40))),
    },
    isCached: { dtype: "bool", dims: [], data: Uint8Array.of(i % 3 === 0 ? 0 : 1) },
  }));
  const model = mergedDecoder(ROWS, WIDTH);
  const rounded = await roundLayers(model, many, (layer) =>
    layer.weight.name === "dense" ? { bits: 4, block: 32 } : undefined,
  );
  expect([...rounded.keys()]).toEqual(["dense"]);
  const [table, dense] = ["table", "dense"].map((name) => Array.from(floatsOf(model.graph.constant(name) as never)));
  const { grid, codes } = rounded.get("dense") ?? { grid: null, codes: new Int8Array() };
  const rows: ValueRows = { rows: WIDTH, columns: WIDTH, at: (row, column) => dense?.[column * WIDTH + row] ?? 0 };
  /** Error of the products of the first 40 rows of the table, which are all that the samples look up. */
  const errorOf = (own: Int8Array): number => {
    let error = 0;
    for (let id = 0; id < 40; id++)
      for (let row = 0; row < WIDTH; row++) {
        let sum = 0;
        for (let column = 0; column < WIDTH; column++) {
          const scale = grid?.scales[row * 2 + Math.floor(column / 32)] ?? 0;
          const off = rows.at(row, column) - (own[row * WIDTH + column] ?? 0) * scale;
          sum += off * (table?.[id * WIDTH + column] ?? 0);
        }
        error += sum * sum;
      }
    return error;
  };
  expect(grid).not.toBeNull();
  if (grid !== null) expect(errorOf(codes)).toBeLessThan(0.6 * errorOf(roundRows(rows, grid)));
});

test("two branches whose weights have one name each keep their own, in every form", async () => {
  const branches = (): OnnxModel => {
    const made = smallModel({
      opset: 14,
      inputs: { x: ["n", WIDTH], first: [] },
      types: { first: TensorProto_DataType.BOOL },
      outputs: ["y"],
      nodes: [{ opType: "If", input: ["first"], output: ["y"] }],
    });
    for (const [i, name] of (["then_branch", "else_branch"] as const).entries()) {
      addBranch(made.graph.nodes[0], name, [{ opType: "MatMul", input: ["x", "w"], output: ["out"] }], "out");
      const own = floatTensor("w", [WIDTH, WIDTH], seededFloats(WIDTH * WIDTH, 20 + i));
      made.graph.nodes[0]?.attribute[i]?.g?.initializer.push(own);
    }
    made.graph.changed();
    return made;
  };
  const given = [0, 1].map((first): Feed => ({
    x: { dtype: "float32", dims: [3, WIDTH], data: seededFloats(3 * WIDTH, 9) },
    first: { dtype: "bool", dims: [], data: Uint8Array.of(first) },
  }));
  const run = async (model: OnnxModel) =>
    (await runAll(model.write(), given)).map((x) => Array.from(x["y"]?.data ?? [], Number));
  const before = await run(branches());
  const scratch = new Scratch();
  const kept = new KeptRounding(scratch);
  for (const [id, leastDb] of [
    ["int4", 15],
    ["int8", 35],
    ["int8-dynamic", 30],
  ] as const)
    for (const isSynthetic of [true, false]) {
      const model = branches();
      await formsFor(TARGETS, [id])
        .find((x) => x.id === id)
        ?.make(model, given, { isSynthetic, kept });
      for (const [i, y] of (await run(model)).entries())
        expect(decibels(before[i] ?? [], y), `${id} ${i}`).toBeGreaterThan(leastDb);
    }
  kept.close();
  await scratch.close();
});
