// Tokenizers, against what `tokenizers` 0.22.2 and 0.23.3 in Python give.
import { Tokenizer } from "@huggingface/tokenizers";
import fc from "fast-check";
import { expect, test } from "vitest";
import { aligned } from "./aligned.ts";
import type { NormalizerPart } from "./normalizers.ts";
import { createNormalizer } from "./normalizers.ts";
import { createSplitter } from "./splitters.ts";
import type { SplitterPart } from "./splitters.ts";
import { createTokenizer } from "./tokenizer.ts";
import type { TokenizerJson } from "./tokenizer.ts";

const NONE = { normalizer: null, pre_tokenizer: null, post_processor: null, decoder: null, added_tokens: [] };
const WORDS = { type: "WordLevel", unk_token: "[UNK]", vocab: { "[UNK]": 1 } };

/** Returns the words that a pre-tokenizer makes. */
const split = (part: SplitterPart, text: string): string[] => createSplitter(part)(aligned(text)).map((x) => x.text);
const normalize = (part: NormalizerPart, text: string): string => createNormalizer(part)(aligned(text)).text;

/** Returns the tokens of a text; unknown ones as it has them. */
function tokenize(parts: Partial<TokenizerJson>, text: string): string[] {
  const { tokenize, nameOf } = createTokenizer({ ...NONE, model: WORDS, ...parts });
  return tokenize(text).map((x) => (x.id === 1 ? x.word.text : (nameOf(x.id) ?? "")));
}

/** Returns the row of a text or of a pair. */
function encode(parts: Partial<TokenizerJson>, text: string, pair?: string): { ids: number[]; types: number[] } {
  const { tokenize, makeRow } = createTokenizer({ ...NONE, model: WORDS, ...parts });
  const row = makeRow(tokenize(text), pair === undefined ? null : tokenize(pair));
  return { ids: row.map((x) => x.id), types: row.map((x) => x.type) };
}

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
  expect(split({ type: "Punctuation", ...(behavior !== undefined && { behavior }) }, "a!?b €c")).toEqual(pieces);
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
  const bytes = ["C3", "BC"].map((x) => [`<0x${x}>`, 0] as const);
  const unigram = (isBytes: boolean): Partial<TokenizerJson> => ({
    model: { type: "Unigram", unk_id: 0, vocab: [["<unk>", 0], ["a", -1], ...bytes], byte_fallback: isBytes },
    pre_tokenizer: { type: "WhitespaceSplit" },
  });
  expect(encode(unigram(true), "aü ß").ids).toEqual([1, 2, 3, 0]);
  expect(encode(unigram(false), "aü ß").ids).toEqual([1, 0, 0]);
});

test.each([
  ["no post-processor", null, [0, 1]],
  ["ByteLevel", { type: "ByteLevel" }, [0, 1]],
  ["a list of ByteLevel", { type: "Sequence", processors: [{ type: "ByteLevel" }] }, [0, 1]],
])("a pair keeps its second text with %s", (_, processor, types) => {
  const parts = { pre_tokenizer: { type: "Whitespace" }, post_processor: processor };
  const { ids, types: got } = encode({ ...parts, model: { ...WORDS, vocab: { a: 0, b: 1 } } }, "a", "b");
  expect(ids).toEqual([0, 1]);
  expect(got).toEqual(types);
});

test("RoBERTa's pairs have one token type", () => {
  const post_processor = { type: "RobertaProcessing", cls: ["<s>", 0], sep: ["</s>", 2] } as const;
  const model = { ...WORDS, vocab: { "<s>": 0, "</s>": 2, a: 3 } };
  const { ids, types } = encode({ post_processor, model }, "a", "a");
  expect(ids).toEqual([0, 3, 2, 2, 3, 2]);
  expect(types).toEqual([0, 0, 0, 0, 0, 0]);
});

const bert = (part: object, text: string): string =>
  normalize({ type: "BertNormalizer", clean_text: true, ...part }, text);

