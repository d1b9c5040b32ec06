// The inside of the worker that fetches models. Progress is told at most every 50 ms: a fast network would flood the
// page otherwise.
import * as Comlink from "comlink";
import { reply } from "../reply.ts";
import { fetchFiles } from "./download.ts";
import type { DownloadOptions } from "./download.ts";
import { open } from "./open.ts";
import { plan } from "./plan.ts";
import type { CacheApi, Progress, ProgressNotice } from "./protocol.ts";

const PROGRESS_EVERY_MS = 50;

/** Serves downloads to the page at the other end. */
export function serveCache(endpoint: Comlink.Endpoint, fetch: DownloadOptions["fetch"], now: () => number): void {
  const running = new Map<number, AbortController>();

  const track = async <T>(ticket: number, work: (options: DownloadOptions) => Promise<T>): Promise<T> => {
    const stop = new AbortController();
    running.set(ticket, stop);
    let toldMs = Number.NEGATIVE_INFINITY;
    const onProgress = (progress: Progress): void => {
      const isLast = progress.loadedBytes === progress.totalBytes;
      if (!isLast && now() - toldMs < PROGRESS_EVERY_MS) return;
      toldMs = now();
      const notice: ProgressNotice = { selvedge: "progress", ticket, ...progress };
      endpoint.postMessage(notice);
    };
    try {
      return await work({ fetch, signal: stop.signal, onProgress });
    } finally {
      running.delete(ticket);
    }
  };

  const api: CacheApi = {
    open: (ticket, from, wish) => reply(() => track(ticket, async (options) => plan(await open(from, options), wish))),
    files: (ticket, bundleUrl, files) => reply(() => track(ticket, (options) => fetchFiles(bundleUrl, files, options))),
    cancel: (ticket) =>
      reply(() => {
        running.get(ticket)?.abort();
        return Promise.resolve(null);
      }),
  };
  Comlink.expose(api, endpoint);
}
