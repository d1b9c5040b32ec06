// The worker that fetches models. Progress is reported at most every 50 ms: a fast network would otherwise flood the
// page.
import * as Comlink from "comlink";
import { BUILD_ID } from "../core/build-id.ts";
import type { WorkerReady } from "../core/build-id.ts";
import { lockHolder } from "../effects/web-locks.ts";
import { unreadableOf } from "../core/unreadable.ts";
import { reply } from "../rpc/reply.ts";
import { countRuns } from "./count-runs.ts";
import { Downloader } from "./download.ts";
import type { DownloadEffects, DownloadOptions } from "./download.ts";
import { estimateCost } from "./estimate-cost.ts";
import { contents, find, deleteStored, pin, exportFiles } from "./manage.ts";
import { open } from "./open.ts";
import { plan } from "./plan.ts";
import { PacedProgress } from "./progress.ts";
import type { CacheApi, Progress, ProgressNotice, StoreChoice, LoadCriteria } from "./messages.ts";
import { ModelStore } from "./model-store.ts";
import { withShortAddresses } from "./short-address.ts";
import type { Store } from "./stores/store.ts";
import { update } from "./update.ts";

/** The worker's effects on the world. */
export interface CacheEffects extends DownloadEffects {
  /** Opens the store of this device; null where nothing is to be stored. */
  openStore(choice: StoreChoice): Promise<Store | null>;
  /** Sets the address of the brotli decoder's WebAssembly. */
  setBrotliUrl(url: string): void;
}

/** Serves downloads to the page at the other end. */
export function serveCache(endpoint: Comlink.Endpoint, effects: CacheEffects): void {
  endpoint.postMessage({ selvedge: "ready", build: BUILD_ID } satisfies WorkerReady);
  const running = new Map<number, AbortController>();
  let downloader: Promise<Downloader> | null = null;

  const begin = async (choice: StoreChoice): Promise<Downloader> => {
    const store = await effects.openStore(choice);
    return new Downloader(effects, store === null ? null : new ModelStore(store, () => effects.wallClock()));
  };

  const track = <T>(ticket: number, work: (downloader: Downloader, options: DownloadOptions) => Promise<T>) =>
    reply(async (): Promise<T> => {
      const stop = new AbortController();
      running.set(ticket, stop);
      const paced = new PacedProgress(effects.setTimer, (progress) => {
        endpoint.postMessage({ selvedge: "progress", ticket, ...progress } satisfies ProgressNotice);
      });
      const onProgress = (progress: Progress): void => {
        paced.report(progress);
      };
      try {
        return await work(await (downloader ??= begin("auto")), { signal: stop.signal, onProgress });
      } catch (error) {
        throw stop.signal.aborted ? error : withShortAddresses(unreadableOf(error) ?? error);
      } finally {
        paced.end();
        running.delete(ticket);
      }
    });

  const manage = <T>(work: (downloader: Downloader) => Promise<T>) =>
    reply(async (): Promise<T> => work(await (downloader ??= begin("auto"))));

  const hold = lockHolder();
  const api: CacheApi = {
    hold: (name) => reply(() => hold(name)),
    begin: (choice, brotliUrl, loaded) =>
      reply(async () => {
        effects.setBrotliUrl(brotliUrl);
        const { uses } = await (downloader ??= begin(choice));
        for (const identity of loaded) uses.loaded(identity);
        return null;
      }),
    unloaded: (identity) =>
      reply(async () => {
        (await downloader)?.uses.unloaded(identity);
        return null;
      }),
    open: (ticket, from, criteria) =>
      track(ticket, async (downloader, options) =>
        plan(
          await countRuns(await open(from, criteria, downloader, options), downloader.modelStore),
          await withOthers(criteria, downloader),
        ),
      ),
    estimate: (ticket, from, criteria) =>
      track(ticket, async (downloader, { signal }) =>
        estimateCost(from, await withOthers(criteria, downloader), downloader, signal),
      ),
    update: (ticket, from, criteria) =>
      track(ticket, (downloader, options) => update(from, criteria, downloader, options)),
    files: (ticket, bundle, files) =>
      track(ticket, (downloader, options) => downloader.files(bundle, files, { ...options, token: bundle.token })),
    contents: () => manage(contents),
    find: (which) => manage((downloader) => find(downloader, which)),
    pin: (which, isPinned) => manage((downloader) => pin(downloader, which, isPinned)),
    delete: (which) => manage((downloader) => deleteStored(downloader, which)),
    export: (which, variant) => manage((downloader) => exportFiles(downloader, which, variant)),
    life: (change) =>
      reply(async () => {
        const found = await downloader;
        if (change === "leaving") found?.leaving();
        if (change === "left") found?.leave();
        if (change === "stayed" || change === "back") found?.back();
        return null;
      }),
    wait: (ms) =>
      reply(
        () =>
          new Promise((resolve) => {
            effects.setTimer(() => {
              resolve(null);
            }, ms);
          }),
      ),
    cancel: (ticket) =>
      reply(() => {
        running.get(ticket)?.abort();
        return Promise.resolve(null);
      }),
  };
  Comlink.expose(api, endpoint);
}

/** Adds what other tabs hold in memory. */
async function withOthers(criteria: LoadCriteria, { uses }: Downloader): Promise<LoadCriteria> {
  return {
    ...criteria,
    memory: { ...criteria.memory, elsewhereBytes: await uses.bytesElsewhere(criteria.memory.page) },
  };
}