test("BertNormalizer parts rare ideographs too, and lowers letter by letter", () => {
  const uncased = { handle_chinese_chars: true, strip_accents: null, lowercase: true };
  expect(bert(uncased, "aé中𠀀b")).toBe("ae 中  𠀀 b");
  expect(bert(uncased, "ΟΔΟΣ Σ\u0007İ")).toBe("οδοσ σi");
  expect(bert({ ...uncased, strip_accents: false }, "É")).toBe("é");
  expect(bert({ handle_chinese_chars: false, strip_accents: null, lowercase: false }, "É中ΟΣ")).toBe("É中ΟΣ");
  expect(normalize({ type: "Lowercase" }, "ΟΔΟΣ")).toBe("οδοσ");
});

const added = (content: string, id: number, options: object = {}) => ({ content, id, normalized: false, ...options });

test("an added token that is a word of its own is none within a longer word", () => {
  const parts = {
    model: { ...WORDS, vocab: { ...WORDS.vocab, foo: 2, bar: 3, xfoo: 4, foobar: 5, foofoo: 6 } },
    added_tokens: [added("foo", 2, { single_word: true }), added("bar", 3)],
  };
  expect(tokenize(parts, "foo,xfoo")).toEqual(["foo", ",xfoo"]);
  expect(tokenize(parts, "foofoo")).toEqual(["foofoo"]);
  expect(tokenize(parts, "foobar")).toEqual(["foo", "bar"]);
  expect(tokenize(parts, "foo foo")).toEqual(["foo", " ", "foo"]);
});

test("an added token is none of the model's own words", () => {
  const parts = { normalizer: { type: "Lowercase" }, added_tokens: [added("foo", 9)] };
  const vocab = { "[UNK]": 0, f: 1, "##o": 2 };
  const pieces = { type: "WordPiece", unk_token: "[UNK]", continuing_subword_prefix: "##", vocab };
  expect(encode({ ...parts, model: pieces }, "FOO").ids).toEqual([1, 2, 2]);
  expect(encode({ ...parts, model: pieces }, "foo").ids).toEqual([9]);
  const bare = { ...pieces, vocab: { "[UNK]": 0 } };
  expect(encode({ ...parts, model: bare }, "FOO").ids).toEqual([0]);
});

test("an added token takes the white space at its sides, beside another token too", () => {
  const tokens = [
    added("<l>", 2, { lstrip: true }),
    added("<r>", 3, { rstrip: true }),
    added("w", 4, { single_word: true }),
  ];
  const found = (text: string) => tokenize({ added_tokens: tokens }, text);
  expect(found("a  <l> b")).toEqual(["a", "<l>", " b"]);
  expect(found("a <r>  b")).toEqual(["a ", "<r>", "b"]);
  expect(found("<r>  <l><l>")).toEqual(["<r>", "<l>", "<l>"]);
  expect(found("<l>w<r>w")).toEqual(["<l>", "w", "<r>", "w"]);
  expect(found("<l>wx<r> xw")).toEqual(["<l>", "wx", "<r>", "xw"]);
  // White space is Unicode's: U+0085 is, a byte order mark is none.
  expect(found("a\u0085<l>\ufeff<l>")).toEqual(["a", "<l>", "\ufeff", "<l>"]);
});

test("tokens that are normalized are found in the normalized text, after the others", () => {
  const tokens = [added("<A>", 2, { normalized: true }), added("<B>", 3)];
  const found = (text: string) => tokenize({ normalizer: { type: "Lowercase" }, added_tokens: tokens }, text);
  expect(found("<a><A><b><B>")).toEqual(["<A>", "<A>", "<b>", "<B>"]);
});

test("Metaspace splits before each mark, and begins the first word of the text alone where it says so", () => {
  const first = { type: "Metaspace", replacement: "\u2581", prepend_scheme: "first", split: true };
  const words = (part: SplitterPart, text: string) =>
    tokenize({ pre_tokenizer: part, added_tokens: [added("<t>", 2, { normalized: true })] }, text);
  expect(words(first, "a b<t>c  d")).toEqual(["\u2581a", "\u2581b", "<t>", "c", "\u2581", "\u2581d"]);
  expect(words({ ...first, prepend_scheme: "always" }, "a<t>c")).toEqual(["\u2581a", "<t>", "\u2581c"]);
  expect(words({ ...first, prepend_scheme: "never", split: false }, "a b")).toEqual(["a\u2581b"]);
  const list = { type: "Sequence", pretokenizers: [{ type: "WhitespaceSplit" }, first] };
  expect(words(list, "a b")).toEqual(["\u2581a", "b"]);
  expect(words(list, " a b")).toEqual(["a", "b"]);
});

