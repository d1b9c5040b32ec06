// The index: passages by source, their words (BM25) and their vectors (exact cosine), mixed by their ranks. A passage is
// found by its words at once and by its meaning once it has a vector of the model in use: one of another model counts as
// missing, so vectors of two models never meet.
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

/** Passages that are found by meaning and by words. */
export class SearchIndex {
  readonly #store: PassageStore;
  readonly #passages: Map<number, Passage> = new Map();
  readonly #sources: Map<string, Map<string, number>> = new Map();
  readonly #words = new MiniSearch<Passage & { readonly id: number }>({ fields: ["text"] });
  /** Passages without a vector of the model in use. */
  readonly #missing: Set<number> = new Set();
  #model: string | null = null;
  #vectors: VectorTable | null = null;
  #nextId = 0;

  constructor(store: PassageStore) {
    this.#store = store;
  }

  /** Opens the index of a store. */
  static async open(store: PassageStore): Promise<SearchIndex> {
    const index = new SearchIndex(store);
    for (const { source, text } of await store.all()) index.#insert(source, text);
    return index;
  }

  /** Takes the vectors that the store has of a model, by its identity and variant; all other vectors are dropped. */
  async useModel(model: string): Promise<void> {
    this.#model = model;
    this.#vectors = null;
    for (const id of this.#passages.keys()) this.#missing.add(id);
    for (const passage of await this.#store.all()) {
      const id = this.#sources.get(passage.source)?.get(passage.text);
      if (id !== undefined && "model" in passage && passage.model === model) this.#embed(id, passage.vector);
    }
  }

  /** All sources, in the order in which they came. */
  get sources(): Source[] {
    return [...this.#sources].map(([name, ids]) => {
      const missing = [...ids.values()].filter((id) => this.#missing.has(id)).length;
      return { name, passages: ids.size, missing };
    });
  }

  /** Sets the passages of a source: known ones keep their vectors, those that are not among them are removed. */
  async replace(source: string, texts: readonly string[]): Promise<void> {
    const known = this.#sources.get(source) ?? new Map<string, number>();
    const wanted = new Set(texts);
    const added = [...wanted].filter((text) => !known.has(text)).map((text) => ({ source, text }));
    const removed = [...known.keys()].filter((text) => !wanted.has(text)).map((text) => ({ source, text }));
    const size = this.#passages.size + added.length - removed.length;
    if (size > PASSAGES_MAX)
      throw new RangeError(
        `${source}: ${size} passages would be more than ${PASSAGES_MAX}, the most that this page keeps`,
      );
    for (const { text } of removed) this.#drop(source, text);
    for (const { text } of added) this.#insert(source, text);
    await this.#store.change(removed, added);
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
  async embed(model: string, vectors: readonly (readonly [id: number, vector: Int8Array])[]): Promise<void> {
    if (model !== this.#model) return;
    const embedded: Embedded[] = [];
    for (const [id, vector] of vectors) {
      const passage = this.#passages.get(id);
      if (passage === undefined) continue;
      this.#embed(id, vector);
      embedded.push({ ...passage, model, vector });
    }
    await this.#store.embed(embedded);
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
