// The world outside the store: servers, tabs, the disk, and another release of this package; with a record of it, on
// which the properties rest (store-step.ts, trust.ts).
import { chunkPath } from "../../core/bundle.ts";
import type { BundleFormat } from "../../core/bundle.ts";
import { isSelvedgeError } from "../../core/errors.ts";
import { Downloader } from "../../cache/download.ts";
import type { DownloadEffects } from "../../cache/download.ts";
import type { LoadCriteria, UpdatePolicy } from "../../cache/messages.ts";
import { ModelStore } from "../../cache/model-store.ts";
import { chunkName } from "../../cache/names.ts";
import { open } from "../../cache/open.ts";
import { withOld } from "../../cache/stores/old-store.ts";
import type { Bytes, Store } from "../../cache/stores/store.ts";
import { update } from "../../cache/update.ts";
import { SharedLocks, criteriaFor } from "../cache-fixtures.ts";
import { check } from "./check.ts";
import { Life, MortalStore } from "./mortal-store.ts";
import { makeVersion, MODELS, signatureFile } from "./publisher.ts";
import type { ModelName, ServerAnswer, SignatureState, Version } from "./publisher.ts";
import { Trust } from "./trust.ts";

/** Options of a download that nobody cancels. */
export const IDLE = { signal: new AbortController().signal, onProgress: undefined };

/** The places of a browser's store: this release's own, and the older release's; null without one. */
export interface Places {
  readonly store: Store;
  readonly old: Store | null;
}

/** A tab of the page, and the models that it has loaded. */
export interface Tab {
  readonly downloader: Downloader;
  /** Its view of this release's own place. */
  readonly store: MortalStore;
  readonly life: Life;
  /** Whether it has no network, whatever the others have. */
  readonly isOffline: boolean;
  /** Identities in use. */
  readonly uses: Map<string, ModelName>;
}

/** The world outside the store, and the properties' record of it. */
export class StoreWorld {
  /** Both places, as a page sees them that can't die. */
  readonly base: Store;
  readonly places: Places;
  /** The record of apps with trusted keys; null where apps have none. */
  readonly trust: Trust | null;
  readonly tabs: Tab[] = [];
  readonly locks: SharedLocks = new SharedLocks();
  readonly versions: Map<ModelName, Version[]> = new Map();
  readonly served: Map<ModelName, ServerAnswer> = new Map();
  readonly withheld: Set<string> = new Set();
  /** Entries of a newer release. */
  readonly newer: Map<string, string> = new Map();
  /** Entries that the older release wrote to its place. */
  readonly oldEntries: Set<string> = new Set();
  readonly pinned: Set<string> = new Set();
  isOffline = false;
  /** Quota of all chunks. */
  quotaBytes = Number.POSITIVE_INFINITY;
  /** Whether no write of a page has room, not even a record's. */
  isDiskFull = false;
  /** Chunks that the disk has damaged. */
  readonly damaged: Set<string> = new Set();
  /** Versions that were loadable offline before the step. */
  loadable: Map<ModelName, string> = new Map();
  readonly #files: Map<string, Bytes> = new Map();
  #now = 1_000_000;

  private constructor(places: Places, base: Store, trust: Trust | null) {
    this.places = places;
    this.base = base;
    this.trust = trust;
  }

