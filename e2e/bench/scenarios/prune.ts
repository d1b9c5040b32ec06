// Pruning in the scenario `compress`: a quarter of the hidden units of the dense Fashion-MNIST model and of the byte
// language model, and 30 % of the multiply-adds of the convolutional one, each with repaired consumers and, for
// comparison, by weight magnitude without repair. Calibrated on training pictures; measured on test pictures, every
// picture a round. And the search, on the same. The language model is untrained: its perplexity is measured against its
// own outputs, and the loss shows how well a layer is preserved, not the quality of a trained model.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import type { Feed } from "../../../lib/compress/run/feeds.ts";
import { totalMacs } from "../../../lib/compress/run/macs.ts";
import { makeMetric } from "../../../lib/compress/run/metric.ts";
import type { Outputs } from "../../../lib/compress/run/metric.ts";
import { readModel } from "../../../lib/compress/onnx/model.ts";
import type { OnnxModel } from "../../../lib/compress/onnx/model.ts";
import type { WrittenModel } from "../../../lib/compress/onnx/written-model.ts";
import { Pruner } from "../../../lib/compress/prune/pruner.ts";
import type { PruneOptions, PruneShares } from "../../../lib/compress/prune/pruner.ts";
import { References } from "../../../lib/compress/run/references.ts";
import { samplesOf } from "../../../lib/compress/run/samples.ts";
import { measureCosts, PRICES, sharesAt } from "../../../lib/compress/search/search-shares.ts";
import { search } from "../../../lib/compress/search/search.ts";
import { openModel } from "../../../lib/compress/run/session.ts";
import { simplify } from "../../../lib/compress/simplify/simplify.ts";
import { buildCnn } from "../../../models/fashion-cnn.ts";
import { buildMlp } from "../../../models/fashion-mlp.ts";
import { testPictures } from "../../../models/fashion/pictures.ts";
import { FOLDER, isAsked, languageModel } from "./compress-subjects.ts";
import type { Case, Subject } from "../kernel/kernel.ts";
import type { Bench } from "../kernel/run.ts";

const TRAINING = "/usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz";
/** Calibration samples: training pictures. */
const CALIBRATION = 10_000;
const BATCH = 100;
/** Time of one search: two of them and everything else must end within 20 minutes. */
const SEARCH_MS = 120_000;
/** Share of multiply-adds to remove. */
const LESS_WORK = 0.3;

/** One model, and its pruning goal. */
interface Pruned {
  readonly name: string;
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Points that may be lost. */
  readonly loss: number;
}

/** Yields the cases of pruning in order. */
export async function* pruneCases({ rounds: count, only }: Bench): AsyncGenerator<Case> {
  const models: readonly Pruned[] = [
    { name: "fashion-cnn", bytes: simple(buildCnn()), loss: 0.005 },
    { name: "fashion-mlp", bytes: simple(buildMlp()), loss: 0.003 },
  ];
  for (const model of models) {
    if (!isAsked(only, model.name)) continue;
    const feeds = calibration(model);
    const [first] = feeds;
    if (first === undefined) continue;
    const repaired = await Pruner.open(model.bytes, feeds, first);
    const plain = await Pruner.open(model.bytes, feeds, first, { importance: "magnitude", repair: false });
    const shares = model.name === "fashion-cnn" ? await lessWork(model, repaired, feeds) : { share: 0.25 };
    const files = {
      float32: model.bytes,
      pruned: (await repaired.prune(shares)).model.write(),
      "by magnitude, no repair": (await plain.prune(shares)).model.write(),
    };
    const work = await Promise.all(Object.values(files).map((x) => totalMacs(readModel(x), first)));
    yield sizes(model, "multiply-adds", Object.keys(files), work);
    const weights = Object.values(files).map((x) => x.length);
    yield sizes(model, "bytes", Object.keys(files), weights);
    yield await rightCase(model, files, count(10_000));
    yield* searchCases(model, feeds);
  }
  if (isAsked(only, "byte-lm")) yield* languageCases();
}

/** Maximum perplexity relative to float32. */
const PERPLEXITY_MOST = 1.01;

