// Parts of tokenizers, against what `tokenizers` 0.22.2 in Python gives.
import { Tokenizer } from "@huggingface/tokenizers";
import fc from "fast-check";
import { expect, test } from "vitest";
import { useOwnParts } from "./tokenizer-parts.ts";

const NONE = { normalizer: null, pre_tokenizer: null, post_processor: null, decoder: null, added_tokens: [] };
const WORDS = { type: "WordLevel", unk_token: "[UNK]", vocab: { "[UNK]": 1 } };

/** Creates a tokenizer; one of words alone returns the pieces that its pre-tokenizer makes. */
function create(parts: object): Tokenizer {
  const json = { ...NONE, model: WORDS, ...parts };
  const tokenizer = new Tokenizer(json, {});
  useOwnParts(tokenizer, json);
  return tokenizer;
}
const split = (part: object, text: string): string[] => create({ pre_tokenizer: part }).tokenize(text);

const TEXT = "-a--b-c";
test.each([
  ["Removed", ["a", "b", "c"], ["-", "-", "-", "-"]],
  ["Isolated", ["-", "a", "-", "-", "b", "-", "c"], ["-", "a", "-", "-", "b", "-", "c"]],
  ["MergedWithPrevious", ["-", "a-", "-", "b-", "c"], ["-a", "-", "-b", "-c"]],
  ["MergedWithNext", ["-a", "-", "-b", "-c"], ["-", "a-", "-", "b-", "c"]],
  ["Contiguous", ["-", "a", "--", "b", "-", "c"], ["-", "a", "--", "b", "-", "c"]],
])("Split by a string, %s, and inverted", (behavior, pieces, inverted) => {
  const part = { type: "Split", pattern: { String: "-" }, behavior };
  expect(split({ ...part, invert: false }, TEXT)).toEqual(pieces);
  expect(split({ ...part, invert: true }, TEXT)).toEqual(inverted);
});

test("Split by an expression with a group removes what the group holds", () => {
  const part = { type: "Split", pattern: { Regex: "(-)+" }, behavior: "Removed", invert: false };
  expect(split(part, TEXT)).toEqual(["a", "b", "c"]);
});

test.each([
  [undefined, ["a", "!", "?", "b €c"]],
  ["Isolated", ["a", "!", "?", "b €c"]],
  ["Removed", ["a", "b €c"]],
  ["MergedWithPrevious", ["a!", "?", "b €c"]],
  ["MergedWithNext", ["a", "!", "?b €c"]],
  ["Contiguous", ["a", "!?", "b €c"]],
])("Punctuation, %s", (behavior, pieces) => {
  expect(split({ type: "Punctuation", behavior }, "a!?b €c")).toEqual(pieces);
});

test("Whitespace splits at the borders of words in every script, also in a list of parts", () => {
  const pieces = ["a", "--", "b", "½", "c", ",", "Zürich", "'", "s", "٣4", "!?"];
  expect(split({ type: "Whitespace" }, "a--b  ½c, Zürich's ٣4!?")).toEqual(pieces);
  const list = { type: "Sequence", pretokenizers: [{ type: "WhitespaceSplit" }, { type: "Whitespace" }] };
  expect(split(list, "Zürich's  ٣4")).toEqual(["Zürich", "'", "s", "٣4"]);
});

test("Digits are numbers of every script, FixedLength counts characters", () => {
  expect(split({ type: "Digits", individual_digits: true }, "a½b٣4c")).toEqual(["a", "½", "b", "٣", "4", "c"]);
  expect(split({ type: "Digits", individual_digits: false }, "a½b٣4c")).toEqual(["a", "½", "b", "٣4", "c"]);
  expect(split({ type: "FixedLength", length: 2 }, "a😀b")).toEqual(["a😀", "b"]);
});

test("a Unigram model with bytes writes unknown characters by them, and no unknown word joins the next", () => {
  const bytes = ["C3", "BC"].map((x) => [`<0x${x}>`, 0]);
  const unigram = (isBytes: boolean): object => ({
    model: { type: "Unigram", unk_id: 0, vocab: [["<unk>", 0], ["a", -1], ...bytes], byte_fallback: isBytes },
    pre_tokenizer: { type: "WhitespaceSplit" },
  });
  expect(create(unigram(true)).encode("aü ß").ids).toEqual([1, 2, 3, 0]);
  expect(create(unigram(false)).encode("aü ß").ids).toEqual([1, 0, 0]);
});