  /**
   * Makes a world over empty places, with the first version of each model published: in the older release's schema where
   * that has a place.
   */
  static async make(places: Places, trusts = false): Promise<StoreWorld> {
    const { store, old } = places;
    check((await store.names()).length === 0, "the store is not empty");
    await old?.write("other-1", new Uint8Array(0)); // an older release was here
    const base = await withOld(store, () => Promise.resolve(old));
    const world = new StoreWorld(places, base, trusts ? await Trust.make() : null);
    if (old !== null) world.oldEntries.add("other-1");
    for (let i = 0; i < 2; i += 1) world.tabs.push(await world.#tab());
    for (const name of MODELS) await world.publish(name, "good", old === null ? 2 : 1);
    return world;
  }

  urlOf(name: ModelName): string {
    return `https://app.test/${name}/bundle.json`;
  }

  /** Returns the time, which goes on with each call. */
  tick(): number {
    return (this.#now += 1);
  }

  /** A tab that is closed loses its memory and its locks. */
  async reopen(index: number): Promise<Tab> {
    const old = this.tabs[index];
    old?.life.endAfter(0);
    old?.downloader.leave();
    return (this.tabs[index] = await this.#tab());
  }

  /** Returns the bytes of all chunks. */
  async usedBytes(): Promise<number> {
    const chunks = (await this.base.names()).filter((x) => x.startsWith("chunk-"));
    return chunks.reduce((sum, x) => sum + Number(x.split("-")[2]), 0);
  }

  /** Publishes a new version. */
  async publish(name: ModelName, signature: SignatureState = "good", format: BundleFormat = 2): Promise<void> {
    const known = this.versions.get(name) ?? [];
    const version = await makeVersion(name, known.length + 1, format);
    for (const [i, { sha256 }] of version.chunks.entries())
      this.#files.set(`https://app.test/${name}/${chunkPath(format, sha256)}`, version.parts[i] as Bytes);
    this.versions.set(name, [...known, version]);
    await this.serve(name, version, signature);
  }

  /** Makes a model's server answer with a version, and with a signature in some state. */
  async serve(name: ModelName, version: Version, signature: SignatureState): Promise<void> {
    this.served.set(name, { version, signature });
    const url = this.urlOf(name);
    this.#files.set(url, version.text);
    if (this.trust === null) return;
    const former = this.versions.get(name)?.[version.release - 2];
    const file = await signatureFile({ version, signature }, name, former);
    const beside = new URL("signature.json", url).href;
    if (file === null) this.#files.delete(beside);
    else this.#files.set(beside, file);
  }

  /** Loads as a page does, with trusted keys where apps have them; returns the version's identity. */
  async load(tab: Tab, name: ModelName, policy: UpdatePolicy): Promise<string> {
    const { trust } = this;
    const before = trust?.begin(name, this.#answerOf(name, tab), this.loadable.get(name));
    const { version, seen } = await this.#fetch(tab, name, criteriaFor({ update: policy, ...trust?.criteria() }));
    if (before !== undefined) trust?.loaded(before, version, seen, !tab.life.isOver);
    await this.#checkMoved(version, tab);
    return version.identity;
  }

  /** Loads as a page of another app does, which trusts every key. */
  async loadUntrusted(tab: Tab, name: ModelName, policy: UpdatePolicy): Promise<void> {
    const { identity } = this.served.get(name)?.version ?? {};
    if (identity !== undefined) this.trust?.others.add(identity);
    await this.#fetch(tab, name, criteriaFor({ update: policy }));
  }

  /** Updates as a page does. */
  async update(tab: Tab, name: ModelName): Promise<void> {
    const { trust } = this;
    const before = trust?.begin(name, this.#answerOf(name, tab), this.loadable.get(name));
    const { identity } = await update(this.urlOf(name), criteriaFor(trust?.criteria()), tab.downloader, IDLE);
    if (before !== undefined) trust?.updated(before, identity, !tab.life.isOver);
  }

  async #fetch(
    tab: Tab,
    name: ModelName,
    criteria: LoadCriteria,
  ): Promise<{ readonly version: Version; readonly seen: string | null }> {
    const url = this.urlOf(name);
    const { bundle, identity, seen } = await open(url, criteria, tab.downloader, IDLE);
    const files = bundle.variants[0]?.files ?? [];
    const [blob] = await tab.downloader.files({ url, identity, format: bundle.format }, files, IDLE);
    tab.uses.set(identity, name);
    const version = this.versions.get(name)?.find((x) => x.identity === identity);
    const bytes = new Uint8Array((await blob?.arrayBuffer()) ?? new ArrayBuffer());
    check(
      version !== undefined && bytes.join() === version.parts.join(),
      `${name} has other bytes than were published`,
    );
    return { version: version as Version, seen };
  }

  /** Returns which version of each model loads without a network. */
  async whole(): Promise<Map<ModelName, string>> {
    const found = new Map<ModelName, string>();
    const here = new Set(await this.base.names());
    for (const name of MODELS) {
      const tab = await this.#tab(true);
      tab.life.endAfter(0); // it only looks
      const identity = await this.load(tab, name, "never").catch((error: unknown) => {
        if (!isSelvedgeError(error)) throw error;
        return null;
      });
      tab.downloader.leave();
      if (identity !== null && here.has(`bundle-${identity}`)) found.set(name, identity);
    }
    return found;
  }

  /** Whether each server sends the newest version, signed as apps want it. */
  isSound(): boolean {
    if (this.trust === null) return true;
    return [...this.served].every(
      ([name, x]) => x.signature === "good" && x.version === this.versions.get(name)?.at(-1),
    );
  }

  /** Identities that must not be evicted. */
  kept(): Set<string> {
    return new Set([...this.pinned, ...this.tabs.flatMap((x) => [...x.uses.keys()])]);
  }

  #effects(isAway: boolean): DownloadEffects {
    return {
      now: () => performance.now() * 100,
      random: () => 0.5,
      wallClock: () => this.tick(),
      isOwn: () => true,
      connection: () => ({ saveData: false, bytesPerSecond: null }),
      loadBrotli: () => Promise.reject(new Error("No chunk of the model is compressed.")),
      locks: this.locks,
      heldLocks: () => Promise.resolve(this.locks.held()),
      // Waits for servers and tabs never end here; pauses take no time.
      setTimer: (callback, ms) => (ms >= 5_000 ? () => undefined : soon(callback)),
      estimate: async () => ({ quota: Math.min(this.quotaBytes, 2 ** 40), usage: await this.usedBytes() }),
      fetch: (url) => {
        if (isAway || this.isOffline) return Promise.reject(new TypeError("offline"));
        const body = this.#answer(url);
        return Promise.resolve(body === null ? new Response("", { status: 404 }) : new Response(body.slice()));
      },
    };
  }

  /** Checks that a model in use was moved from the older release's place, where there is room. */
  async #checkMoved({ chunks, bundle }: Version, { life, isOffline }: Tab): Promise<void> {
    if (isOffline || life.isOver || this.isDiskFull || this.quotaBytes < Number.POSITIVE_INFINITY) return;
    const left = new Set(await this.places.old?.names());
    check(!chunks.some((x) => left.has(chunkName(x))), `${bundle.model.name} is in use, and was not moved`);
  }

  #answerOf(name: ModelName, tab: Tab): ServerAnswer | null {
    return this.isOffline || tab.isOffline ? null : (this.served.get(name) ?? null);
  }

  #answer(url: string): Bytes | null {
    return this.withheld.has(url.split("/")[3] ?? "") && url.includes("/chunks/")
      ? null
      : (this.#files.get(url) ?? null);
  }

  async #tab(isOffline = false): Promise<Tab> {
    const life = new Life();
    const hasRoom = async (name: string, bytes: number): Promise<boolean> =>
      !this.isDiskFull && (!name.startsWith("chunk-") || (await this.usedBytes()) + bytes <= this.quotaBytes);
    const mortal = (store: Store): MortalStore => new MortalStore(store, life, hasRoom);
    const { store, old } = this.places;
    const own = mortal(store);
    const both = await withOld(own, () => Promise.resolve(old === null ? null : mortal(old)));
    const downloader = new Downloader(this.#effects(isOffline), new ModelStore(both, () => this.tick()));
    return { downloader, store: own, life, isOffline, uses: new Map() };
  }
}

/** Calls back in a later task, at once, which a timer of a browser or of Node does not; the returned function cancels. */
function soon(callback: () => void): () => void {
  const { port1, port2 } = new MessageChannel();
  const cancel = (): void => {
    port1.onmessage = null;
    port1.close();
  };
  port1.onmessage = () => {
    cancel();
    callback();
  };
  port2.postMessage(null);
  return cancel;
}
