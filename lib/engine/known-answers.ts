// Known answers, with which a golden check compares a GPU's: the golden of a bundle, wasm's answer to pseudo-random
// inputs where there is none, and wasm's answers to requests. Imported by golden-check.ts.
import type { BackendName } from "../rpc/backend.ts";
import type { Variant } from "../core/bundle.ts";
import type { Bounds, Tensors } from "../core/compare-outputs.ts";
import type { FloorScales } from "../core/other-floors.ts";
import { isSelvedgeError } from "../core/errors.ts";
import type { NumericDtype } from "../core/tensor.ts";
import type { Feeds, Ran } from "../rpc/messages.ts";
import { sizesOf } from "./shape-class.ts";
import type { Answered, Shapes } from "./shape-class.ts";
import { seededTensor, typicalFeeds } from "./typical-feeds.ts";

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
  /** Floors of the golden; null until they are needed, and where it could not be read. */
  #scales: FloorScales | null = null;

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
    let feeds: Feeds | null = null;
    const items = (): readonly Feeds[] => {
      feeds = seededFeeds(shapes().ports, typical);
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
      if (reply?.ok === true && feeds !== null) this.#made = { feeds, outputs: reply.value.outputs, dims: null };
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
    return runs.map(({ inputs: tensors, ...run }) => ({ ...run, feeds: { tensors, others: null }, dims: null }));
  }

  /** Returns the floors of outputs for other inputs than the golden's; undefined for a variant without a golden. */
  async floors(expected: Tensors): Promise<Bounds["floors"]> {
    if (this.#parts.read === null) return undefined;
    // Without them the bound is relative.
    const found = await import("../core/other-floors.ts").catch(() => null);
    if (found === null) return undefined;
    if (this.#scales === null) {
      const golden = await this.golden();
      if (typeof golden === "string") return undefined;
      this.#scales = found.floorScales(golden);
    }
    return found.floorsFor(this.#scales, expected);
  }

  /**
   * Returns wasm's outputs of each request, undefined for one that failed; null where it can't run the variant, and where
   * requests that must run together did not.
   */
  async onWasm(items: readonly Feeds[], isTogether: boolean = false): Promise<readonly (Tensors | undefined)[] | null> {
    if (this.#isAlone) return null;
    try {
      const ran = await this.#parts.run("wasm", () => items);
      return ran === null || (isTogether && ran.groups !== undefined) ? null : outputsIn(ran);
    } catch (error) {
      const isOwn = !isSelvedgeError(error) || error.code === "internal"; // of the request, not of the lane
      return isOwn ? items.map(() => undefined) : null;
    }
  }

  /**
   * Returns inputs that each backend computes with alike: an image is replaced by a tensor of its dims, since each
   * backend resizes itself, and a recurrent state that a lane keeps by a pseudo-random one. Null where dims are not known.
   */
  alike(one: Answered): Feeds | null {
    const { typical, shapes } = this.#parts;
    const feeds = withoutImages(one, shapes());
    return feeds && withStates(feeds, one, shapes(), typical);
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

/** Returns pseudo-random inputs of typical sizes, the same each time; null where a size is not known. */
function seededFeeds(ports: Shapes["ports"], typical: Readonly<Record<string, number>>): Feeds | null {
  const zeros = typicalFeeds(ports, typical);
  if (zeros === null || ports.length === 0) return null;
  const tensors = Object.entries(zeros.tensors).map(([name, { dtype, dims }]) => [
    name,
    seededTensor(dtype as NumericDtype, dims),
  ]);
  return { tensors: Object.fromEntries(tensors) as Tensors, others: null };
}

/** Returns inputs with a pseudo-random tensor in place of each image; null where its dims are not known. */
function withoutImages({ feeds, dims }: Answered, { ports }: Shapes): Feeds | null {
  const names = Object.entries(feeds.others ?? {}).filter(([, { kind }]) => kind === "image");
  if (names.length === 0) return feeds;
  const tensors = { ...feeds.tensors };
  const others = { ...feeds.others };
  for (const [name] of names) {
    const size = dims?.[name];
    const dtype = ports.find((port) => port.name === name)?.dtype;
    if (size === undefined || dtype === undefined || dtype === "string") return null;
    tensors[name] = seededTensor(dtype, size);
    Reflect.deleteProperty(others, name);
  }
  return { tensors, others: Object.keys(others).length === 0 ? null : others };
}

/** Returns inputs with a pseudo-random tensor for each state that they lack; null where its dims are not known. */
function withStates(
  feeds: Feeds,
  one: Answered,
  { ports, states }: Shapes,
  typical: Readonly<Record<string, number>>,
): Feeds | null {
  const own = new Set(Object.values(states));
  if (own.size === 0) return feeds;
  const symbols = new Map(Object.entries(typical));
  for (const { name, dims } of ports)
    for (const [axis, size] of sizesOf(one, name).entries()) symbols.set(String(dims[axis]), size);
  const tensors = { ...feeds.tensors };
  for (const { name, dtype, dims } of ports) {
    if (!own.has(name) || name in tensors) continue;
    const size = dims.map((dim) => (typeof dim === "number" ? dim : (symbols.get(dim) ?? NaN)));
    if (dtype === "string" || size.some(Number.isNaN)) return null;
    tensors[name] = seededTensor(dtype, size);
  }
  return { ...feeds, tensors };
}
