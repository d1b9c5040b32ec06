// The page's side of the worker that fetches models. The worker starts with the first download and ends when idle; the
// blobs that it made stay valid. The page knows which models are loaded: it notifies the worker, and other tabs by a
// lock.
import type { BundleFile } from "../core/bundle.ts";
import type { Effects, WorkerSource } from "../effects/effects.ts";
import { SelvedgeError } from "../core/errors.ts";
import { Link } from "../rpc/worker-link.ts";
import type { Value } from "../rpc/worker-link.ts";
import { isProgress } from "../cache/messages.ts";
import { memoryLock, USED } from "../effects/lock-names.ts";
import type {
  BundleAddress,
  CacheApi,
  CostEstimate,
  Manage,
  Plan,
  Progress,
  StoreChoice,
  Updated,
  LoadCriteria,
} from "../cache/messages.ts";

/** Options of a download. */
export interface FetchOptions {
  readonly signal: AbortSignal;
  readonly onProgress: ((progress: Progress) => void) | undefined;
}

/** The worker's script, and the WebAssembly module that it may need. */
export interface CacheSource extends WorkerSource {
  readonly brotliUrl: string;
}

const IDLE_MS = 5_000;
/** Idle time while the worker keeps time for the page: another wait comes soon. */
const WAITED_IDLE_MS = 60_000;
/** No bound: the caller's signal limits a download. */
const FOREVER = Infinity;
/** Time without an answer after which the worker has ended, and time between questions; in ms. */
const SILENT_MS = 30_000;
const ASK_MS = 5_000;

/** Fetches the files of models. */
export class CacheClient {
  readonly #effects: Effects;
  readonly #source: () => CacheSource;
  readonly #store: StoreChoice;
  readonly #stopLife: () => void;
  readonly #listeners: Map<number, (progress: Progress) => void> = new Map();
  /** Number of loaded models per identity, their bytes, and the function that releases the identity's locks. */
  readonly #loaded: Map<string, { count: number; bytes: number; readonly paths: Set<string>; free: () => void }> =
    new Map();
  #link: Link<CacheApi> | null = null;
  #nextTicket = 1;
  #running = 0;
  #idleMs = IDLE_MS;
  #cancelIdle: (() => void) | null = null;
  #closed: Error | null = null;

