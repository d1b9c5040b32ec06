import fc from "fast-check";
import { expect, test } from "vitest";
import { distinctWords, heaviest, pieces, without } from "./words.ts";

test("a text is cut so that its pieces are the text again", () => {
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

test("a word is one however it is written, and is left out everywhere", () => {
  const text = "FREE money! It's free: $100 free.";
  expect(distinctWords(text)).toEqual(["free", "money!", "it's", "$100"]);
  expect(without(text, "free")).toBe(" money! It's : $100 .");
});

test("the heaviest words come first, whichever way they pull", () => {
  const words = [
    { word: "a", weight: 0.2 },
    { word: "b", weight: -1 },
    { word: "c", weight: 0.001 },
  ];
  expect(heaviest(words, 5).map((x) => x.word)).toEqual(["b", "a"]);
  expect(heaviest(words, 1).map((x) => x.word)).toEqual(["b"]);
});
