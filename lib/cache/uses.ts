// Models that this engine is loading or has in use, which nothing may evict: lanes read the store's own files when they
// start, which may be minutes after the load. Other tabs see it by a shared lock for each (tab-locks.ts).
import type { BundleChunk } from "../core/bundle.ts";
import type { TabLocks } from "./tab-locks.ts";

/** Use of one bundle, or of the draft of a bare model. */
interface Use {
  /** Number of loads in flight. */
  underWay: number;
  /** Whether a model of it is loaded. */
  isLoaded: boolean;
  /** SHA-256 of its chunks: nothing else names those whose manifest had no room. */
  readonly hashes: Set<string>;
  /** Address of the draft that still holds its chunks; null where its manifest does. */
  draft: string | null;
}

/** Uses by identity, or by the address of a draft. */
export class Uses {
  readonly #uses: Map<string, Use> = new Map();
  readonly #locks: TabLocks | null;

  /** `locks` is null where no other tab sees the store. */
  constructor(locks: TabLocks | null) {
    this.#locks = locks;
  }

  /** Begins a load; the returned function ends it, with whether a model is loaded now. */
  begin(id: string, chunks: readonly BundleChunk[] = []): (isLoaded: boolean) => void {
    const use = this.#use(id, chunks);
    use.underWay += 1;
    return (isLoaded) => {
      use.underWay -= 1;
      use.isLoaded ||= isLoaded;
      this.#check(id, use);
    };
  }

  /** Adds a chunk to a load. */
  name(id: string, chunk: BundleChunk): void {
    this.#uses.get(id)?.hashes.add(chunk.sha256);
  }

  /** Marks a model of it as loaded; `draft` is the address of the draft that still holds its chunks. */
  loaded(id: string, chunks: readonly BundleChunk[] = [], draft: string | null = null): void {
    const use = this.#use(id, chunks);
    const { draft: before } = use;
    use.isLoaded = true;
    use.draft = draft;
    if (draft !== null) this.#locks?.use(draft);
    this.#release(before);
  }

  /** Marks it as having no loaded model any more. */
  unloaded(id: string): void {
    const use = this.#uses.get(id);
    if (use === undefined) return;
    use.isLoaded = false;
    this.#check(id, use);
  }

  /** Returns the bytes of the models that other pages of this origin have loaded; `page` is this one's id. */
  async bytesElsewhere(page: string | undefined): Promise<number> {
    const names = ((await this.#locks?.used()) ?? []).map((x) => x.split("/"));
    const others = names.filter(([kind, , holder]) => kind === "bytes" && holder !== page);
    return others.reduce((sum, [, bytes]) => sum + Number(bytes), 0);
  }

  /** Lists what must not be evicted, for this tab and others: identities, addresses of drafts, hashes of chunks. */
  async kept(): Promise<Set<string>> {
    const kept = new Set(await this.#locks?.used());
    for (const [id, { hashes, draft }] of this.#uses) {
      kept.add(id);
      if (draft !== null) kept.add(draft);
      for (const hash of hashes) kept.add(hash);
    }
    return kept;
  }

  #use(id: string, chunks: readonly BundleChunk[]): Use {
    const use = this.#uses.get(id) ?? newUse();
    for (const { sha256 } of chunks) use.hashes.add(sha256);
    this.#uses.set(id, use);
    this.#locks?.use(id);
    return use;
  }

  #check(id: string, use: Use): void {
    if (use.underWay > 0 || use.isLoaded) return;
    this.#uses.delete(id);
    this.#release(id);
    this.#release(use.draft);
  }

  /** Releases the lock of an identity or a draft that nothing here uses any more. */
  #release(each: string | null): void {
    if (each !== null && ![...this.#uses].some(([id, { draft }]) => id === each || draft === each))
      this.#locks?.unuse(each);
  }
}

function newUse(): Use {
  return { underWay: 0, isLoaded: false, hashes: new Set(), draft: null };
}
