// Accuracy of cascades: a small model answers on the device, and a larger one on a server what it is unsure of.
// Thresholds are chosen on one half of the held-out samples and reported on the other: `npx tsx models/cascade.ts` prints
// the tables of docs/placement.md, or with a name the ones of `fashion` or `mail`.
//
// Fashion-MNIST: fashion-mlp before fashion-cnn, on the 10,000 test pictures; needs Debian's `dataset-fashion-mnist`.
// Mail: a linear model over the first tokens (spam/short.ts) before spam, on the mails that neither was trained on.
import { createHash } from "node:crypto";
import { parseArgs } from "node:util";
import { InferenceSession, Tensor } from "onnxruntime-node";
import { calibrateCascade, measureCascade } from "../lib/observe/calibrate-cascade.ts";
import type { CascadeSample, SampleShare } from "../lib/observe/calibrate-cascade.ts";
import { fashionCnn } from "./fashion-cnn.ts";
import { fashionMlp } from "./fashion-mlp.ts";
import { testPictures } from "./fashion/pictures.ts";
import type { Pictures } from "./fashion/pictures.ts";
import type { Recipe } from "./recipe.ts";
import { buildSpam, SPAM_INPUTS } from "./spam.ts";
import { judgeMails, TRAINED_ON } from "./spam/judge.ts";
import { readMails, splitMails } from "./spam/mails.ts";
import { buildShort, SHORT_INPUTS } from "./spam/short.ts";

const SHARES = [0.1, 0.2, 0.3];
const VARIANT = "f32";
const BATCH = 500;
const CLASSES = 10;

/** A cascade's held-out samples, in two halves. */
interface Halves {
  readonly small: string;
  readonly large: string;
  readonly halves: readonly [readonly CascadeSample[], readonly CascadeSample[]];
}

/** An answer to a picture: its first class, and the probability of that. */
interface Answer {
  readonly index: number;
  readonly confidence: number;
}

async function answersOf(recipe: Recipe, { count, pixels }: Pictures): Promise<Answer[]> {
  const { model, variants } = await recipe.build();
  const bytes = variants.find(({ id }) => id === VARIANT)?.files[0]?.bytes ?? new Uint8Array();
  const session = await InferenceSession.create(bytes, { logSeverityLevel: 3, intraOpNumThreads: 1 });
  const [input, output] = [model.inputs[0]?.name ?? "", model.outputs[0]?.name ?? ""];
  const answers: Answer[] = [];
  for (let at = 0; at < count; at += BATCH) {
    const pictures = new Tensor("float32", pixels.subarray(at * 784, (at + BATCH) * 784), [BATCH, 1, 28, 28]);
    const logits = (await session.run({ [input]: pictures }))[output]?.data as Float32Array;
    for (let i = 0; i < BATCH; i += 1) answers.push(answerOf(logits.subarray(i * CLASSES, (i + 1) * CLASSES)));
  }
  await session.release();
  return answers;
}

function answerOf(logits: Float32Array): Answer {
  const top = Math.max(...logits);
  const sum = logits.reduce((total, x) => total + Math.exp(x - top), 0);
  return { index: logits.indexOf(top), confidence: 1 / sum };
}

async function fashion(): Promise<Halves> {
  const pictures = testPictures();
  const [local, remote] = [await answersOf(fashionMlp, pictures), await answersOf(fashionCnn, pictures)];
  const samples = local.map(({ index, confidence }, i): CascadeSample => {
    const right = pictures.classes[i];
    return { confidence, isLocalRight: index === right, isRemoteRight: remote[i]?.index === right };
  });
  const half = samples.length / 2;
  return { small: "fashion-mlp", large: "fashion-cnn", halves: [samples.slice(0, half), samples.slice(half)] };
}

/** Halves are by thread: mails of one quote each other. */
async function mail(): Promise<Halves> {
  const { train, test } = splitMails(readMails(), TRAINED_ON);
  const short = buildShort(train).write();
  console.log(
    `\nmail: ${train.length} mails to fit the small model on, ${short.length} bytes; ${test.length} held out`,
  );
  const [local, remote] = [
    await judgeMails(short, SHORT_INPUTS, test),
    await judgeMails(buildSpam().write(), SPAM_INPUTS, test),
  ];
  const halves: [CascadeSample[], CascadeSample[]] = [[], []];
  for (const [i, { isSpam, thread }] of test.entries()) {
    const [odds, far] = [local[i] ?? 0, remote[i] ?? 0];
    const confidence = 1 / (1 + Math.exp(-Math.abs(odds)));
    const isSecond = (createHash("sha256").update(thread).digest()[0] ?? 0) % 2;
    halves[isSecond]?.push({ confidence, isLocalRight: odds > 0 === isSpam, isRemoteRight: far > 0 === isSpam });
  }
  return { small: "the short one", large: "spam", halves };
}

function report({ small, large }: Halves, chosen: readonly CascadeSample[], held: readonly CascadeSample[]): void {
  const percent = (x: number): string => (100 * x).toFixed(1);
  const shown = ({ value, low, high }: SampleShare): string =>
    `${percent(value)} % (${percent(low)} to ${percent(high)})`;
  const all = held.map((x) => ({ ...x, isLocalRight: x.isRemoteRight }));
  console.log(`\n| | \`escalateBelow\` | sent | right | as right as ${large} |\n| --- | --- | --- | --- | --- |`);
  const row = (
    name: string,
    threshold: string,
    samples: readonly CascadeSample[],
    below: number,
    sent?: string,
  ): void => {
    const { share, accuracy, agreement } = measureCascade(samples, below);
    const cells = [name, threshold, sent ?? `${percent(share.value)} %`, shown(accuracy), shown(agreement)];
    console.log(`| ${cells.join(" | ")} |`);
  };
  row(`${small} alone`, "0", held, 0);
  for (const share of SHARES) {
    const { escalateBelow } = calibrateCascade(chosen, { share });
    row(`${percent(share)} % wanted`, escalateBelow.toFixed(3), held, escalateBelow);
  }
  row(`${large} alone`, "", all, 0, "100 %");
  console.log(`\nn = ${held.length}, thresholds chosen on ${chosen.length} others`);
}

const CASCADES: Readonly<Record<string, () => Promise<Halves>>> = { fashion, mail };
const { positionals } = parseArgs({ allowPositionals: true });
for (const [name, measure] of Object.entries(CASCADES)) {
  if (positionals.length > 0 && !positionals.includes(name)) continue;
  const found = await measure();
  const [first, second] = found.halves;
  console.log(`\n${name}: chosen on the first half, reported on the second, and the other way round`);
  report(found, first, second);
  report(found, second, first);
}
