// Classifies mails with a form of the classifier, in onnxruntime-node with the package's own tokenizer, and scores the
// result.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { InferenceSession, Tensor } from "onnxruntime-node";
import type { BundleInput } from "../../lib/core/bundle.ts";
import { createTextReaders } from "../../lib/worker/processing/text.ts";
import type { LabelledMail } from "./mails.ts";

/** The split on whose training side the committed weights were trained. */
export const TRAINED_ON = "thread-1";

/** Scores of predicted log odds against the labels. */
export interface Judgement {
  /** Share of mails that are classified correctly. */
  readonly accuracy: number;
  /** Share of ham classified as spam (false positives). */
  readonly falseAlarms: number;
  /** Share of spam classified as ham (false negatives). */
  readonly missed: number;
  /** Expected calibration error, over ten bins of equal width (Guo and others 2017). */
  readonly calibrationError: number;
}

/** Returns the log odds of spam of each mail. */
export async function judgeMails(
  model: Uint8Array,
  inputs: readonly BundleInput[],
  mails: readonly LabelledMail[],
  extra: Readonly<Record<string, string>> = {},
  tokenizer: string = readFileSync(join(import.meta.dirname, "tokenizer.json"), "utf8"),
): Promise<number[]> {
  const reader = createTextReaders(inputs, { "tokenizer.json": tokenizer })["text"];
  const session = await InferenceSession.create(model, { logSeverityLevel: 3, intraOpNumThreads: 1, extra });
  const odds: number[] = [];
  for (const { text } of mails) {
    const feeds = Object.entries(reader?.read([text]) ?? {}).map(
      ([name, { dtype, dims, data }]) => [name, new Tensor(dtype as "int32", data as Int32Array, [...dims])] as const,
    );
    const [ham = 0, spam = 0] = (await session.run(Object.fromEntries(feeds)))["logits"]?.data as Float32Array;
    odds.push(spam - ham);
  }
  await session.release();
  return odds;
}

/** Scores log odds against the labels. */
export function judgementOf(odds: readonly number[], mails: readonly LabelledMail[]): Judgement {
  const isRight = mails.map(({ isSpam }, i) => (odds[i] ?? 0) > 0 === isSpam);
  const share = (of: (mail: LabelledMail) => boolean): number => {
    const these = mails.map((mail, i) => ({ mail, i })).filter((x) => of(x.mail));
    return these.filter((x) => isRight[x.i] === true).length / these.length;
  };
  const gaps = new Float64Array(10);
  for (const [i, each] of odds.entries()) {
    const sure = 1 / (1 + Math.exp(-Math.abs(each)));
    const bin = Math.min(9, Math.floor((sure - 0.5) * 20));
    gaps[bin] = (gaps[bin] ?? 0) + sure - Number(isRight[i]);
  }
  return {
    accuracy: share(() => true),
    falseAlarms: 1 - share((x) => !x.isSpam),
    missed: 1 - share((x) => x.isSpam),
    calibrationError: gaps.reduce((sum, x) => sum + Math.abs(x), 0) / mails.length,
  };
}
