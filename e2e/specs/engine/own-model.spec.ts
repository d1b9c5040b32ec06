// One's own bare .onnx with `image` and `labels`, in real browsers: answers equal those computed in Node.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "@playwright/test";
import type { Page } from "@playwright/test";
import { readVariantModel } from "../../../lib/compress/bundle/read-bundle.ts";
import { runAll } from "../../../lib/compress/run/session.ts";
import type { ImageSpec } from "../../../lib/core/bundle.ts";
import { softmax } from "../../../lib/worker/processing/values.ts";
import { imageToTensor } from "../../../lib/worker/processing/image.ts";
import { modelOf } from "../../../lib/test-support/onnx/onnx-graphs.ts";
import { ROOT } from "../../support/prepare.ts";
import type * as Selvedge from "selvedge";

const FOLDER = join(ROOT, "e2e/.cache/own-model");
const LABELS = ["cat", "dog", "hen", "owl", "fox"];
const CLOTHES = "/expanded/fashion-cnn/labels.txt";
const SIZE = { width: 61, height: 47 };

/** A picture of noise over a gradient, the same in the page and here. */
function picture(): Uint8ClampedArray<ArrayBuffer> {
  const { width, height } = SIZE;
  return Uint8ClampedArray.from({ length: width * height * 4 }, (_, i) => {
    const at = Math.floor(i / 4);
    return i % 4 === 3 ? 255 : (at * 3 + (i % 4) * 70 + ((at * 2_654_435_761) % 97)) % 256;
  });
}

/** A classifier of colour pictures that ends in a softmax; its outputs declare no dims. */
function colourModel(): Uint8Array<ArrayBuffer> {
  const { sin } = Math;
  const weights = { dtype: "float32", dims: [3 * 64, LABELS.length] } as const;
  return modelOf({
    inputs: { pixels: { dtype: "float32", dims: [1, 3, 32, 32] } },
    constants: {
      w: { ...weights, values: Array.from({ length: 192 * LABELS.length }, (_, i) => 0.2 * sin(i * i + 1)) },
    },
    outputs: ["scores"],
    nodes: [
      {
        opType: "AveragePool",
        input: ["pixels"],
        output: ["p"],
        attributes: { kernel_shape: [4, 4], strides: [4, 4] },
      },
      { opType: "Flatten", input: ["p"], output: ["f"], attributes: { axis: 1 } },
      { opType: "MatMul", input: ["f", "w"], output: ["z"] },
      { opType: "Softmax", input: ["z"], output: ["scores"], attributes: { axis: -1 } },
    ],
  }).write();
}

test.beforeAll(() => {
  mkdirSync(FOLDER, { recursive: true });
  writeFileSync(join(FOLDER, "colour.onnx"), colourModel());
});

test.beforeEach(async ({ page }) => {
  const { pages } = test.info().config.metadata as { pages: string };
  await page.goto(`${pages}/engine.html`);
  await page.waitForFunction("globalThis.selvedge !== undefined");
});

interface Asked {
  readonly source: string;
  /** Descriptions, each loaded and run in turn. */
  readonly options: readonly Selvedge.LoadOptions[];
  readonly data: readonly number[];
  readonly size: typeof SIZE;
}

interface Answer {
  readonly labels: readonly { readonly label: string; readonly score: number }[];
  readonly identity: string;
  readonly error: string | null;
}

/** Loads a model in the page with each of the descriptions and runs it on the picture. */
function ask(page: Page, source: string, ...options: Selvedge.LoadOptions[]): Promise<Answer[]> {
  const asked: Asked = { source, options, data: [...picture()], size: SIZE };
  return page.evaluate(async ({ source, options, data, size }: Asked): Promise<Answer[]> => {
    const { createEngine } = (globalThis as unknown as { selvedge: typeof Selvedge }).selvedge;
    const engine = await createEngine({ backends: ["wasm"], workers: 1 });
    const answers: Answer[] = [];
    for (const each of options)
      try {
        const model = await engine.load(source, each);
        const image = new ImageData(new Uint8ClampedArray(data), size.width, size.height);
        const { decoded } = await model.run({ [model.inputs[0]?.name ?? ""]: image });
        const [first] = Object.values(decoded)[0] ?? [];
        const labels = first?.kind === "labels" ? first.labels : [];
        answers.push({ labels, identity: model.identity, error: null });
      } catch (error) {
        answers.push({ labels: [], identity: "", error: String(error) });
      }
    await engine.close();
    return answers;
  }, asked);
}

/** Computes the best classes in Node. */
async function reference(
  bytes: Uint8Array,
  input: string,
  image: ImageSpec,
  labels: readonly string[],
  isLogits: boolean,
): Promise<{ label: string; score: number }[]> {
  const feed = { [input]: imageToTensor({ ...SIZE, data: picture() }, image, "float32") };
  const [outputs = {}] = await runAll(bytes, [feed]);
  const row = Object.values(outputs)[0]?.data ?? [];
  const scores = [...(isLogits ? softmax(row) : Array.from(row))];
  return scores.map((score, i) => ({ label: labels[i] ?? "", score })).sort((a, b) => b.score - a.score);
}

