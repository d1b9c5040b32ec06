// The model of the page: loaded when it is needed first, since it is 90 MB. It computes the vectors of passages in the
// background, so that a query, which is interactive, overtakes them.
import * as Comlink from "comlink";
import { createEngine } from "selvedge";
import type { BackendName, Model } from "selvedge";
import type { IndexWorker } from "./index-worker.ts";

/** Folder of the model, in the layout of its repository. */
const MODEL = new URL("../models/minilm/", location.href);
/** Passages that are stored together. */
const TOGETHER = 64;
/** Passages of a run: few, since a query waits for the runs that have begun. */
const RUN = 8;
/** Held by the tab that computes vectors, so that two tabs don't compute the same. */
const LOCK = "selvedge-search";

/** Computes the vectors of an index and of queries. */
export class Embedder {
  readonly #index: Comlink.Remote<IndexWorker>;
  readonly #backend: BackendName | undefined;
  readonly #onLoading: (share: number | null) => void;
  #loading: Promise<Model> | null = null;

  constructor(
    index: Comlink.Remote<IndexWorker>,
    backend: BackendName | undefined,
    onLoading: (share: number | null) => void,
  ) {
    this.#index = index;
    this.#backend = backend;
    this.#onLoading = onLoading;
  }

  /** Whether the site has the model. */
  static async isThere(): Promise<boolean> {
    // The server answers 204 while the model is not made; a missing file would be an error in the console.
    const answer = await fetch(new URL("config.json", MODEL)).catch(() => null);
    return answer?.status === 200;
  }

  /** Returns the vector of a query. */
  async query(text: string, signal: AbortSignal): Promise<Float32Array | null> {
    const model = await this.load();
    signal.throwIfAborted();
    const [vector = null] = await model.embed([text], { normalize: true, priority: "interactive", signal });
    return vector;
  }

  /** Computes all vectors that the index lacks, once no other tab does; calls back after each part. */
  async fill(signal: AbortSignal, onPart: () => Promise<void>): Promise<void> {
    const model = await this.load();
    await navigator.locks.request(LOCK, { signal }, () => this.#fill(model, signal, onPart));
  }

  async #fill(model: Model, signal: AbortSignal, onPart: () => Promise<void>): Promise<void> {
    for (;;) {
      signal.throwIfAborted();
      const passages = await this.#index.missing(TOGETHER);
      if (passages.length === 0) return;
      // Of similar length, so that a run is padded little.
      passages.sort((a, b) => a.text.length - b.text.length);
      const runs = Array.from({ length: Math.ceil(passages.length / RUN) }, (_, i) => {
        const texts = passages.slice(i * RUN, (i + 1) * RUN).map((x) => x.text);
        return model.embed(texts, { precision: "int8", priority: "background", signal });
      });
      const vectors = (await Promise.all(runs)).flat();
      const pairs = passages.map(({ id }, i) => [id, vectors[i] ?? new Int8Array()] as const);
      await this.#index.embed(
        keyOf(model),
        Comlink.transfer(
          pairs,
          vectors.map((x) => x.buffer),
        ),
      );
      await onPart();
    }
  }

  /** Loads the model, and takes the vectors that are stored of it. */
  load(): Promise<Model> {
    this.#loading ??= this.#load().catch((error: unknown) => {
      this.#loading = null;
      throw error;
    });
    return this.#loading;
  }

  async #load(): Promise<Model> {
    this.#onLoading(0);
    const engine = await createEngine();
    try {
      const model = await engine.load(MODEL.href, {
        backend: this.#backend,
        onProgress: ({ loadedBytes, totalBytes }) => {
          this.#onLoading(totalBytes === null ? 0 : loadedBytes / totalBytes);
        },
      });
      await this.#index.useModel(keyOf(model));
      this.#onLoading(null);
      return model;
    } catch (error) {
      await engine.close();
      throw error;
    }
  }
}

function keyOf({ identity, variant }: Model): string {
  return `${identity} ${variant}`;
}
