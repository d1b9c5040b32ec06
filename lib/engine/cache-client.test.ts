import { expect, test } from "vitest";
import type { Effects, LifeChange, WorkerHandle } from "../effects/effects.ts";
import { BUILD_ID } from "../core/build-id.ts";
import { openCache } from "../cache.ts";
import { CacheClient } from "./cache-client.ts";

/** A page without Web Locks, a clock, and a worker that answers until it is ended. */
class World {
  nowMs = 0;
  isAlive = true;
  readonly called: string[] = [];
  /** Names of the locks that the page holds. */
  readonly held: string[] = [];
  /** The number of workers that were started, less those that were ended. */
  workers = 0;
  life: (change: LifeChange) => void = () => undefined;
  readonly #timers: Set<{ atMs: number; callback: () => void }> = new Set();
  #listener: (event: Event) => void = () => undefined;

  readonly effects = {
    now: () => this.nowMs,
    setTimer: (callback: () => void, ms: number) => {
      const timer = { atMs: this.nowMs + ms, callback };
      this.#timers.add(timer);
      return () => void this.#timers.delete(timer);
    },
    activated: () => Promise.resolve(),
    locks: null,
    onLife: (listener: (change: LifeChange) => void) => {
      this.life = listener;
      return () => undefined;
    },
    facts: { page: "p" },
    holdLock: (name: string) => {
      this.held.push(name);
      return () => void this.held.splice(this.held.indexOf(name), 1);
    },
    createWorker: () => this.#worker(),
  } as unknown as Effects;

  /** Advances the clock by so many seconds. */
  async pass(seconds: number): Promise<void> {
    for (let second = 0; second < seconds; second += 1) {
      this.nowMs += 1_000;
      for (const timer of this.#timers) {
        if (timer.atMs > this.nowMs) continue;
        this.#timers.delete(timer);
        timer.callback();
      }
      for (let turn = 0; turn < 20; turn += 1) await Promise.resolve();
    }
  }

  #worker(): WorkerHandle {
    this.workers += 1;
    return {
      postMessage: (message) => {
        const { id, path, argumentList } = message as { id: number; path: [string]; argumentList: { value: number }[] };
        this.called.push(path[0]);
        const answer = (): void => {
          if (this.isAlive) this.#send({ id, type: "RAW", value: { ok: true, value: null } });
        };
        if (["begin", "files", "unloaded"].includes(path[0])) answer();
        if (path[0] === "wait") this.effects.setTimer(answer, argumentList[0]?.value ?? 0);
      },
      addEventListener: (type, listener) => {
        if (type !== "message") return;
        this.#listener = listener;
        queueMicrotask(() => {
          this.#send({ selvedge: "ready", build: BUILD_ID });
        });
      },
      removeEventListener: () => undefined,
      terminate: () => {
        this.workers -= 1;
      },
    };
  }

  #send(data: unknown): void {
    this.#listener({ data } as MessageEvent);
  }
}

const client = (world: World): CacheClient =>
  new CacheClient(world.effects, () => ({ href: "w.js", script: "w.js", brotliUrl: "" }), "auto");

test("without locks, a call to a worker that has ended rejects within half a minute or so", async () => {
  const world = new World();
  let error: unknown = null;
  client(world)
    .manage("contents")
    .catch((thrown: unknown) => (error = thrown));
  await world.pass(10);
  world.isAlive = false;
  expect(error).toBeNull();
  await world.pass(40);
  expect(error).toMatchObject({ code: "worker-crashed" });
});

test("without locks, a worker that does not answer at all is given up too", async () => {
  const world = new World();
  world.isAlive = false;
  let error: unknown = null;
  client(world)
    .manage("contents")
    .catch((thrown: unknown) => (error = thrown));
  await world.pass(40);
  expect(error).toMatchObject({ code: "worker-crashed" });
});

test("without locks, a download of ten minutes goes on as long as the worker answers", async () => {
  const world = new World();
  let isSettled = false;
  client(world)
    .manage("contents")
    .catch(() => (isSettled = true));
  await world.pass(600);
  expect(isSettled).toBe(false);
  expect(world.called.filter((name) => name === "wait").length).toBeGreaterThan(50);
});

test("in Node, where there are no workers, the model store's calls say so", async () => {
  await expect(openCache().list()).rejects.toMatchObject({
    code: "setup-failed",
    details: { reason: "no-worker" },
  });
});

test("other tabs see the bytes of a loaded model after the worker that fetched it has ended (store-bytes)", async () => {
  const world = new World();
  const cache = client(world);
  const free = cache.use("abc");
  const files = [10, 20].map((bytes) => ({ path: `${bytes}`, bytes, chunks: [] }));
  const options = { signal: new AbortController().signal, onProgress: undefined };
  const bundle = { url: "u", identity: "abc", format: 2 } as const;
  void cache.files(bundle, files, options);
  await world.pass(10);
  expect(world.workers).toBe(0);
  const own = ["selvedge/used/abc", "selvedge/used/bytes/30/p/abc"];
  expect(world.held).toEqual(own);
  void cache.files(bundle, files.slice(1), options); // the same again, after a failure
  await world.pass(10);
  expect(world.held).toEqual(own);
  world.life("leaving");
  expect(world.held).toEqual([]);
  world.life("back");
  expect(world.held).toEqual(own);
  const freeBare = cache.use("bare", 5);
  expect(world.held).toEqual([...own, "selvedge/used/bare", "selvedge/used/bytes/5/p/bare"]);
  freeBare();
  free();
  expect(world.held).toEqual([]);
});
