// Searches for the smallest and the fastest model within the budget: how each weight is stored, which sensitive weights
// keep 16 bits, and how much of each group of channels is pruned.
//
// For each storage format that suits the targets, it first finds the fewest weights that must keep 16 bits, then the
// most that can be pruned in addition: both by bisection, along orders that were measured beforehand (sensitivity.ts,
// search-shares.ts). Every candidate is scored on one half of the samples; the best must pass on the held-out
// half too, else the next best is taken. Unchanged float32 always passes, so the search never ends with nothing. All
// scores are kept in a file: an interrupted search resumes from there.
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import type { Feed } from "../run/feeds.ts";
import { writeWhole } from "../onnx/model-file.ts";
import { formsFor } from "../forms/forms.ts";
import type { Form, Target } from "../forms/forms.ts";
import { totalMacs } from "../run/macs.ts";
import type { WrittenModel } from "../onnx/written-model.ts";
import { formOn } from "../forms/prune-forms.ts";
import { Pruner } from "../prune/pruner.ts";
import { judge } from "./search-score.ts";
import type { Judge, Verdict } from "./search-score.ts";
import { measureCosts, PRICES, sharesAt } from "./search-shares.ts";
import type { GroupCost } from "./search-shares.ts";
import { measureSensitivity } from "../run/sensitivity.ts";
import { ortMs } from "../run/ort-session.ts";
import type { Split } from "../run/split.ts";

/** Inputs of a search. */
export interface SearchInput extends Judge {
  /** The simplified model. */
  readonly simple: WrittenModel;
  /** Samples for statistics; part of the first half. */
  readonly feeds: readonly Feed[];
  readonly isSynthetic: boolean;
  readonly targets: readonly Target[];
  /** Number of samples, from the first, that are used during the search. Default half. */
  readonly seen?: number | undefined;
  /** Which samples are used during the search, and which are held out; in place of `seen`. */
  readonly split?: Split | undefined;
  /** The file that stores results, to resume from. */
  readonly statePath: string;
  /** Default 10 minutes. The current candidate is finished, and the best are checked after it. */
  readonly budgetMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress: (line: string) => void;
}

/** One candidate: how it is made, its size, and its score. */
export interface ScoredForm {
  /** Storage format of the weights: the name of a form. */
  readonly form: string;
  /** Number of the most sensitive weights that keep 16 bits. */
  readonly left: number;
  /** The price of pruning, from 0 for none to 25. */
  readonly price: number;
  /** Size of the model in bytes. */
  readonly bytes: number;
  /** Multiply-adds of one run. */
  readonly macs: number;
  /** Score over the samples of the search. */
  readonly score: number;
  /** Whether the score is within the budget. */
  readonly isPassed: boolean;
}

/** Result of a search, for the report. */
export interface SearchOutcome {
  /** All candidates, the smallest first. */
  readonly candidates: readonly ScoredForm[];
  /** The smallest and the fastest that passed on the held-out samples. */
  readonly chosen: readonly (ScoredForm & { readonly id: "searched" | "searched-fast"; readonly heldOut: Verdict })[];
  /** The smallest that stores all weights in one format and prunes nothing, for comparison; null where none passed. */
  readonly uniform: ScoredForm | null;
  /** Names of the weights that keep 16 bits, the most sensitive first. */
  readonly leftAlone: readonly string[];
  /** Whether its time ran out before all candidates were scored. */
  readonly isCutShort: boolean;
  /** Time of the search. */
  readonly seconds: number;
  /** Of these, seconds spent in ONNX Runtime on running models. */
  readonly ortSeconds: number;
  /** Peak memory of the process. */
  readonly peakBytes: number;
}

const BUDGET_MS = 600_000;
/** Number of samples for measuring the cost of pruning and of fewer bits; a quarter where there are few. */
const PROBES = 16;
/** Share of the time budget for measuring sensitivity. */
const MEASURING = 0.25;

/** Searches, and returns the best forms: one, or two where the smallest is not the fastest. */
export async function search(input: SearchInput): Promise<{ forms: Form[]; outcome: SearchOutcome }> {
  return new Search(input).run();
}

interface State {
  readonly key: string;
  readonly scores: Record<string, ScoredForm>;
  costs: GroupCost[] | null;
  sensitive: string[] | null;
}

class Search {
  readonly #input: SearchInput;
  readonly #started = performance.now();
  readonly #ortStarted = ortMs();
  readonly #bases: readonly Form[];
  readonly #split: Pick<Split, "isFitted" | "isScored">;
  readonly #probes: readonly Feed[];
  #state: State;
  #pruner: Pruner | null = null;
  /** The highest price of pruning worth trying. */
  #dearest: number = PRICES;

