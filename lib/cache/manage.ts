// Management of stored models: list, pin, delete, export.
import { SelvedgeError } from "../core/errors.ts";
import type { Downloader } from "./download.ts";
import { isBare } from "./manifest.ts";
import type { StoreContents } from "./messages.ts";
import type { StoredBundle } from "./model-store.ts";

/** The one variant of a bare model, as the store lists it. */
const BARE_VARIANT = "model";

/** Lists stored bundles, the most recently used first. */
export async function contents({ modelStore, effects }: Downloader): Promise<StoreContents> {
  const estimate = await effects.estimate().catch(() => null);
  const freeBytes = estimate === null ? null : Math.max(0, estimate.quota - estimate.usage);
  if (modelStore === null) return { kind: "memory", bytes: 0, freeBytes, bundles: [] };
  return {
    kind: modelStore.store.kind,
    bytes: await modelStore.bytes(),
    freeBytes,
    bundles: await modelStore.bundles(),
  };
}

/**
 * Returns a stored bundle, by its identity or by an address that leads to it: of two versions the one that is whole, or
 * that was used last.
 */
export async function find(downloader: Downloader, which: string): Promise<StoredBundle | null> {
  const found = await findAll(downloader, which);
  return found.find((x) => x.variants.length > 0) ?? found[0] ?? null;
}

/** Pins or unpins a stored bundle; returns whether it is stored. */
export async function pin(downloader: Downloader, which: string, isPinned: boolean): Promise<boolean> {
  const found = await find(downloader, which);
  if (found !== null) await downloader.modelStore?.pin(found.identity, isPinned);
  return found !== null;
}

/** Removes a stored bundle, in all versions that an address leads to, or everything; returns the bytes freed. */
export async function deleteStored(downloader: Downloader, which: string | null): Promise<number> {
  await downloader.notes.flush();
  if (which === null) return (await downloader.modelStore?.clear()) ?? 0;
  let freed = 0;
  for (const { identity } of await findAll(downloader, which))
    freed += (await downloader.modelStore?.remove(identity)) ?? 0;
  return freed;
}

async function findAll({ modelStore }: Downloader, which: string): Promise<StoredBundle[]> {
  const bundles = (await modelStore?.bundles()) ?? [];
  return bundles.filter((x) => x.identity === which || x.urls.includes(which));
}

/**
 * Returns the files of a stored variant, each verified by its hashes, in the order of the bundle: the model first.
 * @throws SelvedgeError `download-failed` where it is not stored whole, or has no such variant
 */
export async function exportFiles(
  downloader: Downloader,
  which: string,
  variant: string | undefined,
): Promise<{ path: string; data: Blob }[]> {
  const found = await find(downloader, which);
  const manifest = found === null ? null : await downloader.modelStore?.bundle(found.identity);
  if (found === null || manifest == null)
    throw new SelvedgeError("download-failed", `${which} is not stored.`, { which, reason: "not-stored" });
  const id = variant ?? found.variants[0];
  const variants = isBare(manifest)
    ? [{ id: BARE_VARIANT, files: [{ path: found.name, chunks: manifest.chunks }] }]
    : manifest.variants;
  const files = variants.find((x) => x.id === id)?.files;
  if (files === undefined) {
    const ids = variants.map((x) => x.id);
    const what = id === undefined ? "" : ` "${id}": it has ${ids.map((x) => `"${x}"`).join(", ")}`;
    throw new SelvedgeError("download-failed", `${which} has no stored variant${what}.`, { which, variants: ids });
  }
  const taken: { path: string; data: Blob }[] = [];
  for (const { path, chunks } of files) {
    const parts: Blob[] = [];
    for (const chunk of chunks) {
      const blob = await downloader.stored(chunk);
      if (blob === null)
        throw new SelvedgeError("download-failed", `${path} of ${which} is not stored whole.`, {
          which,
          path,
          reason: "not-stored",
        });
      parts.push(new Blob([await blob.arrayBuffer()])); // copies, since the stored bytes may be deleted next
    }
    taken.push({ path, data: new Blob(parts) });
  }
  return taken;
}
