// Rechecks a golden check's comparison before its result refuses the GPU. WebAssembly runs the whole batch, and inputs that
// are changed by a rounding error. A correct GPU may differ by rounding alone, where an output is a sum of many values
// that is nearly zero. A model may mix the rows of a batch, and padded rows have another answer than alone. golden-check.ts
// imports this module where an answer would be refused, or rows are mixed or padded.
import { faultOf, isTelling } from "../core/compare-outputs.ts";
import type { Tensors } from "../core/compare-outputs.ts";
import { NUDGE_COUNT, effectsOf, nudged, roundingOf } from "../core/tolerances.ts";
import type { Feeds } from "../rpc/messages.ts";
import type { KnownAnswers } from "./known-answers.ts";
import type { Answered } from "./shape-class.ts";

/** Comparisons of the golden check. */
export interface Comparisons {
  /** Returns what is wrong with outputs in comparison to the expected ones. */
  readonly fault: (outputs: Tensors, expected: Tensors) => Promise<string | null>;
  /** Whether outputs distinguish a right computation from a wrong one. */
  readonly tells: (outputs: Tensors) => boolean;
  /** Returns the GPU's outputs of requests, undefined for one that failed. */
  readonly onGpu: (items: readonly Feeds[]) => Promise<readonly (Tensors | undefined)[]>;
  /** Called for a row that could not be compared. */
  readonly onMissing: () => void;
}

/** Returns wasm's outputs for one of several changes of the inputs; null where none can be changed, undefined where it fails. */
type Changed = (round: number) => Promise<Tensors | null | undefined>;

/** Rechecks one request or batch. */
export class SecondLook {
  readonly #known: KnownAnswers;
  readonly #random: readonly string[];
  readonly #isHalf: () => boolean;
  /** Wasm's outputs of a batch for each change of its inputs, once they are needed. */
  readonly #changed: Promise<readonly (Tensors | undefined)[] | null>[] = [];
  readonly #onUnexplained: () => void;

  /** @param onUnexplained - called for a difference that could not be explained, since wasm failed for the nudged inputs */
  constructor(known: KnownAnswers, random: readonly string[], isHalf: () => boolean, onUnexplained: () => void) {
    this.#known = known;
    this.#random = random;
    this.#isHalf = isHalf;
    this.#onUnexplained = onUnexplained;
  }

  /** Whether rounding may explain how a step of a request differs from wasm's, which then proves nothing. */
  async ofStep(feeds: Feeds, step: number, outputs: Tensors, expected: Tensors): Promise<boolean> {
    const onWasm = async (one: Feeds): Promise<Tensors | undefined> => (await this.#known.probe([one]))?.[0];
    return this.#explains(outputs, expected, async (round) => {
      const [changed] = nudgedAll([feeds], round) ?? [null];
      return changed && (await this.#known.steps(changed, onWasm))?.[step];
    });
  }

  /** Whether rounding may explain how a row of a batch differs from wasm's; all calls are about one batch. */
  async #ofRow(
    items: readonly Feeds[],
    isTogether: boolean,
    row: number,
    outputs: Tensors,
    expected: Tensors,
  ): Promise<boolean> {
    return this.#explains(outputs, expected, async (round) => {
      const changed = await (this.#changed[round] ??= this.#onWasm(items, isTogether, round));
      return changed && changed[row];
    });
  }

  /**
   * Compares rows of a batch with the same ones of wasm's: a model that mixes its rows, as one that quantises by the
   * largest value of a batch, does so there too.
   */
  async ofMixed(
    batch: readonly Answered[],
    rows: readonly Answered[],
    { fault, tells }: Comparisons,
  ): Promise<"wrong" | "right" | "unproven"> {
    const items = batch.map(({ feeds }) => feeds);
    const expected = await this.#known.onWasm(items);
    let isProof = true;
    for (const one of rows) {
      const row = batch.indexOf(one);
      const reference = expected?.[row];
      if (reference === undefined) return "wrong";
      isProof &&= tells(reference);
      if ((await fault(one.outputs, reference)) === null) continue;
      if (!(await this.#ofRow(items, false, row, one.outputs, reference))) return "wrong";
      isProof = false;
    }
    return isProof ? "right" : "unproven";
  }

  /**
   * Compares the padded rows of a batch with the same ones of wasm's; `widest` has the others. Returns what is wrong, null
   * where all are right, undefined where that proves nothing.
   */
  async ofPadded(
    batch: readonly Answered[],
    widest: readonly Answered[],
    { fault, onGpu, onMissing }: Comparisons,
  ): Promise<string | null | undefined> {
    const same = await Promise.all(batch.map((one) => this.#known.alike(one)));
    const isOwn = same.every((feeds, i) => feeds === batch[i]?.feeds);
    const feeds = same.filter((x) => x !== null);
    const expected = feeds.length === batch.length ? await this.#known.onWasm(feeds, true) : null;
    const own = isOwn || expected === null ? batch.map(({ outputs }) => outputs) : await onGpu(feeds);
    let isProof = true;
    for (const [row, one] of batch.entries()) {
      const [outputs, reference] = [own[row], expected?.[row]];
      if (widest.includes(one)) continue;
      if (outputs === undefined || reference === undefined) {
        onMissing();
        continue;
      }
      const found = await fault(outputs, reference);
      if (found === null) continue;
      if (!(await this.#ofRow(feeds, true, row, outputs, reference))) return found;
      isProof = false;
    }
    return isProof ? null : undefined;
  }

  async #onWasm(
    items: readonly Feeds[],
    isTogether: boolean,
    round: number,
  ): Promise<readonly (Tensors | undefined)[] | null> {
    const changed = nudgedAll(items, round);
    return changed && ((await this.#known.probe(changed, isTogether)) ?? []);
  }

  async #explains(outputs: Tensors, expected: Tensors, changedBy: Changed): Promise<boolean> {
    const [floors, usual, isHalf] = [await this.#known.floors(expected), await this.#known.usual(), this.#isHalf()];
    const effects = new Map<string, number>();
    for (let round = 0; round < NUDGE_COUNT; round += 1) {
      const changed = await changedBy(round);
      for (const [name, effect] of effectsOf(expected, changed ?? {}))
        effects.set(name, Math.max(effects.get(name) ?? 0, effect));
      const rounding = Object.fromEntries(
        Object.keys(expected).map((name) => {
          const given = outputs[name];
          // A kernel that fails outputs zeros alone, which no rounding does.
          const isLost = given !== undefined && !isTelling({ [name]: given }, this.#random);
          const size = floors?.[name] === undefined ? usual.get(name) : 0;
          return [name, roundingOf(isLost ? 0 : effects.get(name), size, isHalf)];
        }),
      );
      if (faultOf(outputs, expected, isHalf, { floors, rounding, random: this.#random }) === null) return true;
      if (changed === undefined) this.#onUnexplained();
      if (!changed) break;
    }
    return false;
  }
}

/** Returns requests with each float32 value changed by its rounding; null where they hold none. */
function nudgedAll(items: readonly Feeds[], round: number): readonly Feeds[] | null {
  const changed = items.map(({ tensors, others }) => ({ tensors: nudged(tensors, round), others }));
  if (changed.every(({ tensors }) => tensors === null)) return null;
  return changed.map(({ tensors, others }, i) => ({ tensors: tensors ?? items[i]?.tensors ?? {}, others }));
}
