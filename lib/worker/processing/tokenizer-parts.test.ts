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

const added = (content: string, id: number, options: object = {}) => ({ content, id, normalized: false, ...options });

test("an added token that is a word of its own is none within a longer word", () => {
  const parts = {
    model: { ...WORDS, vocab: { ...WORDS.vocab, foo: 2, bar: 3, xfoo: 4, foobar: 5, foofoo: 6 } },
    added_tokens: [added("foo", 2, { single_word: true }), added("bar", 3)],
  };
  const tokenizer = create(parts);
  expect(tokenizer.tokenize("foo,xfoo")).toEqual(["foo", ",xfoo"]);
  expect(tokenizer.tokenize("foofoo")).toEqual(["foofoo"]);
  expect(tokenizer.tokenize("foobar")).toEqual(["foo", "bar"]);
  expect(tokenizer.tokenize("foo foo")).toEqual(["foo", " ", "foo"]);
});

test("an added token is none of the model's own words", () => {
  const parts = { normalizer: { type: "Lowercase" }, added_tokens: [added("foo", 9)] };
  const vocab = { "[UNK]": 0, f: 1, "##o": 2 };
  const pieces = { type: "WordPiece", unk_token: "[UNK]", continuing_subword_prefix: "##", vocab };
  expect(create({ ...parts, model: pieces }).encode("FOO").ids).toEqual([1, 2, 2]);
  expect(create({ ...parts, model: pieces }).encode("foo").ids).toEqual([9]);
  const bare = { ...pieces, vocab: { "[UNK]": 0 } };
  expect(create({ ...parts, model: bare }).encode("FOO").ids).toEqual([0]);
});

test("an added token takes the white space at its sides, beside another token too", () => {
  const tokens = [
    added("<l>", 2, { lstrip: true }),
    added("<r>", 3, { rstrip: true }),
    added("w", 4, { single_word: true }),
  ];
  const tokenize = (text: string) => create({ added_tokens: tokens }).tokenize(text);
  expect(tokenize("a  <l> b")).toEqual(["a", "<l>", " b"]);
  expect(tokenize("a <r>  b")).toEqual(["a ", "<r>", "b"]);
  expect(tokenize("<r>  <l><l>")).toEqual(["<r>", "<l>", "<l>"]);
  expect(tokenize("<l>w<r>w")).toEqual(["<l>", "w", "<r>", "w"]);
  expect(tokenize("<l>wx<r> xw")).toEqual(["<l>", "wx", "<r>", "xw"]);
  // White space is Unicode's: U+0085 is, a byte order mark is none.
  expect(tokenize("a\u0085<l>\ufeff<l>")).toEqual(["a", "<l>", "\ufeff", "<l>"]);
});

test("tokens that are normalized are found in the normalized text, after the others", () => {
  const tokens = [added("<A>", 2, { normalized: true }), added("<B>", 3)];
  const tokenize = (text: string) => create({ normalizer: { type: "Lowercase" }, added_tokens: tokens }).tokenize(text);
  expect(tokenize("<a><A><b><B>")).toEqual(["<A>", "<A>", "<b>", "<B>"]);
});

test("Metaspace splits before each mark, and begins the first word of the text alone where it says so", () => {
  const first = { type: "Metaspace", replacement: "\u2581", prepend_scheme: "first", split: true };
  const tokenize = (part: object, text: string) =>
    create({ pre_tokenizer: part, added_tokens: [added("<t>", 2, { normalized: true })] }).tokenize(text);
  expect(tokenize(first, "a b<t>c  d")).toEqual(["\u2581a", "\u2581b", "<t>", "c", "\u2581", "\u2581d"]);
  expect(tokenize({ ...first, prepend_scheme: "always" }, "a<t>c")).toEqual(["\u2581a", "<t>", "\u2581c"]);
  expect(tokenize({ ...first, prepend_scheme: "never", split: false }, "a b")).toEqual(["a\u2581b"]);
  const list = { type: "Sequence", pretokenizers: [{ type: "WhitespaceSplit" }, first] };
  expect(tokenize(list, "a b")).toEqual(["\u2581a", "b"]);
  expect(tokenize(list, " a b")).toEqual(["a", "b"]);
});

