// Scenario `compress`: the toolchain's results for four models (one of them for one picture and for 64 at once), beside
// Debian's onnxruntime.quantization on the same model and samples: bytes, the outputs' signal-to-noise ratio, the
// metric, time and memory; and the speed of the variant that the engine chooses over float32. The files are the same in
// every browser, so those rows are made once.
import { join } from "node:path";
import { readBundle } from "../../../lib/compress/bundle/read-bundle.ts";
import type { CompressReport } from "../../../lib/compress/report/report.ts";
import { compress } from "../../../lib/compress/compress.ts";
import { openModel } from "../../../lib/compress/run/session.ts";
import { isSoftware, openPage, speedCases } from "./compress-speed.ts";
import type { Timed } from "./compress-speed.ts";
import { isAsked, makeForm, ratioOf, WORKS, writeWork } from "./compress-subjects.ts";
import type { Made, Work } from "./compress-subjects.ts";
import type { Case, Goal, Subject } from "../kernel/kernel.ts";
import { HIDDEN, hiddenCases } from "./compress-hidden.ts";
import { pruneCases } from "./prune.ts";
import { spamCases } from "./spam.ts";
import type { Bench } from "../kernel/run.ts";

/** A comparison: a form of ours, the reference's form, and the goals. */
interface Pairing {
  readonly form: string;
  readonly reference: string;
  /** Bytes relative to the reference's, at most. */
  readonly bytesAtMost: number;
  /** Decibels above the reference's, or absolute. */
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
/** Maximum bytes on the wire relative to float32. */
const WIRE: Readonly<Record<string, Readonly<Record<string, number>>>> = {
  "fashion-cnn": { int8: 0.26 },
  "fashion-mlp": { int8: 0.26, "int8-dynamic": 0.26 },
  "byte-lm": { int8: 0.26 },
  "ocr-rec": { int8: 0.26, int4: 0.21, "int8-dynamic": 0.3 },
};
/**
 * Minimum speed of the chosen variant over float32 on wasm. For one picture no integer kernels are faster, but less
 * work is.
 */
const SPEED: Readonly<Record<string, number>> = {
  "fashion-cnn": 1,
  "fashion-mlp": 1,
  "fashion-mlp-64": 1.5,
  "fashion-mlp-pruned": 1.5,
  "byte-lm": 1.5,
  "ocr-rec": 1.4,
};

/** Yields the cases in order. */
export async function* scenario(bench: Bench): AsyncGenerator<Case> {
  for (const [name, make] of Object.entries(WORKS)) {
    if (!isAsked(bench.only, name)) continue;
    const ready = (made[name] ??= await prepare(make, bench));
    // The second browser would make the same files again.
    if (bench.browserName === "chromium") {
      yield* fileCases(ready.work, ready.at);
      if (ready.work.pruned !== undefined) yield await chosenCase(ready);
    }
    yield* speedCases(bench, speedOf(ready));
  }
  if (bench.browserName !== "chromium") return;
  yield* pruneCases(bench);
  yield* spamCases(bench);
  if (isAsked(bench.only, HIDDEN)) yield* hiddenCases(bench);
}

/** A model with its samples written and its bundle made. */
interface Ready {
  readonly work: Work;
  readonly at: ReturnType<typeof writeWork>;
  readonly report: CompressReport;
}

/** Results of the first browser. */
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

function speedOf({ work, at, report }: Ready): Timed {
  const [feed] = work.calibration;
  if (report.bundle === null || feed === undefined) throw new Error(`${work.name} was not packed`);
  return { model: work.name, folder: join(at.folder, "out/bundle"), feed, atLeast: SPEED[work.name] ?? 1 };
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
      const found = ratios.get(x.path) ?? ratioOf(work, x);
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

/** The default of `compress` on wasm, on held-out pictures. */
async function chosenCase({ work, at, report }: Ready): Promise<Case> {
  const form = report.defaults.wasm ?? "f32";
  const path = join(at.folder, "out", `${form}.onnx`);
  const { bundle } = await readBundle(join(at.folder, "out/bundle"));
  const { wasm: session = {} } = bundle.variants.find(({ id }) => id === form)?.session ?? {};
  return metricCase(work, `${work.name}, ${form}`, form, { path, session, model: at.model }, null);
}

/** Every sample is a round, in which float32, our form and the reference's, if any, answer the same input. */
async function metricCase(
  work: Work,
  name: string,
  form: string,
  ours: Pick<Made, "path" | "session"> & { readonly model?: string },
  theirs: (Made & { readonly variant: string }) | null,
): Promise<Case> {
  const feeds = await work.feeds(work.samples);
  const subject = async (who: string, variant: string, path: string, session?: Made["session"]): Promise<Subject> => {
    const model = await openModel(path, "cpu", session);
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
      await subject("selvedge", form, ours.path, ours.session),
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

function fixed(name: string, work: Work, variant: string, value: () => number | Promise<number>): Subject {
  return {
    name,
    sample: async () => ({ value: await value(), backend: "none", model: work.name, variant }),
  };
}
