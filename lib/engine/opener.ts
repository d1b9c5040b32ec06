// Opens sources of models through the fetch worker: sends it this engine's criteria, and avoids variants that a page
// died of.
import type { BackendName } from "../rpc/backend.ts";
import type { CacheClient, FetchOptions } from "./cache-client.ts";
import type { CostEstimate, Plan, Updated, LoadCriteria } from "../cache/messages.ts";
import type { Candidate } from "../core/choose-variant.ts";
import type { CrashMarkers } from "./crash-markers.ts";
import type { DeviceFacts } from "../core/device.ts";
import type { MemoryCriteria } from "../core/fit.ts";
import type { Effects } from "../effects/effects.ts";
import type { EngineOptions, SourceOptions } from "./options.ts";

/** Key in localStorage of the signed releases that this device has seen; the store has its own copy. */
const SEEN_RELEASES = "selvedge/releases/1";

/** Delay of the check of a stored model whose server can't be asked whether it changed, in ms: the load is over then. */
const CHECK_AFTER_MS = 3_000;

/** Opens sources for one engine. */
export class Opener {
  readonly #effects: Effects;
  readonly #cache: CacheClient;
  readonly #markers: CrashMarkers;
  readonly #device: DeviceFacts;
  readonly #backends: readonly BackendName[];
  readonly #options: EngineOptions;
  readonly #memory: MemoryCriteria;

  constructor(
    effects: Effects,
    cache: CacheClient,
    markers: CrashMarkers,
    device: DeviceFacts,
    backends: readonly BackendName[],
    options: EngineOptions,
    memory: MemoryCriteria,
  ) {
    this.#memory = memory;
    this.#effects = effects;
    this.#cache = cache;
    this.#markers = markers;
    this.#device = device;
    this.#backends = backends;
    this.#options = options;
  }

  /** Opens a source; where a page died loading the best variant, asks again for another. `full` ran out of memory. */
  async open(
    from: string | Blob,
    options: SourceOptions,
    download: FetchOptions,
    full: readonly Candidate[] = [],
  ): Promise<Plan> {
    const crashed: Candidate[] = [];
    const { memo, facts } = this.#effects;
    const described =
      options.image !== undefined || options.labels !== undefined
        ? (await import("./own-description.ts")).ownDescription(from, options, facts.baseUrl)
        : undefined;
    for (;;) {
      const plan = await this.#cache.open(
        from,
        { ...(await this.#criteria(options, crashed)), full, described },
        download,
      );
      if (plan.seen !== null) {
        const { mergeReleases } = await import("../core/release-record.ts");
        // Merged with the record of now: other loads, and other tabs, may have added to it since the load began.
        memo.set(SEEN_RELEASES, mergeReleases(memo.get(SEEN_RELEASES), plan.seen));
      }
      if (plan.mustCheck === true && typeof from === "string")
        this.#effects.setTimer(() => {
          this.updateQuietly(from, { ...options, update: "later" }, new AbortController().signal);
        }, CHECK_AFTER_MS);
      if (plan.refused !== null) this.logStored(plan, plan.refused);
      const died = plan.candidates.filter((x) => this.#markers.has(plan.identity, x));
      const known = crashed.length;
      for (const x of died) if (!crashed.some((y) => isSame(x, y))) crashed.push(x);
      if (crashed.length === known) return plan;
    }
  }

  /** Fetches a model again for the next load, which reports a failure. Skipped where the user saves data. */
  updateQuietly(from: string, options: SourceOptions, signal: AbortSignal): void {
    this.update(from, options, { signal, onProgress: undefined }).catch(() => undefined);
  }

  /** Estimates the cost of a model, without fetching it. */
  async estimate(from: string, options: SourceOptions, signal: AbortSignal): Promise<CostEstimate> {
    return this.#cache.estimate(from, await this.#criteria(options), { signal, onProgress: undefined });
  }

  /** Stores the newest version of a bundle, for later loads. */
  async update(from: string, options: SourceOptions, download: FetchOptions): Promise<Updated> {
    return this.#cache.update(from, await this.#criteria(options), download);
  }

  /** Logs why the stored version of a model is used and not the server's. */
  logStored({ name }: Plan, reason: string): void {
    this.#options.onLog?.(`The stored version of ${name} is used. ${reason}`);
  }

  async #criteria(load: SourceOptions, crashed: readonly Candidate[] = []): Promise<LoadCriteria> {
    const { backend, variant, update = "first", identity, name, keepInMemory, token: tokenOf, placement } = load;
    const { trustedKeys = [], backends: allowed } = this.#options;
    return {
      device: this.#device,
      backends: this.#backends,
      pins: { backend, variant, allowed },
      crashed,
      full: [],
      memory: keepInMemory === true ? { ...this.#memory, budgetBytes: null } : this.#memory,
      trustedKeys,
      update,
      identity,
      name,
      seen: trustedKeys.length === 0 ? null : this.#effects.memo.get(SEEN_RELEASES),
      token: await tokenOf?.(),
      placement,
    };
  }
}

function isSame(a: Candidate, b: Candidate): boolean {
  return a.backend === b.backend && a.variant.id === b.variant.id;
}
