// Holds the index off the main thread: reads files, splits them into passages, stores and searches them.
import * as Comlink from "comlink";
import { passagesOf } from "./passages.ts";
import { textOf } from "./read-text.ts";
import { SearchIndex } from "./search-index.ts";
import type { Hit, Mode, Source } from "./search-index.ts";
import { openStore } from "./store.ts";

/** Largest file that is read. */
const FILE_MAX_BYTES = 5_000_000;

/** State of the index as the page shows it. */
export interface IndexState {
  readonly sources: readonly Source[];
  /** Whether it is there at the next visit. */
  readonly persists: boolean;
}

let onOtherTab = (): void => {};
const opening = openStore().then(async (store) => ({
  store,
  index: await SearchIndex.open(store, () => onOtherTab()),
}));

const indexWorker = {
  async state(): Promise<IndexState> {
    const { index, store } = await opening;
    return { sources: index.sources, persists: store.persists };
  },

  /** Calls back after each change that another tab made. */
  async onOtherTab(listener: () => void): Promise<void> {
    onOtherTab = listener;
  },

  /** Sets the passages of a source; none removes it. */
  async setText(source: string, text: string): Promise<void> {
    const { index } = await opening;
    await index.replace(source, passagesOf(text));
  },

  /** Adds a text under a name that no other source has. */
  async addText(name: string, text: string): Promise<void> {
    const { index } = await opening;
    await index.add(name, passagesOf(text));
  },

  /** Sets the passages of a file, under its name. */
  async setFile(file: File): Promise<void> {
    if (file.size > FILE_MAX_BYTES) throw new Error(`${file.name} is larger than ${FILE_MAX_BYTES / 1e6} MB.`);
    const bytes = await file.arrayBuffer().catch((cause: unknown) => {
      throw new Error(`${file.name} can’t be read.`, { cause });
    });
    const text = textOf(new Uint8Array(bytes));
    if (text === null) throw new Error(`${file.name} is not a text.`);
    if (text.trim() === "") throw new Error(`${file.name} is empty.`);
    await indexWorker.setText(file.name, text);
  },

  /** Removes all sources. */
  async clear(): Promise<void> {
    await (await opening).index.clear();
  },

  async useModel(model: string): Promise<void> {
    await (await opening).index.useModel(model);
  },

  /** Returns passages without a vector. */
  async missing(count: number): Promise<{ readonly id: number; readonly text: string }[]> {
    return (await opening).index.missing(count);
  },

  /** Sets vectors that a model computed. */
  async embed(model: string, vectors: readonly (readonly [id: number, vector: Int8Array])[]): Promise<void> {
    await (await opening).index.embed(model, vectors);
  },

  async search(query: string, vector: Float32Array | null, mode: Mode, count: number): Promise<Hit[]> {
    return (await opening).index.search(query, vector, mode, count);
  },
};

/** Interface of the worker. */
export type IndexWorker = typeof indexWorker;

Comlink.expose(indexWorker);
