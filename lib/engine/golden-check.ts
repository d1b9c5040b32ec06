// Golden check: compares a variant's answers on this GPU with known ones before a request gets any. GPUs, drivers and
// kernels may compute wrongly without an error. Imported by check-gpu.ts.
//
// - A lane that has loaded the variant runs the bundle's golden (`Golden` in core/bundle.ts) first. For a bare model wasm
//   makes one, in a worker that ends before the GPU loads the model unless requests may run there.
// - Kernels are chosen by sizes, so the first batch of each class of shapes (shape-class.ts) is compared before it is
//   answered: each row with its answer alone or in batches of a class that passed; a request of another shape than the
//   golden's with wasm.
// - After an hour of use the golden runs again, once no request is queued or running.
//
// Results are stored (check-memo.ts), so that later pages run nothing more.
import type { AdapterFacts } from "../core/device.ts";
import { CheckMemo } from "./check-memo.ts";
import { faultOf, isTelling } from "../core/compare-outputs.ts";
import type { Tensors } from "../core/compare-outputs.ts";
import type { Effects } from "../effects/effects.ts";
import { SelvedgeError } from "../core/errors.ts";
import { KnownAnswers, outputsIn } from "./known-answers.ts";
import type { AnswerParts, KnownRun } from "./known-answers.ts";
import type { AnswerCheck, Feeds, Ran, RunItems } from "../rpc/messages.ts";
import type { Comparisons, SecondLook } from "./second-look.ts";
import { classOf, widestOf } from "./shape-class.ts";
import type { Answered } from "./shape-class.ts";

/** Time of use after which the golden runs again, in ms, and how long after a batch the engine is seen to be idle. */
export const REPEAT_MS = 3_600_000;
export const IDLE_MS = 1_000;

/** Comparisons of a class that prove nothing, as with a reference of zeros alone, after which no more are made. */
const TRIES_MAX = 8;

/** Result of a comparison: what is wrong, null where all is right; undefined where it proves nothing. */
type Found = string | null | undefined;

/** A run on a lane that there is not. */
const NOTHING: Ran = { items: [], runs: 0, preprocessMs: 0, runMs: 0, decodeMs: 0 };

/** Collaborators of a check, and what it is about. */
export interface CheckParts extends AnswerParts {
  readonly effects: Effects;
  /** Facts of the adapter; null where they are unknown. */
  readonly gpu: AdapterFacts | null;
  /** Identity of the bundle. */
  readonly identity: string;
  /** Names of outputs that are declared random. */
  readonly random: readonly string[];
  /** Reads the model's own file. */
  readonly model: () => Promise<Blob>;
  /** Whether no request is queued or running. */
  readonly isIdle: () => boolean;
  /** Called once, when the GPU has computed wrongly. */
  readonly onRefused: (error: SelvedgeError) => void;
}

/** Checks the answers of one variant on the GPU. */
export class GoldenCheck implements AnswerCheck {
  readonly #parts: CheckParts;
  readonly #known: KnownAnswers;
  readonly #memo: CheckMemo;
  #refused: SelvedgeError | null = null;
  #hasGoldenRun = false;
  /** Classes of shapes that passed, and those that could not be checked on this page. */
  #passed: Set<string> = new Set();
  readonly #unchecked: Set<string> = new Set();
  /** Number of inconclusive comparisons, by class. */
  readonly #tries: Map<string, number> = new Map();
  /** Comparisons in progress, by class. */
  readonly #running: Map<string, Promise<void>> = new Map();
  /** Whether the variant computes in float16; null until a comparison depends on it. */
  #isHalf: boolean | null;
  /** Whether a comparison could not be rechecked (second-look.ts): what it refuses may be right, and is not stored. */
  #isUnexplained = false;
  #checkedMs: number;
  #isRepeatDue = false;

  constructor(parts: CheckParts) {
    const { effects, gpu, identity, variant } = parts;
    const device = [gpu?.vendor, gpu?.architecture, gpu?.description, effects.facts.browser].join("|");
    this.#parts = parts;
    this.#known = new KnownAnswers(parts);
    this.#memo = new CheckMemo(effects, `${identity}/${variant.id}/${device}`);
    this.#checkedMs = effects.now();
    this.#isHalf = variant.needs.includes("shader-f16") || (parts.read === null ? null : false);
    const { fault = "" } = this.#memo.recall() ?? {};
    if (fault !== "") this.#refused = refusal(variant.id, fault);
  }

