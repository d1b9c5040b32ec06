// Web Locks: detection of a worker's end, for which there is no event. The worker holds a lock for as long as it lives,
// and the page requests the same one. Both ends are here.

/** Web Locks as the page uses them. */
export interface PageLocks {
  /** Calls back once nobody holds the lock; the returned function withdraws the request. */
  wait(name: string, granted: () => void): () => void;
  /**
   * Steals a lock from its holder, and releases it; does nothing in Chromium, which restores a page whose workers hold
   * locks, but not one that is granted a lock while it enters the back/forward cache ("JavaScriptExecution").
   */
  steal(name: string): void;
}

/** Web Locks of the browser; null where it has none, as on pages that are not secure. */
export function browserLocks(): PageLocks | null {
  const locks = managerOf();
  if (locks === undefined) return null;
  const ignore = (): void => undefined; // withdrawn, or not allowed here: then only the watchdog notices
  return {
    wait(name, granted) {
      const stop = new AbortController();
      locks.request(name, { signal: stop.signal }, granted).catch(ignore);
      return () => {
        stop.abort();
      };
    },
    steal(name) {
      if (!("userAgentData" in navigator)) locks.request(name, { steal: true }, ignore).catch(ignore);
    },
  };
}

/**
 * Returns the function by which a worker holds one lock: until the worker ends, the lock is stolen, or the function is
 * called again; null only releases. It resolves to whether a lock is held.
 */
export function lockHolder(): (name: string | null) => Promise<boolean> {
  let before = new AbortController();
  return (name) => {
    before.abort();
    const { signal } = (before = new AbortController());
    const locks = managerOf();
    if (name === null || locks === undefined) return Promise.resolve(false);
    return new Promise((resolve) => {
      const granted = (): Promise<void> =>
        new Promise((free) => {
          resolve(!signal.aborted);
          if (signal.aborted) free();
          signal.addEventListener("abort", () => {
            free();
          });
        });
      locks.request(name, { signal }, granted).catch(() => {
        resolve(false); // released before it was granted, or not allowed here
      });
    });
  };
}

function managerOf(): LockManager | undefined {
  return (globalThis as { navigator?: Partial<Navigator> }).navigator?.locks;
}
