import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { seededFloats, smallModel } from "../../test-support/compress/fixtures.ts";
import { formsFor } from "../forms/forms.ts";
import type { MakeOptions } from "../forms/forms.ts";
import { Scratch } from "../onnx/written-model.ts";
import { floatTensor } from "../onnx/tensor-proto.ts";
import { KeptRounding } from "./kept-rounding.ts";
import { fitGrid, roundRows } from "./scales.ts";
import type { GridOptions } from "./scales.ts";

let scratch: Scratch;
let kept: KeptRounding;
beforeEach(() => {
  scratch = new Scratch();
  kept = new KeptRounding(scratch);
});
afterEach(async () => {
  kept.close();
  await scratch.close();
});

const OPTIONS: GridOptions = { bits: 4, block: 16, hasZeros: true, isHalf: true };
const rounded = (seed: number) => {
  const values = seededFloats(32 * 64, seed);
  const rows = { rows: 32, columns: 64, at: (row: number, column: number) => values[row * 64 + column] ?? 0 };
  const grid = fitGrid(rows, OPTIONS);
  return { grid, codes: roundRows(rows, grid), shift: seed % 2 === 0 ? null : Float64Array.of(seed, 0.5) };
};

test("weights are returned as they were rounded, each its own", () => {
  for (const seed of [1, 2, 3]) kept.set(`w${seed}`, "nearest", OPTIONS, rounded(seed));
  for (const seed of [3, 1, 2]) expect(kept.get(`w${seed}`, "nearest", OPTIONS)).toEqual(rounded(seed));
});

test.each([
  ["another name", ["v", "nearest", OPTIONS]],
  ["the other method", ["w", "by inputs", OPTIONS]],
  ["more bits", ["w", "nearest", { ...OPTIONS, bits: 8 }]],
  ["another block", ["w", "nearest", { ...OPTIONS, block: 32 }]],
  ["no zero points", ["w", "nearest", { ...OPTIONS, hasZeros: false }]],
  ["scales of float32", ["w", "nearest", { ...OPTIONS, isHalf: false }]],
  ["scales of one step", ["w", "nearest", { ...OPTIONS, isSnapped: true }]],
  ["a symmetric range", ["w", "nearest", { ...OPTIONS, isEven: true }]],
] as const)("a weight is not taken for one with %s", (_, wanted) => {
  kept.set("w", "nearest", OPTIONS, rounded(1));
  const [name, method, options] = wanted;
  expect(kept.get(name, method, options)).toBeUndefined();
});

test("an option that is left out is its default", () => {
  kept.set("w", "nearest", { bits: 8, block: 16 }, rounded(1));
  const all = { hasZeros: false, isHalf: false, isSnapped: false, isEven: false };
  expect(kept.get("w", "nearest", { bits: 8, block: 16, ...all })).toEqual(rounded(1));
});

test("a disk without room costs time alone: nothing is kept, and nothing fails", () => {
  const full = {
    folder: () => {
      throw Object.assign(new Error("ENOSPC: no space left on device"), { code: "ENOSPC" });
    },
  } as unknown as Scratch;
  const none = new KeptRounding(full);
  none.set("w", "nearest", OPTIONS, rounded(1));
  expect(none.get("w", "nearest", OPTIONS)).toBeUndefined();
  none.close();
});

describe("a form that is made again", () => {
  const COLUMNS = 64;
  const make = () =>
    smallModel({
      opset: 17,
      inputs: { x: ["n", COLUMNS] },
      outputs: ["y"],
      nodes: [
        { opType: "MatMul", input: ["x", "w"], output: ["a"] },
        { opType: "Add", input: ["a", "b"], output: ["h"] },
        { opType: "Relu", input: ["h"], output: ["r"] },
        { opType: "MatMul", input: ["r", "v"], output: ["y"] },
      ],
      initializers: [
        floatTensor("w", [COLUMNS, COLUMNS], seededFloats(COLUMNS * COLUMNS, 5)),
        floatTensor("v", [COLUMNS, COLUMNS], seededFloats(COLUMNS * COLUMNS, 6)),
        floatTensor("b", [COLUMNS], seededFloats(COLUMNS, 7)),
      ],
    });
  const samples = Array.from({ length: 8 }, (_, i) => ({
    x: { dtype: "float32" as const, dims: [20, COLUMNS], data: seededFloats(20 * COLUMNS, 50 + i) },
  }));
  const formOf = (id: string) => {
    const form = formsFor(id === "int4" ? ["webgpu"] : ["wasm"], [id]).find((x) => x.id === id);
    if (form === undefined) throw new Error(`no form ${id}`);
    return form;
  };
  const bytesOf = async (id: string, options: MakeOptions): Promise<Uint8Array> => {
    const model = make();
    await formOf(id).make(model, samples, options);
    return model.write();
  };

  test.each([
    ["int4", { has8Bits: (x: string) => x === "v" }],
    ["int4", { isLeft: (x: string) => x === "w" }],
    ["int4", { isSynthetic: true, has8Bits: (x: string) => x === "v" }],
    ["int8", { isLeft: (x: string) => x === "v" }],
    ["int8-dynamic", { isExcluded: (x: string) => x === "w" }],
  ])("%s with %o has the same bytes with the weights of the first one", async (id, more) => {
    const none = () => false;
    const first = { ...more, has8Bits: none, isLeft: none, isExcluded: none, kept };
    const before = await bytesOf(id, first);
    const again = await bytesOf(id, { has8Bits: none, ...more, kept });
    expect(again).toEqual(await bytesOf(id, { has8Bits: none, ...more }));
    expect(before).toEqual(await bytesOf(id, { ...first, kept: undefined }));
  });

  test.each([
    ["by the samples", false],
    ["to nearest", true],
  ])("takes the weights that were rounded %s, and rounds those alone that are new", async (_, isSynthetic) => {
    const asked: string[] = [];
    class Watched extends KeptRounding {
      override get(...words: Parameters<KeptRounding["get"]>): ReturnType<KeptRounding["get"]> {
        const found = super.get(...words);
        asked.push(`${words[0]} ${words[2].bits} ${found === undefined ? "new" : "kept"}`);
        return found;
      }
    }
    const watched = new Watched(scratch);
    await bytesOf("int4", { isSynthetic, has8Bits: () => false, kept: watched });
    expect(asked).toEqual(["w 4 new", "v 4 new"]);
    asked.length = 0;
    await bytesOf("int4", { isSynthetic, has8Bits: (x) => x === "v", kept: watched });
    expect(asked).toEqual(["w 4 kept", "v 8 new"]);
    watched.close();
  });
});
