// Update of a bundle to a newer version, for later loads: fetches its `bundle.json`, and those of its chunks that are
// not stored yet. Unchanged chunks are not fetched, since chunks are named by their hashes. A bare model is fetched whole.
import type { Downloader, DownloadOptions } from "./download.ts";
import { openNewest, storedVersion } from "./open.ts";
import { renameChanged } from "./unvalidated-files.ts";
import { fetchBare } from "./bare-model.ts";
import { plan } from "./plan.ts";
import { isRepository } from "./repository.ts";
import type { Updated, LoadCriteria } from "./messages.ts";

/**
 * Stores the newest version of a bundle: every variant that this device might run, since the choice is made at load.
 * @throws SelvedgeError `quota-exceeded` where it can't be stored
 */
export async function update(
  url: string,
  criteria: LoadCriteria,
  downloader: Downloader,
  { signal, onProgress }: DownloadOptions,
): Promise<Updated> {
  const isBare = !new URL(url).pathname.endsWith(".json") && !isRepository(url);
  const stored = isBare ? null : await storedVersion(url, criteria, downloader);
  const before = isBare ? (await downloader.modelStore?.source(url).catch(() => null))?.identity : stored?.identity;
  // A background update is skipped where the user saves data.
  if (criteria.update === "later" && before !== undefined && downloader.effects.connection().saveData)
    return { identity: before, isNew: false, fetchedBytes: 0 };
  if (isBare) return updateBare(url, before, downloader, { signal, onProgress });
  const known = stored === null ? null : await renameChanged(stored, criteria, downloader, signal);
  const opened = await openNewest(url, criteria, downloader, signal, known);
  const { candidates, settled, assets, format } = plan(opened, criteria);
  const wanted = candidates.filter((x) => settled === null || x.backend === settled.backend);
  const files = [...wanted.flatMap((x) => x.variant.files), ...assets];
  let fetchedBytes = 0;
  await downloader.files(
    { url, identity: opened.identity, format },
    files,
    {
      signal,
      onProgress: (progress) => {
        fetchedBytes = progress.loadedBytes - progress.cachedBytes;
        onProgress?.(progress);
      },
    },
    true,
  );
  await downloader.modelStore?.settle(url, opened.identity).catch(() => undefined);
  return { identity: opened.identity, isNew: opened.identity !== before, fetchedBytes };
}

/** Fetches a bare model whatever is stored: its hashes show whether it changed. */
async function updateBare(
  url: string,
  before: string | undefined,
  downloader: Downloader,
  { signal, onProgress }: DownloadOptions,
): Promise<Updated> {
  let fetchedBytes = 0;
  const options: DownloadOptions = {
    signal,
    onProgress: (progress) => {
      fetchedBytes = progress.loadedBytes - progress.cachedBytes;
      onProgress?.(progress);
    },
  };
  const { identity } = await fetchBare(url, downloader, options, true);
  const isNew = identity !== before;
  if (isNew) downloader.uses.unloaded(identity); // no model of it is loaded yet
  return { identity, isNew, fetchedBytes };
}