  constructor(effects: Effects, source: () => CacheSource, store: StoreChoice) {
    this.#effects = effects;
    this.#source = source;
    this.#store = store;
    this.#stopLife = effects.onLife((change) => {
      // Firefox keeps a page with a lock out of the back/forward cache; on `left` it is too late to release it.
      for (const [identity, use] of this.#loaded) {
        if (change === "hidden" || change === "visible") continue;
        use.free();
        if (change === "stayed" || change === "back") use.free = this.#hold(identity, use.bytes);
      }
      this.#tell((link) => link.call("life", FOREVER, change));
    });
  }

  /**
   * Keeps a model's files from being evicted, in this tab and in others, until the returned function is called. Other tabs
   * see its bytes: those given, and those of files that are fetched.
   */
  use(identity: string, bytes = 0): () => void {
    const use = this.#loaded.get(identity) ?? { count: 0, bytes: 0, paths: new Set<string>(), free: () => undefined };
    this.#loaded.set(identity, use);
    use.count += 1;
    this.#grow(identity, [{ path: "", bytes }]);
    return () => {
      if (--use.count > 0) return;
      use.free();
      this.#loaded.delete(identity);
      this.#tell((link) => link.call("unloaded", FOREVER, identity));
    };
  }

  /** Opens an address, or a bare model's bytes, and plans how to run what is there. */
  open(from: string | Blob, criteria: LoadCriteria, options: FetchOptions): Promise<Plan> {
    return this.#fetch(options, (link, ticket) => link.call("open", FOREVER, ticket, from, criteria));
  }

  /** Fetches files of a bundle, each a blob of verified chunks. */
  files(bundle: BundleAddress, files: readonly BundleFile[], options: FetchOptions): Promise<Blob[]> {
    this.#grow(bundle.identity, files);
    return this.#fetch(options, (link, ticket) => link.call("files", FOREVER, ticket, bundle, files));
  }

  /** Estimates the cost of a model, without fetching it. */
  estimate(from: string, criteria: LoadCriteria, options: FetchOptions): Promise<CostEstimate> {
    return this.#fetch(options, (link, ticket) => link.call("estimate", FOREVER, ticket, from, criteria));
  }

  /** Stores the newest version of a bundle, for later loads. */
  update(from: string, criteria: LoadCriteria, options: FetchOptions): Promise<Updated> {
    return this.#fetch(options, (link, ticket) => link.call("update", FOREVER, ticket, from, criteria));
  }

  /** Lists or changes the stored models. */
  manage<K extends keyof Manage>(name: K, ...args: Parameters<Manage[K]>): Promise<Value<Manage[K]>> {
    return this.#use((link) => link.call(name, FOREVER, ...args));
  }

  /** Resolves after so many ms by the worker's clock; rejects where the worker ends before. */
  wait(ms: number): Promise<null> {
    this.#idleMs = WAITED_IDLE_MS;
    return this.#use((link) => link.call("wait", FOREVER, ms));
  }

  /** Ends the worker for good. */
  close(error: Error): void {
    this.#closed = error;
    for (const { free } of this.#loaded.values()) free();
    this.#loaded.clear();
    this.#stopLife();
    this.#cancelIdle?.();
    this.#link?.end(error);
  }

  async #fetch<T>(
    { signal, onProgress }: FetchOptions,
    send: (link: Link<CacheApi>, ticket: number) => Promise<T>,
  ): Promise<T> {
    await this.#effects.activated();
    signal.throwIfAborted();
    const ticket = this.#nextTicket++;
    if (onProgress !== undefined) this.#listeners.set(ticket, onProgress);
    const cancel = (): void => {
      this.#tell((link) => link.call("cancel", FOREVER, ticket));
    };
    try {
      signal.addEventListener("abort", cancel, { once: true });
      return await this.#use((link) => send(link, ticket));
    } catch (error) {
      signal.throwIfAborted();
      throw error;
    } finally {
      signal.removeEventListener("abort", cancel);
      this.#listeners.delete(ticket);
    }
  }

  /** Calls the worker, starting it where it is off; its idle timer starts once no call is pending. */
  async #use<T>(send: (link: Link<CacheApi>) => Promise<T>): Promise<T> {
    await this.#effects.activated();
    if (this.#closed !== null) throw this.#closed;
    this.#running += 1;
    this.#cancelIdle?.();
    try {
      return await send(this.#ensureLink());
    } finally {
      this.#running -= 1;
      if (this.#running === 0 && this.#link !== null) this.#startIdling(this.#link);
    }
  }

  /**
   * Adds files to the bytes of a loaded model, each once. The worker that fetches them can't tell other tabs: it ends when
   * idle.
   */
  #grow(identity: string, files: readonly { readonly path: string; readonly bytes: number }[]): void {
    const use = this.#loaded.get(identity);
    if (use === undefined) return;
    const { free, paths } = use;
    for (const { path, bytes } of files) {
      if (!paths.has(path)) use.bytes += bytes;
      paths.add(path);
    }
    use.free = this.#hold(identity, use.bytes);
    free();
  }

  #hold(identity: string, bytes: number): () => void {
    if (this.#store !== "auto") return () => undefined;
    const { holdLock, facts } = this.#effects;
    const held = [identity, memoryLock(bytes, facts.page, identity)].map((x) => holdLock?.(USED + x));
    return () => {
      for (const free of held) free?.();
    };
  }

  #ensureLink(): Link<CacheApi> {
    if (this.#link !== null) return this.#link;
    const source = this.#source();
    const link = new Link<CacheApi>(this.#effects, source);
    link.onNotice = (data) => {
      if (isProgress(data)) this.#listeners.get(data.ticket)?.(data);
    };
    link.onEnd = () => {
      this.#link = null;
    };
    this.#link = link;
    void this.#begin(link, source);
    return link;
  }

  /** Starts the worker's service. Without a lock only a missing answer shows that it has ended: it is polled. */
  async #begin(link: Link<CacheApi>, { brotliUrl }: CacheSource): Promise<void> {
    try {
      await link.call("begin", SILENT_MS, this.#store, brotliUrl, [...this.#loaded.keys()]);
      while (!link.isWatched) await link.call("wait", SILENT_MS, ASK_MS);
    } catch {
      // it has ended
    }
  }

  /** Notifies the worker if one is running; ignores its errors. */
  #tell(say: (link: Link<CacheApi>) => Promise<unknown>): void {
    if (this.#link !== null) say(this.#link).catch(() => undefined);
  }

  #startIdling(link: Link<CacheApi>): void {
    if (this.#store === "memory") return; // the memory store would end with it
    this.#cancelIdle = this.#effects.setTimer(() => {
      link.end(new SelvedgeError("closed", "The worker idled out."));
    }, this.#idleMs);
  }
}
