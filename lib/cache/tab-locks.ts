// Locks that tabs share, by the browser's Web Locks: what one tab at a time may do, and what a tab has in use.
//
// A page with a lock is not kept in the back/forward cache by Firefox, so what is in use is no longer said once the page is
// about to be left, and all locks are given up once it is. A lock
// is never waited for without end: any script of the origin may hold one, and so does a tab whose server trickles. After
// a while without progress the work is done beside the holder's; both write the same bytes under the same names.
/** Locks among all tabs: as the browser's LockManager. */
export interface Locks {
  /** Does the work once the lock of that name is free; the signal ends the wait for it. */
  request<T>(
    name: string,
    options: { readonly signal?: AbortSignal; readonly mode?: "shared" },
    work: () => Promise<T>,
  ): Promise<T>;
}

/** What sharing locks does to the world. */
export interface LockEffects {
  /** Locks that tabs share; null where there are none. */
  readonly locks: Locks | null;
  /** Names the locks that are held, by any tab. */
  heldLocks(): Promise<readonly string[]>;
  /** Calls back once after `ms`; the returned function cancels. */
  setTimer(callback: () => void, ms: number): () => void;
}

/** For how long a lock is waited for while its holder gets on with nothing. */
const PATIENCE_MS = 20_000;
const USED = "selvedge/used/";

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

  /** Gives up what says that models are in use, since the page may be left soon; work under way goes on. */
  leaving(): void {
    for (const end of this.#held.values()) end();
  }

  /** Gives up all locks, since the page may go into the back/forward cache. */
  leave(): void {
    this.#period.abort();
    this.leaving();
    this.#here = new Promise((resolve) => {
      this.#comeBack = resolve;
    });
  }

  /** Takes up what `leaving` and `leave` interrupted. */
  back(): void {
    if (this.#period.signal.aborted) this.#period = new AbortController();
    this.leaving();
    for (const id of this.#held.keys()) this.#hold(id);
    this.#comeBack();
  }

  /** Says to other tabs that something is in use here; the lock is shared. */
  use(id: string): void {
    if (!this.#held.has(id)) this.#hold(id);
  }

  /** Says that it is no longer in use. */
  unuse(id: string): void {
    this.#held.get(id)?.();
    this.#held.delete(id);
  }

  /** Lists what any tab has in use. */
  async used(): Promise<string[]> {
    const held = await this.#effects.heldLocks().catch((): readonly string[] => []);
    return held.filter((x) => x.startsWith(USED)).map((x) => x.slice(USED.length));
  }

  /**
   * Does work that one tab at a time should do; gives the lock back while the page is left, and begins anew after.
   * @param progress - how far another tab is with it: as long as that changes, it is waited for
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
