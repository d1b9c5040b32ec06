// Web Locks: how a page learns that a worker has ended, which no event tells. The worker holds a lock for as long as it
// lives, and the page asks for the same one. Both ends of it are here.

/** Web Locks as the page uses them. */
export interface PageLocks {
  /** Calls back once nobody holds the lock; the returned function withdraws the request. */
  wait(name: string, granted: () => void): () => void;
  /** Takes a lock away from its holder, and releases it. */
  steal(name: string): void;
}

/** Web Locks of the browser; null where it has none, as on pages that are not secure. */
export function browserLocks(): PageLocks | null {
  const locks = managerOf();
  if (locks === undefined) return null;
  const ignore = (): void => undefined; // withdrawn, or not allowed here: then the watchdog alone finds out
  return {
    wait(name, granted) {
      const stop = new AbortController();
      locks.request(name, { signal: stop.signal }, granted).catch(ignore);
      return () => {
        stop.abort();
      };
    },
    steal(name) {
      locks.request(name, { steal: true }, ignore).catch(ignore);
    },
  };
}

/** Holds a lock until the worker that calls this ends, or the lock is stolen; resolves to whether it is held. */
export function holdLock(name: string): Promise<boolean> {
  return new Promise((resolve) => {
    const never = (): Promise<never> => {
      resolve(true);
      return new Promise(() => undefined);
    };
    const locks = managerOf();
    if (locks === undefined) resolve(false);
    else
      locks.request(name, never).catch(() => {
        resolve(false);
      });
  });
}

function managerOf(): LockManager | undefined {
  return (globalThis as { navigator?: Partial<Navigator> }).navigator?.locks;
}
