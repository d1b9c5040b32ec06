import { Tokenizer } from "@huggingface/tokenizers";
import { expect, test } from "vitest";
import { trainTokenizer } from "./tokenizer.ts";

const texts = Array.from({ length: 30 }, () => "Lower lowest LOW newest new 2002 ------");
const file = trainTokenizer(texts, 60);
const tokenizer = new Tokenizer(file, {});
const pieces = (text: string): string[] => tokenizer.encode(text).tokens;

test("frequent words are one token, others are split", () => {
  expect(pieces("lower newest")).toEqual(["[CLS]", "lower", "newest"]);
  expect(pieces("lowers").slice(0, 2)).toEqual(["[CLS]", "lower"]);
});

test("letters become lower case, digits are all the same, a rule of dashes is three", () => {
  expect(pieces("LOW")).toEqual(pieces("low"));
  expect(pieces("1999")).toEqual(pieces("2002"));
  expect(pieces("----------")).toEqual(pieces("------"));
});

test("an id is the index of a token, and unseen characters are unknown", () => {
  const ids = Object.values(file.model.vocab).sort((a, b) => a - b);
  expect(ids).toEqual(ids.map((_, i) => i));
  expect(pieces("щ")).toEqual(["[CLS]", "[UNK]"]);
  expect(tokenizer.encode("").ids).toEqual([file.model.vocab["[CLS]"]]);
});
