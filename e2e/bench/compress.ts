// Scenario `compress`: what the toolchain makes of four models (of one, for one picture and for 64 at once), beside
// Debian's onnxruntime.quantization on the same model and samples: bytes, the outputs' ratio of signal to error, the
// metric, time and memory; and how fast the variant that the engine chooses is beside float32. The files are the same in
// every browser, so those rows are made once.
import { join, relative } from "node:path";
import type { Page } from "@playwright/test";
import type { CompressReport } from "../../lib/compress/outcome.ts";
import { compress } from "../../lib/compress/compress.ts";
import type * as Selvedge from "selvedge";
import { FOLDER, isAsked, makeForm, open, ratioOf, WORKS, writeWork } from "./compress-subjects.ts";
import type { Made, Work } from "./compress-subjects.ts";
import type { Case, Goal, Sample, Subject } from "./kernel.ts";
import { pruneCases } from "./prune.ts";
import { spamCases } from "./spam.ts";
import type { Bench } from "./run.ts";

/** What is compared: a form of ours, the reference's form, and the goals beside it. */
interface Pairing {
  readonly form: string;
  readonly reference: string;
  /** Bytes over the reference's. */
  readonly bytesAtMost: number;
  /** Decibels over the reference's, or in all. */
  readonly gain?: number;
  readonly leastDb?: number;
}

const PAIRINGS: Readonly<Record<string, readonly Pairing[]>> = {
  "fashion-cnn": [
    { form: "int8", reference: "int8-static", bytesAtMost: 1, gain: 2 },
    { form: "f16", reference: "f16", bytesAtMost: 1.01, leastDb: 70 },
  ],
  "byte-lm": [
    { form: "int4", reference: "int4", bytesAtMost: 0.88, gain: 5 },
    { form: "int8", reference: "int8-dynamic", bytesAtMost: 1, leastDb: 42 },
    { form: "f16", reference: "f16", bytesAtMost: 1.01, leastDb: 70 },
  ],
  "ocr-rec": [{ form: "int8", reference: "int8-static", bytesAtMost: 1, gain: 2 }],
};
/** Bytes on the wire over those of float32, at most. */
const WIRE: Readonly<Record<string, Readonly<Record<string, number>>>> = {
  "fashion-cnn": { int8: 0.26 },
  "fashion-mlp": { int8: 0.26, "int8-dynamic": 0.26 },
  "byte-lm": { int8: 0.26 },
  "ocr-rec": { int8: 0.26, int4: 0.21, "int8-dynamic": 0.3 },
};
/** How much faster than float32 the chosen variant is on wasm, at least. For one picture no integer kernels are faster, but less work is. */
const SPEED: Readonly<Record<string, number>> = {
  "fashion-cnn": 1,
  "fashion-mlp": 1,
  "fashion-mlp-64": 1.5,
  "fashion-mlp-pruned": 1.5,
  "byte-lm": 1.5,
  "ocr-rec": 1.4,
};

/** Rounds after which both sessions are made anew. */
const ROUNDS_PER_LOAD = 6;

/** Gives the cases, one after the other. */
export async function* scenario(bench: Bench): AsyncGenerator<Case> {
  for (const [name, make] of Object.entries(WORKS)) {
    if (!isAsked(bench.only, name)) continue;
    const ready = (made[name] ??= await prepare(make, bench));
    // The browser that comes second would make the same files again.
    if (bench.browserName === "chromium") {
      yield* fileCases(ready.work, ready.at);
      if (ready.work.pruned !== undefined) yield await chosenCase(ready);
    }
    yield* speedCases(bench, ready);
  }
  if (bench.browserName !== "chromium") return;
  yield* pruneCases(bench);
  yield* spamCases(bench);
}

/** A model with its samples written and its bundle made. */
interface Ready {
  readonly work: Work;
  readonly at: ReturnType<typeof writeWork>;
  readonly report: CompressReport;
}

