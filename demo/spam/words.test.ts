import fc from "fast-check";
import { expect, test } from "vitest";
import { distinctWords, heaviest, pieces, runs, without } from "./words.ts";

test("the pieces of a text concatenate to the text", () => {
  fc.assert(
    fc.property(fc.string({ unit: "grapheme" }), (text) => {
      expect(
        pieces(text)
          .map((x) => x.text)
          .join(""),
      ).toBe(text);
    }),
  );
});

test("a word matches in any case, and is left out everywhere", () => {
  const text = "FREE money! It's free: $100 free.";
  expect(distinctWords(text)).toEqual(["free", "money!", "it's", "$100"]);
  expect(without(text, "free")).toBe(" money! It's : $100 .");
});

test("words are sorted by absolute weight", () => {
  const words = [
    { word: "a", weight: 0.2 },
    { word: "b", weight: -1 },
    { word: "c", weight: 0.001 },
  ];
  expect(heaviest(words, 5).map((x) => x.word)).toEqual(["b", "a"]);
  expect(heaviest(words, 1).map((x) => x.word)).toEqual(["b"]);
});

test("unmarked text between two marks is one run, however long (processing-M4)", () => {
  const text = "one two three, one four ".repeat(10_000);
  const found = runs(text, new Set(["four"]));
  expect(found.length).toBe(20_001);
  expect(runs(text, new Set())).toEqual([{ text, word: null }]);
  expect(found.map((x) => x.text).join("")).toBe(text);
  expect(runs("a b", new Set(["a"]))).toEqual([
    { text: "a", word: "a" },
    { text: " b", word: null },
  ]);
});
