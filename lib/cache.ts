// `selvedge/cache`: management of stored models, for settings pages and clean-up; not needed to load one. The engine's
// own entry does not import this. The cost of a model, and fetching it ahead, are the engine's: `engine.availability`,
// `engine.update`.
import { resolveAssets, workerSource } from "./assets.ts";
import type { Assets, OrtBuild } from "./assets.ts";
import { CacheClient } from "./engine/cache-client.ts";
import type { StoreContents, StoredFile } from "./cache/messages.ts";
import type { StoredBundle } from "./cache/model-store.ts";
import { browserEffects } from "./effects/effects.ts";
import type { Effects, ScriptUrl } from "./effects/effects.ts";
import { deleteSiteData } from "./engine/delete-site-data.ts";
import { forgetPage, keepPage } from "./engine/keep-page.ts";
import { persistStorage } from "./effects/persist-storage.ts";
import { SelvedgeError } from "./core/errors.ts";
import type { KeptPage } from "./offline/keep-offline.ts";
import { jspiFiles } from "./jspi-files.ts";
import { resolveAddress } from "./core/resolve-source.ts";

export type { StoreContents, StoredFile } from "./cache/messages.ts";
export type { StoreKind } from "./cache/stores/store.ts";
export type { StoredBundle } from "./cache/model-store.ts";
export type { KeptPage } from "./offline/keep-offline.ts";

/** Options of `openCache`, with the same meaning as an engine's. */
export interface CacheOptions {
  /** Where the package's worker files are served. Default: beside the package's own script. */
  readonly assetsBase?: string | URL | undefined;
  /** Trusted Types policy for the worker's address, where the page enforces them. */
  readonly trustedTypesPolicy?:
    | {
        /** Vouches for the address of a worker script. */
        createScriptURL(url: string): ScriptUrl;
      }
    | undefined;
  /** Replaces clock and workers, for tests. Default: the browser's. */
  readonly effects?: Effects | undefined;
}

/**
 * Opens the model store of this site. Starts a worker at the first call.
 * @example const cache = openCache(); for (const { name, bytes } of (await cache.list()).bundles) show(name, bytes);
 */
export function openCache(options: CacheOptions = {}): ModelCache {
  const effects = options.effects ?? browserEffects();
  const { facts } = effects;
  const { trustedTypesPolicy: policy } = options;
  const vouched = (href: string): string | ScriptUrl => (policy === undefined ? href : policy.createScriptURL(href));
  const assets = (build: OrtBuild): Assets =>
    resolveAssets(build, options.assetsBase?.toString(), facts.baseUrl, jspiFiles);
  const client = new CacheClient(
    effects,
    () => {
      if (!facts.workers) {
        const text =
          "The model store needs Web Workers, and there are none here. Call the store's functions in a browser.";
        throw new SelvedgeError("setup-failed", text, { reason: "no-worker" });
      }
      const { cacheUrl: href, brotliUrl } = assets("wasm");
      return { ...workerSource(effects, policy, href), brotliUrl };
    },
    facts.secure ? "auto" : "memory",
  );
  return new ModelCache(client, facts.baseUrl, (href) => {
    const builds = (["jspi", "wasm"] as const).filter((build) => build === "wasm" || facts.jspi);
    return keepPage(vouched(href), builds.map(assets));
  });
}

/** The stored models; created by `openCache`. A bundle is named by its address or by its identity. */
export class ModelCache {
  readonly #client: CacheClient;
  readonly #baseUrl: string;
  readonly #keepPage: (href: string) => Promise<KeptPage | null>;

  /** Internal: call `openCache`. */
  /** @internal */
  constructor(client: CacheClient, baseUrl: string, keepPage: (href: string) => Promise<KeptPage | null>) {
    this.#client = client;
    this.#baseUrl = baseUrl;
    this.#keepPage = keepPage;
  }

  /** Lists stored bundles, the most recently used first, with sizes and available space. */
  list(): Promise<StoreContents> {
    return this.#client.manage("contents");
  }

  /** Returns a stored bundle; null where nothing of it is stored. Its `variants` are those that are stored whole. */
  has(bundle: string | URL): Promise<StoredBundle | null> {
    return this.#client.manage("find", this.#name(bundle));
  }

  /** Exempts a bundle from eviction, or no longer; false where it is not stored. */
  pin(bundle: string | URL, isPinned = true): Promise<boolean> {
    return this.#client.manage("pin", this.#name(bundle), isPinned);
  }

  /**
   * Removes a bundle; or everything: unfinished downloads and data of older releases, cached results, measurements of
   * this device, and the pages that a service worker keeps. Returns the bytes of models that were freed. Loaded models
   * go on.
   */
  async delete(bundle?: string | URL): Promise<number> {
    if (bundle !== undefined) return this.#client.manage("delete", this.#name(bundle));
    const freed = await this.#client.manage("delete", null);
    await deleteSiteData();
    return freed;
  }

  /**
   * Returns the files of a stored variant, each verified by its hashes, for the user to save.
   * @throws SelvedgeError `download-failed` where it is not stored whole, or has no such variant; its text names those there are
   */
  export(bundle: string | URL, variant?: string): Promise<StoredFile[]> {
    return this.#client.manage("export", this.#name(bundle), variant);
  }

  /**
   * Requests persistent storage, which the browser does not evict; Firefox asks the user. Returns whether it was
   * granted.
   */
  persist(): Promise<boolean> {
    return persistStorage();
  }

  /**
   * Makes this page start without a network: registers the service worker at an address, which keeps the page's parts
   * and the package's workers and WebAssembly. That is `dist/worker-offline.js`, copied to the root of the site, or the
   * app's own with `keepOffline` of `selvedge/service-worker` in it. Null where there are no service workers.
   * @throws TypeError where its scope does not include this page; SelvedgeError `worker-crashed` where it does not
   * answer
   */
  keepPage(serviceWorker: string | URL): Promise<KeptPage | null> {
    return this.#keepPage(resolveAddress(serviceWorker, this.#baseUrl));
  }

  /**
   * Removes all copies that service workers keep of this site's pages. With the service worker's address it is
   * unregistered too; else it keeps the pages that are opened from then on. Returns whether there was anything to
   * remove.
   */
  forgetPage(serviceWorker?: string | URL): Promise<boolean> {
    return forgetPage(serviceWorker === undefined ? null : resolveAddress(serviceWorker, this.#baseUrl));
  }

  /** Ends the worker. */
  close(): void {
    this.#client.close(new SelvedgeError("closed", "The cache is closed."));
  }

  #name(bundle: string | URL): string {
    return typeof bundle === "string" && /^[0-9a-f]{64}$/.test(bundle) ? bundle : resolveAddress(bundle, this.#baseUrl);
  }
}
