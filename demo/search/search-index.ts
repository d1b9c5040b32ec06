// The index: passages by source, their words (BM25) and their vectors (exact cosine), mixed by their ranks. A passage is
// found by its words at once and by its meaning once it has a vector of the model in use: one of another model counts as
// missing, so vectors of two models never meet. The store changes first and memory after it, one change at a time, so that
// a full disk leaves both as they were.
import MiniSearch from "minisearch";
import { fuse } from "./fuse.ts";
import type { Embedded, Passage, PassageStore } from "./store.ts";
import { VectorTable } from "./vector-table.ts";

/** How passages are compared with the query. */
export type Mode = "both" | "meaning" | "words";

/** A passage that was found, with its rank by meaning and by words, from 0; null where it is not among the best. */
export interface Hit extends Passage {
  readonly byMeaning: number | null;
  readonly byWords: number | null;
}

/** A source, its number of passages, and how many of them still have no vector. */
export interface Source {
  readonly name: string;
  readonly passages: number;
  readonly missing: number;
}

/** Maximum passages of the index. */
export const PASSAGES_MAX = 20_000;
/** Passages of each list that are mixed. */
const DEPTH = 100;

/** Separates words; MiniSearch by itself leaves symbols, as of code and HTML, at the words beside them. */
const BETWEEN_WORDS = /[^\p{L}\p{M}\p{N}]+/u;

function wordsOf(text: string): string[] {
  return text.split(BETWEEN_WORDS);
}

