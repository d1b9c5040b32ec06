// For tests in Node: a fake of an OPFS folder.

/** A folder in memory that behaves like OPFS, and fails at its n-th effect. */
export class Folder {
  readonly files: Map<string, Uint8Array> = new Map();
  /** Number of the effect that throws, as do all later ones: the page is dead. */
  dieAt = Number.POSITIVE_INFINITY;
  /** Number of bytes that `write` reports where space ran out. */
  claimed: number | null = null;
  /** Number of open handles. */
  held = 0;
  /** Capacity in bytes; a write beyond it reports that nothing was written. */
  quotaBytes = Number.POSITIVE_INFINITY;
  /** Precedes each effect: a test may let effects of several pages take place in any order. */
  turn: () => Promise<unknown> = () => Promise.resolve();
  /** Number of effects so far. */
  effects = 0;

  /** Counts an effect, or throws where the page is dead. */
  effect(): void {
    this.effects += 1;
    if (this.effects >= this.dieAt) throw new DOMException("The page is gone.", "InvalidStateError");
  }

  /** Returns the handle that openFolder takes. */
  handle(): FileSystemDirectoryHandle {
    const missing = (): never => {
      throw new DOMException("not there", "NotFoundError");
    };
    const fileHandle = (first: string): object => {
      let name = first;
      return {
        createSyncAccessHandle: async () => {
          await this.turn();
          this.effect();
          this.held += 1;
          return {
            write: (bytes: Uint8Array) => {
              this.effect();
              const used = [...this.files.values()].reduce((sum, x) => sum + x.length, 0);
              const claimed = this.claimed ?? (used + bytes.length > this.quotaBytes ? 0 : null);
              this.files.set(name, bytes.slice(0, claimed === null ? bytes.length : 3));
              return claimed ?? bytes.length;
            },
            flush: () => {
              this.effect();
            },
            close: () => {
              this.held -= 1;
            },
          };
        },
        move: async (to: string) => {
          await this.turn();
          this.effect();
          this.files.set(to, this.files.get(name) ?? missing());
          this.files.delete(name);
          name = to;
        },
        getFile: () => Promise.resolve(new Blob([(this.files.get(name) ?? missing()).slice()])),
      };
    };
    return {
      keys: () =>
        (async function* (names) {
          for (const name of names) yield await Promise.resolve(name);
        })([...this.files.keys()]),
      getFileHandle: async (name: string, options?: { create?: boolean }) => {
        await this.turn();
        this.effect();
        if (!this.files.has(name)) {
          if (options?.create !== true) missing();
          this.files.set(name, new Uint8Array(0));
        }
        return fileHandle(name);
      },
      removeEntry: async (name: string) => {
        await this.turn();
        this.effect();
        if (!this.files.delete(name)) missing();
      },
    } as unknown as FileSystemDirectoryHandle;
  }
}
