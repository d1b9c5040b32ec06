import { expect, test } from "vitest";
import { inMemory, seededFloats, smallModel } from "../../test-support/compress/fixtures.ts";
import { floatTensor } from "../onnx/tensor-proto.ts";
import { runAll } from "../run/session.ts";
import { Checker } from "./check.ts";

const N = 16;
const form = inMemory(
  smallModel({
    opset: 17,
    inputs: { x: ["n", N] },
    outputs: ["y"],
    nodes: [{ opType: "MatMul", input: ["x", "w"], output: ["y"] }],
    initializers: [floatTensor("w", [N, N], seededFloats(N * N, 1))],
  }),
);
const feed = { x: { dtype: "float32", dims: [2, N], data: seededFloats(2 * N, 2) } } as const;
/** Loads, and refuses the feed: its input has another name. */
const other = smallModel({
  opset: 17,
  inputs: { z: ["n", N] },
  outputs: ["y"],
  nodes: [{ opType: "Relu", input: ["z"], output: ["y"] }],
});

test.each([
  ["load", Uint8Array.of(1, 2, 3, 4)],
  ["run", other.write()],
] as const)("a form passes where float32 does not %s on wasm: its time alone is not known", async (_, reference) => {
  const checker = new Checker(reference, [feed]);
  try {
    const expected = await runAll(form.source, [feed]);
    const [check] = await checker.check({ form: { id: "int8", needs: [] }, ...form, expected }, ["wasm"]);
    expect(check).toMatchObject({
      verdict: "passed",
      speedNote: expect.stringMatching(/float32 does not run on wasm/) as string,
    });
    expect(check?.speed).toBeUndefined();
  } finally {
    await checker.close();
  }
});
