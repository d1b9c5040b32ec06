import { describe, expect, test } from "vitest";
import { inMemory, seededFloats, smallModel } from "../../test-support/compress/fixtures.ts";
import { floatTensor, int64Tensor } from "../onnx/tensor-proto.ts";
import { runInChildProcess } from "../run/child-process.ts";
import { runAll } from "../run/session.ts";
import { Checker } from "./check.ts";
import type { CheckResult } from "./check.ts";

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

test("outputs behind a selection are not compared, and all others are", async () => {
  const two = inMemory(
    smallModel({
      ...{ opset: 17, inputs: { x: ["n", N] }, outputs: ["y", "kept"] },
      nodes: [
        { opType: "MatMul", input: ["x", "w"], output: ["y"] },
        { opType: "Neg", input: ["y"], output: ["kept"] },
      ],
      initializers: [floatTensor("w", [N, N], seededFloats(N * N, 1))],
    }),
  );
  const checker = new Checker(two.source, [feed]);
  try {
    const [right = {}] = await runAll(two.source, [feed]);
    const wrong = { dims: [2, N], data: new Float32Array(2 * N) };
    const verdict = async (name: string): Promise<string | undefined> => {
      const input = { form: { id: "f32", needs: [] }, ...two, expected: [{ ...right, [name]: wrong }] } as const;
      return (await checker.check({ ...input, uncompared: ["kept"] }, ["wasm"]))[0]?.verdict;
    };
    expect([await verdict("kept"), await verdict("y")]).toEqual(["passed", "failed"]);
  } finally {
    await checker.close();
  }
});

test("a form's time beside float32's is measured, or was disturbed, where a run takes more than a call", async () => {
  const [rows, n] = [64, 512];
  const products = (count: number): ReturnType<typeof inMemory> => {
    const names = Array.from({ length: count }, (_, i) => `y${i}`);
    const nodes = names.map((y, i) => ({ opType: "MatMul", input: [names[i - 1] ?? "x", "w"], output: [y] }));
    const initializers = [floatTensor("w", [n, n], seededFloats(n * n, 1))];
    return inMemory(smallModel({ opset: 17, inputs: { x: ["n", n] }, outputs: names.slice(-1), nodes, initializers }));
  };
  const large = { x: { dtype: "float32", dims: [rows, n], data: seededFloats(rows * n, 2) } } as const;
  const twice = products(2);
  const checker = new Checker(products(1).source, [large]);
  try {
    const expected = await runAll(twice.source, [large]);
    const [check] = await checker.check({ form: { id: "int8", needs: [] }, ...twice, expected }, ["wasm"]);
    expect(check?.verdict).toBe("passed");
    if (check?.speed === undefined)
      expect(check?.speedNote).toMatch(/^not stable here: \d+ rounds|^not stable here: other/);
    else expect(check.speed).toBeGreaterThan(1.3);
  } finally {
    await checker.close();
  }
});

describe("a batch of two samples", () => {
  const single = { x: { dtype: "float32", dims: [1, N], data: seededFloats(N, 2) } } as const;
  /** Runs a form of one row alone, or of any number, on wasm with the batch after the sample. */
  const checked = async (made: ReturnType<typeof inMemory>, by = 1): Promise<CheckResult | undefined> => {
    const checker = new Checker(made.source, [single], { rows: feed });
    try {
      const [expected = {}] = await runAll(made.source, [single]);
      const [{ y: rows } = { y: { dims: [], data: [] } }] = await runAll(form.source, [feed]);
      const expectedRows = { y: { ...rows, data: Array.from(rows.data, (x, i) => (i < N ? x : x * by)) } };
      const input = { form: { id: "f32", needs: [] }, ...made, expected: [expected], expectedRows } as const;
      return (await checker.check(input, ["wasm"]))[0];
    } finally {
      await checker.close();
    }
  };

  test("does not fail a form that runs on single ones there, and is noted; a wrong answer to it does", async () => {
    const oneRow = smallModel({
      ...{ opset: 17, inputs: { x: ["n", N] }, outputs: ["y"] },
      nodes: [
        { opType: "Reshape", input: ["x", "one"], output: ["flat"] },
        { opType: "Relu", input: ["flat"], output: ["y"] },
      ],
      initializers: [int64Tensor("one", [2], [1, N])],
    });
    const noted = await checked(inMemory(oneRow));
    expect(noted).toMatchObject({ verdict: "passed", rowsNote: expect.stringMatching(/Reshape/) as string });
    const right = await checked(form);
    expect(right).toMatchObject({ verdict: "passed" });
    expect(right).not.toHaveProperty("rowsNote");
    expect(await checked(form, -1)).toMatchObject({ verdict: "failed" });
  });

  test("is the last of a process: where it throws, the others count", async () => {
    const wrong = { x: { ...single.x, dims: [N, 1] } };
    const ran = await runInChildProcess(form.source, "cpu", {}, [single], { count: 1, ms: 0, last: wrong });
    expect(ran).toMatchObject({ exit: 0, isLate: false, last: { why: expect.stringMatching(/dim/i) as string } });
    expect(ran.outputs).toEqual(await runAll(form.source, [single]));
    const both = await runInChildProcess(form.source, "cpu", {}, [single], { count: 1, ms: 0, last: feed });
    expect(both.outputs).toHaveLength(1);
    expect(both.last).toEqual({ outputs: (await runAll(form.source, [feed]))[0] });
  });
});
