// The recogniser in batches: lines of a photographed page, each alone and padded beside others.
import { join } from "node:path";
import * as ort from "onnxruntime-node";
import sharp from "sharp";
import { beforeAll, expect, test } from "vitest";
import type { Backend } from "../lib/rpc/backend.ts";
import type { ImageSpec } from "../lib/core/bundle.ts";
import { batchingOf, runBatch } from "../lib/worker/join-batch.ts";
import type { Batching, InputParts } from "../lib/worker/join-batch.ts";
import { createDecoder } from "../lib/worker/processing/decode.ts";
import { imageToTensor } from "../lib/worker/processing/image.ts";
import type { Tensor } from "../lib/core/tensor.ts";
import { ocrRec } from "./ocr-rec.ts";

const PAGE = join(import.meta.dirname, "../demo/ocr/sample.jpg");
/** Left edge and widths of each column's lines, and the middle of each line at its left end. In pixels. */
const COLUMNS = [
  {
    left: 121,
    middles: [283, 322, 361, 400, 438, 477, 516, 574, 613, 652],
    widths: [376, 352, 365, 352, 355, 325, 345, 330, 335, 320],
  },
  {
    left: 569,
    middles: [273, 312, 351, 389, 428, 487, 525, 565, 604, 642],
    widths: [320, 295, 265, 295, 265, 342, 325, 305, 265, 265],
  },
] as const;

const { model, variants, assets = [] } = await ocrRec.build();
const [x, y] = [model.inputs[0]!, model.outputs[0]!];
const keys = new TextDecoder().decode(assets[0]?.bytes);
const decode = createDecoder(y.name, y.decode!, { "keys.txt": keys });
const batching = (): Batching => batchingOf(model.inputs, model.outputs, true);
let lines: InputParts[] = [];
let backend: Backend;

beforeAll(async () => {
  const bytes = variants.find(({ id }) => id === "f32")!.files[0]!.bytes;
  const session = await ort.InferenceSession.create(bytes, { intraOpNumThreads: 1 });
  const run = async (_: number, feeds: Record<string, Tensor>): Promise<Record<string, Tensor>> => {
    const { data, dims } = feeds["x"] as Tensor<"float32">;
    const output = (await session.run({ x: new ort.Tensor("float32", data, dims) }))[y.name]!;
    return { [y.name]: { dtype: "float32", dims: output.dims, data: output.data as Float32Array } };
  };
  backend = { run } as Partial<Backend> as Backend;
  lines = await Promise.all(
    COLUMNS.flatMap(({ left, middles, widths }) =>
      middles.map(async (middle, i) => read(left + Math.round((middle - 283) / 46), middle - 24, (widths[i] ?? 0) - 8)),
    ),
  );
});

/** Reads one line of the page as the tensor that the bundle declares. */
async function read(left: number, top: number, width: number): Promise<InputParts> {
  const { data, info } = await sharp(PAGE)
    .extract({ left, top, width, height: 38 })
    .ensureAlpha()
    .raw()
    .toBuffer({ resolveWithObject: true });
  const pixels = { width: info.width, height: info.height, data: new Uint8ClampedArray(data) };
  return { x: imageToTensor(pixels, x.image as ImageSpec, "float32") };
}

const outputsOf = async (items: readonly InputParts[]): Promise<{ outputs: Tensor[]; runs: number }> => {
  const { outcomes, runs } = await runBatch(backend, 1, batching(), items);
  return {
    outputs: outcomes.map((outcome) =>
      "outputs" in outcome ? outcome.outputs[y.name]! : expect.fail(String(outcome.error)),
    ),
    runs,
  };
};
const textOf = (output: Tensor): string =>
  decode(output)
    .map((answer) => (answer.kind === "text" ? answer.text : ""))
    .join("\n");

test("lines of different widths run in one padded batch, and read the same as alone", async () => {
  const alone: Tensor[] = [];
  for (const line of lines) alone.push(...(await outputsOf([line])).outputs);
  const together = await outputsOf(lines);
  expect(together.runs).toBeLessThan(lines.length / 3);
  expect(together.outputs.map(textOf)).toEqual(alone.map(textOf));
  expect(together.outputs.map(({ dims }) => dims)).toEqual(alone.map(({ dims }) => dims));
  expect(alone.map(textOf).slice(0, 2)).toEqual([
    "A woven cloth ends in a selvedge:",
    "the edge where each weft thread",
  ]);
});

test("lines of one width read the same in a batch as alone", async () => {
  const width = 352;
  const same = lines
    .map(({ x }) => x as Tensor)
    .filter(({ dims }) => (dims[3] ?? 0) >= width)
    .slice(0, 3);
  const cut = same.map(({ dims, data }): InputParts => {
    const from = dims[3] ?? 0;
    const values = Float32Array.from(
      { length: 3 * 48 * width },
      (_, i) => (data as Float32Array)[Math.floor(i / width) * from + (i % width)] ?? 0,
    );
    return { x: { dtype: "float32", dims: [1, 3, 48, width], data: values } };
  });
  const { outputs, runs } = await outputsOf(cut);
  expect(runs).toBe(1);
  for (const [i, item] of cut.entries()) {
    const [own] = (await outputsOf([item])).outputs;
    const largest = (own?.data as Float32Array).reduce(
      (most, value, at) => Math.max(most, Math.abs(value - ((outputs[i]?.data as Float32Array)[at] ?? 0))),
      0,
    );
    expect(largest).toBeLessThan(1e-5);
  }
});

test("every width has the bundle's number of steps", async () => {
  const { per, plus } = y.cut!;
  for (let width = 48; width < 64; width += 1) {
    const [output] = (
      await outputsOf([{ x: { dtype: "float32", dims: [1, 3, 48, width], data: new Float32Array(3 * 48 * width) } }])
    ).outputs;
    expect(output?.dims[1]).toBe(Math.floor((width + plus) / per));
  }
});
