import { expect, test } from "vitest";
import { largestDifference, seededFloats, smallModel } from "./fixtures.ts";
import { foldKnownDims } from "./known-dims.ts";
import { openModel } from "./session.ts";
import { floatTensor, int64Tensor } from "./weights.ts";

/** What an exporter makes of `x.chunk(2, -1)` with a free batch: the half of a dim that is the same in every run. */
const model = () =>
  smallModel({
    opset: 13,
    inputs: { x: ["n", 6] },
    outputs: ["y"],
    nodes: [
      { opType: "MatMul", input: ["x", "w"], output: ["h"] },
      { opType: "Shape", input: ["h"], output: ["shape"] },
      { opType: "Gather", input: ["shape", "one"], output: ["width"], attributes: { axis: 0 } },
      { opType: "Div", input: ["width", "two"], output: ["half"] },
      { opType: "Unsqueeze", input: ["half", "zero"], output: ["end"] },
      { opType: "Slice", input: ["h", "zero", "end", "last"], output: ["y"] },
    ],
    initializers: [
      floatTensor("w", [6, 8], seededFloats(48, 3)),
      int64Tensor("one", [], [1]),
      int64Tensor("two", [], [2]),
      int64Tensor("zero", [1], [0]),
      int64Tensor("last", [1], [-1]),
    ],
  });

async function answer(bytes: Uint8Array, n: number): Promise<{ dims: readonly number[]; data: number[] }> {
  const session = await openModel(bytes, "cpu");
  const { y } = await session.run({ x: { dtype: "float32", dims: [n, 6], data: seededFloats(n * 6, 5) } });
  await session.release();
  return { dims: y?.dims ?? [], data: Array.from(y?.data ?? [], Number) };
}

test("what is computed of a dim that never changes becomes a constant, and a free batch stays free", async () => {
  const folded = model();
  await foldKnownDims(folded);
  expect(folded.graph.nodes.map((x) => x.opType)).toEqual(["MatMul", "Slice"]);
  for (const n of [1, 3]) {
    const [was, now] = [await answer(model().write(), n), await answer(folded.write(), n)];
    expect(now.dims).toEqual([n, 4]);
    expect(largestDifference(was.data, now.data)).toBe(0);
  }
});
