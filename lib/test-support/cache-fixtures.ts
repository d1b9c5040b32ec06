// For tests of the store and of downloads, in Node and in browsers: a load's criteria, the weights of a model, and locks of
// simulated tabs. fake-network.ts has the servers and the real folders.
import type { LoadCriteria } from "../cache/messages.ts";
import type { Bytes } from "../cache/stores/store.ts";
import type { Locks } from "../cache/tab-locks.ts";

/** The criteria of a device with WebAssembly only. */
export function criteriaFor(more: Partial<LoadCriteria> = {}): LoadCriteria {
  const device = { cores: 2, isolated: false, secure: true, jspi: true, memoryBytes: null, gpu: null };
  const pins = { backend: undefined, variant: undefined };
  return {
    device,
    backends: ["wasm"],
    pins,
    crashed: [],
    full: [],
    memory: { budgetBytes: null, copiesBlobs: false, holdsBlobs: false },
    trustedKeys: [],
    update: "first",
    identity: undefined,
    name: undefined,
    seen: null,
    ...more,
  };
}

/**
 * Bytes that look like weights: no two chunks are equal, reproducible by seed. An xorshift of its own, since the frozen
 * stores hold its bytes.
 */
export function weights(size: number, seed = 1): Bytes {
  const bytes = new Uint8Array(size);
  let state = seed >>> 0 || 1;
  for (let i = 0; i < size; i += 1) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    bytes[i] = state;
  }
  return bytes;
}

/** Web Locks of simulated tabs, as the browser's LockManager keeps them: one holder at a time, or many that share. */
export class SharedLocks implements Locks {
  readonly #queues: Map<string, { shared: boolean; start: () => void; isHeld: boolean }[]> = new Map();

  request<T>(
    name: string,
    options: { readonly signal?: AbortSignal; readonly mode?: "shared" },
    work: () => Promise<T>,
  ): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const queue = this.#queues.get(name) ?? [];
      this.#queues.set(name, queue);
      const leave = (): void => {
        queue.splice(queue.indexOf(entry), 1);
        this.#grant(queue);
      };
      const abort = (): void => {
        if (entry.isHeld) return;
        leave();
        reject(options.signal?.reason as Error);
      };
      const start = (): void => {
        entry.isHeld = true;
        options.signal?.removeEventListener("abort", abort);
        void Promise.resolve().then(work).then(resolve, reject).finally(leave);
      };
      const entry = { shared: options.mode === "shared", start, isHeld: false };
      queue.push(entry);
      options.signal?.addEventListener("abort", abort);
      if (options.signal?.aborted === true) abort();
      else this.#grant(queue);
    });
  }

  /** Returns the names that are held. */
  held(): string[] {
    return [...this.#queues].flatMap(([name, queue]) => queue.filter((x) => x.isHeld).map(() => name));
  }

  #grant(queue: readonly { shared: boolean; start: () => void; isHeld: boolean }[]): void {
    for (const [i, entry] of queue.entries()) {
      if (i > 0 && !(entry.shared && queue.slice(0, i).every((x) => x.shared))) return;
      if (!entry.isHeld) entry.start();
    }
  }
}
