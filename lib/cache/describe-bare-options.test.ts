// An app's own description of a bare model, by itself: its identity, and the options and fixes that its errors name.
import { expect, test } from "vitest";
import { modelOf } from "../test-support/onnx/onnx-graphs.ts";
import { describeBare } from "./describe-bare.ts";
import type { OwnDescription } from "./messages.ts";
import { bareOf } from "./open.ts";
import type { OpenedBundle } from "./opened.ts";

type Inputs = Readonly<Record<string, readonly (number | string)[]>>;

/** A model of inputs with dims, each of which is also an output. */
function fileOf(inputs: Inputs): Blob {
  const names = Object.keys(inputs);
  const model = modelOf({
    inputs: Object.fromEntries(names.map((x) => [x, { dtype: "float32", dims: [1] }])),
    outputs: names.map((x) => `${x}_out`),
    nodes: names.map((x) => ({ opType: "Identity", input: [x], output: [`${x}_out`] })),
    declared: inputs,
  });
  return new Blob([new Uint8Array(model.write())]);
}

const IMAGE: Inputs = { x: ["n", 3, 8, 8] };
const LABELS = ["cat", "dog"];

function describe(
  own: OwnDescription,
  { inputs = IMAGE, list = null, more = {} }: { inputs?: Inputs; list?: readonly string[] | null; more?: object } = {},
): Promise<OpenedBundle> {
  const opened = { ...bareOf("https://models.example/m.onnx", 1), identity: "a".repeat(64), data: fileOf(inputs) };
  return describeBare({ ...opened, ...more }, own, list);
}

test("what is described is in the bundle, with the facts of the graph, and nothing else", async () => {
  const inputs = { ...IMAGE, other: [2, 3] };
  const { bundle, texts, storedAs } = await describe({ image: { input: "x" } }, { inputs });
  expect(bundle.model.inputs).toMatchObject([
    { name: "x", dtype: "float32", dims: ["n", 3, 8, 8], batchAxis: 0, image: { resize: { width: 8, height: 8 } } },
  ]);
  expect([bundle.model.outputs, texts, storedAs]).toEqual([[], {}, "a".repeat(64)]);
  const labelled = await describe(
    { labels: { from: LABELS, output: "x_out", top: 1, logits: true } },
    { list: LABELS },
  );
  expect(labelled.bundle.model).toMatchObject({
    inputs: [],
    outputs: [{ name: "x_out", dtype: "float32", decode: { op: "labels", asset: "labels.txt", top: 1, logits: true } }],
  });
  expect(labelled.texts).toEqual({ "labels.txt": "cat\ndog\n" });
});

test("what is not whole, or not there, describes nothing", async () => {
  const own = { image: {}, labels: { from: LABELS } };
  const opened = { ...bareOf("https://models.example/m.onnx", 1), identity: "a".repeat(64) };
  expect(await describeBare(opened, own, LABELS), "without bytes").toBe(opened);
  const without = await describe({ labels: { from: LABELS } });
  expect([without.bundle.model.outputs, without.texts]).toEqual([[], {}]);
  expect((await describe({}, { list: LABELS })).identity).toBe(without.identity);
});

test("the identity is of the model's, the images, the answers and the labels", async () => {
  const from = LABELS;
  const one = { inputs: { x: ["n", 1, 8, 8] } };
  const all = await Promise.all([
    describe({}),
    describe({}, { more: { identity: "b".repeat(64) } }),
    describe({ image: {} }),
    describe({ image: {} }, one),
    describe({ image: { normalize: "imagenet" } }),
    describe({ labels: { from } }, { list: LABELS }),
    describe({ labels: { from, top: 1 } }, { list: LABELS }),
    describe({ labels: { from } }, { list: ["dog", "cat"] }),
    describe({ labels: { from, output: "x_out" } }, { list: LABELS, inputs: { ...IMAGE, z: [1] } }),
    describe({ labels: { from, output: "z_out" } }, { list: LABELS, inputs: { ...IMAGE, z: [1] } }),
    describe({ image: { input: "z" } }, { inputs: { ...IMAGE, z: ["n", 3, 8, 8] } }),
  ]);
  const [, , , , , labelled, , , named] = all;
  const identities = all.map((x) => x.identity);
  for (const x of identities) expect(x).toMatch(/^[0-9a-f]{64}$/);
  expect(named?.identity, "the same output, named").toBe(labelled?.identity);
  expect(new Set(identities).size).toBe(all.length - 1);
});

test("it stays as it is from release to release, since answers are kept by it", async () => {
  const { identity } = await describe({ image: {}, labels: { from: LABELS, top: 1 } }, { list: LABELS });
  expect(identity).toBe("121cf2e71cb0361f283462bfff8a63cde972db62b5a5e1e36527530a5a8069b1");
});

test.each<[string, string, OwnDescription, Inputs]>([
  ["image", "takes images of any width: set image.size to [width, 8]", { image: {} }, { x: [1, 3, 8, "w"] }],
  ["image", "takes images of any height: set image.size to [8, height]", { image: {} }, { x: [1, 3, "h", 8] }],
  [
    "image",
    'don\'t show where its channels are: set image.layout to "nchw" or "nhwc"',
    { image: {} },
    { x: [1, "a", 8, "b"] },
  ],
  [
    "image",
    'has several inputs for images, "x" (float32 [1, 3, 8, 8]), "z" (float32 [1, 3, 8, 8]): name one in image.input',
    { image: {} },
    { x: [1, 3, 8, 8], z: [1, 3, 8, 8] },
  ],
  [
    "labels",
    'has several outputs, "x_out" (float32 []), "z_out" (float32 []): name one in labels.output',
    { labels: { from: LABELS } },
    { x: [1, 2], z: [1, 2] },
  ],
])("errors name the option %s and the fix: %s", async (option, text, own, inputs) => {
  const error: unknown = await describe(own, { inputs, list: LABELS }).catch((caught: unknown) => caught);
  expect(error).toBeInstanceOf(TypeError);
  expect(String(error)).toContain(text);
  expect(String(error)).toMatch(new RegExp(`^TypeError: ${option}: `));
});