test("Metaspace begins no text whose first character the normalizer took away", () => {
  const first = { type: "Metaspace", prepend_scheme: "first", split: true };
  const tokenize = (normalizer: object, text: string) => create({ normalizer, pre_tokenizer: first }).tokenize(text);
  const strip = { type: "Strip", strip_left: true, strip_right: true };
  const list = { type: "Sequence", normalizers: [{ type: "Lowercase" }, strip] };
  for (const x of [strip, list]) {
    expect(tokenize(x, "  a b ")).toEqual(["a", "\u2581b"]);
    expect(tokenize(x, "a b ")).toEqual(["\u2581a", "\u2581b"]);
  }
  expect(tokenize({ ...strip, strip_left: false }, " a ")).toEqual(["\u2581a"]);
  expect(tokenize({ type: "StripAccents" }, "\u0301a")).toEqual(["a"]);
  expect(tokenize({ type: "Replace", pattern: { Regex: "^ +" }, content: "" }, "  a")).toEqual(["a"]);
  expect(tokenize({ type: "Replace", pattern: { Regex: " +" }, content: " " }, "  a")).toEqual(["\u2581a"]);
});

test("a BPE model without an unknown token merges over characters that it does not know", () => {
  const model = { type: "BPE", vocab: { a: 0, b: 1, ab: 2, "b</w>": 3, "ab</w>": 4 }, merges: [["a", "b"]] };
  expect(create({ model }).encode("xaxxb").ids).toEqual([2]);
  expect(create({ model }).encode("xaxxbx").ids).toEqual([2]);
  const unknown = { ...model, vocab: { ...model.vocab, u: 5 }, unk_token: "u" };
  expect(create({ model: unknown }).encode("axb").ids).toEqual([0, 5, 1]);
  const ending = { ...model, merges: [["a", "b</w>"]], end_of_word_suffix: "</w>" };
  expect(create({ model: ending }).encode("axb").ids).toEqual([4]);
});

test.each([..."_-#~ ^$.*+?()[]{}|/\\&\u2581"])("Metaspace takes %s as its mark", (mark) => {
  expect(split({ type: "Metaspace", replacement: mark }, "ab cd")).toEqual([`${mark}ab`, `${mark}cd`]);
});

test("a byte order mark is no white space, and U+0085 is", () => {
  const bytes = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true };
  expect(split(bytes, "a \ufeffb")).toEqual(["a", "\u0120\u00ef\u00bb\u00bf", "b"]);
  expect(split({ type: "WhitespaceSplit" }, "a\ufeffb c\u0085d")).toEqual(["a\ufeffb", "c", "d"]);
  expect(split({ type: "BertPreTokenizer" }, "\ufeffa!\u0085b")).toEqual(["\ufeffa", "!", "b"]);
  const strip = { type: "Strip", strip_left: true, strip_right: true };
  expect(create({ normalizer: strip }).tokenize(" \u0085a\ufeff ")).toEqual(["a\ufeff"]);
  expect(create({ normalizer: { ...strip, strip_left: false } }).tokenize(" a ")).toEqual([" a"]);
});

test("Replace writes its content as it is", () => {
  const normalizer = { type: "Replace", pattern: { String: "a" }, content: "$&$1" };
  expect(create({ normalizer }).tokenize("bab")).toEqual(["b$&$1b"]);
});

test("a BPE model with a prefix of continuing parts is refused", () => {
  const model = { type: "BPE", vocab: { a: 0 }, merges: [], continuing_subword_prefix: "##" };
  expect(() => create({ model })).toThrow("continuing_subword_prefix of a BPE model");
  expect(() => create({ model: { ...model, continuing_subword_prefix: "" } })).not.toThrow();
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
