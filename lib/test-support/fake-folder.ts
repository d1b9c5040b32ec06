// For tests in Node: a stand-in for a folder of the origin private file system.

/** A folder in memory that does what OPFS does, and dies or lies at its n-th effect. */
export class Folder {
  readonly files: Map<string, Uint8Array> = new Map();
  /** Counts effects; the one with this number throws, and so do all after it: the page is dead. */
  dieAt = Number.POSITIVE_INFINITY;
  /** What `write` claims to have written, where space ran out. */
  claimed: number | null = null;
  /** Handles that are open. */
  held = 0;
  /** Bytes that fit; a write beyond claims to have written nothing. */
  quotaBytes = Number.POSITIVE_INFINITY;
  /** How many effects there were. */
  effects = 0;

  /** Counts an effect, or throws where the page is dead. */
  effect(): void {
    this.effects += 1;
    if (this.effects >= this.dieAt) throw new DOMException("The page is gone.", "InvalidStateError");
  }

  /** Returns what openFolder takes. */
  handle(): FileSystemDirectoryHandle {
    const missing = (): never => {
      throw new DOMException("not there", "NotFoundError");
    };
    const fileHandle = (first: string): object => {
      let name = first;
      return {
        createSyncAccessHandle: async () => {
          await Promise.resolve();
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
          await Promise.resolve();
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
        await Promise.resolve();
        this.effect();
        if (!this.files.has(name)) {
          if (options?.create !== true) missing();
          this.files.set(name, new Uint8Array(0));
        }
        return fileHandle(name);
      },
      removeEntry: async (name: string) => {
        await Promise.resolve();
        this.effect();
        if (!this.files.delete(name)) missing();
      },
    } as unknown as FileSystemDirectoryHandle;
  }
}
