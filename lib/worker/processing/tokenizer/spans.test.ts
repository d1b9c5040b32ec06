// Places of tokens, against what `tokenizers` 0.22.2 and 0.23.3 in Python give.
import fc from "fast-check";
import { expect, test } from "vitest";
import { createTokenizer } from "./tokenizer.ts";
import type { TokenizerJson } from "./tokenizer.ts";

function spansOf(json: TokenizerJson, text: string): (readonly [number, number])[] {
  const { tokenize, spansOf } = createTokenizer(json);
  return spansOf(text, tokenize(text));
}

const BYTES = Array.from({ length: 256 }, (_, i) => `<0x${i.toString(16).toUpperCase().padStart(2, "0")}>`);
const METASPACE = { type: "Metaspace", replacement: "\u2581", prepend_scheme: "always", split: true };

/** A Unigram model of some words, and of bytes where it falls back to them. */
function unigram(words: readonly string[], parts: TokenizerJson, byte_fallback = false): TokenizerJson {
  const known = words.map((x) => [x, -1 - x.length / 8] as const);
  const vocab = [["<unk>", 0] as const, ...known, ...(byte_fallback ? BYTES.map((x) => [x, -9] as const) : [])];
  return { ...parts, model: { type: "Unigram", unk_id: 0, byte_fallback, vocab } };
}

test("tokens without case, accents and spaces are found in the text as it was written", () => {
  const words = ["[UNK]", "united", "cafe", ",", "na", "##ive", "中"];
  const json = {
    normalizer: { type: "BertNormalizer", clean_text: true, handle_chinese_chars: true, lowercase: true },
    pre_tokenizer: { type: "BertPreTokenizer" },
    model: { type: "WordPiece", unk_token: "[UNK]", vocab: Object.fromEntries(words.map((x, i) => [x, i])) },
  };
  const text = "U\u0308nïted Café, naïve中 😀☃";
  expect(spansOf(json, text).map((x) => text.slice(...x))).toEqual([
    ...["U\u0308nïted", "Café", ",", "na", "ïve", "中", "😀☃"],
  ]);
});

test("the bytes of a character that the vocabulary lacks have its place", () => {
  const json = unigram(["\u2581a", "\u2581", "\u2581b"], { pre_tokenizer: METASPACE }, true);
  // The model has unknown characters that follow one another as one.
  const one = [2, 4] as const;
  expect(spansOf(json, "a 한국 b")).toEqual([[0, 1], [1, 2], one, one, one, one, one, one, [4, 6]]);
});

test("the mark of a word has the place of the space that it stands for, else that of what follows", () => {
  const words = ["\u2581in", "\u2581", "B", "ern"];
  const split = { type: "Sequence", pretokenizers: [{ type: "WhitespaceSplit" }, METASPACE] };
  expect(spansOf(unigram(words, { pre_tokenizer: METASPACE }), "in Bern")).toEqual([
    ...[
      [0, 2],
      [2, 3],
      [3, 4],
      [4, 7],
    ],
  ]);
  expect(spansOf(unigram(words, { pre_tokenizer: split }), "in Bern")).toEqual([
    [0, 2],
    [3, 4],
    [3, 4],
    [4, 7],
  ]);
  expect(spansOf(unigram(["\u2581", "in"], { pre_tokenizer: METASPACE }), "in")).toEqual([
    [0, 1],
    [0, 2],
  ]);
});

test("of several spaces that became one mark the last has its place, and of several marks each its own", () => {
  const normalizer = { type: "Replace", pattern: { Regex: " {2,}" }, content: "\u2581" };
  const one = unigram(["\u2581a", "\u2581b"], { normalizer, pre_tokenizer: METASPACE });
  expect(spansOf(one, "a   b")).toEqual([
    [0, 1],
    [3, 5],
  ]);
  const words = ["\u2581a", "\u2581", "\u2581\u2581b", "b"];
  expect(spansOf(unigram(words, { pre_tokenizer: { ...METASPACE, split: false } }), "a   b")).toEqual([
    ...[
      [0, 1],
      [1, 2],
      [2, 5],
    ],
  ]);
});