test("Metaspace begins no text whose first character the normalizer took away", () => {
  const first = { type: "Metaspace", prepend_scheme: "first", split: true };
  const words = (normalizer: NormalizerPart, text: string) => tokenize({ normalizer, pre_tokenizer: first }, text);
  const strip = { type: "Strip", strip_left: true, strip_right: true };
  const list = { type: "Sequence", normalizers: [{ type: "Lowercase" }, strip] };
  for (const x of [strip, list]) {
    expect(words(x, "  a b ")).toEqual(["a", "\u2581b"]);
    expect(words(x, "a b ")).toEqual(["\u2581a", "\u2581b"]);
  }
  expect(words({ ...strip, strip_left: false }, " a ")).toEqual(["\u2581a"]);
  expect(words({ type: "StripAccents" }, "\u0301a")).toEqual(["a"]);
  expect(words({ type: "Replace", pattern: { Regex: "^ +" }, content: "" }, "  a")).toEqual(["a"]);
  expect(words({ type: "Replace", pattern: { Regex: " +" }, content: " " }, "  a")).toEqual(["\u2581a"]);
});

test("a BPE model without an unknown token merges over characters that it does not know", () => {
  const model = { type: "BPE", vocab: { a: 0, b: 1, ab: 2, "b</w>": 3, "ab</w>": 4 }, merges: [["a", "b"]] } as const;
  expect(encode({ model }, "xaxxb").ids).toEqual([2]);
  expect(encode({ model }, "xaxxbx").ids).toEqual([2]);
  const unknown = { ...model, vocab: { ...model.vocab, u: 5 }, unk_token: "u" };
  expect(encode({ model: unknown }, "axb").ids).toEqual([0, 5, 1]);
  const ending = { ...model, merges: [["a", "b</w>"]], end_of_word_suffix: "</w>" } as const;
  expect(encode({ model: ending }, "axb").ids).toEqual([4]);
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
  expect(normalize(strip, " \u0085a\ufeff ")).toBe("a\ufeff");
  expect(normalize({ ...strip, strip_left: false }, " a ")).toBe(" a");
});

test("Replace writes its content as it is", () => {
  expect(normalize({ type: "Replace", pattern: { String: "a" }, content: "$&$1" }, "bab")).toBe("b$&$1b");
});

test("a BPE model marks parts that continue a word", () => {
  const vocab = { a: 0, "##b": 1, "##c": 2, ab: 3, "##bc": 4, abc: 5 };
  const merges = [
    ["a", "##b"],
    ["##b", "##c"],
    ["a", "##bc"],
  ] as const;
  const model = { type: "BPE", vocab, merges, continuing_subword_prefix: "##" };
  expect(encode({ model }, "abc").ids).toEqual([3, 2]);
  expect(encode({ model: { ...model, merges: merges.slice(1) } }, "abc").ids).toEqual([5]);
});

test("CharDelimiterSplit takes the delimiter out, which is no expression", () => {
  const words = (delimiter: string, text: string): string[] => split({ type: "CharDelimiterSplit", delimiter }, text);
  expect(words("-", "-a--b- c")).toEqual(["a", "b", " c"]);
  expect(words("😀", "a😀b")).toEqual(["a", "b"]);
  expect(words(".", "a.b")).toEqual(["a", "b"]);
  expect(() => split({ type: "CharDelimiterSplit", delimiter: "ab" }, "")).toThrow("delimiter of CharDelimiterSplit");
});

test.each([
  ["  ab cd дом ー あ漢カx\t1 ", ["ab cd ", "дом ", "ー あ漢カ", "x", "\t1 "]],
  ["   ", []],
  ["é\u0301a", ["é", "\u0301", "a"]],
  ["😀a😀", ["😀", "a", "😀"]],
  ["ab12, שלום 12", ["ab", "12, ", "שלום ", "12"]],
  ["a\u0378b中", ["a\u0378b", "中"]],
])("UnicodeScripts splits %j where the script changes, and drops spaces at the begin", (text, words) => {
  expect(split({ type: "UnicodeScripts" }, text)).toEqual(words);
});