/** Passages that are found by meaning and by words. */
export class SearchIndex {
  readonly #store: PassageStore;
  readonly #passages: Map<number, Passage> = new Map();
  readonly #sources: Map<string, Map<string, number>> = new Map();
  readonly #words = new MiniSearch<Passage & { readonly id: number }>({ fields: ["text"], tokenize: wordsOf });
  /** Passages without a vector of the model in use. */
  readonly #missing: Set<number> = new Set();
  #model: string | null = null;
  #vectors: VectorTable | null = null;
  #nextId = 0;
  /** The last change that was asked for. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(store: PassageStore) {
    this.#store = store;
  }

  /** Opens the index of a store; calls back when another tab has changed it. */
  static async open(store: PassageStore, onOtherTab: () => void = () => {}): Promise<SearchIndex> {
    const index = new SearchIndex(store);
    store.onOtherTab((passages) => {
      // A failure shows at the person's next change, which says why.
      void index.#inTurn(() => index.#readAgain(passages)).then(onOtherTab, () => {});
    });
    await index.#inTurn(async () => {
      for (const { source, text } of await store.all()) index.#insert(source, text);
    });
    return index;
  }

  /** Takes the vectors that the store has of a model, by its identity and variant; all other vectors are dropped. */
  useModel(model: string): Promise<void> {
    return this.#inTurn(async () => {
      this.#model = model;
      this.#vectors = null;
      for (const id of this.#passages.keys()) this.#missing.add(id);
      for (const passage of await this.#store.all()) this.#takeVector(passage);
    });
  }

  /** All sources, in the order in which they came. */
  get sources(): Source[] {
    return [...this.#sources].map(([name, ids]) => {
      const missing = [...ids.values()].filter((id) => this.#missing.has(id)).length;
      return { name, passages: ids.size, missing };
    });
  }

  /** Sets the passages of a source: known ones keep their vectors, those that are not among them are removed. */
  replace(source: string, texts: readonly string[]): Promise<void> {
    return this.#inTurn(() => this.#replace(source, texts));
  }

  /** Adds a source under a name that no other has: with a number behind it if need be. The same is not added twice. */
  add(name: string, texts: readonly string[]): Promise<void> {
    return this.#inTurn(async () => {
      const wanted = new Set(texts);
      for (let n = 1; ; n += 1) {
        const source = n === 1 ? name : `${name} (${n})`;
        const known = this.#sources.get(source);
        const isSame = known?.size === wanted.size && [...wanted].every((text) => known.has(text));
        if (isSame) return;
        if (known === undefined) return this.#replace(source, texts);
      }
    });
  }

  /** Removes all sources. */
  clear(): Promise<void> {
    return this.#inTurn(() => this.#change([...this.#passages.values()], []));
  }

  /** Returns passages that have no vector of the model in use yet, the first come first. */
  missing(count: number): (Passage & { readonly id: number })[] {
    const found: (Passage & { readonly id: number })[] = [];
    for (const id of this.#missing) {
      const passage = this.#passages.get(id);
      if (found.length === count) break;
      if (passage !== undefined) found.push({ id, ...passage });
    }
    return found;
  }

  /** Sets vectors that `model` computed; those of another model, or of removed passages, are dropped. */
  embed(model: string, vectors: readonly (readonly [id: number, vector: Int8Array])[]): Promise<void> {
    return this.#inTurn(async () => {
      if (model !== this.#model) return;
      const embedded: Embedded[] = [];
      for (const [id, vector] of vectors) {
        const passage = this.#passages.get(id);
        if (passage === undefined) continue;
        this.#embed(id, vector);
        embedded.push({ ...passage, model, vector });
      }
      if (embedded.length > 0) await this.#store.embed(embedded);
    });
  }

  /**
   * Returns the best passages for a query.
   * @param vector - the query's vector of length 1 by the model in use; null to search by words alone
   */
  search(query: string, vector: Float32Array | null, mode: Mode, count: number): Hit[] {
    const near = mode === "words" || vector === null ? [] : (this.#vectors?.nearest(vector, DEPTH) ?? []);
    const words = mode === "meaning" ? [] : this.#words.search(query).slice(0, DEPTH);
    const lists = [near.map((x) => x.id), words.map((x) => x.id as number)];
    return fuse(lists, count).flatMap(({ id, ranks: [byMeaning = null, byWords = null] }) => {
      const passage = this.#passages.get(id);
      return passage === undefined ? [] : [{ ...passage, byMeaning, byWords }];
    });
  }

  /** Runs a change when those before it have ended. */
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.#last.then(work, work);
    this.#last = mine;
    return mine;
  }

  async #replace(source: string, texts: readonly string[]): Promise<void> {
    const known = this.#sources.get(source) ?? new Map<string, number>();
    const wanted = new Set(texts);
    const added = [...wanted].filter((text) => !known.has(text)).map((text) => ({ source, text }));
    const removed = [...known.keys()].filter((text) => !wanted.has(text)).map((text) => ({ source, text }));
    const size = this.#passages.size + added.length - removed.length;
    if (size > PASSAGES_MAX)
      throw new RangeError(
        `${source}: ${size} passages would be more than ${PASSAGES_MAX}, the most that this page keeps`,
      );
    await this.#change(removed, added);
  }

  async #change(removed: readonly Passage[], added: readonly Passage[]): Promise<void> {
    if (removed.length + added.length === 0) return;
    await this.#store.change(removed, added);
    for (const { source, text } of removed) this.#drop(source, text);
    for (const { source, text } of added) this.#insert(source, text);
  }

  /** Takes passages as they are stored now. */
  async #readAgain(passages: readonly Passage[]): Promise<void> {
    const stored = await this.#store.read(passages);
    for (const [i, { source, text }] of passages.entries()) {
      const found = stored[i];
      if (found === undefined) this.#drop(source, text);
      else if (this.#sources.get(source)?.has(text) !== true) this.#insert(source, text);
      if (found !== undefined) this.#takeVector(found);
    }
  }

  #takeVector(passage: Passage | Embedded): void {
    const id = this.#sources.get(passage.source)?.get(passage.text);
    if (id !== undefined && "model" in passage && passage.model === this.#model) this.#embed(id, passage.vector);
  }

  #embed(id: number, vector: Int8Array): void {
    this.#vectors ??= new VectorTable(vector.length);
    this.#vectors.set(id, vector);
    this.#missing.delete(id);
  }

  #insert(source: string, text: string): void {
    const id = this.#nextId++;
    const ids = this.#sources.get(source) ?? new Map<string, number>();
    this.#sources.set(source, ids.set(text, id));
    this.#passages.set(id, { source, text });
    this.#missing.add(id);
    this.#words.add({ id, source, text });
  }

  #drop(source: string, text: string): void {
    const ids = this.#sources.get(source);
    const id = ids?.get(text);
    if (ids === undefined || id === undefined) return;
    ids.delete(text);
    if (ids.size === 0) this.#sources.delete(source);
    this.#passages.delete(id);
    this.#missing.delete(id);
    this.#vectors?.delete(id);
    this.#words.discard(id);
  }
}
