// Known answers, with which a golden check compares a GPU's: the golden of a bundle, wasm's answer to pseudo-random
// inputs where there is none, and wasm's answers to requests. Imported by golden-check.ts.
import type { BackendName } from "../rpc/backend.ts";
import type { Variant } from "../core/bundle.ts";
import { middleOf, numbersOf } from "../core/compare-outputs.ts";
import type { Bounds, Tensors } from "../core/compare-outputs.ts";
import { isSelvedgeError } from "../core/errors.ts";
import type { Feeds, Ran } from "../rpc/messages.ts";
import type { Answered, Shapes } from "./shape-class.ts";

/** Most elements of an output that may be nearly zero all over by chance. */
const SMALL = 64;

/** Collaborators of known answers, and the variant that they are of. */
export interface AnswerParts {
  readonly variant: Variant;
  /** Returns the model's ports and its recurrent state. */
  readonly shapes: () => Shapes;
  /** Fetches inputs and outputs of each run of the golden; null for a variant without a golden, whose answer wasm makes here. */
  readonly read: (() => Promise<readonly Blob[]>) | null;
  /** A typical size for each symbolic dim. */
  readonly typical: Readonly<Record<string, number>>;
  /** Whether a variant without a golden runs where wasm can't. */
  readonly allowsUnverified: boolean;
  /** Runs requests of the variant on a lane of a backend, loading it there first; null where there is no such lane. */
  readonly run: (backend: BackendName, items: () => readonly Feeds[]) => Promise<Ran | null>;
  /** Called with the reason where answers can't be checked; null once they were. */
  readonly onUnchecked: (why: string | null) => void;
}

/** A run with known outputs. */
export type KnownRun = Answered & Pick<Bounds, "floors">;

/** The known answers of one variant. */
export class KnownAnswers {
  readonly #parts: AnswerParts;
  /** Wasm's answer for a variant without a golden; null before, and where sizes are known by requests alone. */
  #made: Answered | null = null;
  #isAlone = false;
  /** Inputs and outputs of each run of the golden; null until they are needed. */
  #files: Promise<readonly Blob[]> | null = null;
  /** Floors of the golden's runs; null until they are needed, and where it could not be read. */
  #floors: readonly Pick<Bounds, "floors">[] | null = null;
  /** The two largest magnitudes of each small output; that of the known answer counts twice. */
  readonly #largest: Map<string, readonly number[]> = new Map();

  constructor(parts: AnswerParts) {
    this.#parts = parts;
  }

  /** Whether wasm can't run the variant, and the caller allows that. */
  get isAlone(): boolean {
    return this.#isAlone;
  }

  /**
   * Makes the known answer of a variant without a golden: wasm's, to pseudo-random inputs. Where sizes are known by
   * requests alone, their first ones are compared instead.
   * @throws SelvedgeError `wrong-result` where wasm can't run the variant, unless the caller allows that
   */
  async make(): Promise<void> {
    const { run, shapes, typical, allowsUnverified, variant } = this.#parts;
    // Without them the first requests are compared.
    const seeded = await import("./seeded-inputs.ts").catch(() => null);
    let feeds: Feeds | null = null;
    const items = (): readonly Feeds[] => {
      feeds = seeded && seeded.seededFeeds(shapes().ports, typical);
      return feeds === null ? [] : [feeds];
    };
    let isLoaded = false;
    try {
      const ran = await run("wasm", () => {
        isLoaded = true;
        return items();
      });
      if (ran === null) this.#parts.onUnchecked("there is no WebAssembly to compare with");
      const [reply] = ran?.items ?? [];
      if (reply?.ok !== true || feeds === null) return;
      this.#made = { feeds, outputs: reply.value.outputs, dims: null };
      for (let i = 0; i < 2; i += 1) this.#noteSizes(reply.value.outputs);
    } catch (error) {
      const code = isSelvedgeError(error) ? error.code : null;
      if (code === null || code === "closed") throw error;
      if (code === "internal" && isLoaded) return; // its operators refuse these inputs
      if (!allowsUnverified)
        throw await import("./unverified.ts").then(
          (x) => x.unverified(variant.id, code),
          () => error,
        );
      this.#isAlone = true;
      this.#parts.onUnchecked(`wasm can't run it (${code})`);
    }
  }