  /** The error `wrong-result` of a variant that was refused here, on this page or within the last day; else null. */
  get refused(): SelvedgeError | null {
    return this.#refused;
  }

  /**
   * Makes the known answer of a variant without a golden, before the GPU loads it, unless it passed before.
   * @throws SelvedgeError `wrong-result` where wasm can't run the variant, unless the caller allows that
   */
  async prepare(): Promise<void> {
    if (this.#parts.read === null && this.#memo.recall() === null) await this.#known.make();
  }

  /**
   * Runs the golden on a lane that has just loaded the variant, unless it passed before.
   * @throws SelvedgeError `wrong-result` for a wrong answer; rejects as the lane's runs do
   */
  async loaded(run: RunItems): Promise<void> {
    const known = this.#memo.recall();
    this.#passed = new Set(known?.passed); // none after a lost device
    this.#hasGoldenRun = known?.hasGoldenRun ?? false;
    if (known?.fault === "" && (this.#hasGoldenRun || this.#parts.read === null)) return;
    const unchecked = await this.#runGolden(run);
    if (this.#parts.read !== null) this.#parts.onUnchecked(unchecked);
  }

  /**
   * Compares a batch that a lane has just run, where its class of shapes has not passed; null where it has.
   * @throws SelvedgeError `wrong-result` for a wrong answer; rejects as the lane's runs do
   */
  answered(items: readonly Feeds[], ran: Ran, run: RunItems): Promise<void> | null {
    if (this.#refused !== null) return Promise.reject(this.#refused);
    this.#repeatLater();
    const answeredAt = (i: number): Answered[] => {
      const [feeds, reply] = [items[i], ran.items[i]];
      if (feeds === undefined || reply?.ok !== true) return [];
      return [{ feeds, outputs: reply.value.outputs, dims: ran.dims?.[i] ?? null }];
    };
    const groups = (ran.groups ?? [[...items.keys()]]).map((places) => places.flatMap(answeredAt));
    const open = groups.filter((group) => group.length > 0 && !this.#isKnown(this.#classOf(group)));
    return open.length === 0 ? null : this.#compareAll(open, run);
  }

  async #compareAll(groups: readonly (readonly Answered[])[], run: RunItems): Promise<void> {
    for (const group of groups) {
      const [first] = group as readonly [Answered];
      await this.#once(group, () =>
        group.length === 1 ? this.#compareOne(first, run) : this.#compareRows(group, run),
      );
    }
  }

  /** Compares the first batch of a class of shapes; others of that class wait for it. */
  async #once(group: readonly Answered[], compare: () => Promise<Found>): Promise<void> {
    const shape = this.#classOf(group);
    if (this.#isKnown(shape)) return;
    const work = async (): Promise<void> => {
      this.#isUnexplained = false;
      const found = await compare();
      if (this.#refused !== null) throw this.#refused;
      if (typeof found === "string") throw this.#refuse(found, !this.#isUnexplained);
      if (found === undefined) this.#countTry(shape);
      if (found === undefined || this.#unchecked.has(shape)) return;
      this.#passed.add(shape);
      this.#rememberPass();
    };
    const coming = this.#running.get(shape) ?? work().finally(() => this.#running.delete(shape));
    this.#running.set(shape, coming);
    await coming;
  }

  /**
   * Compares the rows of a batch with their answers alone, or in smaller batches of a class that passed; padded ones with
   * wasm's batch, since they have another answer alone. Answers that could not be compared themselves prove nothing about
   * the batch.
   */
  async #compareRows(batch: readonly Answered[], run: RunItems): Promise<Found> {
    const all = widestOf(this.#parts.shapes(), batch);
    const [first] = all as readonly [Answered];
    const [outputs = {}] = await outputsOf(run, [first.feeds]);
    const alone = [{ ...first, outputs }];
    const compareAlone = (): Promise<Found> => this.#compareOne(alone[0] as Answered, run);
    // A batch without rows is of the class of each of its requests, whose comparison is this one.
    const isSame = this.#classOf(alone) === this.#classOf(batch);
    const own = isSame ? await compareAlone() : await this.#once(alone, compareAlone).then(() => null);
    if (typeof own === "string") return own;
    if (this.#unchecked.has(this.#classOf(alone))) this.#unchecked.add(this.#classOf(batch));
    let isProof = isSame ? own === null : this.#passed.has(this.#classOf(alone));
    const half = Math.ceil(all.length / 2);
    const expected = [...(await this.#apart(all.slice(0, half), run)), ...(await this.#apart(all.slice(half), run))];
    if (expected.includes(undefined)) this.#leaveUnchecked(batch, "a batch could not be compared");
    const comparisons: Comparisons = {
      fault: (own, wanted) => this.#faultOf(own, wanted),
      tells: (wanted) => this.#tells(wanted),
      onGpu: (items) => outputsOf(run, items),
      onMissing: () => {
        this.#leaveUnchecked(batch, "a batch could not be compared");
      },
    };
    for (const [i, one] of all.entries()) {
      const reference = expected[i];
      const fault = reference === undefined ? null : await this.#faultOf(one.outputs, reference);
      isProof &&= this.#tells(reference);
      if (fault === null) continue;
      const mixed = await (await this.#secondLook())?.ofMixed(batch, all, comparisons);
      if (mixed === undefined || mixed === "wrong") return `${fault} in a batch of ${batch.length}`;
      isProof = mixed === "right";
      break;
    }
    const padded =
      all.length === batch.length ? null : await (await this.#secondLook())?.ofPadded(batch, all, comparisons);
    if (typeof padded === "string") return `${padded} in a batch of ${batch.length}`;
    return isProof && padded === null ? null : undefined;
  }

  /** Returns the outputs of requests, batched no further than was checked. */
  async #apart(batch: readonly Answered[], run: RunItems): Promise<readonly (Tensors | undefined)[]> {
    const isChecked = batch.length === 1 || this.#passed.has(this.#classOf(batch));
    if (batch.length === 0 || isChecked)
      return outputsOf(
        run,
        batch.map(({ feeds }) => feeds),
      );
    const half = batch.length >> 1;
    return [...(await this.#apart(batch.slice(0, half), run)), ...(await this.#apart(batch.slice(half), run))];
  }

  /** Compares one request with wasm, and the step after it where the model has a state. */
  async #compareOne(one: Answered, run: RunItems): Promise<Found> {
    const same = await this.#known.alike(one);
    let isAble = same !== null;
    const onWasm = async (feeds: Feeds): Promise<Tensors | undefined> => {
      const outputs = await this.#known.onWasm([feeds]);
      isAble = outputs !== null;
      return outputs?.[0];
    };
    const expected = same && (await this.#known.steps(same, onWasm));
    if (same === null || expected === null) {
      this.#note("a shape could not be compared with wasm");
      if (!isAble) this.#unchecked.add(this.#classOf([one]));
      return undefined; // wasm refuses this request, and may not refuse the next
    }
    const onGpu = async (feeds: Feeds): Promise<Tensors | undefined> => (await outputsOf(run, [feeds]))[0];
    const own = same === one.feeds ? [one.outputs] : await this.#known.steps(same, onGpu);
    let isProof = expected.every((outputs) => this.#tells(outputs));
    for (const [i, outputs] of expected.entries()) {
      const fault = await this.#faultOf(own?.[i] ?? {}, outputs);
      if (fault === null) continue;
      const look = await this.#secondLook();
      if ((await look?.ofStep(same, i, own?.[i] ?? {}, outputs)) !== true) return fault;
      isProof = false;
    }
    return isProof ? null : undefined;
  }

  /** Returns a second look at one request or batch; null where it could not be fetched. */
  async #secondLook(): Promise<SecondLook | null> {
    const { random } = this.#parts;
    const onUnexplained = (): void => {
      this.#isUnexplained = true;
    };
    return import("./second-look.ts").then(
      (x) => new x.SecondLook(this.#known, random, () => this.#isHalf === true, onUnexplained),
      () => {
        onUnexplained();
        return null;
      },
    );
  }

  #leaveUnchecked(batch: readonly Answered[], why: string): void {
    this.#unchecked.add(this.#classOf(batch));
    this.#note(why);
  }

  #note(why: string): void {
    if (!this.#known.isAlone) this.#parts.onUnchecked(why);
  }

  /** Counts an inconclusive comparison; after some the class is answered unchecked. */
  #countTry(shape: string): void {
    const tries = (this.#tries.get(shape) ?? 0) + 1;
    this.#tries.set(shape, tries);
    if (tries < TRIES_MAX) return;
    this.#unchecked.add(shape);
    this.#note("comparisons of a shape were inconclusive");
  }

  /** Whether outputs distinguish a right computation from a wrong one. */
  #tells(outputs: Tensors = {}): boolean {
    return isTelling(outputs, this.#parts.random);
  }

  /** Compares the golden's outputs. Returns why they could not be, or null where they are right. */
  async #runGolden(run: RunItems): Promise<string | null> {
    const golden = await this.#known.golden();
    if (typeof golden === "string") return golden;
    let last: Tensors = {};
    for (const known of golden) {
      [last = {}] = await outputsOf(run, [this.#known.after(last, known.feeds)]);
      const fault = await this.#faultOf(last, known.outputs, known);
      if (fault !== null) throw this.#refuse(fault);
      if (this.#tells(known.outputs)) this.#passed.add(this.#classOf([known]));
    }
    this.#hasGoldenRun = true;
    this.#rememberPass();
    return null;
  }

  #rememberPass(): void {
    this.#memo.remember({ fault: "", passed: [...this.#passed], hasGoldenRun: this.#hasGoldenRun });
  }

  #repeatLater(): void {
    const { effects } = this.#parts;
    if (this.#isRepeatDue || effects.now() - this.#checkedMs < REPEAT_MS) return;
    this.#isRepeatDue = true;
    effects.setTimer(() => {
      this.#isRepeatDue = false;
      if (this.#parts.isIdle()) void this.#repeat();
    }, IDLE_MS);
  }

  async #repeat(): Promise<void> {
    this.#checkedMs = this.#parts.effects.now();
    const run: RunItems = async (items) => (await this.#parts.run("webgpu", () => items)) ?? NOTHING;
    await this.#runGolden(run).catch(() => null); // a refusal is reported
  }

  #refuse(fault: string, isStored = true): SelvedgeError {
    const error = refusal(this.#parts.variant.id, fault);
    this.#refused = error;
    if (isStored) this.#memo.remember({ fault, passed: [], hasGoldenRun: true });
    else this.#memo.dropAnswers();
    this.#parts.onRefused(error);
    return error;
  }

  #isKnown(shape: string): boolean {
    return this.#passed.has(shape) || this.#unchecked.has(shape);
  }

  #classOf(batch: readonly Answered[]): string {
    return classOf(this.#parts.shapes(), batch);
  }

  /** Compares outputs with expected ones; `golden` has the floors of its own outputs. */
  async #faultOf(outputs: Tensors, expected: Tensors, golden?: KnownRun): Promise<string | null> {
    const { random } = this.#parts;
    const floors = golden === undefined ? await this.#known.floors(expected) : golden.floors;
    const fault = faultOf(outputs, expected, this.#isHalf === true, { floors, random });
    if (fault === null || this.#isHalf !== null) return fault;
    const { hasHalfWeights } = await import("./half-weights.ts");
    this.#isHalf = await this.#parts.model().then(hasHalfWeights, () => false);
    return this.#faultOf(outputs, expected, golden);
  }
}

/** Runs requests; returns the outputs of each, undefined for one that failed by itself. */
async function outputsOf(run: RunItems, items: readonly Feeds[]): Promise<readonly (Tensors | undefined)[]> {
  return items.length === 0 ? [] : outputsIn(await run(items));
}

function refusal(variant: string, fault: string): SelvedgeError {
  const sentence = `WebGPU ${variant} refused: ${fault} (golden check)`;
  const message = `${sentence}. This GPU computes it wrongly: leave \`backend\` out, or name another variant.`;
  return new SelvedgeError("wrong-result", message, { reason: "golden", variant, refusal: sentence });
}