/** What was made for the browser that came first. */
const made: Record<string, Ready> = {};

async function prepare(make: (typeof WORKS)[string], bench: Bench): Promise<Ready> {
  const work = await make(bench.rounds);
  const at = writeWork(work);
  const page = await openPage(bench);
  // On a software adapter nothing is timed, and checking the forms there would take most of the time.
  const targets = (await isSoftware(page)) ? (["wasm"] as const) : (["webgpu", "wasm"] as const);
  await page.close();
  const out = join(at.folder, "out");
  const { maxDrop, pruned } = work;
  const prune = pruned && { share: pruned.share };
  const { samples, labels } = at;
  const report = await compress(at.model, { out, targets, samples, labels, prune, maxDrop, sensitivityMs: 0 });
  return { work, at, report };
}

async function* fileCases(work: Work, at: ReturnType<typeof writeWork>): AsyncGenerator<Case> {
  const files = new Map<string, Made>();
  const make = (by: "selvedge" | "reference", form: string): Made => {
    const key = `${by} ${form}`;
    const found = files.get(key) ?? makeForm(by, form, at);
    files.set(key, found);
    return found;
  };
  for (const pairing of PAIRINGS[work.name] ?? []) {
    const { form, reference, bytesAtMost, gain, leastDb } = pairing;
    const name = `${work.name}, ${form} against ${reference}`;
    const pair = { ours: make("selvedge", form), theirs: make("reference", reference) };
    const once = (
      unit: string,
      of: (x: Made) => number | Promise<number>,
      goals: readonly Goal[],
      ending = "",
    ): Case => ({
      name: `${name}: ${unit}${ending}`,
      unit,
      statistic: "median",
      subjects: [
        fixed("selvedge", work, form, () => of(pair.ours)),
        fixed("reference", work, reference, () => of(pair.theirs)),
      ],
      of: "reference",
      goals,
      rounds: 1,
      warmups: 0,
    });
    yield once("bytes", (x) => x.bytes, [{ subject: "selvedge", on: "ratio", atMost: bytesAtMost }]);
    const ratios = new Map<string, Promise<number>>();
    const ratio = (x: Made): Promise<number> => {
      const found = ratios.get(x.path) ?? ratioOf(work, x.path);
      ratios.set(x.path, found);
      return found;
    };
    yield once("dB", ratio, [
      ...(gain === undefined ? [] : [{ subject: "selvedge", minus: "reference", on: "value", atLeast: gain } as const]),
      ...(leastDb === undefined ? [] : [{ subject: "selvedge", on: "value", atLeast: leastDb } as const]),
    ]);
    yield once("s", (x) => x.seconds, [], " to make it");
    yield once("MB", (x) => x.peakBytes / 1e6, [], " of memory at the most");
    yield await metricCase(work, name, form, pair.ours, { variant: reference, ...pair.theirs });
  }
  const whole = work.bytes.length;
  for (const [form, atMost] of Object.entries(WIRE[work.name] ?? {})) {
    const ours = make("selvedge", form);
    yield {
      name: `${work.name}, ${form}: bytes on the wire, brotli`,
      unit: "bytes",
      statistic: "median",
      subjects: [
        fixed("selvedge", work, form, () => ours.wireBytes),
        fixed("float32 as a file", work, "f32", () => whole),
      ],
      of: "float32 as a file",
      goals: [{ subject: "selvedge", on: "ratio", atMost }],
      rounds: 1,
      warmups: 0,
    };
    const isScored = PAIRINGS[work.name]?.some((x) => x.form === form) ?? false;
    if (!isScored) yield await metricCase(work, `${work.name}, ${form}`, form, ours, null);
  }
}

/** What `compress` makes the default on wasm, on pictures that it has not seen. */
async function chosenCase({ work, at, report }: Ready): Promise<Case> {
  const form = report.defaults.wasm ?? "f32";
  const path = join(at.folder, "out", `${form}.onnx`);
  return metricCase(work, `${work.name}, ${form}`, form, { path, model: at.model }, null);
}

