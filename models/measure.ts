// Measures every variant and writes measured.json: `npx tsx models/measure.ts --lines 2000`, or only some bundles: `npx
// tsx models/measure.ts fashion-cnn`.
//
// The assignment of operators comes from ONNX Runtime's log, on WebGPU (a software adapter decides the same) and on the
// CPU. A variant of the recogniser also reads rendered lines, in onnxruntime-node with the package's own pre- and
// post-processing; its metric is the share of exact lines, spaces aside. Variants of the Fashion-MNIST models classify
// 10,000 pictures, those of the spam classifier the held-out mails. The others are scored as in a search
// (search-tasks.ts), on 2,000 samples.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { InferenceSession, Tensor } from "onnxruntime-node";
import sharp from "sharp";
import { lines } from "./corpus/render.ts";
import { isExact } from "./corpus/score.ts";
import type { Score, Variant } from "../lib/core/bundle.ts";
import { assignmentInNode } from "../lib/compress/check/assignment-node.ts";
import type { PackInput, PackVariant } from "../lib/compress/bundle/pack.ts";
import { References } from "../lib/compress/run/references.ts";
import { makeScore } from "../lib/compress/run/score.ts";
import { judge } from "../lib/compress/search/search-score.ts";
import type { Verdict } from "../lib/compress/search/search-score.ts";
import { createDecoder } from "../lib/worker/processing/decode.ts";
import { imageToTensor } from "../lib/worker/processing/image.ts";
import { testPictures } from "./fashion/pictures.ts";
import { MEASURED_PATH, modelHash, readMeasurements } from "./measured.ts";
import type { Measurement } from "./measured.ts";
import { RECIPES } from "./recipes.ts";
import { searchTask } from "./search-tasks.ts";
import { judgeMails, judgementOf, TRAINED_ON } from "./spam/judge.ts";
import { readMails, splitMails } from "./spam/mails.ts";

/** The baseline variant. */
const REFERENCE = "f32";
/** Samples of a task. */
const SAMPLES = 2_000;

/** Returns the metric of a variant, by its id. */
type Rates = (id: string) => Score;

const { values, positionals } = parseArgs({
  options: { lines: { type: "string", default: "2000" } },
  allowPositionals: true,
});
const measurements: Record<string, Measurement> = positionals.length > 0 ? { ...readMeasurements() } : {};
for (const recipe of RECIPES) {
  if (positionals.length > 0 && !positionals.includes(recipe.name)) continue;
  const input = await recipe.build();
  const rates = await ratesOf(input);
  for (const variant of input.variants) {
    const assignment = await assignments(variant);
    const score = rates(variant.id);
    const key = `${input.model.name}/${variant.id}`;
    measurements[key] = { sha256: await modelHash(variant), score, assignment };
    console.log(key, JSON.stringify(measurements[key]));
  }
}
writeFileSync(MEASURED_PATH, `${JSON.stringify(measurements, null, 2)}\n`);

async function ratesOf(input: PackInput): Promise<Rates> {
  if (input.model.outputs[0]?.decode?.op === "ctc") return readLines(input, Number(values.lines));
  if (input.model.name === "spam") return readHeldOut(input);
  return input.model.name.startsWith("fashion-") ? seePictures(input) : doTask(input);
}

/** Scores every variant on the task that a search uses for the model. */
async function doTask(input: PackInput): Promise<Rates> {
  const whole = input.variants.find(({ id }) => id === REFERENCE)?.files[0]?.bytes ?? new Uint8Array();
  const { samples, metric, labels } = await searchTask(input, whole, SAMPLES / 2);
  const folder = mkdtempSync(join(tmpdir(), "selvedge-measure-"));
  const path = join(folder, "model.onnx");
  writeFileSync(path, whole);
  const references = new References(path, samples);
  const verdicts = new Map<string, Verdict>();
  for (const { id, files, session } of input.variants)
    verdicts.set(id, await judge(files[0]?.bytes ?? whole, session, { references, metric, labels }, () => true));
  rmSync(folder, { recursive: true });
  return (id) => {
    const { score: value = Number.NaN, reference = Number.NaN, n = 0 } = verdicts.get(id) ?? {};
    return makeScore(metric.name, value, reference, n, true);
  };
}

