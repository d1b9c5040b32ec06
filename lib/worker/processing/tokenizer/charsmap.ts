// The normalizer of SentencePiece's models, by the map that tokenizer.json holds (`precompiled_charsmap`): a trie of
// UTF-8 bytes as a double array (Aoe, 1989), and the texts that its leaves point to. The tokenizer's library takes NFKC
// instead, which differs for joined emoji, Korean after NFKD, and maps that fold letters' case.

import type { Aligned, CharacterChange } from "./aligned.ts";
import { transform } from "./aligned.ts";

/** Clusters of at least so many bytes are looked up character by character. */
const CLUSTER_BYTES = 6;
/** Bound on the clusters whose replacement is kept. */
const KNOWN_MAX = 10_000;
/** Plain characters, which form no cluster with another. */
const PLAIN = /^[\x20-\x7e]*$/;

/** Reads a map in base64; null where it is none. */
export function readCharsmap(base64: string): ((text: Aligned) => Aligned) | null {
  const bytes = Uint8Array.from(atob(base64), (x) => x.charCodeAt(0));
  if (bytes.length < 4) return null;
  const view = new DataView(bytes.buffer);
  const size = view.getUint32(0, true);
  if (size === 0 || size % 4 !== 0 || size + 4 > bytes.length) return null;
  const units = Uint32Array.from({ length: size / 4 }, (_, i) => view.getUint32(4 + 4 * i, true));
  const texts = bytes.subarray(4 + size);
  const [encoder, decoder] = [new TextEncoder(), new TextDecoder()];
  const find = (part: string): string | null => {
    const at = leafOf(units, encoder.encode(part));
    if (at === null) return null;
    const end = texts.indexOf(0, at);
    return decoder.decode(texts.subarray(at, end === -1 ? texts.length : end));
  };
  const known = new Map<string, readonly Replaced[]>();
  const replace = (cluster: string): readonly Replaced[] => {
    const own = known.get(cluster);
    if (own !== undefined) return own;
    const whole = encoder.encode(cluster).length < CLUSTER_BYTES ? find(cluster) : null;
    const found =
      whole === null
        ? Array.from(cluster, (x): Replaced => [1, Array.from(find(x) ?? x)])
        : [[Array.from(cluster).length, Array.from(whole)] as const];
    if (known.size < KNOWN_MAX) known.set(cluster, found);
    return found;
  };
  const clusters = new Intl.Segmenter("und", { granularity: "grapheme" });
  return (x) => {
    const parts = PLAIN.test(x.text) ? x.text : Array.from(clusters.segment(x.text), ({ segment }) => segment);
    return transform(x, changesOf(Array.from(parts).flatMap(replace)));
  };
}

/** Characters that take the place of some. */
type Replaced = readonly [before: number, now: readonly string[]];

/** Writes replacements as changes: new characters take the places of the old ones in turn. */
function changesOf(replaced: readonly Replaced[]): CharacterChange[] {
  const changes: CharacterChange[] = [];
  for (const [before, now] of replaced) {
    for (const [i, character] of now.entries()) changes.push([character, Number(i >= before)]);
    const last = changes.at(-1);
    if (now.length < before && last !== undefined) last[1] -= before - now.length;
  }
  return changes;
}

/** Returns the leaf of the shortest key that some bytes begin with; null for none. */
function leafOf(units: Uint32Array, bytes: Uint8Array): number | null {
  const offsetOf = (unit: number): number => (unit >>> 10) << ((unit & 0x200) >>> 6);
  let at = offsetOf(units[0] ?? 0);
  for (const byte of bytes) {
    at ^= byte;
    const unit = units[at];
    // The label, with the bit that only leaves have.
    if (byte === 0 || unit === undefined || (unit & 0x800000ff) !== byte) return null;
    at ^= offsetOf(unit);
    if ((unit & 0x100) !== 0) return (units[at] ?? 0) & 0x7fffffff;
  }
  return null;
}