/** Every sample is a round, in which float32, our form and the reference's, where it has one, answer the same. */
async function metricCase(
  work: Work,
  name: string,
  form: string,
  ours: { readonly path: string; readonly model?: string },
  theirs: (Made & { readonly variant: string }) | null,
): Promise<Case> {
  const feeds = await work.feeds(work.samples);
  const subject = async (who: string, variant: string, path: string): Promise<Subject> => {
    const model = await open(path);
    let next = 0;
    return {
      name: who,
      sample: async () => {
        const index = next++;
        const value = work.score(await model.run(feeds[index] ?? {}), index);
        if (index === feeds.length - 1) await model.release();
        return { value, backend: "node", model: work.name, variant };
      },
    };
  };
  const goals: Goal[] =
    work.unit === "nats"
      ? // A perplexity of 1.002 times float32's.
        [
          {
            subject: "selvedge",
            minus: "float32",
            on: "value",
            ...(form === "int4" ? {} : { atMost: Math.log(1.002) }),
          },
        ]
      : [{ subject: "selvedge", minus: "float32", on: "value", atLeast: -0.005 }];
  return {
    name: `${name}: ${work.unit}`,
    unit: work.unit,
    statistic: "mean",
    subjects: [
      await subject("float32", "f32", ours.model ?? join(ours.path, "../model.onnx")),
      await subject("selvedge", form, ours.path),
      ...(theirs === null ? [] : [await subject("reference", theirs.variant, theirs.path)]),
    ],
    of: "float32",
    goals: [
      ...goals.filter((x) => x.atMost !== undefined || x.atLeast !== undefined),
      ...(form === "int4" && theirs !== null
        ? [{ subject: "selvedge", minus: "reference", on: "value", atMost: 0 } as const]
        : []),
    ],
    rounds: feeds.length,
    warmups: 0,
  };
}

/** The variant that the engine chooses beside float32, on each backend that this browser really has. */
async function* speedCases(bench: Bench, { work, at, report }: Ready): AsyncGenerator<Case> {
  const [feed] = work.calibration;
  if (report.bundle === null || feed === undefined) throw new Error(`${work.name} was not packed`);
  const page = await openPage(bench);
  const bundle = `/corpus/${relative(join(FOLDER, ".."), join(at.folder, "out/bundle"))}/bundle.json`;
  for (const backend of ["wasm", "webgpu"] as const) {
    if (backend === "webgpu" && (await isSoftware(page))) {
      console.log(`${work.name}: no row of speed on WebGPU, since there is no adapter or one in software`);
      continue;
    }
    const input = Object.entries(feed).map(([name, x]) => ({ ...x, name, data: Array.from(x.data as Float32Array) }));
    // Where its memory lies makes one session of a small model up to a tenth faster than another of the same file, for as
    // long as it lives: so both are loaded anew every few rounds, each of them first in turn.
    let taken = 0;
    const subject = (name: "float32" | "chosen"): Subject => ({
      name,
      sample: async (slowBy) => {
        const loads = Math.floor(taken / (2 * ROUNDS_PER_LOAD));
        if (taken++ % (2 * ROUNDS_PER_LOAD) === 0)
          await page.evaluate(setUp, { bundle, backend, input, order: loads % 2 === 0 ? [0, 1] : [1, 0] });
        return { ...(await page.evaluate(sample, { name, slowBy })), model: work.name };
      },
    });
    yield {
      name: `${work.name}: one run, variant chosen by the engine, ${backend}`,
      unit: "ms",
      statistic: "min",
      subjects: [subject("float32"), subject("chosen")],
      of: "float32",
      ratio: "under",
      goals: backend === "wasm" ? [{ subject: "chosen", on: "ratio", atLeast: SPEED[work.name] ?? 1 }] : [],
      rounds: bench.rounds(120),
      warmups: 3,
    };
    yield {
      name: `${work.name}: float32 beside itself, ${backend}`,
      unit: "ms",
      statistic: "median",
      subjects: [subject("float32")],
      goals: [],
      control: "float32",
      rounds: bench.rounds(20),
      warmups: 2,
    };
  }
  await page.close();
}