/** A quarter of the language model's hidden units: every sample is a round, scored in nats, the log of a perplexity. */
async function* languageCases(): AsyncGenerator<Case> {
  const work = await languageModel();
  const bytes = readModel(work.bytes).transform(simplify()).write();
  const [first] = work.calibration;
  if (first === undefined) return;
  const pruned = async (options: PruneOptions): Promise<Uint8Array> => {
    const pruner = await Pruner.open(bytes, work.calibration, first, options);
    return (await pruner.prune({ share: 0.25 })).model.write();
  };
  const files = {
    float32: bytes,
    pruned: await pruned({}),
    "by magnitude, no repair": await pruned({ importance: "magnitude", repair: false }),
  };
  const feeds = await work.feeds(work.samples);
  const subjects: Subject[] = [];
  for (const [name, file] of Object.entries(files)) {
    const model = await openModel(file, "cpu");
    const nats: number[] = [];
    for (const [i, feed] of feeds.entries()) nats.push(work.score(await model.run(feed), i));
    await model.release();
    let next = 0;
    subjects.push({
      name,
      sample: async () => ({ value: nats[next++] ?? 0, backend: "node", model: work.name, variant: name }),
    });
  }
  yield {
    name: `${work.name}, a quarter of the hidden units pruned: ${work.unit}`,
    unit: work.unit,
    statistic: "mean",
    subjects,
    of: "float32",
    goals: [{ subject: "pruned", minus: "float32", on: "value", atMost: Math.log(PERPLEXITY_MOST) }],
    rounds: feeds.length,
    warmups: 0,
  };
}

function simple(model: OnnxModel): Uint8Array<ArrayBuffer> {
  return model.transform(simplify()).write();
}

function written(bytes: Uint8Array<ArrayBuffer>): WrittenModel {
  return { model: readModel(bytes), source: bytes, byteLength: bytes.length };
}

function inputOf({ bytes }: Pruned): string {
  return readModel(bytes).graph.proto.input[0]?.name ?? "";
}

function calibration(model: Pruned): Feed[] {
  if (!existsSync(TRAINING)) throw new Error(`${TRAINING} is missing: apt-get install dataset-fashion-mnist`);
  const bytes = gunzipSync(readFileSync(TRAINING)).subarray(16);
  const name = inputOf(model);
  return Array.from({ length: CALIBRATION / BATCH }, (_, i) => {
    const part = bytes.subarray(i * BATCH * 784, (i + 1) * BATCH * 784);
    const data = Float32Array.from(part, (x) => (x / 255 - 0.5) / 0.5);
    return { [name]: { dtype: "float32", dims: [BATCH, 1, 28, 28], data } };
  });
}

/** Returns the shares of the cheapest pruning that reduces the work as required. */
async function lessWork(model: Pruned, pruner: Pruner, feeds: readonly Feed[]): Promise<PruneShares> {
  const few = feeds.slice(0, 4);
  const all = await measureCosts(written(model.bytes), pruner, few, () => false);
  const costs = all.map((x) => ({ ...x, worth: x.work }));
  const [feed] = few;
  const whole = feed === undefined ? 1 : await totalMacs(readModel(model.bytes), feed);
  let [low, high] = [0, PRICES];
  let found: PruneShares | undefined;
  for (let round = 0; round < 10; round++) {
    const price = (low + high) / 2;
    const shares = { share: 0, groups: sharesAt(costs, price) };
    const { model: pruned } = await pruner.prune(shares);
    const isEnough = feed !== undefined && (await totalMacs(pruned, feed)) <= whole * (1 - LESS_WORK);
    if (isEnough) found = shares;
    if (isEnough) high = price;
    else low = price;
  }
  if (found === undefined) throw new Error(`${model.name} can't be pruned that far`);
  return found;
}

function sizes(model: Pruned, unit: string, names: readonly string[], values: readonly number[]): Case {
  return {
    name: `${model.name}, pruned: ${unit}`,
    unit,
    statistic: "median",
    subjects: names.map((name, i) => ({
      name,
      sample: async () => ({ value: values[i] ?? 0, backend: "none", model: model.name, variant: name }),
    })),
    of: "float32",
    goals:
      unit === "multiply-adds" && model.name === "fashion-cnn"
        ? [{ subject: "pruned", on: "ratio", atMost: 1 - LESS_WORK }]
        : [],
    rounds: 1,
    warmups: 0,
  };
}