function expectSame(answer: Answer | undefined, expected: readonly { label: string; score: number }[]): void {
  expect(answer?.error).toBeNull();
  expect(answer?.labels.map((x) => x.label)).toEqual(expected.slice(0, answer?.labels.length).map((x) => x.label));
  for (const [i, { score }] of (answer?.labels ?? []).entries()) expect(score).toBeCloseTo(expected[i]?.score ?? -1, 3);
}

test("a model of colour pictures is normalised, cropped and labelled as in Node", async ({ page }) => {
  const described = (normalize: "imagenet" | "-1..1", channels: "rgb" | "bgr", resize: "crop" | "fit") => ({
    image: { normalize, channels, resize },
    labels: LABELS,
  });
  const options = [described("imagenet", "rgb", "crop"), described("-1..1", "bgr", "fit")] as const;
  const [first, second] = await ask(page, "/corpus/own-model/colour.onnx", ...options);
  const bytes = colourModel();
  const crop = { mode: "crop", width: 32, height: 32, shortSide: 37 } as const;
  const imagenet = { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };
  const one: ImageSpec = { resize: crop, channels: "rgb", layout: "nchw", ...imagenet };
  expectSame(first, await reference(bytes, "pixels", one, LABELS, false));
  const fit = { mode: "fit", width: 32, height: 32 } as const;
  const half = { mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5] };
  const other: ImageSpec = { resize: fit, channels: "bgr", layout: "nchw", ...half };
  expectSame(second, await reference(bytes, "pixels", other, LABELS, false));
  expect(first?.labels).toHaveLength(5);
  expect(first?.identity).not.toBe(second?.identity);
});

test("a model of grey pictures takes its size from the model and its labels from a file", async ({ page }) => {
  const source = "/expanded/fashion-cnn/f32.onnx";
  const image = { normalize: "-1..1", resize: "fit" } as const;
  const [own] = await ask(page, source, { image, labels: { from: CLOTHES, top: 3 } });
  const [bundled] = await ask(page, "/models/fashion-cnn/bundle.json", { variant: "f32" });
  expect(own?.labels.map((x) => x.label)).toEqual(bundled?.labels.map((x) => x.label));
  const labels = (await (await page.request.get(new URL(CLOTHES, page.url()).href)).text()).trim().split("\n");
  const spec: ImageSpec = {
    resize: { mode: "fit", width: 28, height: 28 },
    ...{ channels: "gray", layout: "nchw", mean: [0.5], std: [0.5] },
  };
  const bytes = await readVariantModel(join(ROOT, "models/dist/fashion-cnn"), "f32");
  expectSame(own, await reference(bytes, "image", spec, labels, true));
});

test("what contradicts the model, or describes a bundle, is refused by a sentence", async ({ page }) => {
  const refused = async (source: string, options: Selvedge.LoadOptions): Promise<string | null | undefined> =>
    (await ask(page, source, options))[0]?.error;
  const colour = "/corpus/own-model/colour.onnx";
  expect(await refused("/models/fashion-cnn/bundle.json", { labels: LABELS })).toMatch(
    /^TypeError: labels: .*bundle\.json is a bundle, which declares its own/,
  );
  expect(await refused(colour, { image: { size: [224, 224] } })).toMatch(
    /^TypeError: image: width 224, but "pixels" \(float32 \[1, 3, 32, 32\]\) has 32 there/,
  );
  expect(await refused(colour, { image: { channels: "gray" } })).toContain("use rgb or bgr");
  expect(await refused(colour, { image: { norm: "imagenet" } as object })).toContain('there is no field "norm"');
  for (const std of [0, -1, [1, 1, -1]])
    expect(await refused(colour, { image: { normalize: { std } } })).toMatch(
      /^TypeError: image\.normalize\.std: expected a number above 0/,
    );
  expect(await refused(colour, { labels: { from: 7 } as never })).toMatch(/^TypeError: labels: expected texts/);
  const grey = "/expanded/fashion-cnn/f32.onnx";
  expect(await refused(grey, { labels: LABELS })).toMatch(
    /^TypeError: labels: 5 labels, but "logits".* has 10 classes/,
  );
  expect(await refused(grey, { labels: "/no-such-labels.txt" })).toMatch(/no-such-labels\.txt/);
});

