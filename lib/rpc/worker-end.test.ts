// Workers that are ended from outside the page, in a simulated world: no event is fired, but their locks are released.
import { expect, test, vi } from "vitest";
import { lockHolder } from "../effects/web-locks.ts";
import { doubled, endOf, openScene } from "../test-support/simulate/fixtures.ts";
import type { EngineScene } from "../test-support/simulate/fixtures.ts";
import type { SceneOptions } from "../test-support/simulate/fixtures.ts";
import type { WorkerHandle } from "../effects/effects.ts";
import { Link } from "./worker-link.ts";
import type { Reply } from "./reply.ts";
import { watchWorkerEnd } from "./worker-end.ts";

const FIRST_RUN_MS = 5_000;

/** Opens a scene in which the first run of each worker takes five seconds. */
function open(options: SceneOptions = {}): Promise<EngineScene> {
  return openScene({
    cores: 2,
    ...options,
    change: (toy, _, world) => {
      let isFirst = true;
      return {
        ...toy,
        async run(...args) {
          const wasFirst = isFirst;
          isFirst = false;
          if (wasFirst) await new Promise<void>((done) => world.at(FIRST_RUN_MS, done));
          return toy.run(...args);
        },
      };
    },
  });
}

test.each([0.5, 1_000, 4_900])(
  "workers that are ended from outside %d ms into their first runs are replaced at once (worker-end)",
  async (afterMs) => {
    const { world, engine, load, run, up } = await open();
    const model = await load("m", { batching: false });
    const beganMs = world.now;
    const ends = Array.from({ length: 20 }, (_, i) => endOf(run(model, i)));
    world.at(afterMs, () => {
      for (const worker of up()) worker.kill();
    });
    expect(await world.finish(Promise.all(ends))).toEqual(doubled(20));
    // One more start, load and first run than without a worker end, and the runs themselves.
    expect(world.now - beganMs).toBeLessThan(afterMs + 450 + 120 + FIRST_RUN_MS + 20 * 30);
    await engine.close();
    expect(world.alive.size).toBe(0);
    expect(world.held.size).toBe(0);
  },
);

test("workers that are ended while they idle are replaced before a request waits for them (worker-end)", async () => {
  const { world, engine, load, ask, up, pass } = await openScene({ cores: 3 });
  const model = await load("m", { batching: false });
  await ask(model, 60);
  expect(up()).toHaveLength(3);
  for (const worker of up()) worker.kill();
  await pass(5);
  expect(engine.stats().lanes.map(({ state }) => state)).toEqual(Array(engine.stats().lanes.length).fill("off"));
  const beganMs = world.now;
  expect(await ask(model, 20)).toEqual(doubled(20));
  expect(world.now - beganMs).toBeLessThan(2_000);
});

test("a load whose worker is ended from outside starts another (worker-end)", async () => {
  const { world, load, up } = await openScene();
  const killed = new Set<number>();
  for (let ms = 1; ms < 400; ms += 1)
    world.at(ms, () => {
      const [worker] = up();
      if (worker === undefined || killed.size > 0 || world.held.size === 0) return;
      killed.add(worker.id);
      worker.kill();
    });
  const loading = load("m");
  expect((await loading).name).toBe("m");
});

test("locks are released when the page is left, and acquired again when it is shown (worker-end)", async () => {
  const { world, load, ask, up, pass } = await openScene({ cores: 2 });
  const model = await load("m", { batching: false });
  await ask(model, 20);
  const before = [...world.held.keys()];
  expect(before.length).toBeGreaterThanOrEqual(2);
  for (const [change, shown] of [
    ["leaving", "stayed"],
    ["left", "back"],
  ] as const) {
    world.live(change);
    expect(world.held.size).toBe(0);
    for (const next of [shown, shown, "visible"] as const) world.live(next);
    await pass(5);
    expect(world.held.size).toBe(before.length);
  }
  expect(world.held.size).toBe(before.length);
  expect(before.some((name) => world.held.has(name))).toBe(false);
  const started = world.started;
  expect(await ask(model, 4)).toEqual(doubled(4));
  expect(world.started).toBe(started);
  for (const worker of up()) worker.kill();
  expect(await ask(model, 4)).toEqual(doubled(4));
});

test("without locks the watchdog detects the end", async () => {
  const { world, load, run, up, ask } = await openScene({ workers: 1, callTimeoutMs: 20_000, hasLocks: false });
  const model = await load("m");
  await ask(model, 2);
  const beganMs = world.now;
  const request = run(model, 1);
  world.at(1, () => {
    up()[0]?.kill();
  });
  expect((await world.finish(request)).info.attempts).toBe(2);
  expect(world.now - beganMs).toBeGreaterThan(20_000);
});