test.each([
  ["no post-processor", null, [0, 1]],
  ["ByteLevel", { type: "ByteLevel" }, [0, 1]],
  ["a list of ByteLevel", { type: "Sequence", processors: [{ type: "ByteLevel" }] }, [0, 1]],
])("a pair keeps its second text with %s", (_, processor, types) => {
  const { ids, token_type_ids: got } = create({
    ...{ pre_tokenizer: { type: "Whitespace" }, post_processor: processor },
    model: { ...WORDS, vocab: { a: 0, b: 1 } },
  }).encode("a", { text_pair: "b", return_token_type_ids: true });
  expect(ids).toEqual([0, 1]);
  expect(got).toEqual(types);
});

test("RoBERTa's pairs have one token type", () => {
  const { ids, token_type_ids: types } = create({
    post_processor: { type: "RobertaProcessing", cls: ["<s>", 0], sep: ["</s>", 2] },
    model: { ...WORDS, vocab: { "<s>": 0, "</s>": 2, a: 3 } },
  }).encode("a", { text_pair: "a", return_token_type_ids: true });
  expect(ids).toEqual([0, 3, 2, 2, 3, 2]);
  expect(types).toEqual([0, 0, 0, 0, 0, 0]);
});

const bert = (part: object, text: string): string =>
  create({ normalizer: { type: "BertNormalizer", clean_text: true, ...part } }).tokenize(text)[0] ?? "";

test("BertNormalizer parts rare ideographs too, and lowers letter by letter", () => {
  const uncased = { handle_chinese_chars: true, strip_accents: null, lowercase: true };
  expect(bert(uncased, "aé中𠀀b")).toBe("ae 中  𠀀 b");
  expect(bert(uncased, "ΟΔΟΣ Σ\u0007İ")).toBe("οδοσ σi");
  expect(bert({ ...uncased, strip_accents: false }, "É")).toBe("é");
  expect(bert({ handle_chinese_chars: false, strip_accents: null, lowercase: false }, "É中ΟΣ")).toBe("É中ΟΣ");
  expect(create({ normalizer: { type: "Lowercase" } }).tokenize("ΟΔΟΣ")).toEqual(["οδοσ"]);
});

test("an added token that is a word of its own is none within a longer word", () => {
  const added = (content: string, id: number, single_word: boolean) => ({ content, id, single_word });
  const parts = {
    model: { ...WORDS, vocab: { ...WORDS.vocab, foo: 2, bar: 3, xfoo: 4, foobar: 5, foofoo: 6 } },
    added_tokens: [added("foo", 2, true), added("bar", 3, false)],
  };
  const tokenizer = create(parts);
  expect(tokenizer.tokenize("foo,xfoo")).toEqual(["foo", ",xfoo"]);
  expect(tokenizer.tokenize("foofoo")).toEqual(["foofoo"]);
  expect(tokenizer.tokenize("foobar")).toEqual(["foo", "bar"]);
  expect(tokenizer.tokenize("foo foo")).toEqual(["foo", " ", "foo"]);
});

test("a Unigram model finds the tokens that the library finds", () => {
  fc.assert(
    fc.property(
      fc.uniqueArray(fc.string({ unit: fc.constantFrom("a", "b", "c", "中", "𠀀"), minLength: 1, maxLength: 4 })),
      // Eighths, whose sums are exact: the library adds the next token's score before it compares, and so rounding there
      // makes ties that are none here (nor in `encode_optimized` of Python's library).
      fc.array(fc.integer({ min: -160, max: 0 }), { minLength: 200, maxLength: 200 }),
      fc.string({ unit: fc.constantFrom("a", "b", "c", "中", "𠀀", "x"), maxLength: 30 }),
      (words, scores, text) => {
        const vocab = ["[UNK]", ...words].map((x, i) => [x, (scores[i % 200] ?? 0) / 8]);
        const json = { ...NONE, model: { type: "Unigram", unk_id: 0, byte_fallback: false, vocab } };
        const tokens = (tokenizer: Tokenizer): string[] =>
          (tokenizer.model as unknown as { tokenize(text: string): string[] }).tokenize(text);
        expect(tokens(create(json))).toEqual(tokens(new Tokenizer(json, {})));
        // Unknown ones are joined within a word.
        expect(create(json).tokenize(text)).toEqual(new Tokenizer(json, {}).tokenize(text));
      },
    ),
    { numRuns: 300 },
  );
});
