// Scenario `scheduling`: many concurrent requests, by MLPerf LoadGen's scenarios (SingleStream, MultiStream, Server,
// Offline), and a mix of classes with deadlines, beside programs without a scheduler. All on wasm: the adapters of this
// benchmark are software, and slower.
import { copyFileSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Page } from "@playwright/test";
import { readVariantModel } from "../../../lib/compress/bundle/read-bundle.ts";
import type { Class } from "../../pages/mix.ts";
import type { Measured, PeerName } from "../../pages/peers.ts";
import type { Told } from "../../pages/scheduling.ts";
import { ROOT } from "../../support/prepare.ts";
import type { Case, Goal, Sample, Subject } from "../kernel/kernel.ts";
import { copyTransformersOrt } from "./built-pages.ts";
import { call, mixCases } from "./mix.ts";
import type { Bench } from "../kernel/run.ts";
import { schedulerCost } from "./scheduler-cost.ts";

const PEERS = ["raw worker", "raw worker 2", "raw two workers", "raw main thread", "transformers.js"] as const;
/** Peers of the single stream: on Selvedge it moves to the wide lane, which has threads. */
const SINGLE = ["selvedge", "selvedge, one thread each", "raw worker, threads"] as const;
const MLP = { name: "fashion-mlp", input: "image", dims: [1, 1, 28, 28], variant: "f32" } as const;
const CNN = { name: "fashion-cnn", input: "image", dims: [1, 1, 28, 28], variant: "f32" } as const;
const REC = { name: "ocr-rec", input: "x", dims: [1, 3, 48, 320], variant: "f32" } as const;
const MODELS: readonly Measured[] = [MLP, CNN, REC];
/** Batch sizes of a hand-written program: 1 where batching gains nothing. */
const BATCHES = [64, 64, 1];
/** Number of runs of each model per sample: about half a second on the slowest peer. */
const COUNTS: Readonly<Record<string, { single: number; queries: number; offline: number; rate: number }>> = {
  "fashion-mlp": { single: 60, queries: 12, offline: 512, rate: 600 },
  "fashion-cnn": { single: 150, queries: 30, offline: 1_024, rate: 1_200 },
  "ocr-rec": { single: 6, queries: 3, offline: 16, rate: 25 },
};
const CLASSES: readonly Class[] = [
  { model: CNN, deadlineMs: 10, share: 1 },
  { model: MLP, deadlineMs: 100, share: 3 },
  { model: MLP, deadlineMs: 200, share: 6 },
];

/** Interval of requests that can't be on time. */
const UNMEETABLE_EVERY_MS = 50;

/**
 * A model with its variants besides f32: Selvedge's own choice, or the one that a caller with many requests would pin.
 */
interface Item {
  readonly model: Measured;
  readonly other: Measured;
}
/**
 * Integer products are the fastest for many requests and slower than float32 for one: ONNX Runtime Web packs their
 * weights anew in every run. So where runs are short only callers that ask for them get them.
 */
const INTEGER = "int8-dynamic";

/** Yields the cases in order, on one page. */
export async function* scenario(bench: Bench): AsyncGenerator<Case> {
  await preparePeers();
  const page = await bench.browser.newPage();
  await page.goto(`${bench.url}scheduling.html`);
  await page.waitForFunction("globalThis.bench !== undefined");
  const items = MODELS.map((model): Item => ({ model, other: { ...model, variant: model === MLP ? INTEGER : null } }));
  await call(page, "setUp", [...MODELS, ...items.map(({ other }) => other)], BATCHES);
  for (const { model } of items) yield* singleCases(page, bench, model);
  for (const { model } of items) yield multiCase(page, bench, model);
  for (const item of items) yield* offlineCases(page, bench, item);
  for (const { model, other } of items) if (model !== CNN) yield serverCase(page, bench, model, other);
  yield unmeetableCase(page, bench);
  yield* mixCases(page, bench, CLASSES, REC);
  await page.close();
  if (bench.browserName === "chromium") yield* schedulerCost(bench);
}

/**
 * Compared with hand-written workers, with one thread and with one per core, and with the cost before the scheduler: a
 * single lane called directly.
 */
function* singleCases(page: Page, bench: Bench, model: Measured): Generator<Case> {
  const { single } = COUNTS[model.name] as { single: number };
  const subject = (name: PeerName): Subject => ({
    name,
    sample: async (slowBy) => sampleOf(await call(page, "single", name, model, single, slowBy), model),
  });
  yield {
    name: `SingleStream, ${model.name}`,
    unit: "ms",
    statistic: "median",
    subjects: ([...SINGLE, ...PEERS] as const).map(subject),
    of: "raw worker",
    goals: [],
    control: "raw worker 2",
    rounds: bench.rounds(6),
  };
  yield {
    name: `SingleStream, ${model.name}, beside no scheduler`,
    unit: "ms",
    statistic: "median",
    subjects: (["selvedge, one thread each", "a lane alone"] as const).map(subject),
    of: "a lane alone",
    goals: [{ subject: "selvedge, one thread each", on: "ratio", atMost: 1.02 }],
    rounds: bench.rounds(10),
  };
}

function multiCase(page: Page, bench: Bench, model: Measured): Case {
  const { queries } = COUNTS[model.name] as { queries: number };
  return {
    name: `MultiStream of 8, ${model.name}`,
    unit: "ms",
    statistic: "median",
    subjects: (["selvedge", "raw two workers", "transformers.js"] as const).map((name) => ({
      name,
      sample: async () => sampleOf(await call(page, "multi", name, model, queries), model),
    })),
    of: "raw two workers",
    goals: [],
    rounds: bench.rounds(6),
  };
}

