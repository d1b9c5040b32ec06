// The store in the origin private file system, by sync access handles, which only workers have.
//
// An entry is written under a temporary name, flushed, and then renamed: a file of its name is whole at any time.
// `write()` returns wrong results when space runs out (a short count, 0, or 4294967288, without throwing), so its count
// is compared. A handle locks its file, and a page in the back/forward cache keeps its locks: none is held across an
// await.
import { withOld } from "./old-store.ts";
import { isQuotaError, OLD_STORE_NAME, outOfSpace, STORE_NAME } from "./store.ts";
import type { Bytes, Store } from "./store.ts";

/** File handle methods that lib.dom leaves out, since pages do not have them. */
interface SyncFile extends FileSystemFileHandle {
  createSyncAccessHandle(): Promise<{
    write(bytes: Bytes, options: { at: number }): number;
    read(bytes: Bytes, options: { at: number }): number;
    getSize(): number;
    flush(): void;
    close(): void;
  }>;
  move(name: string): Promise<void>;
}

const TEMPORARY = /^temp-(\d+)-/;
/** Age below which another tab may be writing a temporary file. */
const ABANDONED_MS = 600_000;

/** Opens the store; null where there is no file system, no sync handle or no rename. */
export async function openOpfs(now: () => number): Promise<Store | null> {
  const { FileSystemFileHandle: File } = globalThis as Partial<typeof globalThis>;
  if (File === undefined || !("createSyncAccessHandle" in File.prototype) || !("move" in File.prototype)) return null;
  const root = await navigator.storage.getDirectory();
  const store = openFolder(await root.getDirectoryHandle(STORE_NAME, { create: true }), now);
  return withOld(store, async () => openFolder(await root.getDirectoryHandle(OLD_STORE_NAME), now));
}

/** Opens the store in a folder. */
export function openFolder(folder: FileSystemDirectoryHandle, now: () => number): Store {
  return new OpfsStore(folder, now);
}

class OpfsStore implements Store {
  readonly kind = "opfs";
  readonly #folder: FileSystemDirectoryHandle;
  readonly #now: () => number;

  constructor(folder: FileSystemDirectoryHandle, now: () => number) {
    this.#folder = folder;
    this.#now = now;
  }

  /** Also removes the temporary files of pages that died. */
  async names(): Promise<string[]> {
    const names: string[] = [];
    for await (const name of this.#folder.keys()) {
      const begun = TEMPORARY.exec(name)?.[1];
      if (begun === undefined) names.push(name);
      else if (this.#now() - Number(begun) > ABANDONED_MS) await this.#folder.removeEntry(name).catch(() => undefined);
    }
    return names;
  }

  async read(name: string): Promise<Bytes | null> {
    try {
      // A file's own bytes, not a sync handle: two tabs may read at once.
      return new Uint8Array(await (await this.#file(name)).arrayBuffer());
    } catch (error) {
      if (await this.#isGone(name)) return null; // not there, or removed by another tab while it was read
      throw error;
    }
  }

  async blob(name: string): Promise<Blob | null> {
    try {
      return await this.#file(name);
    } catch (error) {
      if (await this.#isGone(name)) return null;
      throw error;
    }
  }

  async write(name: string, bytes: Bytes): Promise<void> {
    const temporary = `temp-${this.#now()}-${crypto.randomUUID()}`;
    try {
      const file = (await this.#folder.getFileHandle(temporary, { create: true })) as SyncFile;
      const handle = await file.createSyncAccessHandle();
      try {
        if (handle.write(bytes, { at: 0 }) !== bytes.byteLength) throw outOfSpace(name, bytes.byteLength);
        handle.flush();
      } finally {
        handle.close();
      }
      await file.move(name);
    } catch (error) {
      await this.#folder.removeEntry(temporary).catch(() => undefined);
      // Another tab was faster: the same name has the same bytes.
      if (await this.#has(name)) return;
      throw isQuotaError(error) ? outOfSpace(name, bytes.byteLength, error) : error;
    }
  }

  async remove(name: string): Promise<void> {
    await this.#folder.removeEntry(name).catch((error: unknown) => {
      if (!(error instanceof Error && error.name === "NotFoundError")) throw error;
    });
  }

  async #file(name: string): Promise<File> {
    return (await this.#folder.getFileHandle(name)).getFile();
  }

  /** Whether an entry is not there, rather than unreadable now. */
  async #isGone(name: string): Promise<boolean> {
    return this.#folder.getFileHandle(name).then(
      () => false,
      (error: unknown) => error instanceof Error && error.name === "NotFoundError",
    );
  }

  async #has(name: string): Promise<boolean> {
    return this.#folder.getFileHandle(name).then(
      () => true,
      () => false,
    );
  }
}
