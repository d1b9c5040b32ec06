// A small tokenizer.json like BERT's, for tests of texts and of repositories.

/** The special tokens, which have the ids 0 to 3. */
export const SPECIAL: readonly string[] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"];

const mark = (id: string, type = 0): object => ({ SpecialToken: { id, type_id: type } });
const part = (id: "A" | "B", type: number): object => ({ Sequence: { id, type_id: type } });

/**
 * Returns a WordPiece tokenizer.json: the special tokens, then the given words, which have the ids from 4. The second text
 * of a pair, and the mark after it, have the token type 1.
 */
export function wordTokenizer(words: readonly string[]): string {
  return JSON.stringify({
    version: "1.0",
    added_tokens: SPECIAL.map((content, id) => ({ id, content, special: true, normalized: false })),
    normalizer: { type: "BertNormalizer", lowercase: true },
    pre_tokenizer: { type: "BertPreTokenizer" },
    post_processor: {
      type: "TemplateProcessing",
      single: [mark("[CLS]"), part("A", 0), mark("[SEP]")],
      pair: [mark("[CLS]"), part("A", 0), mark("[SEP]"), part("B", 1), mark("[SEP]", 1)],
      special_tokens: {
        "[CLS]": { id: "[CLS]", ids: [2], tokens: ["[CLS]"] },
        "[SEP]": { id: "[SEP]", ids: [3], tokens: ["[SEP]"] },
      },
    },
    decoder: null,
    model: {
      type: "WordPiece",
      unk_token: "[UNK]",
      continuing_subword_prefix: "##",
      max_input_chars_per_word: 100,
      vocab: Object.fromEntries([...SPECIAL, ...words].map((x, i) => [x, i])),
    },
  });
}
