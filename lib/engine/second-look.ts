// A second look at a golden check's comparisons, by wasm's answers to the whole batch and to nudged inputs: a right GPU may
// differ by rounding alone, in sums of many values that are nearly zero by chance; a model may mix the rows of a batch, and
// padded rows have another answer alone. Imported by golden-check.ts where there are such, or an answer would be refused.
import { faultOf, isTelling, largestOf, numbersOf, TOLERANCE } from "../core/compare-outputs.ts";
import type { Tensors } from "../core/compare-outputs.ts";
import { nudged, widened } from "../core/other-floors.ts";
import type { Feeds } from "../rpc/messages.ts";
import type { KnownAnswers } from "./known-answers.ts";
import type { Answered } from "./shape-class.ts";

/** Comparisons of the golden check. */
export interface Comparisons {
  /** Returns what is wrong with outputs in comparison to the expected ones. */
  readonly fault: (outputs: Tensors, expected: Tensors) => Promise<string | null>;
  /** Whether outputs tell a right computation from a wrong one. */
  readonly tells: (outputs: Tensors) => boolean;
  /** Returns the GPU's outputs of requests, undefined for one that failed. */
  readonly onGpu: (items: readonly Feeds[]) => Promise<readonly (Tensors | undefined)[]>;
  /** Called for a row that could not be compared. */
  readonly onMissing: () => void;
}

/** A second look at one request or batch. */
export class SecondLook {
  readonly #known: KnownAnswers;
  readonly #random: readonly string[];
  readonly #isHalf: () => boolean;
  /** Wasm's outputs of a batch with nudged inputs, once they are needed. */
  #changed: Promise<readonly (Tensors | undefined)[] | null> | null = null;
  readonly #onBlind: () => void;

  /** @param onBlind - called for a difference that could not be explained, since wasm failed for the nudged inputs */
  constructor(known: KnownAnswers, random: readonly string[], isHalf: () => boolean, onBlind: () => void) {
    this.#known = known;
    this.#random = random;
    this.#isHalf = isHalf;
    this.#onBlind = onBlind;
  }

  /** Whether rounding may explain how a step of a request differs from wasm's, which then proves nothing. */
  async ofStep(feeds: Feeds, step: number, outputs: Tensors, expected: Tensors): Promise<boolean> {
    const [changed] = nudgedAll([feeds]) ?? [];
    const onWasm = async (one: Feeds): Promise<Tensors | undefined> => (await this.#known.probe([one]))?.[0];
    const steps = changed && (await this.#known.steps(changed, onWasm));
    return this.#explains(outputs, expected, changed === undefined ? null : steps?.[step]);
  }

  /** Whether rounding may explain how a row of a batch differs from wasm's; all calls are about one batch. */
  async #ofRow(
    items: readonly Feeds[],
    isTogether: boolean,
    row: number,
    outputs: Tensors,
    expected: Tensors,
  ): Promise<boolean> {
    this.#changed ??= this.#onWasm(items, isTogether);
    const changed = await this.#changed;
    return this.#explains(outputs, expected, changed === null ? null : changed[row]);
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

  async #onWasm(items: readonly Feeds[], isTogether: boolean): Promise<readonly (Tensors | undefined)[] | null> {
    const changed = nudgedAll(items);
    return changed && ((await this.#known.probe(changed, isTogether)) ?? []);
  }

  /** @param changed - the expected outputs for nudged inputs; null where none could be nudged, undefined where wasm failed */
  async #explains(outputs: Tensors, expected: Tensors, changed: Tensors | null | undefined): Promise<boolean> {
    const [floors, usual, isHalf] = [await this.#known.floors(expected), await this.#known.usual(), this.#isHalf()];
    const bounds = { ...widened(floors, usual, expected, changed ?? null, isHalf), random: this.#random };
    const isExplained = faultOf(outputs, expected, isHalf, bounds) === null && !this.#isLost(outputs, expected, usual);
    if (!isExplained && changed === undefined) this.#onBlind();
    return isExplained;
  }

  /**
   * Whether an output is all zeros where the expected one is not nearly zero beside its usual size: a sum may cancel out, a
   * kernel that fails gives zeros for all.
   */
  #isLost(outputs: Tensors, expected: Tensors, usual: ReadonlyMap<string, number>): boolean {
    return Object.entries(expected).some(([name, tensor]) => {
      const given = outputs[name];
      const least = TOLERANCE[this.#isHalf() ? "float16" : "float32"] * (usual.get(name) ?? 0);
      if (given === undefined || !tensor.dtype.startsWith("float") || largestOf(numbersOf(tensor)) <= least)
        return false;
      return !isTelling({ [name]: given }, this.#random);
    });
  }
}

/** Returns requests with each float32 value changed by its rounding; null where they hold none. */
function nudgedAll(items: readonly Feeds[]): readonly Feeds[] | null {
  const changed = items.map(({ tensors, others }) => ({ tensors: nudged(tensors), others }));
  if (changed.every(({ tensors }) => tensors === null)) return null;
  return changed.map(({ tensors, others }, i) => ({ tensors: tensors ?? items[i]?.tensors ?? {}, others }));
}