/** Runs every model on the same test pictures: each picture is a round. */
async function rightCase(model: Pruned, files: Readonly<Record<string, Uint8Array>>, n: number): Promise<Case> {
  const { pixels, classes, count } = testPictures();
  const most = Math.floor(Math.min(n, count) / BATCH) * BATCH;
  const name = inputOf(model);
  const subject = async (variant: string, bytes: Uint8Array): Promise<Subject> => {
    const loaded = await openModel(bytes, "cpu");
    const right: number[] = [];
    for (let at = 0; at < most; at += BATCH) {
      const data = pixels.slice(at * 784, (at + BATCH) * 784);
      right.push(...winners(await loaded.run({ [name]: { dtype: "float32", dims: [BATCH, 1, 28, 28], data } })));
    }
    await loaded.release();
    let next = 0;
    return {
      name: variant,
      sample: async () => {
        const index = next++;
        const value = right[index] === classes[index] ? 1 : 0;
        return { value, backend: "node", model: model.name, variant };
      },
    };
  };
  const subjects: Subject[] = [];
  for (const [variant, bytes] of Object.entries(files)) subjects.push(await subject(variant, bytes));
  return {
    name: `${model.name}, pruned: share right`,
    unit: "share right",
    statistic: "mean",
    subjects,
    of: "float32",
    goals: [{ subject: "pruned", minus: "float32", on: "value", atLeast: -model.loss }],
    rounds: most,
    warmups: 0,
  };
}

function winners(outputs: Outputs): number[] {
  const [{ data } = { data: [] }] = Object.values(outputs);
  return Array.from({ length: data.length / 10 }, (_, row) => {
    let best = 0;
    for (let c = 1; c < 10; c++) if ((data[row * 10 + c] ?? 0) > (data[row * 10 + best] ?? 0)) best = c;
    return best;
  });
}

/** The search on test pictures: its result, beside the best uniform setting, validated on the held-out half. */
async function* searchCases(model: Pruned, feeds: readonly Feed[]): AsyncGenerator<Case> {
  const folder = join(FOLDER, `search-${model.name}`);
  mkdirSync(folder, { recursive: true });
  const path = join(folder, "model.onnx");
  writeFileSync(path, model.bytes);
  const { pixels, classes, count } = testPictures();
  const name = inputOf(model);
  const tests = Array.from({ length: count }, (_, i): Feed => {
    const data = pixels.slice(i * 784, (i + 1) * 784);
    return { [name]: { dtype: "float32", dims: [1, 1, 28, 28], data } };
  });
  const { outcome } = await search({
    references: new References(path, samplesOf(tests)),
    metric: await makeMetric("top1", { maxDrop: "0.5%", hasLabels: true }),
    labels: Array.from(classes, (x) => [x]),
    simple: written(model.bytes),
    feeds,
    isSynthetic: false,
    targets: ["wasm"],
    statePath: join(folder, "search.json"),
    budgetMs: SEARCH_MS,
    onProgress: (line) => console.log(line),
  });
  const best = outcome.chosen.find((x) => x.id === "searched");
  if (best === undefined || outcome.uniform === null) throw new Error(`the search of ${model.name} found nothing`);
  yield {
    ...sizes(model, "bytes", ["uniform", "searched"], [outcome.uniform.bytes, best.bytes]),
    name: `${model.name}, searched: bytes`,
    of: "uniform",
    goals: [{ subject: "searched", on: "ratio", atMost: 0.999 }],
  };
  yield {
    ...sizes(model, "share lost", ["searched"], [best.heldOut.loss?.mean ?? 1]),
    name: `${model.name}, searched: share lost on ${best.heldOut.n} pictures`,
    goals: [{ subject: "searched", on: "value", atMost: 0.005 }],
    of: "searched",
  };
  const told = (unit: string, what: string, value: number): Case => ({
    ...sizes(model, unit, ["searched"], [value]),
    name: `${model.name}, searched: ${what}`,
    of: "searched",
  });
  yield told("s", "time", outcome.seconds);
  yield told("MB", "memory at the most", outcome.peakBytes / 1e6);
  yield told("share", "share of the time in ONNX Runtime", outcome.ortSeconds / outcome.seconds);
}
