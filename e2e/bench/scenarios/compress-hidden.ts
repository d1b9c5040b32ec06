// Cases of `compress` on a model that nothing here was tuned on, all-MiniLM-L6-v2, beside all modes of the newest
// onnxruntime's quantizer: bytes over the wire, and how far the outputs are from float32's on texts that neither saw.
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { brotliCompressSync, constants } from "node:zlib";
import { readBundle } from "../../../lib/compress/bundle/read-bundle.ts";
import { compress } from "../../../lib/compress/compress.ts";
import { sampleReaders } from "../../../lib/compress/run/text-samples.ts";
import type { Feed } from "../../../lib/compress/run/feeds.ts";
import { sqnr } from "../../../lib/compress/run/metric.ts";
import type { Outputs } from "../../../lib/compress/run/metric.ts";
import { openModel } from "../../../lib/compress/run/session.ts";
import { cosineTally } from "../../../lib/compress/run/use-metrics.ts";
import { debianTexts } from "../../../models/debian-texts.ts";
import { makeMiniLm } from "../../../models/minilm.ts";
import { installPins } from "../../support/engines.ts";
import type { Case, Goal, Subject } from "../kernel/kernel.ts";
import type { Bench } from "../kernel/run.ts";
import { FOLDER } from "./compress-subjects.ts";

/** Name of the model, with which its cases begin. */
export const HIDDEN = "all-MiniLM-L6-v2";
/** Texts that both sides are given, and texts on which they are measured. */
const [GIVEN, MEASURED] = [256, 512];
/** A host compresses so, or stores so: the same for both sides. */
const QUALITY = 9;
/** Each of our forms, and the reference's form with the least error among those that are no larger. */
const RIVALS: readonly (readonly [ours: string, theirs: string])[] = [
  ["int8", "dynamic, per channel"],
  ["int8-dynamic", "dynamic, unsigned, per channel"],
  ["int4", "4 bits in blocks, tables too"],
];

/** A file of one form, and how it answers each text. */
interface Scored {
  readonly subject: string;
  readonly variant: string;
  readonly wireBytes: number;
  readonly db: readonly number[];
  readonly cosine: readonly number[];
}

/** Yields the cases; the files are made once. */
export async function* hiddenCases(bench: Bench): AsyncGenerator<Case> {
  const folder = join(FOLDER, HIDDEN);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const repository = await makeMiniLm();
  const model = join(repository, "onnx/model.onnx");
  const measured = bench.rounds(MEASURED);
  const texts = (await debianTexts(GIVEN + measured)).map((x) => x.text.replaceAll(/\s+/g, " "));
  const samples = join(folder, "texts.txt");
  writeFileSync(samples, texts.slice(0, GIVEN).join("\n"));
  const out = join(folder, "out");
  const report = await compress(repository, { out, samples, targets: ["webgpu", "wasm"], sensitivityMs: 0 });
  const { bundle } = await readBundle(join(out, "bundle"));
  const tokenizer = readFileSync(join(repository, "tokenizer.json"), "utf8");
  const readers = Object.values(sampleReaders(bundle.model.inputs, { "tokenizer.json": tokenizer }));
  const feeds = texts.map((text): Feed => Object.assign({}, ...readers.map((read) => read([text]))) as Feed);
  const seen = join(folder, "samples.jsonl");
  writeFileSync(seen, feeds.slice(0, GIVEN).map(lineOf).join("\n"));
  const unseen = feeds.slice(GIVEN);
  const references = await answersOf(model, unseen);
  const scored: Scored[] = [await score("float32", "f32", model, unseen, references)];
  for (const { id, file, bytes } of report.forms)
    if (id !== "f32" && bytes > 0) {
      const session = bundle.variants.find((x) => x.id === id)?.session?.wasm ?? FOLDED;
      scored.push(await score(`selvedge, ${id}`, id, join(out, file), unseen, references, session));
    }
  for (const [name, path] of Object.entries(await makeReferences(model, seen, folder)))
    scored.push(await score(`onnxruntime 1.32, ${name}`, name, path, unseen, references));
  yield* casesOf(scored);
}