test("a lock that its worker takes only after the page was left is not waited for (worker-end)", async () => {
  const { world, pass } = await openScene();
  const waited: string[] = [];
  const locks = {
    wait: (name: string) => {
      waited.push(name);
      return () => undefined;
    },
    steal: () => undefined,
  };
  let answer = (_isHeld: boolean): void => undefined;
  const held: (string | null)[] = [];
  const hold = (name: string | null): Promise<boolean> => {
    held.push(name);
    return new Promise((resolve) => (answer = name === null ? answer : resolve));
  };
  watchWorkerEnd(
    { ...world.effects, locks },
    hold,
    () => undefined,
    () => undefined,
  );
  world.live("left");
  expect(held).toEqual([expect.any(String), null]);
  answer(true);
  await pass(1);
  expect(waited).toEqual([]);
  world.live("back");
  answer(true);
  await pass(1);
  expect(waited).toEqual([held[2]]);
  expect(held).toEqual([expect.any(String), null, expect.any(String)]);
});

test("a worker that takes its lock only once the page is in the back/forward cache releases it itself (worker-end)", async () => {
  const { world, load, run, pass, ask, up } = await openScene({ cores: 1 });
  const model = await load("m");
  await pass(1_000);
  for (const worker of up()) worker.kill();
  await pass(10);
  const { started } = world;
  const again = run(model, 2);
  for (let turns = 0; world.started === started && turns < 100; turns += 1) await Promise.resolve();
  expect(world.started).toBe(started + 1); // the new worker has not answered yet
  world.live("left");
  await pass(1);
  expect([...world.held]).toEqual([]);
  world.live("back");
  expect((await world.finish(again)).info.attempts).toBe(1);
  expect(world.held.size).toBe(world.alive.size);
  expect(await ask(model, 3)).toEqual(doubled(3));
});

test("a worker holds one lock at a time, none once asked to release, whenever the lock is granted (worker-end)", async () => {
  const held = new Set<string>();
  const grants: (() => void)[] = [];
  vi.stubGlobal("navigator", {
    locks: {
      request: (name: string, { signal }: { signal: AbortSignal }, granted: () => Promise<void>) =>
        new Promise((resolve, reject) => {
          signal.addEventListener("abort", () => {
            if (!held.has(name)) reject(signal.reason as Error);
          });
          grants.push(() => {
            held.add(name);
            void granted().then(() => {
              held.delete(name);
              resolve(null);
            });
          });
        }),
    },
  });
  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
  try {
    const hold = lockHolder();
    const first = hold("a");
    grants.shift()?.();
    expect([await first, [...held]]).toEqual([true, ["a"]]);
    const second = hold("b");
    grants.shift()?.();
    await turn();
    expect([await second, [...held]]).toEqual([true, ["b"]]);
    expect(await hold(null)).toBe(false);
    await turn();
    expect([...held]).toEqual([]);
    const third = hold("c");
    expect(await hold(null)).toBe(false);
    grants.shift()?.(); // the browser had granted it already
    await turn();
    expect([await third, [...held]]).toEqual([false, []]);
  } finally {
    vi.unstubAllGlobals();
  }
});

test("calls wait until the worker holds its lock, for a second at most (worker-end)", async () => {
  const { world, pass } = await openScene();
  const posted: string[] = [];
  const locks = { wait: () => () => undefined, steal: () => undefined };
  const listeners: ((event: Event) => void)[] = [];
  const worker: WorkerHandle = {
    postMessage: (message) => posted.push((message as { path: string[] }).path.join()),
    addEventListener: (type, listener) => {
      if (type === "message") listeners.push(listener);
    },
    removeEventListener: () => undefined,
    terminate: () => undefined,
  };
  const start = (): Link<{ hold: () => Promise<Reply<boolean>>; work: () => Promise<Reply<null>> }> => {
    posted.length = 0;
    const link = new Link<{ hold: () => Promise<Reply<boolean>>; work: () => Promise<Reply<null>> }>(
      { ...world.effects, locks, createWorker: () => worker },
      { href: "w.js", script: "w.js" },
    );
    link.call("work", Infinity).catch(() => undefined);
    return link;
  };
  const first = start();
  await pass(10);
  expect(posted).toEqual(["hold"]);
  listeners.at(-1)?.({ data: { id: 1, type: "RAW", value: { ok: true, value: true } } } as MessageEvent);
  await pass(1);
  expect(posted).toEqual(["hold", "work"]);
  const second = start();
  await pass(990);
  expect(posted).toEqual(["hold"]);
  await pass(20);
  expect(posted).toEqual(["hold", "work"]);
  for (const link of [first, second]) link.end(new Error("over"));
});
