// Texts and pairs of texts as samples, tokenized by the model's own tokenizer.json as a page reads them
// (worker/processing/text.ts).
import type { BundleInput } from "../../core/bundle.ts";
import { joinPair } from "../../core/text-pair.ts";
import type { Tensor } from "../../core/tensor.ts";
import { createTextReaders } from "../../worker/processing/text.ts";
import type { TextReader } from "../../worker/processing/text.ts";

/** Reads a text, or a pair, into the inputs that they fill. */
export interface SampleReader {
  (texts: readonly string[]): Record<string, Tensor>;
  readonly pair?: ((first: string, second: string) => Record<string, Tensor>) | undefined;
}

/** Fields that hold a text, or the second one of a pair, in samples of JSON. */
const FIRST = ["text", "sentence", "sentence1", "premise", "query", "question"] as const;
const SECOND = ["text_pair", "sentence2", "hypothesis", "passage", "context"] as const;

/**
 * Reads the text or the pair of a sample: a text, a list of two, or an object with the input's name or a usual field;
 * empty where it holds none.
 */
export function readTexts(value: unknown, readers: Readonly<Record<string, SampleReader>>): Record<string, Tensor> {
  const read: Record<string, Tensor> = {};
  const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
  const fields = isObject ? (value as Readonly<Record<string, unknown>>) : {};
  for (const [name, reader] of Object.entries(readers)) {
    const texts: readonly unknown[] = isObject
      ? [[name, ...FIRST], SECOND].map((names) => names.map((x) => fields[x]).find((x) => typeof x === "string"))
      : [value].flat();
    const [first, second] = texts;
    if (typeof first !== "string") continue;
    if (typeof second !== "string") Object.assign(read, reader([first]));
    else if (reader.pair === undefined)
      throw new TypeError("samples: a sample is a pair, and the model takes one text");
    else Object.assign(read, reader.pair(first, second));
  }
  return read;
}

/** Makes the readers of a model's text inputs, by input name. */
export function sampleReaders(
  inputs: readonly BundleInput[],
  assets: Readonly<Record<string, string>>,
): Record<string, SampleReader> {
  const readers = Object.entries<TextReader>(createTextReaders(inputs, assets)).map(([name, reader]) => {
    const pair = (text: string, second: string): Record<string, Tensor> =>
      reader.read([joinPair({ text, pair: second }) as string]);
    return [name, Object.assign((texts: readonly string[]) => reader.read(texts), { pair })] as const;
  });
  return Object.fromEntries(readers);
}
