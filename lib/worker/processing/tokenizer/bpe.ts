// A BPE model (R. Sennrich et al., 2016): a word's characters, of which the pair with the lowest rank is merged first, of two
// equal ones the left one. Unknown characters are taken out or replaced before anything is merged.
import { byteLength, byteTokensOf } from "./bytes.ts";
import type { TokenModel, ModelPart, WordToken } from "./model.ts";

/** Words whose tokens are kept, and the units of the longest such word. */
const KNOWN_MAX = 10_000;
const KNOWN_LENGTH = 256;
/** Bound on ids, so that a pair of them is a safe integer. */
const ID_MAX = 2 ** 26;

/** A token of a word while it is merged. */
interface BpeSymbol {
  id: number;
  /** In bytes; 0 for one that was merged into the one before. */
  length: number;
  before: number;
  next: number;
}

/** The ranks of pairs, and the tokens that they become, by rank. */
interface Merges {
  readonly ranks: ReadonlyMap<number, number>;
  readonly made: readonly number[];
}

/** Creates the function that finds a word's tokens. */
export function createBpe(
  part: ModelPart,
  ids: ReadonlyMap<string, number>,
  unknownId: number,
): TokenModel["tokenize"] {
  if ((part.dropout ?? 0) !== 0) throw new Error("dropout of a BPE model");
  const merges = readMerges(part, ids);
  const symbolsOf = symbolsOfPart(part, ids, unknownId);
  const known = new Map<string, readonly WordToken[]>();
  return (word) => {
    const own = part.ignore_merges === true ? ids.get(word) : undefined;
    if (own !== undefined) return [{ id: own, start: 0, end: byteLength(word) }];
    const old = known.get(word);
    if (old !== undefined) return old;
    let end = 0;
    const tokens = mergeAll(symbolsOf(word), merges).map(({ id, length }) => ({
      id,
      start: end,
      end: (end += length),
    }));
    if (known.size < KNOWN_MAX && word.length < KNOWN_LENGTH) known.set(word, tokens);
    return tokens;
  };
}

function readMerges({ merges = [], ...part }: ModelPart, ids: ReadonlyMap<string, number>): Merges {
  const prefix = (part.continuing_subword_prefix ?? "").length;
  const idOf = (token: string): number => {
    const id = ids.get(token);
    if (id === undefined || id >= ID_MAX) throw new Error(`merges of a BPE model, whose vocabulary lacks "${token}"`);
    return id;
  };
  const ranks = new Map<number, number>();
  const made = merges.map((merge, rank) => {
    const [a = "", b = ""] = typeof merge === "string" ? merge.split(" ") : merge;
    ranks.set(pairOf(idOf(a), idOf(b)), rank);
    return idOf(a + b.slice(prefix));
  });
  return { ranks, made };
}

function pairOf(a: number, b: number): number {
  return a * ID_MAX + b;
}

/** Returns the function that begins a word: its characters, with what stands for unknown ones. */
function symbolsOfPart(
  part: ModelPart,
  ids: ReadonlyMap<string, number>,
  unknownId: number,
): (word: string) => BpeSymbol[] {
  const { continuing_subword_prefix: prefix, end_of_word_suffix: suffix, unk_token: unknown } = part;
  const bytesOf = part.byte_fallback === true ? byteTokensOf(ids) : () => null;
  return (word) => {
    const symbols: BpeSymbol[] = [];
    const add = (id: number, length: number): void => {
      symbols.push({ id, length, before: symbols.length - 1, next: symbols.length + 1 });
    };
    let skipped = 0;
    const endUnknown = (): void => {
      if (skipped > 0) add(unknownId, skipped);
      skipped = 0;
    };
    for (let at = 0; at < word.length;) {
      const character = String.fromCodePoint(word.codePointAt(at) ?? 0);
      const [isFirst, isLast] = [at === 0, at + character.length === word.length];
      at += character.length;
      const token = `${isFirst ? "" : (prefix ?? "")}${character}${isLast ? (suffix ?? "") : ""}`;
      const length = byteLength(character);
      const id = ids.get(token);
      const bytes = id === undefined ? bytesOf(token) : null;
      if (id !== undefined) {
        endUnknown();
        add(id, length);
      } else if (bytes !== null) for (const byte of bytes) add(byte, 1);
      else if (unknown != null) {
        if (part.fuse_unk !== true) endUnknown();
        skipped += length;
      }
    }
    endUnknown();
    return symbols;
  };
}

/** Merges the symbols of a word. */
function mergeAll(symbols: BpeSymbol[], { ranks, made }: Merges): BpeSymbol[] {
  const count = symbols.length;
  const queue = new NumberHeap();
  const offer = (at: number): void => {
    const [symbol, next] = [symbols[at], symbols[symbols[at]?.next ?? count]];
    const rank = symbol === undefined || next === undefined ? undefined : ranks.get(pairOf(symbol.id, next.id));
    if (rank !== undefined) queue.push(rank * count + at);
  };
  for (let at = 0; at < count - 1; at += 1) offer(at);
  for (let top = queue.pop(); top !== undefined; top = queue.pop()) {
    const id = made[Math.floor(top / count)] ?? 0;
    const at = top % count;
    const symbol = symbols[at];
    const next = symbols[symbol?.next ?? count];
    if (symbol === undefined || symbol.length === 0 || next === undefined) continue;
    // The pair may be another one by now.
    const rank = ranks.get(pairOf(symbol.id, next.id));
    if (rank === undefined || made[rank] !== id) continue;
    symbol.id = id;
    symbol.length += next.length;
    symbol.next = next.next;
    next.length = 0;
    const behind = symbols[next.next];
    if (behind !== undefined) behind.before = at;
    if (symbol.before >= 0) offer(symbol.before);
    offer(at);
  }
  return symbols.filter((x) => x.length > 0);
}

/** A heap of numbers, the least one first. */
class NumberHeap {
  readonly #items: number[] = [];

  push(item: number): void {
    const items = this.#items;
    let at = items.push(item) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = items[parent] ?? 0;
      if (above <= item) break;
      items[at] = above;
      at = parent;
    }
    items[at] = item;
  }

  pop(): number | undefined {
    const items = this.#items;
    const [top] = items;
    const last = items.pop();
    if (top === undefined || last === undefined || items.length === 0) return top;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= items.length) break;
      if ((items[child + 1] ?? Infinity) < (items[child] ?? 0)) child += 1;
      const below = items[child] ?? 0;
      if (below >= last) break;
      items[at] = below;
      at = child;
    }
    items[at] = last;
    return top;
  }
}