test("Nmt makes spaces of characters that stand for white space, ByteLevel letters of bytes", () => {
  expect(normalize({ type: "Nmt" }, "a\u0007\u0000\tb\u200b\u00a0\u2581c\ufeff\u0085\r\n")).toBe(
    "a\u0000 b \u00a0 c \u0085  ",
  );
  expect(normalize({ type: "ByteLevel" }, "a é😀\n")).toBe("a\u0120\u00c3\u00a9\u00f0\u0141\u013a\u0122\u010a");
});

test("a match of nothing splits and is replaced, but not behind another match", () => {
  const words = (Regex: string, behavior: string): string[] =>
    split({ type: "Split", pattern: { Regex }, behavior, invert: false }, "aBxCd");
  expect(words("(?=[A-Z])", "Contiguous")).toEqual(["a", "Bx", "Cd"]);
  expect(words("(?=[A-Z])", "Removed")).toEqual(["a", "Bx", "Cd"]);
  expect(words("x*", "MergedWithPrevious")).toEqual(["a", "Bx", "C", "d"]);
  expect(words("x*", "MergedWithNext")).toEqual(["a", "B", "xC", "d"]);
  const replaced = (Regex: string, content: string, text: string): string =>
    normalize({ type: "Replace", pattern: { Regex }, content }, text);
  expect(replaced("x*", "-", "axxb")).toBe("-a-b-");
  expect(replaced("x*", "-", "")).toBe("");
  expect(replaced("^", "_", "ab")).toBe("_ab");
});

const FIRST = { type: "Metaspace", replacement: "\u2581", prepend_scheme: "first", split: true };

test.each([
  ["WhitespaceSplit", {}, ["\u2581صلى", "\u2581الله", "\u2581عليه", "\u2581وسلم", "ab"], ["\u25811⁄2", "ab"]],
  [
    "FixedLength",
    { length: 4 },
    ["\u2581صلى", "\u2581", "\u2581الله", "\u2581علي", "\u2581ه", "\u2581وس", "\u2581لم", "\u2581a", "b"],
    ["\u25811⁄2", "\u2581", "ab"],
  ],
  [
    "Digits",
    { individual_digits: true },
    ["\u2581صلى", "\u2581الله", "\u2581عليه", "\u2581وسلم", "\u2581ab"],
    ["\u25811", "\u2581⁄", "\u25812", "\u2581ab"],
  ],
])("behind %s, Metaspace begins each word of a text's first character", (type, more, words, halves) => {
  const list = { type: "Sequence", pretokenizers: [{ type, ...more }, FIRST] };
  const parts = { normalizer: { type: "NFKC" }, pre_tokenizer: list };
  expect(tokenize(parts, "\ufdfa ab")).toEqual(words);
  expect(tokenize(parts, "½ ab")).toEqual(halves);
});

test("what replaces several characters has the place of the last one, which does not begin a text", () => {
  const words = (normalizer: NormalizerPart, text: string, ...before: SplitterPart[]): string[] =>
    tokenize({ normalizer, pre_tokenizer: { type: "Sequence", pretokenizers: [...before, FIRST] } }, text);
  const quotes = (String: string) => ({ type: "Replace", pattern: { String }, content: '"' });
  expect(words(quotes("``"), "``a b")).toEqual(['"a', "\u2581b"]);
  expect(words(quotes("`"), "`a b")).toEqual(['\u2581"a', "\u2581b"]);
  expect(words({ type: "Replace", pattern: { Regex: "^" }, content: "x" }, "a b")).toEqual(["\u2581xa", "\u2581b"]);
  expect(words({ type: "Prepend", prepend: "x y" }, "a b", { type: "WhitespaceSplit" })).toEqual([
    ...["\u2581x", "\u2581ya", "b"],
  ]);
  const marks = { type: "Split", pattern: { Regex: "\\p{M}" }, behavior: "Removed", invert: false };
  expect(words({ type: "NFD" }, "éa", marks)).toEqual(["\u2581e", "a"]);
});