/**
 * Rates beside transformers.js, without a goal, since it runs on one thread; the same samples beside two workers, since
 * a row has one ratio.
 */
async function* offlineCases(page: Page, bench: Bench, { model, other }: Item): AsyncGenerator<Case> {
  const { offline } = COUNTS[model.name] as { offline: number };
  const taken = new Map<string, Sample[]>();
  const subject = (name: string, peer: PeerName, own: Measured): Subject => ({
    name,
    async sample() {
      const sample = sampleOf(await call(page, "offline", peer, own, peer === "selvedge" ? 2 * offline : offline), own);
      taken.set(name, [...(taken.get(name) ?? []), sample]);
      return sample;
    },
  });
  const subjects = [
    subject("selvedge", "selvedge", model),
    subject(otherName(other), "selvedge", other),
    ...PEERS.map((name) => subject(name, name, model)),
  ];
  const base = { unit: "requests/s", statistic: "median", rounds: bench.rounds(6) } as const;
  yield {
    ...base,
    name: `Offline, ${model.name}`,
    subjects,
    of: "transformers.js",
    goals: [],
    warmups: 2,
  };
  // Both run batches of the same size.
  const of = "raw two workers";
  const again = (name: string): Subject => {
    const samples = (taken.get(name) ?? []).slice(2).values();
    return { name, sample: async () => samples.next().value as Sample };
  };
  yield {
    ...base,
    name: `Offline, ${model.name}, the same beside ${of}`,
    subjects: ["selvedge", "raw worker", "raw worker 2", "raw two workers"].map(again),
    of,
    goals: atLeast("selvedge", 0.9),
    warmups: 0,
  };
}

function serverCase(page: Page, bench: Bench, model: Measured, other: Measured): Case {
  const { rate } = COUNTS[model.name] as { rate: number };
  // Long enough that a rate above what can be kept up makes more than 1 in 100 late.
  const isSlow = model.name === "ocr-rec";
  const ms = isSlow ? 8_000 : 2_000;
  // One run of ocr-rec takes 60 to 100 ms: within 100, any wait is too long, and each peer ends at the search's floor.
  const withinMs = isSlow ? 400 : 100;
  const subject = (name: string, peer: PeerName, own: Measured): Subject => {
    let round = 0;
    return {
      name,
      sample: async () => sampleOf(await call(page, "server", peer, own, `${round++}`, rate, ms, withinMs), own),
    };
  };
  return {
    name: `Server, 99 of 100 within ${withinMs} ms, ${model.name}`,
    unit: "requests/s",
    statistic: "median",
    subjects: [
      subject("selvedge", "selvedge", model),
      subject(otherName(other), "selvedge", other),
      ...(["raw two workers, batched", "raw two workers", "transformers.js"] as const).map((name) =>
        subject(name, name, model),
      ),
    ],
    of: "raw two workers, batched",
    goals: atLeast("selvedge", 0.9),
    rounds: bench.rounds(6),
    warmups: 1,
  };
}

/** Work without deadlines, alone and beside requests that can't be on time. */
function unmeetableCase(page: Page, bench: Bench): Case {
  // Some seconds: a model whose deadlines can't be met is tried once a second at most, to see whether that is still so.
  const count = 16 * (COUNTS[MLP.name] as { offline: number }).offline;
  return {
    name: "Offline, fashion-mlp, beside deadlines that can't be met",
    unit: "requests/s",
    statistic: "median",
    subjects: [
      {
        name: "selvedge",
        sample: async () => sampleOf(await call(page, "offlineBeside", MLP, count, REC, UNMEETABLE_EVERY_MS), MLP),
      },
      {
        name: "selvedge, alone",
        sample: async () => sampleOf(await call(page, "offline", "selvedge", MLP, count), MLP),
      },
    ],
    of: "selvedge, alone",
    goals: atLeast("selvedge", 0.9),
    rounds: bench.rounds(10),
  };
}

/** Writes the f32 variants as transformers.js and hand-written programs load them, with the former's wasm. */
async function preparePeers(): Promise<void> {
  const folder = join(ROOT, "e2e/.cache/peers");
  for (const { name } of MODELS) {
    const from = join(ROOT, "models/dist", name);
    const bytes = await readVariantModel(from, "f32");
    mkdirSync(join(folder, name, "onnx"), { recursive: true });
    writeFileSync(join(folder, name, "onnx/model.onnx"), bytes);
    writeFileSync(join(folder, name, "config.json"), JSON.stringify({ model_type: "custom" }));
  }
  copyTransformersOrt(join(folder, "ort"));
  const glue = join(ROOT, "node_modules/@huggingface/transformers/dist/ort-wasm-simd-threaded.jsep.mjs");
  copyFileSync(glue, join(folder, "ort/ort-wasm-simd-threaded.jsep.mjs"));
}

function otherName({ variant }: Measured): string {
  return `selvedge, ${variant ?? "shipped variant"}`;
}

function atLeast(subject: string, bound: number | undefined): Goal[] {
  return bound === undefined ? [] : [{ subject, on: "ratio", atLeast: bound }];
}

function sampleOf({ value, backend, variant }: Told, model: Measured): Sample {
  return { value, backend, model: model.name, variant: variant ?? model.variant ?? "chosen" };
}