async function open({ files, session }: PackVariant): Promise<InferenceSession> {
  const options = { logSeverityLevel: 3, intraOpNumThreads: 1, extra: { ...session?.wasm } } as const;
  return InferenceSession.create(files[0]?.bytes ?? new Uint8Array(), options);
}

/** Classifies the held-out mails with every variant. */
async function readHeldOut({ variants, model }: PackInput): Promise<Rates> {
  const { test } = splitMails(readMails(), TRAINED_ON);
  const right = new Map<string, number>();
  for (const { id, files, session } of variants) {
    const odds = await judgeMails(files[0]?.bytes ?? new Uint8Array(), model.inputs, test, session?.wasm);
    right.set(id, judgementOf(odds, test).accuracy);
  }
  const rate = (id: string): number => right.get(id) ?? Number.NaN;
  return (id) => makeScore("accuracy", rate(id), rate(REFERENCE), test.length, true);
}

/** Classifies the same pictures with every variant; returns the accuracy of each. */
async function seePictures({ variants, model }: PackInput): Promise<Rates> {
  const { count, pixels, classes } = testPictures();
  const right = new Map<string, number>();
  const batch = 500;
  for (const variant of variants) {
    const session = await open(variant);
    let sum = 0;
    for (let at = 0; at < count; at += batch) {
      const picture = new Tensor("float32", pixels.subarray(at * 784, (at + batch) * 784), [batch, 1, 28, 28]);
      const logits = (await session.run({ [model.inputs[0]?.name ?? ""]: picture }))[model.outputs[0]?.name ?? ""];
      const scores = logits?.data as Float32Array;
      for (let i = 0; i < batch; i++) {
        const own = scores.subarray(i * 10, i * 10 + 10);
        if (own.indexOf(Math.max(...own)) === classes[at + i]) sum++;
      }
    }
    await session.release();
    right.set(variant.id, sum);
  }
  const rate = (id: string): number => (right.get(id) ?? Number.NaN) / count;
  return (id) => makeScore("accuracy", rate(id), rate(REFERENCE), count, true);
}

async function assignments(variant: PackVariant): Promise<NonNullable<Variant["assignment"]>> {
  const bytes = variant.files[0]?.bytes ?? new Uint8Array();
  return {
    ...(!variant.needs.includes("wasm") && {
      webgpu: await assignmentInNode(bytes, "webgpu", variant.session?.webgpu),
    }),
    wasm: await assignmentInNode(bytes, "wasm", variant.session?.wasm),
  };
}

/** Reads the same lines with every variant; returns the metric of each. */
async function readLines(input: PackInput, count: number): Promise<Rates> {
  const [port] = input.model.inputs;
  const [output] = input.model.outputs;
  if (port?.image === undefined || output?.decode === undefined) throw new Error(`${input.model.name} reads no images`);
  const assets = (input.assets ?? []).map((x) => [x.path, new TextDecoder().decode(x.bytes)] as const);
  const decode = createDecoder(output.name, output.decode, Object.fromEntries(assets));
  const sessions: { id: string; session: InferenceSession; exact: number }[] = [];
  for (const variant of input.variants) sessions.push({ id: variant.id, session: await open(variant), exact: 0 });
  const corpus = await lines(count);
  for (const { file, text } of corpus) {
    const { data, info } = await sharp(file).ensureAlpha().raw().toBuffer({ resolveWithObject: true });
    const pixels = { width: info.width, height: info.height, data: new Uint8ClampedArray(data) };
    const tensor = imageToTensor(pixels, port.image, port.dtype);
    const feed = { [port.name]: new Tensor("float32", tensor.data as Float32Array, [...tensor.dims]) };
    for (const one of sessions) {
      const result = (await one.session.run(feed))[output.name];
      if (result?.type !== "float32") throw new Error(`${output.name} is not float32`);
      const [answer] = decode({ dtype: "float32", dims: result.dims, data: result.data as Float32Array });
      if (answer?.kind === "text" && isExact(text, answer.text)) one.exact++;
    }
  }
  for (const { session } of sessions) await session.release();
  const rate = (id: string): number => (sessions.find((x) => x.id === id)?.exact ?? Number.NaN) / corpus.length;
  return (id) => makeScore("exact-lines", rate(id), rate(REFERENCE), corpus.length, true);
}
