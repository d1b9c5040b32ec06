import { join } from "node:path";
import { expect, test } from "vitest";
import { smallModel } from "../../test-support/compress/fixtures.ts";
import { int64Tensor } from "../onnx/tensor-proto.ts";
import type { Feed } from "../run/feeds.ts";
import type { Outputs } from "../run/metric.ts";
import type { LoadedModel } from "../run/session.ts";
import { describe, withBatchAxis } from "./describe.ts";

const model = smallModel({
  opset: 13,
  inputs: { x: [1, 4] },
  outputs: ["y"],
  nodes: [{ opType: "Identity", input: ["x"], output: ["y"] }],
});
const frozen = (name: string): string => join(import.meta.dirname, "../../cache/frozen", name, "bundle.json");

test("a description with a step of a newer release is refused, not packed without it (tool-newer-step)", async () => {
  await expect(describe(model, "model.onnx", frozen("newer-step"))).rejects.toThrow(
    /this release does not know the step ".+" of ".+"/,
  );
});

test("outputs that the graph makes random are marked, with a given description too", async () => {
  const { outputs } = await describe(model, "model.onnx", frozen("schema-2"));
  const names = outputs.map((x) => x.name);
  const random = smallModel({
    opset: 13,
    inputs: { x: [1, 4] },
    outputs: names,
    nodes: names.map((name) => ({ opType: "RandomNormalLike", input: ["x"], output: [name] })),
  });
  expect(outputs.every((x) => x.isRandom === undefined)).toBe(true);
  for (const given of [undefined, frozen("schema-2")])
    expect((await describe(random, "model.onnx", given)).outputs.map((x) => x.isRandom)).toEqual(names.map(() => true));
});

test.each(["constructor", "__proto__", "y".repeat(201)])(
  "an output named %j is refused before the work",
  async (name) => {
    const nodes = [{ opType: "Neg", input: ["x"], output: [name] }];
    const odd = smallModel({ opset: 13, inputs: { x: [1, 4] }, outputs: ["y"], nodes });
    odd.graph.proto.output[0]!.name = name;
    await expect(describe(odd, "model.onnx", undefined)).rejects.toThrow(
      name.length > 200
        ? "has more than 200 characters: rename it"
        : `"${name}" of an input or output is one that every`,
    );
  },
);

test("a dim whose name no bundle can hold, as the expressions of exporters, gets another one", async () => {
  const nodes = [{ opType: "Neg", input: ["x"], output: ["y"] }];
  const dim = `2*(${"s0 + ".repeat(50)}1)`;
  const long = smallModel({ opset: 13, inputs: { x: ["batch", dim] }, outputs: ["y"], nodes });
  expect((await describe(long, "model.onnx", undefined)).inputs[0]?.dims).toEqual(["batch", "x_1"]);
});

test("a description of this release is taken", async () => {
  expect((await describe(model, "model.onnx", frozen("schema-2"))).inputs.length).toBeGreaterThan(0);
});

test.each([
  [{}, ["a"], "has no input"],
  [{ x: [1, 4] }, ["a", "a"], 'lists the output "a" twice'],
] as const)(
  "a model that no bundle can describe is refused before it is compressed: %j to %j",
  async (inputs, outputs, words) => {
    const fill = { opType: "ConstantOfShape", input: ["shape"], output: ["a"] };
    const initializers = [int64Tensor("shape", [1], [4])];
    const odd = smallModel({ opset: 13, inputs, outputs, nodes: [fill], initializers });
    await expect(describe(odd, "model.onnx", undefined)).rejects.toThrow(words);
  },
);

test("boxes that a batch concatenates are no rows of it, so they have no batch axis", async () => {
  // As many boxes as the input says.
  const port = (name: string) => ({ name, dtype: "float32", dims: ["n"], batchAxis: 0 }) as const;
  const description = { name: "m", version: "1", licence: "MIT", inputs: [port("x")], outputs: [port("y")] };
  const feedOf = (...values: number[]) => ({ x: floatsOf(values) });
  const detector = (boxesOf: (count: number) => number) => ({
    run: ({ x }: Feed): Promise<Outputs> => {
      const counts = [...(x?.data as Float32Array)];
      return Promise.resolve({ y: floatsOf(counts.flatMap((n) => Array<number>(boxesOf(n)).fill(n))) });
    },
    release: () => Promise.resolve(),
  });
  const described = async (boxesOf: (count: number) => number) =>
    (await withBatchAxis(description, [feedOf(2), feedOf(3)], detector(boxesOf) as unknown as LoadedModel)).outputs[0];
  expect((await described((n) => n))?.batchAxis).toBeNull();
  expect((await described(() => 1))?.batchAxis).toBe(0);
});

function floatsOf(values: readonly number[]) {
  return { dtype: "float32", dims: [values.length], data: Float32Array.from(values) } as const;
}
