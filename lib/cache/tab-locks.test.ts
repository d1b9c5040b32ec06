// Work in one tab at a time, and models in use, over the locks of simulated tabs.
import { expect, test } from "vitest";
import { USED } from "../effects/lock-names.ts";
import { SharedLocks } from "../test-support/cache-fixtures.ts";
import { TabLocks } from "./tab-locks.ts";

const never = (): Promise<never> => new Promise(() => undefined);
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const idle = new AbortController().signal;
const still = (): Promise<unknown> => Promise.resolve(0);

/** Tabs of one browser, and its clock. */
function browser() {
  const locks = new SharedLocks();
  let timers: { callback: () => void; ms: number }[] = [];
  const setTimer = (callback: () => void, ms: number): (() => void) => {
    const timer = { callback, ms };
    timers.push(timer);
    return () => {
      timers = timers.filter((x) => x !== timer);
    };
  };
  const effects = { locks, setTimer, heldLocks: () => Promise.resolve(locks.held()) };
  return {
    ...{ locks, effects, tab: () => new TabLocks(effects), timers: () => timers.length },
    /** Lets 20 s pass, for which each of the timers waits. */
    async pass(): Promise<void> {
      const due = timers;
      timers = [];
      expect(due.map(({ ms }) => ms)).toEqual(due.map(() => 20_000));
      for (const { callback } of due) callback();
      await settle();
    },
  };
}

/** Work that a test ends, and how often it began. */
function work() {
  const begun: AbortSignal[] = [];
  let end = (): void => undefined;
  const run = (signal: AbortSignal): Promise<string> => {
    begun.push(signal);
    return new Promise((resolve, reject) => {
      end = () => {
        resolve("done");
      };
      signal.addEventListener("abort", () => {
        reject(signal.reason as Error);
      });
    });
  };
  return { begun, run, end: () => end() };
}

test("work of one name is done in one tab after another, of other names at once", async () => {
  const { tab, locks, timers } = browser();
  const [first, second, other] = [work(), work(), work()];
  const one = tab().locked("a", idle, first.run, still);
  const two = tab().locked("a", idle, second.run, still);
  const three = tab().locked("b", idle, other.run, still);
  await settle();
  expect([first, second, other].map((x) => x.begun.length)).toEqual([1, 0, 1]);
  expect(locks.held().sort()).toEqual(["selvedge/a", "selvedge/b"]);
  first.end();
  other.end();
  expect([await one, await three]).toEqual(["done", "done"]);
  await settle();
  second.end();
  expect(await two).toBe("done");
  await settle();
  expect([locks.held(), timers()]).toEqual([[], 0]);
});

test("without locks, as in an old browser, work is done at once", async () => {
  const { effects } = browser();
  const tab = new TabLocks({ ...effects, locks: null });
  void tab.locked("a", idle, never, still);
  tab.use("m");
  const { signal } = new AbortController();
  expect(await tab.locked("a", signal, (x) => Promise.resolve(x), still)).toBe(signal);
});

test("a wait that is cancelled rejects with the reason, and an error of the work is passed on", async () => {
  const { tab, timers } = browser();
  void tab().locked("a", idle, never, still);
  await settle();
  const stop = new AbortController();
  const waiting = tab().locked("a", stop.signal, never, still);
  await settle();
  stop.abort(new Error("no longer wanted"));
  await expect(waiting).rejects.toThrow("no longer wanted");
  await expect(tab().locked("a", stop.signal, never, still)).rejects.toThrow("no longer wanted");
  await expect(tab().locked("b", idle, () => Promise.reject(new Error("broken")), still)).rejects.toThrow("broken");
  expect(timers()).toBe(0);
});

test("work begins beside a tab that makes no progress for 20 s, and waits for one that does", async () => {
  for (const isKnown of [true, false]) {
    const { tab, pass, timers } = browser();
    void tab().locked("a", idle, never, still);
    await settle();
    let stored = 1;
    const progress = (): Promise<unknown> => (isKnown ? Promise.resolve(stored) : Promise.reject(new Error("gone")));
    const late = work();
    const done = tab().locked("a", idle, late.run, progress);
    await settle();
    if (isKnown)
      for (stored = 2; stored < 5; stored += 1) {
        await pass();
        expect(late.begun).toEqual([]);
      }
    stored = 4;
    await pass();
    expect(late.begun).toHaveLength(1);
    expect(late.begun[0]?.aborted).toBe(false);
    late.end();
    expect(await done).toBe("done");
    expect(timers()).toBe(0);
  }
});

test("progress that is reported once the wait is over changes nothing", async () => {
  const { tab, pass } = browser();
  const [first, second] = [work(), work()];
  void tab().locked("a", idle, first.run, still);
  await settle();
  let tell = (_: unknown): void => undefined;
  const done = tab().locked("a", idle, second.run, () => new Promise((resolve) => (tell = resolve)));
  await settle();
  await pass();
  first.end();
  await settle();
  tell(0);
  await settle();
  expect(second.begun.map((x) => x.aborted)).toEqual([false]);
  second.end();
  expect(await done).toBe("done");
});

test("a tab that is left stops its work and lets others go on, and begins again once it is back", async () => {
  const { tab, locks } = browser();
  const own = tab();
  const [first, later] = [work(), work()];
  const one = own.locked("a", idle, first.run, still);
  await settle();
  own.leave();
  own.leave();
  await settle();
  expect([first.begun[0]?.aborted, locks.held()]).toEqual([true, []]);
  const two = own.locked("b", idle, later.run, still);
  await settle();
  expect([first.begun.length, later.begun.length]).toEqual([1, 0]);
  own.back();
  await settle();
  expect([first.begun.length, later.begun.length, locks.held().sort()]).toEqual([2, 1, ["selvedge/a", "selvedge/b"]]);
  first.end();
  later.end();
  expect([await one, await two]).toEqual(["done", "done"]);
});

test("work of a tab that may be left soon goes on, without the locks of its models until it is back", async () => {
  const { tab, locks } = browser();
  const own = tab();
  const going = work();
  const done = own.locked("a", idle, going.run, still);
  own.use("m");
  own.use("m");
  await settle();
  own.leaving();
  await settle();
  expect([locks.held(), going.begun[0]?.aborted]).toEqual([["selvedge/a"], false]);
  own.back();
  own.back();
  await settle();
  expect(locks.held().sort()).toEqual(["selvedge/a", `${USED}m`]);
  own.unuse("m");
  own.unuse("never used");
  await settle();
  own.back();
  going.end();
  expect(await done).toBe("done");
  await settle();
  expect(locks.held()).toEqual([]);
});

test("what any tab uses is seen by all, shared; nothing where the browser does not tell", async () => {
  const { tab, effects } = browser();
  const [one, two] = [tab(), tab()];
  for (const each of [one, two]) each.use("m");
  void two.locked("a", idle, never, still);
  await settle();
  expect(await one.used()).toEqual(["m", "m"]);
  one.unuse("m");
  await settle();
  expect(await one.used()).toEqual(["m"]);
  const untold = new TabLocks({ ...effects, heldLocks: () => Promise.reject(new Error("not allowed")) });
  expect(await untold.used()).toEqual([]);
});
