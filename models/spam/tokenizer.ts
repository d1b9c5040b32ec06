// Trains a WordPiece tokenizer and writes it as a standard tokenizer.json, which both `@huggingface/tokenizers` and
// Python's `tokenizers` read.
//
// The vocabulary is built by repeatedly merging the most frequent pair (Sennrich, Haddow and Birch 2016), within words
// as split by BERT's pre-tokenizer; a word is later split greedily into its longest tokens (Wu and others 2016). Before
// that, letters become lower case, digits become 0 (a year or a price must not be memorised) and a rule of dashes
// becomes three of them.
import { Tokenizer } from "@huggingface/tokenizers";

/** A tokenizer.json. */
export interface TokenizerFile {
  readonly model: { readonly vocab: Readonly<Record<string, number>>; readonly [key: string]: unknown };
  readonly [key: string]: unknown;
}

const SPECIAL = ["[PAD]", "[UNK]", "[CLS]"];
/** Longer words are unknown; stored in the file, so that all readers agree. */
const WORD_MAX = 60;
/** A rarer character is unknown. */
const CHARACTER_MIN = 20;

/** Trains a tokenizer with a vocabulary of `size` on texts. */
export function trainTokenizer(texts: Iterable<string>, size: number): TokenizerFile {
  const cut = new Tokenizer(fileOf({}), {});
  const counts = new Map<string, number>();
  for (const text of texts)
    for (const word of words(cut, text)) if (word.length <= WORD_MAX) counts.set(word, (counts.get(word) ?? 0) + 1);
  const pieces = mergePieces(counts, size - SPECIAL.length);
  return fileOf(Object.fromEntries([...SPECIAL, ...pieces].map((x, i) => [x, i])));
}

/** Splits a text into words as the tokenizer will. */
function words(tokenizer: Tokenizer, text: string): string[] {
  const normal = tokenizer.normalizer?.normalize(text) ?? text;
  return tokenizer.pre_tokenizer?.pre_tokenize(normal) ?? [normal];
}

/** Builds the vocabulary from counted words: characters first, then merges. */
function mergePieces(counts: ReadonlyMap<string, number>, size: number): string[] {
  const characters = new Map<string, number>();
  const known: { readonly symbols: string[]; readonly count: number }[] = [];
  for (const [word, count] of counts) {
    const symbols = Array.from(word, (x, i) => (i === 0 ? x : `##${x}`));
    for (const symbol of symbols) characters.set(symbol, (characters.get(symbol) ?? 0) + count);
    known.push({ symbols, count });
  }
  const frequent = [...characters].filter(([, count]) => count >= CHARACTER_MIN);
  const pieces = new Set(frequent.sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1)).map(([x]) => x));
  const pairs = new Map<string, { count: number; readonly at: Set<number> }>();
  const add = (index: number, sign: 1 | -1): void => {
    const { symbols, count } = known[index] ?? { symbols: [], count: 0 };
    for (let i = 0; i + 1 < symbols.length; i++) {
      const key = `${symbols[i]} ${symbols[i + 1]}`;
      let pair = pairs.get(key);
      if (pair === undefined) pairs.set(key, (pair = { count: 0, at: new Set() }));
      pair.count += sign * count;
      pair.at.add(index);
    }
  };
  for (const index of known.keys()) add(index, 1);
  while (pieces.size < size) {
    let best = "";
    let most = 1;
    for (const [key, { count }] of pairs)
      if (count > most || (count === most && key < best)) [best, most] = [key, count];
    const pair = pairs.get(best);
    if (pair === undefined) break;
    pairs.delete(best);
    const [left = "", right = ""] = best.split(" ");
    if (!pieces.has(left) || !pieces.has(right)) continue;
    const merged = left + right.slice(2);
    pieces.add(merged);
    for (const index of pair.at) {
      const word = known[index];
      if (word === undefined) continue;
      add(index, -1);
      const { symbols } = word;
      for (let i = 0; i + 1 < symbols.length; i++)
        if (symbols[i] === left && symbols[i + 1] === right) symbols.splice(i, 2, merged);
      add(index, 1);
    }
    pairs.delete(best);
  }
  return [...pieces];
}

function fileOf(vocab: Readonly<Record<string, number>>): TokenizerFile {
  const replace = (pattern: string, content: string) => ({ type: "Replace", pattern: { Regex: pattern }, content });
  return {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: SPECIAL.map((content, id) => ({
      id,
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
    })),
    normalizer: {
      type: "Sequence",
      normalizers: [
        { type: "BertNormalizer", clean_text: true, handle_chinese_chars: true, strip_accents: true, lowercase: true },
        replace("[0-9]", "0"),
        replace("(?:-{4,}|_{4,}|={4,}|\\*{4,}|\\.{4,}|~{4,}|#{4,}|\\+{4,})", " --- "),
      ],
    },
    pre_tokenizer: { type: "BertPreTokenizer" },
    post_processor: {
      type: "TemplateProcessing",
      single: [{ SpecialToken: { id: "[CLS]", type_id: 0 } }, { Sequence: { id: "A", type_id: 0 } }],
      pair: [
        { SpecialToken: { id: "[CLS]", type_id: 0 } },
        { Sequence: { id: "A", type_id: 0 } },
        { Sequence: { id: "B", type_id: 1 } },
      ],
      special_tokens: { "[CLS]": { id: "[CLS]", ids: [2], tokens: ["[CLS]"] } },
    },
    decoder: { type: "WordPiece", prefix: "##", cleanup: true },
    model: {
      type: "WordPiece",
      unk_token: "[UNK]",
      continuing_subword_prefix: "##",
      max_input_chars_per_word: WORD_MAX,
      vocab,
    },
  };
}
