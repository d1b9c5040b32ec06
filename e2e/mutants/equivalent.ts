// Automatic mutants that no test can notice, since they change nothing that can be seen, each with the reason.

const EMPTY = "a shortcut for the usual case: nothing is in an empty map either";
const NONE = "for the compiler: nothing is less than undefined, or undefined less than anything";

/** Mutants of one file, as auto.ts writes its survivors, without the number of the line: the reason of each. */
export const EQUIVALENT: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  "lib/pool/gpu-loss-ledger.ts": {
    '"" → "Stryker was here!" in this.#losses = (effects.memo.get(KEY) ?? "").split(" ").map(Number);':
      "words that are no numbers never count",
  },
  "lib/schedule/back-offs.ts": {
    "this.#known.size > 0 → true in return this.#known.size > 0 && (isBarred(lane) || isBarred(`${lane} ${": EMPTY,
    "this.#known.size > 0 → this.#known.size >= 0 in return this.#known.size > 0 && (isBarred(lane) || isBarred(`${lane} ${":
      EMPTY,
  },
  "lib/schedule/explain-start.ts": {
    "one !== undefined && together !== undefined → true in return one !== undefined && together !== undefined && together < one *":
      NONE,
    "one !== undefined && together !== undefined → one !== undefined || together !== undefined in return one !== undefined && together !== undefined && together < one *":
      NONE,
    "one !== undefined → true in return one !== undefined && together !== undefined && together < one *": NONE,
    "together !== undefined → true in return one !== undefined && together !== undefined && together < one *": NONE,
  },
  "lib/schedule/heap.ts": {
    "item === undefined → false in if (item === undefined || !passed.has(item)) return item;":
      "for the compiler: undefined is not in `passed`, and is returned as well",
  },
  "lib/schedule/recover.ts": {
    "code === null → false in if (code === null || !(LANE_DIED.has(code) || LANE_UNFIT.has(code))) r":
      "for the compiler: null is in neither set, so it rejects as well",
  },
};
