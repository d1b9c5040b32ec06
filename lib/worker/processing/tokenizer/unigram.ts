// A Unigram model: the most probable tokens of a word (T. Kudo, 2018), by the Viterbi algorithm with two numbers a character.
import { byteLength, byteTokensOf } from "./bytes.ts";
import type { TokenModel, ModelPart, WordToken } from "./model.ts";

/** The score of an unknown character below that of the least probable token. */
const UNKNOWN_PENALTY = 10;

/** Creates a model of tokens and their scores. */
export function createUnigram(
  part: ModelPart,
  vocab: readonly (readonly [token: string, score: number])[],
): TokenModel {
  const ids = new Map(vocab.map(([token], id) => [token, id]));
  const unknownId = part.unk_id ?? -1;
  const bestPath = bestPathOf(vocab, ids, unknownId);
  const bytesOf = byteTokensOf(ids);
  const tokenize = (word: string): WordToken[] => {
    let end = 0;
    return bestPath(word).flatMap((token): WordToken[] => {
      const start = end;
      end += byteLength(token);
      const id = ids.get(token);
      const bytes = id === undefined && part.byte_fallback === true ? bytesOf(token) : null;
      return bytes?.map((x) => ({ id: x, start, end })) ?? [{ id: id ?? unknownId, start, end, text: token }];
    });
  };
  return { ids, unknown: vocab[unknownId]?.[0] ?? null, tokenize };
}

/** Returns the function that finds the best tokens of a word; unknown characters that follow one another are one. */
function bestPathOf(
  vocab: readonly (readonly [token: string, score: number])[],
  ids: ReadonlyMap<string, number>,
  unknownId: number,
): (word: string) => string[] {
  let least = Infinity;
  /** The most units of a token, by its first one. */
  const lengths = new Map<number, number>();
  for (const [token, score] of vocab) {
    least = Math.min(least, score);
    const first = token.charCodeAt(0);
    lengths.set(first, Math.max(token.length, lengths.get(first) ?? 0));
  }
  return (word) => {
    const size = word.length;
    const best = new Float64Array(size + 1).fill(-Infinity, 1);
    const [starts, found] = [new Int32Array(size + 1), new Int32Array(size + 1).fill(-1)];
    const reach = (start: number, end: number, id: number, score: number): void => {
      const sum = (best[start] ?? 0) + score;
      if (sum <= (best[end] ?? 0)) return;
      best[end] = sum;
      starts[end] = start;
      found[end] = id;
    };
    for (let start = 0; start < size;) {
      const one = (word.codePointAt(start) ?? 0) > 0xffff ? 2 : 1;
      const most = Math.min(size - start, lengths.get(word.charCodeAt(start)) ?? 0);
      let isKnown = false;
      for (let length = one; length <= most; length += 1) {
        const id = ids.get(word.slice(start, start + length));
        if (id === undefined) continue;
        isKnown ||= length === one;
        reach(start, start + length, id, vocab[id]?.[1] ?? 0);
      }
      if (!isKnown) reach(start, start + one, unknownId, least - UNKNOWN_PENALTY);
      start += one;
    }
    return tokensOf(word, starts, (end) => found[end] === unknownId);
  };
}

function tokensOf(word: string, starts: Int32Array, isUnknown: (end: number) => boolean): string[] {
  const tokens: string[] = [];
  let unknown = "";
  for (let end = word.length; end > 0; end = starts[end] ?? 0) {
    const token = word.slice(starts[end], end);
    if (isUnknown(end)) {
      unknown = token + unknown;
      continue;
    }
    if (unknown !== "") tokens.push(unknown);
    unknown = "";
    tokens.push(token);
  }
  if (unknown !== "") tokens.push(unknown);
  return tokens.reverse();
}