const FOLDED = { "session.disable_quant_qdq": "1" };

function* casesOf(scored: readonly Scored[]): Generator<Case> {
  const goals = RIVALS.flatMap(([ours, theirs]): Goal[] => {
    const [subject, minus] = [`selvedge, ${ours}`, `onnxruntime 1.32, ${theirs}`];
    const isThere = [subject, minus].every((name) => scored.some((x) => x.subject === name));
    return isThere ? [{ subject, minus, on: "value", atLeast: 0 }] : [];
  });
  const common = { of: "float32", warmups: 0 } as const;
  const rounds = scored[0]?.db.length ?? 0;
  yield {
    ...common,
    ...{ name: `${HIDDEN}: bytes over the wire`, unit: "bytes", statistic: "median", goals: [], rounds: 1 },
    subjects: scored.map((x) => subjectOf(x, [x.wireBytes])),
  };
  yield {
    ...common,
    ...{ name: `${HIDDEN}: dB of texts that no form saw`, unit: "dB", statistic: "median", goals, rounds },
    subjects: scored.map((x) => subjectOf(x, x.db)),
  };
  yield {
    ...common,
    ...{ name: `${HIDDEN}: cosine of their vectors`, unit: "cosine", statistic: "mean", goals: [], rounds },
    subjects: scored.map((x) => subjectOf(x, x.cosine)),
  };
}

function subjectOf({ subject, variant }: Scored, values: readonly number[]): Subject {
  let next = 0;
  return {
    name: subject,
    sample: async () => ({ value: values[next++] ?? Number.NaN, backend: "node", model: HIDDEN, variant }),
  };
}

function lineOf(feed: Feed): string {
  return JSON.stringify(
    Object.fromEntries(Object.entries(feed).map(([name, x]) => [name, Array.from(x.data, Number)])),
  );
}

async function answersOf(path: string, feeds: readonly Feed[], session?: Record<string, string>): Promise<Outputs[]> {
  const model = await openModel(path, "cpu", session);
  const answers: Outputs[] = [];
  for (const feed of feeds) answers.push(await model.run(feed));
  await model.release();
  return answers;
}

async function score(
  subject: string,
  variant: string,
  path: string,
  feeds: readonly Feed[],
  references: readonly Outputs[],
  session?: Record<string, string>,
): Promise<Scored> {
  const cosine = cosineTally();
  const answers = await answersOf(path, feeds, session);
  const db = answers.map((outputs, i) => {
    const [reference = {}, feed = {}] = [references[i], feeds[i]];
    cosine.add({ outputs, reference, feed, label: undefined });
    return sqnr([{ outputs, reference }]);
  });
  const params = { [constants.BROTLI_PARAM_QUALITY]: QUALITY, [constants.BROTLI_PARAM_LGWIN]: 24 };
  const wireBytes = brotliCompressSync(readFileSync(path), { params }).length;
  return { subject, variant, wireBytes, db, cosine: cosine.scores ?? [] };
}

/** Makes the reference's forms; returns the path of each, and writes which could not be made, and why. */
async function makeReferences(model: string, samples: string, folder: string): Promise<Record<string, string>> {
  const here = import.meta.dirname;
  const venv = await installPins("quantizer", join(here, "compress-hidden-reference.txt"));
  const words = [join(here, "compress-hidden-reference.py"), model, samples, folder];
  const text = execFileSync(join(venv, "bin/python"), words, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
  const made = JSON.parse(text.trim().split("\n").at(-1) ?? "{}") as Record<string, { path?: string; why?: string }>;
  return Object.fromEntries(
    Object.entries(made).flatMap(([name, { path, why }]) => {
      if (path === undefined) process.stderr.write(`onnxruntime made no form "${name}": ${why ?? ""}\n`);
      return path === undefined ? [] : [[name, path]];
    }),
  );
}