async function openPage(bench: Bench): Promise<Page> {
  const page = await bench.browser.newPage();
  await page.goto(`${bench.url}engine.html`);
  await page.waitForFunction("globalThis.selvedge !== undefined");
  // tsx has esbuild name functions by a helper of its own, which the page does not have.
  await page.evaluate("globalThis.__name = (x) => x");
  return page;
}

function fixed(name: string, work: Work, variant: string, value: () => number | Promise<number>): Subject {
  return {
    name,
    sample: async () => ({ value: await value(), backend: "none", model: work.name, variant }),
  };
}

async function isSoftware(page: Page): Promise<boolean> {
  return page.evaluate(async () => {
    const { createEngine } = (globalThis as unknown as { selvedge: typeof Selvedge }).selvedge;
    const engine = await createEngine();
    const { gpu } = engine.device;
    await engine.close();
    return gpu === null || gpu.software;
  });
}

interface Asked {
  readonly bundle: string;
  readonly backend: "wasm" | "webgpu";
  readonly input: readonly { name: string; dtype: string; dims: readonly number[]; data: readonly number[] }[];
  /** Which is loaded first: 0 is float32, 1 what the engine chooses. */
  readonly order: readonly number[];
}

/** What the page holds between two samples. */
interface Loaded {
  readonly engine: Selvedge.Engine;
  readonly runners: Readonly<Record<string, Runner>>;
}

interface Runner {
  run(): Promise<Omit<Sample, "value" | "model">>;
  /** Runs in one sample: what is quick runs more often, so that the clock can tell. */
  times: number;
}

/** Runs in the page: loads float32 and what the engine chooses. */
async function setUp({ bundle, backend, input, order }: Asked): Promise<void> {
  const { createEngine } = (globalThis as unknown as { selvedge: typeof Selvedge }).selvedge;
  const page = globalThis as unknown as { loaded?: Loaded };
  await page.loaded?.engine.close();
  const engine = await createEngine({ backends: [backend], workers: 1 });
  const inputs = Object.fromEntries(
    input.map(({ name, dtype, dims, data }) => {
      const values = dtype === "int32" ? Int32Array.from(data) : Float32Array.from(data);
      return [name, { dtype, dims, data: values } as Selvedge.Tensor];
    }),
  );
  const runners: Record<string, Runner> = {};
  for (const [name, variant] of order.map(
    (x) =>
      (
        [
          ["float32", "f32"],
          ["chosen", undefined],
        ] as const
      )[x] ?? [],
  )) {
    const model = await engine.load(bundle, variant === undefined ? {} : { variant });
    const run: Runner["run"] = async () => {
      const { info } = await model.run(inputs);
      return { backend: info.backend, variant: info.variant };
    };
    await run();
    const start = performance.now();
    await run();
    runners[name ?? ""] = { run, times: Math.max(1, Math.min(50, Math.ceil(20 / (performance.now() - start)))) };
  }
  page.loaded = { engine, runners };
}

/** Runs in the page: times one sample. */
async function sample({ name, slowBy }: { name: string; slowBy: number }): Promise<Omit<Sample, "model">> {
  const { loaded } = globalThis as unknown as { loaded: Loaded };
  const one = loaded.runners[name];
  if (one === undefined) throw new Error(`nothing is loaded as ${name}`);
  const { times } = one;
  const start = performance.now();
  let ran = await one.run();
  for (let i = 1; i < times; i++) ran = await one.run();
  const until = performance.now() + (performance.now() - start) * slowBy;
  while (performance.now() < until);
  return { ...ran, value: (performance.now() - start) / times };
}
