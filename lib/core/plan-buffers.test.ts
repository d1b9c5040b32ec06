// The plan of a run's buffers in a graph of any size; its numbers are judged in compress/check/activation-bytes.test.ts.
import { expect, test } from "vitest";
import { bytesOfRun } from "./plan-buffers.ts";

test("a chain of 50,000 values of unlike shapes is planned in time in proportion to its length", () => {
  const count = 50_000;
  const nodes = Array.from({ length: count }, (_, i) => {
    const [input, output] = [[`v${i}`], [`v${i + 1}`]];
    return { opType: "Transpose", domain: "", input, output, reads: input };
  });
  const facts = new Map(
    Array.from({ length: count + 1 }, (_, i) => [`v${i}`, { type: "float32", dims: [i + 1] }] as const),
  );
  const graph = { nodes, inputs: ["v0"], outputs: [`v${count}`], constants: new Map(), facts };
  const { wasm, webgpu } = bytesOfRun(graph, { webgpu: false, wasm: false });
  // The last two values, the copies of the input, and that of the output.
  expect(wasm).toBe(4 * (count + count + 1) + 2 * 4 + 4 * (count + 1));
  expect(webgpu).toBeGreaterThan(wasm);
});
