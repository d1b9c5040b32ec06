// Locks that tabs share, by the browser's Web Locks: work for one tab at a time, and the models that a tab uses.
//
// Firefox does not keep a page with a lock in the back/forward cache. So the locks of models in use are released once
// the page is about to be left, and all locks once it is. A wait for a lock is bounded: any script of the origin may
// hold one, and so does a tab whose server is slow. After a while without progress the work is done in parallel to the
// holder's; both write the same bytes under the same names.
import { USED } from "../effects/lock-names.ts";

/** Locks among all tabs: as the browser's LockManager. */
export interface Locks {
  /** Does the work once the lock of that name is free; the signal ends the wait for it. */
  request<T>(
    name: string,
    options: { readonly signal?: AbortSignal; readonly mode?: "shared" },
    work: () => Promise<T>,
  ): Promise<T>;
}

/** Effects of shared locks on the world. */
export interface LockEffects {
  /** Locks that tabs share; null where there are none. */
  readonly locks: Locks | null;
  /** Names of the locks that any tab holds. */
  heldLocks(): Promise<readonly string[]>;
  /** Calls back once after `ms`; the returned function cancels. */
  setTimer(callback: () => void, ms: number): () => void;
}

/** Bound on the wait for a lock whose holder makes no progress. */
const PATIENCE_MS = 20_000;

/** The locks of one tab. */
export class TabLocks {
  readonly #effects: LockEffects;
  readonly #held: Map<string, () => void> = new Map();
  #period: AbortController = new AbortController();
  #here: Promise<void> = Promise.resolve();
  #comeBack: () => void = () => undefined;

  constructor(effects: LockEffects) {
    this.#effects = effects;
  }

  /** Releases the locks of models in use, since the page may be left soon; work in flight goes on. */
  leaving(): void {
    for (const end of this.#held.values()) end();
  }

  /** Releases all locks, since the page may go into the back/forward cache. */
  leave(): void {
    this.leaving();
    // A page that is left (pagehide) may be frozen then: work that already waits for its return must not wait for ever.
    if (this.#period.signal.aborted) return;
    this.#period.abort();
    this.#here = new Promise((resolve) => {
      this.#comeBack = resolve;
    });
  }

  /** Resumes after `leaving` and `leave`. */
  back(): void {
    if (this.#period.signal.aborted) this.#period = new AbortController();
    this.leaving();
    for (const id of this.#held.keys()) this.#hold(id);
    this.#comeBack();
  }

  /** Marks something as in use for other tabs; the lock is shared. */
  use(id: string): void {
    if (!this.#held.has(id)) this.#hold(id);
  }

  /** Marks it as no longer in use. */
  unuse(id: string): void {
    this.#held.get(id)?.();
    this.#held.delete(id);
  }

  /** Lists everything in use by any tab. */
  async used(): Promise<string[]> {
    const held = await this.#effects.heldLocks().catch((): readonly string[] => []);
    return held.filter((x) => x.startsWith(USED)).map((x) => x.slice(USED.length));
  }

  /**
   * Does work in one tab at a time; releases the lock while the page is left, and starts again after.
   * @param progress - another tab's progress: as long as that changes, the wait goes on
   */
  async locked<T>(
    name: string,
    signal: AbortSignal,
    work: (signal: AbortSignal) => Promise<T>,
    progress: () => Promise<unknown>,
  ): Promise<T> {
    const { locks } = this.#effects;
    if (locks === null) return work(signal);
    for (;;) {
      await this.#here;
      signal.throwIfAborted();
      const period = this.#period.signal;
      const both = AbortSignal.any([signal, period]);
      const impatient = new AbortController();
      const stopWaiting = this.#whenStuck(progress, () => {
        impatient.abort();
      });
      try {
        return await locks.request(`selvedge/${name}`, { signal: AbortSignal.any([both, impatient.signal]) }, () => {
          stopWaiting();
          return work(both);
        });
      } catch (error) {
        signal.throwIfAborted();
        if (!period.aborted && impatient.signal.aborted) return await work(signal);
        if (!period.aborted) throw error;
      } finally {
        stopWaiting();
      }
    }
  }

  /** Calls back once nothing has changed for a while; the returned function ends the wait. */
  #whenStuck(progress: () => Promise<unknown>, stuck: () => void): () => void {
    let isOver = false;
    let cancel = (): void => undefined;
    const wait = (before: unknown): void => {
      cancel = this.#effects.setTimer(() => {
        void progress()
          .catch(() => before)
          .then((now) => {
            if (isOver) return;
            if (now === before) stuck();
            else wait(now);
          });
      }, PATIENCE_MS);
    };
    wait(0);
    return () => {
      isOver = true;
      cancel();
    };
  }

  #hold(id: string): void {
    const { locks } = this.#effects;
    let end = (): void => undefined;
    const ended = new Promise<void>((resolve) => {
      end = resolve;
    });
    this.#held.set(id, end);
    locks?.request(USED + id, { mode: "shared" }, () => ended).catch(() => undefined);
  }
}