  constructor(input: SearchInput) {
    this.#input = input;
    this.#bases = formsFor(input.targets);
    const { n } = input.references.samples;
    const half = input.seen ?? (n < 4 ? n : Math.ceil(n / 2));
    this.#split = input.split ?? { isFitted: (i) => i < half, isScored: (i) => i >= half || half === n };
    const { feeds } = input;
    this.#probes = feeds.length < 2 ? feeds : feeds.slice(-Math.min(PROBES, Math.ceil(feeds.length / 4)));
    const hash = createHash("sha256").update(input.simple.model.write());
    hash.update(
      JSON.stringify([n, half, input.split !== undefined, input.metric.name, input.metric.budget, input.isSynthetic]),
    );
    this.#state = { key: hash.digest("hex"), scores: {}, costs: null, sensitive: null };
  }

  async run(): Promise<{ forms: Form[]; outcome: SearchOutcome }> {
    this.#resume();
    const { simple, feeds, isSynthetic, onProgress } = this.#input;
    try {
      // Not on the probes: a reconstruction with more units than samples would fit those as if nothing were lost.
      const fitted = feeds.length < 2 ? feeds : feeds.slice(0, -this.#probes.length);
      this.#pruner = await Pruner.open(simple.model.write(), isSynthetic ? [] : fitted, feeds[0]);
    } catch (error) {
      onProgress(`search: nothing is pruned (${error instanceof Error ? error.message : String(error)})`);
    }
    await this.#measure();
    for (const base of this.#bases) {
      // Unchanged float32 is tried whatever the time, so that at least one candidate passes.
      if (this.#isLate() && base.id !== "f32") break;
      try {
        await this.#along(base);
      } catch (error) {
        onProgress(`search: ${base.id} is skipped (${error instanceof Error ? error.message : String(error)})`);
      }
    }
    return this.#finish();
  }

  /** Finds the fewest weights that must keep 16 bits, then the most that can be pruned. */
  async #along(base: Form): Promise<void> {
    const most = base.id === "f32" || base.id === "f16" ? 0 : (this.#state.sensitive?.length ?? 0);
    const left = await this.#least(0, most, (x) => this.#try(base, x, 0));
    if (left === null) return;
    // A form that changes nothing equals the one that was tried before.
    const { bytes } = await this.#try(base, left, 0);
    const isSame = (x: ScoredForm): boolean =>
      x.form !== base.id && x.bytes === bytes && x.left === left && x.price === 0;
    if (Object.values(this.#state.scores).some((x) => isSame(x) && x.form !== "f32")) return;
    // If float32 fails, fewer bits fail too.
    let [low, high] = [0, (this.#state.costs?.length ?? 0) === 0 ? 0 : this.#dearest];
    while (low < high && !this.#isLate()) {
      const middle = Math.ceil((low + high) / 2);
      if ((await this.#try(base, left, middle)).isPassed) low = middle;
      else high = middle - 1;
    }
    if (base.id === "f32") this.#dearest = low;
  }

  /** Finds the least number that passes, by doubling and then bisection; null where none does. */
  async #least(from: number, to: number, attempt: (x: number) => Promise<ScoredForm>): Promise<number | null> {
    if ((await attempt(from)).isPassed) return from;
    let [failed, passed] = [from, -1];
    for (let x = 1; x <= to && !this.#isLate(); x = Math.min(x * 2, Math.max(to, x + 1))) {
      if ((await attempt(x)).isPassed) {
        passed = x;
        break;
      }
      failed = x;
    }
    if (passed === -1) return null;
    while (passed - failed > 1 && !this.#isLate()) {
      const middle = Math.floor((passed + failed) / 2);
      if ((await attempt(middle)).isPassed) passed = middle;
      else failed = middle;
    }
    return passed;
  }

  async #try(base: Form, left: number, price: number): Promise<ScoredForm> {
    // The effect of a price depends on the costs that it is compared with.
    const costs = price === 0 ? 0 : (this.#state.costs?.length ?? 0);
    const key = [base.id, left, price, costs].join(" ");
    const known = this.#state.scores[key];
    if (known !== undefined) return known;
    const { bytes, macs } = await this.#build(base, left, price);
    const verdict = await judge(bytes, base.session, this.#input, this.#split.isFitted, { isHasty: true });
    const { score, isPassed } = verdict;
    const candidate = { form: base.id, left, price, bytes: bytes.length, macs, score, isPassed };
    this.#state.scores[key] = candidate;
    const told = `${base.id}, ${left} weights left, pruning at ${price} of ${PRICES}: ${bytes.length} bytes`;
    this.#input.onProgress(`search: ${told}, ${score.toFixed(4)}, ${isPassed ? "passed" : "failed"}`);
    await this.#save();
    return candidate;
  }

  async #build(
    base: Form,
    left: number,
    price: number,
  ): Promise<{ bytes: Uint8Array<ArrayBuffer>; macs: number; form: Form }> {
    const { simple, feeds, isSynthetic, targets } = this.#input;
    // A GPU's kernels read channels 4 at a time.
    const multipleOf = targets.some((x) => x !== "wasm") ? 4 : 1;
    const pruned =
      price === 0 || this.#pruner === null
        ? simple.model
        : (await this.#pruner.prune({ share: 0, groups: sharesAt(this.#state.costs ?? [], price), multipleOf })).model;
    const names = new Set(this.#state.sensitive?.slice(0, left));
    const form = formOn(base, "searched", pruned, (name) => names.has(name));
    const model = simple.model.copy();
    await form.make(model, feeds, { isSynthetic });
    const [feed] = feeds;
    return { form, bytes: model.write(), macs: feed === undefined ? 0 : await totalMacs(pruned, feed) };
  }

  async #measure(): Promise<void> {
    const { simple, signal, onProgress } = this.#input;
    const ends = performance.now() + this.#budgetMs() * MEASURING;
    onProgress("search: measuring the sensitivity of each weight and each channel group");
    if (this.#state.sensitive === null) {
      const budgetMs = Math.max(1_000, (ends - performance.now()) / 2);
      const rows = await measureSensitivity(simple.model, this.#probes.slice(0, 4), { budgetMs, signal }).catch(
        () => [],
      );
      this.#state.sensitive = rows.map((x) => x.name);
    }
    if (this.#pruner !== null) {
      // Measures groups for which time did not suffice before.
      const known = this.#state.costs ?? [];
      const isLate = (): boolean => performance.now() > ends;
      this.#state.costs = await measureCosts(simple, this.#pruner, this.#probes, isLate, known).catch(() => known);
    }
    await this.#save();
  }

  /** Takes the smallest and the fastest that pass on the held-out samples. */
  async #finish(): Promise<{ forms: Form[]; outcome: SearchOutcome }> {
    const { onProgress } = this.#input;
    const isCutShort = this.#isLate();
    const all = Object.values(this.#state.scores).sort((a, b) => a.bytes - b.bytes || a.macs - b.macs);
    const passed = all.filter((x) => x.isPassed);
    const fast = [...passed].sort((a, b) => a.macs - b.macs || a.bytes - b.bytes);
    const forms: Form[] = [];
    const chosen: SearchOutcome["chosen"][number][] = [];
    for (const [id, list] of [
      ["searched", passed],
      ["searched-fast", fast],
    ] as const)
      for (const candidate of list) {
        if (chosen.some((x) => x.form === candidate.form && x.left === candidate.left && x.price === candidate.price))
          break;
        const base = this.#bases.find((x) => x.id === candidate.form);
        if (base === undefined) continue;
        const { bytes, form } = await this.#build(base, candidate.left, candidate.price);
        const heldOut = await judge(bytes, base.session, this.#input, this.#split.isScored);
        if (!heldOut.isPassed && !(candidate.form === "f32" && candidate.price === 0)) {
          onProgress(`search: ${candidate.form} at ${candidate.bytes} bytes fails on the held-out half of the samples`);
          continue;
        }
        chosen.push({ ...candidate, id, heldOut });
        // Made again from the calibration samples, not from the held-out ones.
        const { feeds, isSynthetic } = this.#input;
        forms.push({ ...form, id, make: (model) => form.make(model, feeds, { isSynthetic }) });
        break;
      }
    const uniform = passed.find((x) => x.left === 0 && x.price === 0) ?? null;
    const most = Math.max(0, ...chosen.map((x) => x.left));
    const leftAlone = this.#state.sensitive?.slice(0, most) ?? [];
    const seconds = Number(((performance.now() - this.#started) / 1000).toFixed(1));
    const ortSeconds = Number(((ortMs() - this.#ortStarted) / 1000).toFixed(3));
    const peakBytes = process.resourceUsage().maxRSS * 1024;
    const outcome = { candidates: all, chosen, uniform, leftAlone, isCutShort, seconds, ortSeconds, peakBytes };
    return { forms, outcome };
  }

  #budgetMs(): number {
    return this.#input.budgetMs ?? BUDGET_MS;
  }

  #isLate(): boolean {
    return performance.now() - this.#started > this.#budgetMs() || this.#input.signal?.aborted === true;
  }

  #resume(): void {
    const { statePath, onProgress } = this.#input;
    if (!existsSync(statePath)) return;
    try {
      const state = JSON.parse(readFileSync(statePath, "utf8")) as State;
      if (state.key !== this.#state.key) return;
      this.#state = state;
      onProgress(`search: resuming with ${Object.keys(state.scores).length} candidates`);
    } catch {
      onProgress(`search: ${statePath} cannot be read, so the search starts over`);
    }
  }

  async #save(): Promise<void> {
    await writeWhole(this.#input.statePath, [new TextEncoder().encode(JSON.stringify(this.#state))]);
  }
}
