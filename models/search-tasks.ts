// Search tasks of the demo models: samples, their expected answers, and the split between search and validation.
// Pictures and lines come from the same corpora that models are measured on.
//
// Without ground truth (no faces and no people's voices install from a registry), a sample counts as right if the
// answer that a page would act on equals float32's.
import sharp from "sharp";
import { lines } from "./corpus/render.ts";
import { isExact } from "./corpus/score.ts";
import { clips } from "./sounds.ts";
import type { BundleInput } from "../lib/core/bundle.ts";
import type { Feed } from "../lib/compress/run/feeds.ts";
import { makeMetric, meanMetric } from "../lib/compress/run/metric.ts";
import type { MeasuredSample, Metric, Outputs } from "../lib/compress/run/metric.ts";
import type { PackInput } from "../lib/compress/bundle/pack.ts";
import { samplesOf } from "../lib/compress/run/samples.ts";
import type { Samples } from "../lib/compress/run/samples.ts";
import { openModel } from "../lib/compress/run/session.ts";
import { createDecoder } from "../lib/worker/processing/decode.ts";
import { imageToTensor } from "../lib/worker/processing/image.ts";
import { createTextReaders } from "../lib/worker/processing/text.ts";
import { testPictures } from "./fashion/pictures.ts";
import { TRAINED_ON } from "./spam/judge.ts";
import { readMails, splitMails } from "./spam/mails.ts";

/** Task of a search. */
export interface SearchTask {
  readonly samples: Samples;
  /** Number of samples, from the first, that the search uses; the others are held out to validate the result. */
  readonly seen: number;
  readonly metric: Metric;
  readonly labels?: readonly (readonly number[])[];
}

/** Tolerated loss, as a share. */
const DROP = 0.005;

/** Creates the task of a model: `count` samples for the search and as many held out. */
export async function searchTask(input: PackInput, bytes: Uint8Array, count: number): Promise<SearchTask> {
  const { name } = input.model;
  if (name.startsWith("fashion-")) return pictures(input, count);
  switch (name) {
    case "spam":
      return mails(input, count);
    case "ocr-rec":
      return reading(input, count);
    case "ocr-cls":
      return turning(input, count);
    case "ocr-det":
      return finding(input, count);
    case "face":
      return { ...(await likeFloat32(input, count, bestAnchor)), seen: count };
    case "vad":
      return hearing(bytes, count);
    default:
      throw new TypeError(`search: there is no task for "${name}"`);
  }
}

async function top1(): Promise<Metric> {
  return makeMetric("top1", { maxDrop: `${DROP * 100}%`, hasLabels: true });
}

async function pictures({ model }: PackInput, count: number): Promise<SearchTask> {
  const { pixels, classes, count: all } = testPictures();
  const n = Math.min(all, 2 * count);
  const feeds = Array.from({ length: n }, (_, i): Feed => {
    const data = pixels.slice(i * 784, (i + 1) * 784);
    return { [model.inputs[0]?.name ?? ""]: { dtype: "float32", dims: [1, 1, 28, 28], data } };
  });
  const labels = Array.from(classes.subarray(0, n), (x) => [x]);
  return { samples: samplesOf(feeds), seen: n >> 1, metric: await top1(), labels };
}

/** Searches on training mails, which degrade as others do, and validates on all held-out mails. */
async function mails({ model, assets = [] }: PackInput, count: number): Promise<SearchTask> {
  const { train, test } = splitMails(readMails(), TRAINED_ON);
  const step = Math.max(1, Math.floor(train.length / count));
  const all = [...train.filter((_, i) => i % step === 0).slice(0, count), ...test];
  const texts = assets.map((x) => [x.path, new TextDecoder().decode(x.bytes)] as const);
  const reader = createTextReaders(model.inputs, Object.fromEntries(texts))["text"];
  const feeds = all.map(({ text }) => (reader?.read([text]) ?? {}) as Feed);
  const labels = all.map((x) => [Number(x.isSpam)]);
  return { samples: samplesOf(feeds), seen: all.length - test.length, metric: await top1(), labels };
}

/** Returns pictures of rendered lines as model inputs; every second one may be upside down. */
async function lineFeeds(port: BundleInput | undefined, count: number, isTurned: boolean): Promise<Feed[]> {
  if (port?.image === undefined) throw new Error("the model takes no images");
  const feeds: Feed[] = [];
  for (const [i, { file }] of (await lines(count)).entries()) {
    const picture = sharp(file).rotate(isTurned && i % 2 === 1 ? 180 : 0);
    const { data, info } = await picture.ensureAlpha().raw().toBuffer({ resolveWithObject: true });
    const pixels = { width: info.width, height: info.height, data: new Uint8ClampedArray(data) };
    feeds.push({ [port.name]: imageToTensor(pixels, port.image, port.dtype) });
  }
  return feeds;
}

async function reading({ model, assets = [] }: PackInput, count: number): Promise<SearchTask> {
  const [output] = model.outputs;
  if (output?.decode === undefined) throw new Error(`${model.name} reads nothing`);
  const texts = assets.map((x) => [x.path, new TextDecoder().decode(x.bytes)] as const);
  const decode = createDecoder(output.name, output.decode, Object.fromEntries(texts));
  const truths = (await lines(2 * count)).map((x) => x.text);
  const metric = meanMetric("exact-lines", DROP, ({ outputs, label }: MeasuredSample) => {
    const { dims = [], data = [] } = outputs[output.name] ?? {};
    const [answer] = decode({ dtype: "float32", dims, data: Float32Array.from(data) });
    return answer?.kind === "text" && isExact(truths[label?.[0] ?? 0] ?? "", answer.text) ? 1 : 0;
  });
  const feeds = await lineFeeds(model.inputs[0], 2 * count, false);
  return { samples: samplesOf(feeds), seen: count, metric, labels: feeds.map((_, i) => [i]) };
}

