// Texts and pairs of texts as samples, tokenized by the model's own tokenizer.json. A single text is read as a page reads
// it (worker/processing/text.ts); a pair, as a cross-encoder takes it, with the token types that the file's template
// gives.
import { Tokenizer } from "@huggingface/tokenizers";
import type { BundleInput, TextSpec } from "../../core/bundle.ts";
import type { Tensor } from "../../core/tensor.ts";
import { createTextReaders } from "../../worker/processing/text.ts";
import type { TextReader } from "../../worker/processing/text.ts";
import { valuesOf } from "./feeds.ts";

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
  const readers: Record<string, SampleReader> = {};
  for (const [name, reader] of Object.entries<TextReader>(createTextReaders(inputs, assets))) {
    const input = inputs.find((x) => x.name === name);
    const file = assets[input?.text?.tokenizer ?? ""];
    const pair = input?.text && file !== undefined ? pairReader(input, input.text, inputs, file) : undefined;
    readers[name] = Object.assign((texts: readonly string[]) => reader.read(texts), { pair });
  }
  return readers;
}

function pairReader(
  input: BundleInput,
  { maxLength, mask, types }: TextSpec,
  inputs: readonly BundleInput[],
  file: string,
): SampleReader["pair"] {
  let tokenizer: Tokenizer | undefined;
  return (first, second) => {
    tokenizer ??= new Tokenizer(JSON.parse(file) as object, {});
    const { ids, kinds } = encodePair(tokenizer, first, second, maxLength);
    const fills: [string | undefined, readonly number[]][] = [
      [input.name, ids],
      [mask, ids.map(() => 1)],
      [types, kinds],
    ];
    return Object.fromEntries(
      fills.flatMap(([name, values]) => {
        const port = inputs.find((x) => x.name === name);
        if (port === undefined) return [];
        const tensor = { dtype: port.dtype, dims: [1, values.length], data: valuesOf(port, values) } as Tensor;
        return [[port.name, tensor]];
      }),
    );
  };
}

/** Encodes a pair; of one that is too long, the longer text is cut until it fits. */
function encodePair(
  tokenizer: Tokenizer,
  first: string,
  second: string,
  maxLength: number,
): { ids: readonly number[]; kinds: readonly number[] } {
  let [a, b] = [first, second];
  for (;;) {
    const { ids, token_type_ids: kinds } = tokenizer.encode(a, { text_pair: b, return_token_type_ids: true });
    if (ids.length <= maxLength || a.length + b.length < 2) return { ids, kinds: kinds ?? ids.map(() => 0) };
    const share = Math.min(0.9, maxLength / ids.length);
    if (a.length >= b.length) a = a.slice(0, Math.floor(a.length * share));
    else b = b.slice(0, Math.floor(b.length * share));
  }
}