test("of a list of post-processors each one counts", () => {
  const bytes = { type: "ByteLevel", add_prefix_space: false, trim_offsets: false };
  const bert = { type: "BertProcessing", sep: ["</s>", 2], cls: ["<s>", 0] } as const;
  const model = { ...WORDS, vocab: { "<s>": 0, "[UNK]": 1, "</s>": 2, a: 3, b: 4 } };
  const list = { type: "Sequence", processors: [bert, bytes] };
  expect(encode({ post_processor: list, model }, "a", "b")).toEqual({ ids: [0, 3, 2, 4, 2], types: [0, 0, 0, 1, 1] });
  const mark = (type_id: number) => ({ SpecialToken: { id: "x", type_id } });
  const text = (id: string, type_id: number) => ({ Sequence: { id, type_id } });
  const template = {
    type: "TemplateProcessing",
    single: [mark(2), text("A", 1)],
    pair: [text("B", 1), mark(0), text("A", 0), text("B", 2)],
    special_tokens: { x: { ids: [7, 9] } },
  };
  const own = { post_processor: { type: "Sequence", processors: [bytes, template] }, model };
  expect(encode(own, "a")).toEqual({ ids: [7, 9, 3], types: [2, 2, 1] });
  expect(encode(own, "a", "b")).toEqual({ ids: [4, 7, 9, 3, 4], types: [1, 0, 0, 0, 2] });
});

test("a BPE model merges by rank, from the left, and fuses unknown characters where it says so", () => {
  const vocab = { a: 0, b: 1, c: 2, ab: 3, bc: 4, abc: 5 };
  const merges = ["b c", "a bc", "a b", "ab c"];
  expect(encode({ model: { type: "BPE", vocab, merges } }, "abcab").ids).toEqual([5, 3]);
  const unknown = (fuse_unk: boolean): Partial<TokenizerJson> => ({
    model: { type: "BPE", vocab: { u: 0, a: 1 }, merges: [], unk_token: "u", fuse_unk },
  });
  expect(encode(unknown(true), "axxxa").ids).toEqual([1, 0, 1]);
  expect(encode(unknown(false), "axxxa").ids).toEqual([1, 0, 0, 0, 1]);
  expect(() => encode({ model: { type: "BPE", vocab, merges: ["a x"] } }, "")).toThrow('lacks "x"');
  expect(() => encode({ model: { type: "BPE", vocab, merges, dropout: 0.1 } }, "")).toThrow("dropout of a BPE model");
});

test("a BPE model writes unknown characters as bytes, with the mark of a word's end", () => {
  const bytes = Array.from({ length: 256 }, (_, i) => [`<0x${i.toString(16).toUpperCase().padStart(2, "0")}>`, i]);
  const vocab = { ...(Object.fromEntries(bytes) as object), a: 256, "b</w>": 257, "ab</w>": 258, u: 259 };
  const model = {
    type: "BPE",
    vocab,
    merges: ["a b</w>"],
    byte_fallback: true,
    end_of_word_suffix: "</w>",
    unk_token: "u",
  };
  expect(encode({ model }, "éab").ids).toEqual([195, 169, 258]);
  expect(encode({ model }, "aé").ids).toEqual([256, 195, 169, 60, 47, 119, 62]);
});

test("a part that is not known is named", () => {
  const broken = (parts: Partial<TokenizerJson>) => () => createTokenizer({ ...NONE, model: WORDS, ...parts });
  expect(broken({ normalizer: { type: "X" } })).toThrow("Unknown Normalizer type: X");
  expect(broken({ normalizer: { type: "Precompiled" } })).toThrow("precompiled_charsmap of a Precompiled normalizer");
  expect(broken({ pre_tokenizer: { type: "X" } })).toThrow("Unknown PreTokenizer type: X");
  const template = { type: "TemplateProcessing", single: [{ SpecialToken: { id: "x" } }] };
  expect(broken({ post_processor: template })).toThrow('special_tokens of TemplateProcessing lack "x"');
  expect(broken({ post_processor: { type: "X" } })).toThrow("Unknown PostProcessor type: X");
  expect(broken({ decoder: { type: "X" } })).toThrow("Unknown Decoder type: X");
  expect(broken({ model: { ...WORDS, type: "X" } })).toThrow("Unknown TokenizerModel type: X");
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
        const vocab = ["[UNK]", ...words].map((x, i) => [x, (scores[i % 200] ?? 0) / 8] as const);
        const model = { type: "Unigram", unk_id: 0, byte_fallback: false, vocab };
        const { tokenize } = createTokenizer({ ...NONE, model });
        const theirs = new Tokenizer({ ...NONE, model }, {}).tokenize(text);
        expect(tokenize(text).map((x) => x.text)).toEqual(theirs);
      },
    ),
    { numRuns: 300 },
  );
});