async function turning({ model }: PackInput, count: number): Promise<SearchTask> {
  const feeds = await lineFeeds(model.inputs[0], 2 * count, true);
  return { samples: samplesOf(feeds), seen: count, metric: await top1(), labels: feeds.map((_, i) => [i % 2]) };
}

/**
 * A line counts as found if the bounding box of its text overlaps float32's by nine tenths (intersection over union).
 */
async function finding({ model }: PackInput, count: number): Promise<SearchTask> {
  const metric = meanMetric("lines found as float32 does", DROP, ({ outputs, reference }: MeasuredSample) =>
    overlap(boxOf(outputs), boxOf(reference)) >= 0.9 ? 1 : 0,
  );
  return { samples: samplesOf(await lineFeeds(model.inputs[0], 2 * count, false)), seen: count, metric };
}

type Box = readonly [left: number, top: number, right: number, bottom: number];

/** Threshold of the demo's page for text. */
const IS_TEXT = 0.3;

function boxOf(outputs: Outputs): Box | null {
  const { dims = [], data = [] } = Object.values(outputs)[0] ?? {};
  const width = dims.at(-1) ?? 1;
  let [left, top, right, bottom] = [Infinity, Infinity, -1, -1];
  for (let i = 0; i < data.length; i++) {
    if ((data[i] ?? 0) < IS_TEXT) continue;
    const [x, y] = [i % width, Math.floor(i / width)];
    [left, top, right, bottom] = [Math.min(left, x), Math.min(top, y), Math.max(right, x + 1), Math.max(bottom, y + 1)];
  }
  return right < 0 ? null : [left, top, right, bottom];
}

function overlap(a: Box | null, b: Box | null): number {
  if (a === null || b === null) return a === b ? 1 : 0;
  const area = ([left, top, right, bottom]: Box): number => Math.max(0, right - left) * Math.max(0, bottom - top);
  const both: Box = [Math.max(a[0], b[0]), Math.max(a[1], b[1]), Math.min(a[2], b[2]), Math.min(a[3], b[3])];
  const shared = both[2] > both[0] && both[3] > both[1] ? area(both) : 0;
  return shared / (area(a) + area(b) - shared);
}

async function likeFloat32(
  { model }: PackInput,
  count: number,
  answer: (outputs: Outputs) => number,
): Promise<Omit<SearchTask, "seen">> {
  const metric = meanMetric("answers of float32", DROP, ({ outputs, reference }: MeasuredSample) =>
    answer(outputs) === answer(reference) ? 1 : 0,
  );
  return { samples: samplesOf(await lineFeeds(model.inputs[0], 2 * count, false)), metric };
}

/** Returns the index of the highest score among all anchors. */
function bestAnchor(outputs: Outputs): number {
  let [best, at, place] = [-Infinity, -1, 0];
  for (const { dims, data } of Object.values(outputs)) {
    if (dims.at(-1) !== 1) continue;
    for (let i = 0; i < data.length; i++, place++) if ((data[i] ?? 0) > best) [best, at] = [data[i] ?? 0, place];
  }
  return at;
}

/** Chunks of sound with float32's state: each must be classified as speech or not as by float32. */
async function hearing(bytes: Uint8Array, count: number): Promise<SearchTask> {
  const [chunk, before, perClip] = [512, 64, 50];
  const model = await openModel(bytes, "cpu");
  const feeds: Feed[] = [];
  for (const { samples } of clips(Math.ceil((2 * count) / perClip) + 2)) {
    let state = new Float32Array(256);
    for (
      let at = before;
      at + chunk <= samples.length && at < perClip * chunk && feeds.length < 2 * count;
      at += chunk
    ) {
      const feed: Feed = {
        input: { dtype: "float32", dims: [1, chunk + before], data: samples.slice(at - before, at + chunk) },
        state: { dtype: "float32", dims: [2, 1, 128], data: state },
      };
      feeds.push(feed);
      state = Float32Array.from((await model.run(feed))["stateN"]?.data ?? []);
    }
  }
  await model.release();
  const isSpeech = (outputs: Outputs): boolean => (outputs["output"]?.data[0] ?? 0) > 0.5;
  const metric = meanMetric("chunks told as float32 does", DROP, ({ outputs, reference }: MeasuredSample) =>
    isSpeech(outputs) === isSpeech(reference) ? 1 : 0,
  );
  return { samples: samplesOf(shuffled(feeds)), seen: feeds.length >> 1, metric };
}

/** Shuffles samples deterministically, so that both halves have the same distribution. */
function shuffled<T>(items: readonly T[]): T[] {
  const mixed = [...items];
  let state = 7;
  for (let i = mixed.length - 1; i > 0; i--) {
    state = (state * 16_807) % 2_147_483_647;
    const j = state % (i + 1);
    const [a, b] = [mixed[i], mixed[j]];
    if (a !== undefined && b !== undefined) [mixed[i], mixed[j]] = [b, a];
  }
  return mixed;
}
