// A store with what an older release left beside it. Both are read; only this release's own is written. What is used is
// moved over, so that the old place empties; an old tab that misses an entry fetches it again. Delete this file, and what
// calls `oldNames` and `adopt`, once nobody comes with a store of schema 1 any more.
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

  constructor(store: Store, old: Store) {
    this.kind = store.kind;
    this.#store = store;
    this.#old = old;
    if (store.blob !== undefined)
      this.blob = async (name) => (await store.blob?.(name)) ?? (await old.blob?.(name)) ?? null;
  }

  async names(): Promise<string[]> {
    return [...new Set([...(await this.#store.names()), ...(await this.#old.names())])];
  }

  async read(name: string): Promise<Bytes | null> {
    return (await this.#store.read(name)) ?? this.#old.read(name);
  }

  write(name: string, bytes: Bytes): Promise<void> {
    return this.#store.write(name, bytes);
  }

  async remove(name: string): Promise<void> {
    await this.#store.remove(name);
    await this.#old.remove(name);
  }

  oldNames(): Promise<string[]> {
    return this.#old.names();
  }

  async adopt(name: string, bytes: Bytes): Promise<void> {
    if (!(await this.#old.names()).includes(name)) return;
    await this.#store.write(name, bytes);
    await this.#old.remove(name);
  }
}
