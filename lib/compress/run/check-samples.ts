// Refuses samples and labels that do not fit the model, and a float32 model that answers no better than chance: every
// form would pass beside it, and none of its numbers would mean anything.
import type { Feed } from "./feeds.ts";
import type { Metric, Outputs } from "./metric.ts";
import { winners } from "./metric.ts";
import { wilson } from "./score.ts";
import { numbersOf } from "./session.ts";

/** Metrics whose labels are classes of the first output. */
const CLASS_METRICS: ReadonlySet<string> = new Set(["top1", "exact"]);
/** Number of samples from which answers at chance differ from bad luck. */
const CHANCE_LEAST = 32;

/**
 * Refuses a sample with a value that is not a number.
 * @throws TypeError naming sample and input
 */
export function checkNumbers(feed: Feed, index: number): void {
  for (const [name, { dtype, data }] of Object.entries(feed)) {
    if (!dtype.startsWith("float")) continue;
    const values = numbersOf(dtype, data);
    let at = 0;
    while (at < values.length && !Number.isNaN(values[at])) at++;
    if (at < values.length)
      throw new TypeError(
        `samples: sample ${index + 1} holds NaN in "${name}", value ${at + 1} of ${values.length}; remove or repair it`,
      );
  }
}

/**
 * Refuses labels without samples, and another number of labels than samples; `isLimited` says that only the first
 * samples are used.
 * @throws TypeError naming both numbers
 */
export function checkLabelCount(labels: readonly unknown[] | undefined, n: number, isLimited: boolean): void {
  if (labels === undefined) return;
  if (labels.length < n || (labels.length > n && !isLimited))
    throw new TypeError(`labels: expected one for each of the ${n} samples, got ${labels.length}`);
}

/**
 * Refuses a label that names no class of the output.
 * @throws TypeError naming the label and the classes
 */
export function checkLabel(
  label: readonly number[] | undefined,
  outputs: Outputs,
  index: number,
  { name }: Metric,
): void {
  if (label === undefined || !CLASS_METRICS.has(name)) return;
  const [output] = Object.values(outputs);
  const classes = output?.dims.at(-1) ?? 1;
  const at = `labels: the label of sample ${index + 1}`;
  const isOneHot = label.length === classes && classes > 1 && label.filter((x) => x === 1).length === 1;
  const answers = (output?.data.length ?? 0) / classes;
  if (isOneHot && answers === 1 && label.every((x) => x === 0 || x === 1))
    throw new TypeError(
      `${at} is one-hot; give the number of the class instead, here ${label.indexOf(1)} (np.argmax(labels, axis=-1))`,
    );
  const wrong = label.find((x) => !Number.isInteger(x) || x < 0 || x >= classes);
  if (wrong !== undefined) {
    const hint = wrong === classes ? " (are they counted from 1?)" : "";
    throw new TypeError(`${at} is ${wrong}, but the output has the classes 0 to ${classes - 1}${hint}`);
  }
  if (name === "top1" && label.length !== 1 && label.length !== answers)
    throw new TypeError(
      `${at} has ${label.length} classes, but the output has ${answers} answers of ${classes} classes`,
    );
}

/** Answers of the float32 model that are compared with labels, counted as they come. */
export class AnswerCounts {
  readonly #answers = new Set<number>();
  readonly #labels = new Set<number>();
  #classes = 1;

  /** Adds the answers to one sample. */
  add(label: readonly number[] | undefined, outputs: Outputs): void {
    if (label === undefined) return;
    const [output] = Object.values(outputs);
    this.#classes = output?.dims.at(-1) ?? 1;
    for (const x of winners(outputs)) this.#answers.add(x);
    for (const x of label) this.#labels.add(x);
  }

  /**
   * Refuses a float32 model that is wrong throughout, or right no more often than by chance.
   * @throws TypeError naming the score, and what to look at
   */
  check(score: number, n: number, { name }: Metric): void {
    if (this.#labels.size === 0) return;
    const classes = this.#classes;
    const cause =
      "check that samples and labels are in the same order, that --image or --bundle prepares the samples as the model was trained, and that labels count from 0";
    const stop = (what: string): never => {
      throw new TypeError(
        `labels: ${what}, so no form can be judged by it: ${cause}; --metric sqnr compares without labels`,
      );
    };
    if (name === "negative-perplexity" && score <= -classes)
      stop(
        `the float32 model's perplexity is ${(-score).toFixed(1)}, no better than guessing among ${classes} classes`,
      );
    if (!CLASS_METRICS.has(name)) return;
    if (score === 0) stop(`the float32 model answers none of the ${n} samples as labelled (${name} 0)`);
    if (name !== "top1" || n < CHANCE_LEAST || classes < 2) return;
    if (this.#answers.size === 1 && this.#labels.size > 1)
      stop(`the float32 model answers class ${[...this.#answers].join()} for all ${n} samples`);
    if (this.#labels.size > 1 && wilson(score, n).low <= 1 / classes)
      stop(`the float32 model is at chance: ${name} ${score.toFixed(3)} over ${n} samples, and ${classes} classes`);
  }
}
