// A store combined with the one of an older release. Both are read; only this release's own is written. Entries in use
// are moved over, so that the old place empties; an old tab that misses an entry fetches it again. Delete this file,
// and the callers of `oldNames` and `adopt`, once no user has a store of schema 1 any more.
//
// The old place may be read-only, damaged or gone at any time. An entry of it that can't be read or removed counts as
// removed until the page is left, so that the new store works as if there were no old place. An unreadable manifest
// hides the whole old place: its needed chunks are unknown, so none is removed.
import type { Bytes, Store, StoreKind } from "./store.ts";

/** Returns a store over both places; the new one alone where the old one is missing, empty or fails. */
export async function withOld(store: Store, openOld: () => Promise<Store | null>): Promise<Store> {
  try {
    const old = await openOld();
    return old === null || (await old.names()).length === 0 ? store : new TwoStores(store, old);
  } catch {
    return store;
  }
}

class TwoStores implements Store {
  readonly kind: StoreKind;
  readonly blob?: (name: string) => Promise<Blob | null>;
  readonly #store: Store;
  readonly #old: Store;
  /** Entries of the old place that could not be read or removed. */
  readonly #lost: Set<string> = new Set();
  #isHidden = false;

  constructor(store: Store, old: Store) {
    this.kind = store.kind;
    this.#store = store;
    this.#old = old;
    if (store.blob !== undefined)
      this.blob = async (name) =>
        (await store.blob?.(name)) ?? (await this.#tryOld(name, async () => (await old.blob?.(name)) ?? null));
  }

  async names(): Promise<string[]> {
    return [...new Set([...(await this.#store.names()), ...(await this.oldNames())])];
  }

  async read(name: string): Promise<Bytes | null> {
    return (await this.#store.read(name)) ?? this.#tryOld(name, () => this.#old.read(name), name.startsWith("bundle-"));
  }

  write(name: string, bytes: Bytes): Promise<void> {
    return this.#store.write(name, bytes);
  }

  async remove(name: string): Promise<void> {
    await this.#store.remove(name);
    await this.#tryOld(name, () => this.#old.remove(name));
  }

  async oldNames(): Promise<string[]> {
    if (this.#isHidden) return [];
    return (await this.#old.names().catch(() => [])).filter((x) => !this.#lost.has(x));
  }

  async adopt(name: string, bytes: Bytes): Promise<void> {
    if (!(await this.oldNames()).includes(name)) return;
    await this.#store.write(name, bytes);
    await this.#tryOld(name, () => this.#old.remove(name));
  }

  /**
   * Runs an operation on an entry of the old place; null where it fails, which hides the entry, or all with `hidesAll`.
   */
  async #tryOld<T>(name: string, work: () => Promise<T>, hidesAll = false): Promise<T | null> {
    if (this.#isHidden || this.#lost.has(name)) return null;
    try {
      return await work();
    } catch {
      this.#lost.add(name);
      this.#isHidden ||= hidesAll;
      return null;
    }
  }
}
