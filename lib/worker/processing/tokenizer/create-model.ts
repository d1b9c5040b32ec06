// The models of a tokenizer.json that find a word's tokens in a vocabulary, as the library in Rust does: WordLevel and
// WordPiece here, Unigram and BPE in files of their own.
import { createBpe } from "./bpe.ts";
import { byteLength } from "./bytes.ts";
import type { TokenModel, ModelPart, WordToken } from "./model.ts";
import { createUnigram } from "./unigram.ts";

/**
 * Creates a model.
 * @throws Error for a type that is not known
 */
export function createModel(part: ModelPart | null | undefined): TokenModel {
  const type = part?.type ?? typeOf(part ?? {});
  if (part?.vocab === undefined) throw new Error(`Unknown TokenizerModel type: ${type}`);
  if (Array.isArray(part.vocab)) return createUnigram(part, part.vocab);
  const ids = new Map(Object.entries(part.vocab as Readonly<Record<string, number>>));
  const unknown = part.unk_token ?? null;
  const unknownId = unknown === null ? -1 : (ids.get(unknown) ?? -1);
  switch (type) {
    case "WordLevel":
      return { ids, unknown, tokenize: (word) => [{ id: ids.get(word) ?? unknownId, ...whole(word) }] };
    case "WordPiece":
      return { ids, unknown, tokenize: wordPieceOf(part, ids, unknownId) };
    case "BPE":
      return { ids, unknown, tokenize: createBpe(part, ids, unknownId) };
    default:
      throw new Error(`Unknown TokenizerModel type: ${type}`);
  }
}

/** Returns the type of a model that names none, as files of older releases. */
function typeOf({ vocab, merges, continuing_subword_prefix: prefix }: ModelPart): string {
  if (Array.isArray(vocab)) return "Unigram";
  return merges !== undefined ? "BPE" : prefix === undefined ? "WordLevel" : "WordPiece";
}

function whole(word: string): Omit<WordToken, "id"> {
  return { start: 0, end: byteLength(word) };
}

/** Finds the longest tokens from the begin on; a word with a part that has none is unknown. */
function wordPieceOf(
  { continuing_subword_prefix: prefix, max_input_chars_per_word: maxLength = 100 }: ModelPart,
  ids: ReadonlyMap<string, number>,
  unknownId: number,
): TokenModel["tokenize"] {
  return (word) => {
    const known = word.length > maxLength ? undefined : ids.get(word);
    if (known !== undefined) return [{ id: known, ...whole(word) }];
    const characters = Array.from(word);
    const unknown = [{ id: unknownId, ...whole(word) }];
    if (characters.length > maxLength) return unknown;
    const tokens: WordToken[] = [];
    let bytes = 0;
    for (let start = 0; start < characters.length;) {
      let end = characters.length;
      let piece = characters.slice(start, end).join("");
      const mark = start === 0 ? "" : (prefix ?? "##");
      while (end > start && !ids.has(mark + piece)) {
        end -= 1;
        piece = piece.slice(0, piece.length - (characters[end] ?? "").length);
      }
      if (end === start) return unknown;
      const length = byteLength(piece);
      tokens.push({ id: ids.get(mark + piece) ?? unknownId, start: bytes, end: bytes + length });
      bytes += length;
      start = end;
    }
    return tokens;
  };
}