  /** Returns the golden's runs in their order, or why there are none. */
  async golden(): Promise<readonly KnownRun[] | string> {
    const { read } = this.#parts;
    if (read === null) return this.#made === null ? "it has no golden" : [this.#made];
    this.#files ??= read();
    const runs = await Promise.all([this.#files, import("../core/read-tensors.ts")]).then(
      ([files, { readGolden }]) => readGolden(files),
      () => undefined,
    );
    if (runs === undefined) {
      this.#files = null;
      return "the golden files could not be fetched";
    }
    if (runs === null) return "the golden files can't be read";
    for (let i = 0; i < 2; i += 1) this.#noteSizes(runs[0]?.outputs);
    return runs.map(({ inputs: tensors, ...run }) => ({ ...run, feeds: { tensors, others: null }, dims: null }));
  }

  /** Returns the floors of outputs for other inputs than the golden's; undefined without a golden, and in float16. */
  async floors(expected: Tensors): Promise<Bounds["floors"]> {
    const { read, variant } = this.#parts;
    if (read === null) return undefined;
    // Without them the bound is relative.
    const found = await import("../core/tolerances.ts").catch(() => null);
    if (found === null) return undefined;
    if (this.#floors === null) {
      const golden = await this.golden();
      if (typeof golden === "string") return undefined;
      this.#floors = golden.map(({ floors }) => ({ floors }));
    }
    return variant.needs.includes("shader-f16") ? undefined : found.floorsFor(this.#floors, expected);
  }

  /**
   * Returns the usual magnitude of each output of few elements, which may be nearly zero by chance: the second largest of
   * the known answer's and those of requests, so that no single request sets it, and the known answer's at least.
   */
  async usual(): Promise<ReadonlyMap<string, number>> {
    if (this.#parts.read === null && this.#made === null) await this.make().catch(() => undefined); // a later page
    return new Map([...this.#largest].map(([name, sizes]) => [name, sizes[1] ?? 0]));
  }

  /**
   * Returns wasm's outputs of each request, undefined for one that failed; null where it can't run the variant, and where
   * requests that must run together did not.
   */
  async onWasm(items: readonly Feeds[], isTogether: boolean = false): Promise<readonly (Tensors | undefined)[] | null> {
    const answers = await this.probe(items, isTogether);
    for (const outputs of answers ?? []) this.#noteSizes(outputs);
    return answers;
  }

  /** As `onWasm`, for inputs that no request has: the sizes of their answers do not count. */
  async probe(items: readonly Feeds[], isTogether: boolean = false): Promise<readonly (Tensors | undefined)[] | null> {
    if (this.#isAlone) return null;
    try {
      const ran = await this.#parts.run("wasm", () => items);
      return ran === null || (isTogether && ran.groups !== undefined) ? null : outputsIn(ran);
    } catch (error) {
      const isOwn = !isSelvedgeError(error) || error.code === "internal"; // of the request, not of the lane
      return isOwn ? items.map(() => undefined) : null;
    }
  }

  /** Notes the magnitude of each output of few floats. */
  #noteSizes(outputs: Tensors = {}): void {
    for (const [name, tensor] of Object.entries(outputs)) {
      if (!tensor.dtype.startsWith("float") || tensor.data.length > SMALL) continue;
      const sizes = [...(this.#largest.get(name) ?? []), middleOf(numbersOf(tensor))];
      this.#largest.set(name, sizes.sort((a, b) => b - a).slice(0, 2));
    }
  }

  /**
   * Returns inputs that each backend computes with alike: an image is replaced by a tensor of its dims, since each
   * backend resizes itself, and a recurrent state that a lane keeps by a pseudo-random one. Null where dims are not known.
   */
  async alike(one: Answered): Promise<Feeds | null> {
    const { typical, shapes } = this.#parts;
    const { ports, states } = shapes();
    const hasImage = Object.values(one.feeds.others ?? {}).some(({ kind }) => kind === "image");
    if (!hasImage && Object.keys(states).length === 0) return one.feeds;
    return import("./seeded-inputs.ts").then(
      (x) => x.alike(one, { ports, states }, typical),
      () => null,
    );
  }

  /** Returns a run's inputs with the state that the run before it left, unless it has one. */
  after(last: Tensors, { tensors, others }: Feeds): Feeds {
    const { states } = this.#parts.shapes();
    const left = Object.entries(states).flatMap(([output, input]) => (last[output] ? [[input, last[output]]] : []));
    return { tensors: { ...(Object.fromEntries(left) as Tensors), ...tensors }, others };
  }

  /** Returns the outputs of a run, and of a second step where the model has a state; null where a run has none. */
  async steps(feeds: Feeds, run: (feeds: Feeds) => Promise<Tensors | undefined>): Promise<readonly Tensors[] | null> {
    const { states } = this.#parts.shapes();
    const first = await run(feeds);
    if (first === undefined) return null;
    const own = new Set(Object.values(states));
    if (own.size === 0) return [first];
    const tensors = Object.fromEntries(Object.entries(feeds.tensors).filter(([name]) => !own.has(name)));
    const second = await run(this.after(first, { ...feeds, tensors }));
    return second === undefined ? null : [first, second];
  }
}

/** Returns the outputs of each request of a run; undefined for one that failed. */
export function outputsIn({ items }: Ran): readonly (Tensors | undefined)[] {
  return items.map((item) => (item.ok ? item.value.outputs : undefined));
}
