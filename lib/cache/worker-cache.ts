// The entry of the worker that fetches models; esbuild makes dist/worker-cache.js of it.
import type { Endpoint } from "comlink";
import { BrotliLoader } from "./brotli.ts";
import { completeCrypto } from "./insecure-context.ts";
import { isOpaque } from "../effects/opaque-origin.ts";
import { causeOf } from "./network-evidence.ts";
import { MemoryStore } from "./stores/memory.ts";
import { openStore } from "./stores/open-store.ts";
import { serveCache } from "./serve.ts";

// Each of these is missing on pages that are not secure.
const { storage, locks } = navigator as Partial<Navigator>;

/** Chromium's connection facts, which other browsers lack. */
interface Connection {
  readonly saveData?: boolean;
  /** In megabits a second. */
  readonly downlink?: number;
}

completeCrypto(crypto);
const brotli = new BrotliLoader();

serveCache(self as unknown as Endpoint, {
  fetch: (url, init) => fetch(url, init),
  causeOf,
  now: () => performance.now(),
  wallClock: () => Date.now(),
  random: () => Math.random(),
  setTimer(callback, ms) {
    const timer = setTimeout(callback, ms);
    return () => {
      clearTimeout(timer);
    };
  },
  isOwn: (url) => new URL(url).origin === self.location.origin,
  ownProtocol: new URL(self.location.origin === "null" ? self.location.href : self.location.origin).protocol,
  locks: locks ?? null,
  heldLocks: async () => ((await locks?.query())?.held ?? []).map(({ name = "" }) => name),
  connection() {
    const { saveData = false, downlink } = (Reflect.get(navigator, "connection") ?? {}) as Connection;
    return { saveData, bytesPerSecond: downlink === undefined ? null : (downlink * 1e6) / 8 };
  },
  async estimate() {
    const { quota, usage } = (isOpaque() ? null : await storage?.estimate()) ?? {};
    return quota === undefined || usage === undefined ? null : { quota, usage };
  },
  setBrotliUrl(url) {
    brotli.url = url;
  },
  loadBrotli: () => brotli.load(),
  async openStore(choice) {
    if (choice === false) return null;
    return choice === "memory" || isOpaque() ? new MemoryStore() : openStore(() => Date.now());
  },
});