test("an unknown token has the place of what it stands for", () => {
  const json = unigram(["\u2581a", "\u2581", "—", "\u2581cat"], { pre_tokenizer: METASPACE });
  expect(spansOf(json, "a ☃☃—☃ cat")).toEqual([
    [0, 1],
    [1, 2],
    [2, 4],
    [4, 5],
    [5, 6],
    [6, 10],
  ]);
});

test.each([
  [
    "NFKC",
    ["\u2581", "1", "⁄", "2", "f", "i"],
    METASPACE,
    "½ﬁ",
    [
      [0, 1],
      [0, 1],
      [0, 1],
      [0, 1],
      [1, 2],
      [1, 2],
    ],
  ],
  [
    "NFD",
    ["e", "\u0301", "o", "\u0323", "\u0308"],
    null,
    "éo\u0308\u0323",
    [
      [0, 1],
      [0, 1],
      [1, 2],
      [2, 3],
      [3, 4],
    ],
  ],
  [
    "NFC",
    ["é", "ọ", "\u0308"],
    null,
    "e\u0301o\u0308\u0323",
    [
      [0, 1],
      [2, 3],
      [4, 5],
    ],
  ],
])("%s keeps the places of characters that it composes and takes apart", (type, words, pre_tokenizer, text, spans) => {
  expect(spansOf(unigram(words, { normalizer: { type }, pre_tokenizer }), text)).toEqual(spans);
});

test.each([
  [
    true,
    true,
    [
      [0, 1],
      [2, 3],
      [4, 4],
      [5, 5],
      [5, 6],
      [5, 6],
    ],
  ],
  [
    true,
    false,
    [
      [0, 1],
      [2, 3],
      [4, 4],
      [5, 5],
      [5, 6],
      [5, 6],
    ],
  ],
  [
    false,
    true,
    [
      [0, 1],
      [1, 3],
      [3, 4],
      [4, 5],
      [5, 6],
      [5, 6],
    ],
  ],
  [
    false,
    false,
    [
      [0, 1],
      [1, 3],
      [3, 4],
      [4, 5],
      [5, 6],
      [5, 6],
    ],
  ],
])(
  "byte-level tokens lose their spaces where trim_offsets is %s; a space before the text: %s",
  (trims, adds, spans) => {
    const letters = ["a", "b", "\u0120", "\u00c3", "\u00a9", "\u0120a", "\u0120b"];
    const bytes = { type: "ByteLevel", add_prefix_space: adds, use_regex: true };
    const json = {
      pre_tokenizer: bytes,
      post_processor: { ...bytes, trim_offsets: trims },
      model: {
        type: "BPE",
        vocab: Object.fromEntries(letters.map((x, i) => [x, i])),
        merges: ["\u0120 a", "\u0120 b"],
      },
    };
    expect(spansOf(json, "a b  é")).toEqual(spans);
  },
);

test("places are in order and within the text, whatever changes it", () => {
  const normalizer = fc.constantFrom("NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "Nmt", "ByteLevel");
  const text = fc.string({ unit: fc.oneof(fc.string({ unit: "binary", maxLength: 1 }), fc.string({ maxLength: 1 })) });
  fc.assert(
    fc.property(text, fc.array(normalizer, { maxLength: 3 }), (text, types) => {
      const normalizers = types.map((type) => ({ type }));
      const json = unigram([], {
        normalizer: { type: "Sequence", normalizers },
        pre_tokenizer: { type: "FixedLength", length: 1 },
      });
      let last = 0;
      for (const [start, end] of spansOf(json, text)) {
        expect(start).toBeGreaterThanOrEqual(last);
        expect(end).toBeGreaterThan(start);
        expect(end).toBeLessThanOrEqual(text.length);
        last = start;
      }
    }),
  );
});
