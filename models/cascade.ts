// Accuracy of a cascade on Fashion-MNIST: fashion-mlp answers on the device, and fashion-cnn on a server what it is unsure
// of. Thresholds are chosen on one half of the 10,000 test pictures and reported on the other: `npx tsx models/cascade.ts`
// prints the table of docs/placement.md. Needs Debian's `dataset-fashion-mnist`.
import { InferenceSession, Tensor } from "onnxruntime-node";
import { calibrateCascade, measureCascade } from "../lib/observe/calibrate-cascade.ts";
import type { CascadeSample, SampleShare } from "../lib/observe/calibrate-cascade.ts";
import { fashionCnn } from "./fashion-cnn.ts";
import { fashionMlp } from "./fashion-mlp.ts";
import { testPictures } from "./fashion/pictures.ts";
import type { Pictures } from "./fashion/pictures.ts";
import type { Recipe } from "./recipe.ts";

const SHARES = [0.1, 0.2, 0.3];
const VARIANT = "f32";
const BATCH = 500;
const CLASSES = 10;

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

function report(title: string, chosen: readonly CascadeSample[], held: readonly CascadeSample[]): void {
  const percent = (x: number): string => (100 * x).toFixed(1);
  const shown = ({ value, low, high }: SampleShare): string =>
    `${percent(value)} % (${percent(low)} to ${percent(high)})`;
  const all = held.map((x) => ({ ...x, isLocalRight: x.isRemoteRight }));
  console.log(`\n${title}\n`);
  console.log("| | `escalateBelow` | sent | right | as right as fashion-cnn |\n| --- | --- | --- | --- | --- |");
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
  row("fashion-mlp alone", "0", held, 0);
  for (const share of SHARES) {
    const { escalateBelow } = calibrateCascade(chosen, { share });
    row(`${percent(share)} % wanted`, escalateBelow.toFixed(3), held, escalateBelow);
  }
  row("fashion-cnn alone", "", all, 0, "100 %");
  console.log(`\nn = ${held.length}, thresholds chosen on ${chosen.length} others`);
}

const pictures = testPictures();
const [local, remote] = [await answersOf(fashionMlp, pictures), await answersOf(fashionCnn, pictures)];
const samples = local.map(({ index, confidence }, i): CascadeSample => {
  const right = pictures.classes[i];
  return { confidence, isLocalRight: index === right, isRemoteRight: remote[i]?.index === right };
});
const half = samples.length / 2;
report("Chosen on the first half, reported on the second:", samples.slice(0, half), samples.slice(half));
report("Chosen on the second half, reported on the first:", samples.slice(half), samples.slice(0, half));