test("labels of another number than the classes are refused where the graph declares no dims", async ({ page }) => {
  const asked = [LABELS.slice(1), [...LABELS, "elk"]].map((labels) => ({ image: {}, labels }));
  const [fewer, more] = await ask(page, "/corpus/own-model/colour.onnx", ...asked);
  expect(fewer?.error).toBe(
    'TypeError: labels: 4 labels, but output "scores" has 5 classes: give one label for each class, in the model\'s order',
  );
  expect(more?.error).toContain('labels: 6 labels, but output "scores" has 5 classes');
});

test("bytes of a frame and of shared memory are loaded, those of a detached buffer are named", async ({ page }) => {
  const found = await page.evaluate(async () => {
    const { createEngine } = (globalThis as unknown as { selvedge: typeof Selvedge }).selvedge;
    const engine = await createEngine({ backends: ["wasm"], workers: 1 });
    const url = new URL("/corpus/own-model/colour.onnx", location.href);
    const bytes = new Uint8Array(await (await fetch(url)).arrayBuffer());
    const frame = document.body.appendChild(document.createElement("iframe"));
    const { ArrayBuffer: Other } = frame.contentWindow as unknown as typeof globalThis;
    const foreign = new Other(bytes.length);
    new Uint8Array(foreign).set(bytes);
    const { buffer } = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
    const shared = new Uint8Array(buffer, 0, bytes.length);
    shared.set(bytes);
    const detached = new Uint8Array(8);
    structuredClone(detached.buffer, { transfer: [detached.buffer] });
    const errorOf = (source: Selvedge.ModelSource): Promise<string> =>
      engine.load(source).then(
        () => "none",
        (error: unknown) => String(error),
      );
    const loaded = [await errorOf(foreign), await errorOf(shared)];
    const empty = await errorOf(detached);
    await engine.close();
    return { loaded, empty };
  });
  expect(found.loaded).toEqual(["none", "none"]);
  expect(found.empty).toContain("An ArrayBuffer that was transferred (detached) is empty too.");
});

test("a detached array alone is named as such", async ({ page }) => {
  const found = await page.evaluate(async () => {
    const { createEngine } = (globalThis as unknown as { selvedge: typeof Selvedge }).selvedge;
    const engine = await createEngine({ backends: ["wasm"], workers: 1 });
    const model = await engine.load("/corpus/own-model/colour.onnx");
    const pixels = new Float32Array(3 * 32 * 32);
    structuredClone(pixels.buffer, { transfer: [pixels.buffer] });
    const error = await model.run({ pixels }).then(
      () => "none",
      (x: unknown) => String(x),
    );
    await engine.close();
    return error;
  });
  expect(found).toBe('TypeError: input "pixels": its buffer is detached or resized');
});

test("a picture of another origin is named with the way out, and one that its server allows is read", async ({
  page,
}) => {
  // 1 × 1 pixel.
  const png = Buffer.from(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==",
    "base64",
  );
  const headers = { "cross-origin-resource-policy": "cross-origin", "access-control-allow-origin": "*" };
  await page.route("http://pictures.example/**", (route) =>
    route.fulfill({ body: png, contentType: "image/png", headers }),
  );
  const found = await page.evaluate(async () => {
    const { createEngine } = (globalThis as unknown as { selvedge: typeof Selvedge }).selvedge;
    const engine = await createEngine({ backends: ["wasm"], workers: 1 });
    const model = await engine.load("/corpus/own-model/colour.onnx", { image: {} });
    const run = (pixels: Selvedge.ImageInput): Promise<string> =>
      model.run({ pixels }).then(
        () => "none",
        (error: unknown) => `${String(error)} <- ${((error as Error).cause as Error | undefined)?.name ?? "no cause"}`,
      );
    const img = new Image();
    img.src = "http://pictures.example/a.png?token=secret";
    await img.decode();
    const canvas = document.createElement("canvas");
    canvas.getContext("2d")?.drawImage(img, 0, 0);
    const own = new ImageData(2, 2);
    // At once, so that they may share a batch.
    const errors = await Promise.all([run(img), run(own), run(canvas), run(await createImageBitmap(img)), run(own)]);
    const allowed = new Image();
    allowed.crossOrigin = "anonymous";
    allowed.src = "http://pictures.example/b.png";
    await allowed.decode();
    const last = await run(allowed);
    const { starts } = engine.stats().lanes[0] ?? {};
    await engine.close();
    return { errors, last, starts };
  });
  const way =
    'so the page may not read its pixels: set img.crossOrigin = "anonymous" before its src, and have that server send Access-Control-Allow-Origin <- DataCloneError';
  const from = 'TypeError: input "pixels": ';
  expect(found.errors).toEqual([
    `${from}the picture is of another origin (http://pictures.example), ${way}`,
    "none",
    `${from}the HTMLCanvasElement shows a picture of another origin, ${way}`,
    `${from}the ImageBitmap shows a picture of another origin, ${way}`,
    "none",
  ]);
  expect(found.last).toBe("none");
  expect(found.starts).toBe(1);
});
