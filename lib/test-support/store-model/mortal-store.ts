// A store whose page may die at a write, over one that lasts: the disk does not forget what a page has written.
import { outOfSpace } from "../../cache/stores/store.ts";
import type { Bytes, Store } from "../../cache/stores/store.ts";

/** The life of a page, which ends at a write. */
export class Life {
  #writesLeft = Number.POSITIVE_INFINITY;
  isOver = false;

  /** Ends it after so many more writes and removals. */
  endAfter(writes: number): void {
    this.#writesLeft = writes;
  }

  /** Counts a write or a removal, or throws where the page is gone. */
  spend(): void {
    this.isOver ||= this.#writesLeft-- <= 0;
    if (this.isOver) throw new DOMException("The page is gone.", "InvalidStateError");
  }
}

/** One place of a page's store. */
export class MortalStore implements Store {
  readonly kind = "opfs";
  readonly #store: Store;
  readonly #life: Life;
  readonly #hasRoom: (name: string, bytes: number) => Promise<boolean>;
  readonly blob?: (name: string) => Promise<Blob | null>;

  constructor(store: Store, life: Life, hasRoom: (name: string, bytes: number) => Promise<boolean>) {
    this.#store = store;
    this.#life = life;
    this.#hasRoom = hasRoom;
    if (store.blob !== undefined) this.blob = store.blob.bind(store);
  }

  names(): Promise<string[]> {
    return this.#store.names();
  }

  read(name: string): Promise<Bytes | null> {
    return this.#store.read(name);
  }

  async write(name: string, bytes: Bytes): Promise<void> {
    this.#life.spend();
    if (!(await this.#hasRoom(name, bytes.length))) throw outOfSpace(name, bytes.length);
    await this.#store.write(name, bytes);
  }

  async remove(name: string): Promise<void> {
    this.#life.spend();
    await this.#store.remove(name);
  }
}
