import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, test } from "vitest";
import { SelvedgeError } from "../core/errors.ts";
import type { Inputs } from "./inputs.ts";
import { mapRuns } from "./map.ts";
import "./map-answers.ts"; // imported before the first map, so that `settle` suffices for it
import type { MapResult, MapParts, MapFailure } from "./map.ts";
import type { AskOptions, MapOptions } from "./options.ts";
import type { RunResult } from "./result.ts";

/** Inputs that carry a number. */
const input = (value: number): Inputs => ({ x: { dtype: "float32", dims: [1], data: Float32Array.of(value) } });
const valueOf = ({ x }: Inputs): number => (x as unknown as { data: Float32Array }).data[0] ?? Number.NaN;
/** An answer that carries one. */
const answer = (value: number): RunResult =>
  ({
    outputs: { y: { dtype: "float32", dims: [1], data: Float32Array.of(value) } },
    decoded: {},
  }) as unknown as RunResult;
const shown = (item: MapResult | MapFailure): string =>
  "error" in item ? `${item.index} ${String(item.error)}` : `${item.index} = ${String(item.outputs["y"]?.data[0])}`;

/** A model whose runs end on request, by the number that they were given. */
function model(atLeast = 2, atMost = atLeast) {
  const runs = new Map<number, { end(): void; fail(error: unknown): void; options: AskOptions }>();
  const run = (inputs: Inputs, options: AskOptions): Promise<RunResult> =>
    new Promise((resolve, reject) => {
      const value = valueOf(inputs);
      const end = (): void => {
        resolve(answer(value * 2));
      };
      options.signal?.addEventListener("abort", () => {
        reject(options.signal?.reason as Error);
      });
      runs.set(value, { end, fail: reject, options });
    });
  const parts: MapParts = { run, atLeast, atMost };
  const map = (source: Iterable<Inputs> | AsyncIterable<Inputs>, options: MapOptions = {}) =>
    mapRuns(parts, source, options);
  return { runs, map };
}

const inputs = (count: number): Inputs[] => Array.from({ length: count }, (_, i) => input(i));
/** Lets all pending work run. */
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test("answers come in the order of the inputs, whichever ends first", async () => {
  const { runs, map } = model();
  const answers = map(inputs(2));
  const [first, second] = [answers.next(), answers.next()];
  await settle();
  runs.get(1)?.end();
  await settle();
  runs.get(0)?.end();
  expect([(await first).value, (await second).value].map((item) => shown(item as MapResult))).toEqual([
    "0 = 0",
    "1 = 2",
  ]);
  expect(await answers.next()).toEqual({ done: true, value: undefined });
});

test("unordered answers come as soon as they are ready, with the index of their input", async () => {
  const { runs, map } = model();
  const answers = map(inputs(2), { ordered: false });
  const first = answers.next();
  await settle();
  runs.get(1)?.end();
  expect(shown((await first).value as MapResult)).toBe("1 = 2");
  const second = answers.next();
  runs.get(0)?.end();
  expect(shown((await second).value as MapResult)).toBe("0 = 0");
});

test("the first error ends the iteration and cancels what is under way", async () => {
  const { runs, map } = model(3);
  const answers = map(inputs(9));
  const first = answers.next();
  await settle();
  runs.get(0)?.fail(new RangeError("too wide"));
  await expect(first).rejects.toThrow("too wide");
  expect(runs.size).toBe(3);
  expect(runs.get(2)?.options.signal?.aborted).toBe(true);
  expect((await answers.next()).done).toBe(true);
});

test('an object that is no input first, whose size is no number, does not stop the map with errors: "yield"', async () => {
  const wrong = { x: { size: [2, 3] } } as unknown as Inputs;
  const run = (): Promise<RunResult> => Promise.reject(new TypeError("no input"));
  const indices: number[] = [];
  for await (const { index } of mapRuns({ run, atLeast: 2, atMost: 4 }, [wrong, wrong, wrong, wrong, wrong], {
    errors: "yield",
  }))
    indices.push(index);
  expect(indices).toHaveLength(5);
});

test('an input that fails is yielded in its place with errors: "yield"', async () => {
  const { runs, map } = model(3);
  const collected: string[] = [];
  const all = (async () => {
    for await (const item of map(inputs(3), { errors: "yield" })) collected.push(shown(item));
  })();
  await settle();
  runs.get(1)?.fail(new RangeError("too wide"));
  runs.get(0)?.end();
  runs.get(2)?.end();
  await all;
  expect(collected).toEqual(["0 = 0", "1 RangeError: too wide", "2 = 4"]);
});

test("an answer does not wait for a source that is slow", async () => {
  const { runs, map } = model(4);
  const endless = async function* (): AsyncGenerator<Inputs> {
    yield input(7);
    await new Promise<never>(() => undefined);
  };
  const answers = map(endless());
  const first = answers.next();
  await settle();
  runs.get(7)?.end();
  expect(shown((await first).value as MapResult)).toBe("0 = 14");
  await answers.return();
});

test("a cancel ends it with the signal's own reason, even while the source is waited for", async () => {
  const stop = new AbortController();
  const never: AsyncIterable<Inputs> = {
    [Symbol.asyncIterator]: () => ({ next: () => new Promise<never>(() => undefined) }),
  };
  const first = model().map(never, { signal: stop.signal, errors: "yield" }).next();
  await settle();
  stop.abort("enough");
  await expect(first).rejects.toBe("enough");
});

/** Five inputs, then an error. */
const breaks = function* (): Generator<Inputs> {
  for (let i = 0; i < 5; i += 1) yield input(i);
  throw new Error("the file ends here");
};
const breaksLater = async function* (): AsyncGenerator<Inputs> {
  yield* breaks();
  await settle();
};

test.each(
  [breaks, breaksLater].flatMap((source) =>
    [true, false].flatMap((ordered) => (["stop", "yield"] as const).map((errors) => ({ source, ordered, errors }))),
  ),
)("all answers come before the error of their source: $ordered, $errors (core-C2)", async ({ source, ...options }) => {
  const { runs, map } = model(9);
  const collected: string[] = [];
  const all = (async () => {
    for await (const item of map(source(), options)) collected.push(shown(item));
  })();
  await settle();
  for (const i of [1, 0, 2, 4, 3]) runs.get(i)?.end();
  await expect(all).rejects.toThrow("the file ends here");
  expect(collected.sort()).toEqual(["0 = 0", "1 = 2", "2 = 4", "3 = 6", "4 = 8"]);
});

test("an error of a run comes before a later error of the source, and nothing more is read (core-C2)", async () => {
  const { runs, map } = model(9);
  const first = map(breaks()).next();
  await settle();
  runs.get(0)?.fail(new RangeError("too wide"));
  await expect(first).rejects.toThrow("too wide");
  expect(runs.get(4)?.options.signal?.aborted).toBe(true);
});

test("a source that failed is not read again, and its return is not called (processing-mutant-map-10)", async () => {
  const { runs, map } = model(4);
  const calls: string[] = [];
  const source: Iterable<Inputs> = {
    [Symbol.iterator]: () => ({
      next: () => {
        calls.push("next");
        if (calls.length > 5) return { value: undefined, done: true };
        if (calls.length > 1) throw new Error("the file ends here");
        return { value: input(0), done: false };
      },
      return: () => {
        calls.push("return");
        return { value: undefined, done: true };
      },
    }),
  };
  const answers = map(source);
  const first = answers.next();
  await settle();
  runs.get(0)?.end();
  await first;
  await expect(answers.next()).rejects.toThrow("the file ends here");
  expect(calls).toEqual(["next", "next"]);
});

/** An endless source that aborts a signal when its n-th input is read, and throws when it is read forever. */
function abortsItself(n: number) {
  const stop = new AbortController();
  const count = { read: 0 };
  const source = function* (): Generator<Inputs> {
    for (; count.read < 10_000; count.read += 1) {
      if (count.read === n) stop.abort("enough");
      yield input(count.read);
    }
    throw new Error("was read for ever");
  };
  return { stop, count, source: source() };
}

test.each([0, 1, 3, 7])(
  "a signal that is aborted by the source at input %i ends the map (processing-H1)",
  async (n) => {
    const { runs, map } = model(5);
    const { stop, count, source } = abortsItself(n);
    const answers = map(source, { signal: stop.signal, errors: "yield" });
    const all = (async () => {
      for await (const item of answers) expect(item).toBeDefined();
    })();
    const over = expect(all).rejects.toBe("enough");
    for (let i = 0; i < n; i += 1) {
      await settle();
      runs.get(i)?.end();
    }
    await over;
    expect(count.read).toBe(n);
    expect(runs.size).toBe(n);
  },
);

test("a signal that was aborted before the call ends it, and nothing is read (processing-mutant-map-2)", async () => {
  const { runs, map } = model();
  const read: number[] = [];
  const source = function* (): Generator<Inputs> {
    for (let i = 0; i < 3; i += 1) {
      read.push(i);
      yield input(i);
    }
  };
  const first = map(source(), { signal: AbortSignal.abort("before") }).next();
  await expect(first).rejects.toBe("before");
  expect([read, runs.size]).toEqual([[], 0]);
});

test("an input that comes after an abort is not begun (processing-mutant-map-6)", async () => {
  const { runs, map } = model();
  let give = (_: IteratorResult<Inputs>): void => undefined;
  const source: AsyncIterable<Inputs> = {
    [Symbol.asyncIterator]: () => ({
      next: () =>
        new Promise((resolve) => {
          give = resolve;
        }),
    }),
  };
  const stop = new AbortController();
  const first = map(source, { signal: stop.signal }).next();
  await settle();
  stop.abort("enough");
  await expect(first).rejects.toBe("enough");
  give({ value: input(1), done: false });
  await settle();
  expect(runs.size).toBe(0);
});

/** A model whose runs all reject, over an endless source. */
async function countUntilTick(error: Error, pause?: () => Promise<void>): Promise<{ items: number; end: unknown }> {
  const source = function* (): Generator<Inputs> {
    for (;;) yield input(1);
  };
  let isTicked = false;
  setImmediate(() => {
    isTicked = true;
  });
  let items = 0;
  const parts: MapParts = { run: () => Promise.reject(error), atLeast: 8, atMost: 8, ...(pause && { pause }) };
  try {
    for await (const item of mapRuns(parts, source(), { errors: "yield" })) {
      items = item.index + 1;
      if (isTicked || items > 5_000) break;
    }
  } catch (end) {
    return { items, end };
  }
  return { items, end: null };
}

test("closed ends a map whatever errors says: no later input can do better (processing-H2)", async () => {
  const closed = new SelvedgeError("closed", "The engine is closed.");
  expect(await countUntilTick(closed)).toEqual({ items: 0, end: closed });
});

test("timers run while nothing but errors is yielded (processing-H2)", async () => {
  const { items, end } = await countUntilTick(new RangeError("wrong dims"), settle);
  expect(end).toBe(null);
  expect(items).toBeLessThan(1_000);
});

test("a source that can't be iterated is rejected at the call, and nothing listens to the signal (processing-L10)", () => {
  const listened = listening();
  for (const source of [null, undefined, 5, "text", {}, { next: () => undefined }])
    expect(() => model().map(source as unknown as Inputs[], { signal: listened.signal })).toThrow(
      /map: expected an \(async\) iterable of inputs, got/,
    );
  expect(listened.count).toBe(0);
});

test("a source whose iterator can't be created leaves no listener (core-C2)", async () => {
  const listened = listening();
  const source: Iterable<Inputs> = {
    [Symbol.iterator]: () => {
      throw new Error("no iterator");
    },
  };
  await expect(model().map(source, { signal: listened.signal }).next()).rejects.toThrow("no iterator");
  expect(listened.count).toBe(0);
});

/** A signal that counts its listeners. */
function listening(): { readonly signal: AbortSignal; readonly count: number } {
  const { signal } = new AbortController();
  let count = 0;
  const { addEventListener, removeEventListener } = signal;
  signal.addEventListener = (...args: Parameters<typeof addEventListener>) => {
    count += 1;
    addEventListener.apply(signal, args);
  };
  signal.removeEventListener = (...args: Parameters<typeof removeEventListener>) => {
    count -= 1;
    removeEventListener.apply(signal, args);
  };
  return {
    signal,
    get count() {
      return count;
    },
  };
}

test("nothing listens to the signal any more after the end (processing-mutant-map-1)", async () => {
  const { runs, map } = model();
  const listened = listening();
  const answers = map(inputs(1), { signal: listened.signal });
  const first = answers.next();
  await settle();
  expect(listened.count).toBe(1);
  runs.get(0)?.end();
  await first;
  await answers.next();
  expect(listened.count).toBe(0);
});

/** A source with a `return` of the test's own. */
function returns(values: number, work: () => unknown, isAsync = false): Iterable<Inputs> {
  let next = 0;
  const iterator = {
    next: () => (next < values ? { value: input(next++), done: false } : { value: undefined, done: true }),
    return: work,
  };
  return { [isAsync ? Symbol.asyncIterator : Symbol.iterator]: () => iterator } as unknown as Iterable<Inputs>;
}

test("a source that ended is not closed again (processing-mutant-map-3)", async () => {
  const { runs, map } = model();
  let returned = 0;
  const answers = map(returns(1, () => (returned += 1)));
  const first = answers.next();
  await settle();
  runs.get(0)?.end();
  await first;
  expect((await answers.next()).done).toBe(true);
  expect(returned).toBe(0);
});

test("a source that rejects its return while it is read harms nothing (processing-mutant-map-4)", async () => {
  const unhandled: unknown[] = [];
  const note = (error: unknown): void => {
    unhandled.push(error);
  };
  process.on("unhandledRejection", note);
  const source: AsyncIterable<Inputs> = {
    [Symbol.asyncIterator]: () => ({
      next: () => new Promise<never>(() => undefined),
      return: () => Promise.reject(new Error("return's error")),
    }),
  };
  const stop = new AbortController();
  const first = model().map(source, { signal: stop.signal }).next();
  await settle();
  stop.abort("enough");
  await expect(first).rejects.toBe("enough");
  await settle();
  process.off("unhandledRejection", note);
  expect(unhandled).toEqual([]);
});

test("leaving waits until the source has closed what it holds (processing-mutant-map-5)", async () => {
  const { runs, map } = model();
  let isClosed = false;
  const source = returns(
    9,
    async () => {
      await settle();
      isClosed = true;
      return { value: undefined, done: true };
    },
    true,
  );
  const answers = map(source, { concurrency: 1 });
  const first = answers.next();
  await settle();
  runs.get(0)?.end();
  await first;
  await answers.return();
  expect(isClosed).toBe(true);
});

test("an error of the source's return is reported, unless another error ended the map (processing-L10)", async () => {
  for (const isAsync of [false, true]) {
    const throws = (): unknown => {
      throw new Error("return's error");
    };
    const { runs, map } = model(1);
    const left = map(returns(9, throws, isAsync));
    const first = left.next();
    await settle();
    runs.get(0)?.end();
    await first;
    await expect(left.return()).rejects.toThrow("return's error");
    const failed = model(1);
    const answers = failed.map(returns(9, throws, isAsync)).next();
    await settle();
    failed.runs.get(0)?.fail(new RangeError("too wide"));
    await expect(answers).rejects.toThrow("too wide");
  }
});

test("promises in a list are waited for, and one that rejects ends the map (processing-L10)", async () => {
  const list = [Promise.resolve(input(3)), Promise.reject(new Error("no such file"))];
  list[1]?.catch(() => undefined);
  const { runs, map } = model();
  const answers = map(list as unknown as Inputs[]);
  const first = answers.next();
  await settle();
  runs.get(3)?.end();
  expect(shown((await first).value as MapResult)).toBe("0 = 6");
  await expect(answers.next()).rejects.toThrow("no such file");
});

/** Counts the runs that are started when answers are taken one by one, with a concurrency of 32. */
async function begunAfter(taken: number, source: Iterable<Inputs> | AsyncIterable<Inputs>): Promise<number[]> {
  const { runs, map } = model(32);
  const answers = map(source);
  const counts: number[] = [];
  for (let i = 0; i < taken; i += 1) {
    const next = answers.next();
    for (let before = -1; before < runs.size;) {
      before = runs.size;
      await settle();
    }
    counts.push(runs.size);
    runs.get(i)?.end();
    await next;
  }
  return counts;
}

test("inputs of a list are started in parts, since each part costs a check of all lanes (processing-mutant-map-7)", async () => {
  expect(await begunAfter(6, inputs(100))).toEqual([32, 32, 34, 34, 36, 36]);
});

test("an input that comes later is begun at once (processing-mutant-map-8)", async () => {
  const source = async function* (): AsyncGenerator<Inputs> {
    yield* inputs(100);
    await settle();
  };
  expect(await begunAfter(4, source())).toEqual([32, 33, 34, 35]);
});

test.each([
  ["pixels", { data: new Uint8ClampedArray(2 ** 23), width: 2 ** 11, height: 2 ** 10 }],
  ["a bitmap", { width: 2 ** 11, height: 2 ** 10 }],
  ["a frame", { displayWidth: 2 ** 11, displayHeight: 2 ** 10 }],
  ["a file", { size: 2 ** 23 }],
])("%s of 8 MiB are bounded at 64 MiB in flight (processing-mutant-map-9)", async (_, picture) => {
  const { runs, map } = model(2, 128);
  const source = Array.from({ length: 200 }, (_, i) => ({ ...input(i), picture })) as unknown as Inputs[];
  const answers = map(source);
  const first = answers.next();
  await settle();
  expect(runs.size).toBe(7);
  runs.get(0)?.end();
  await first;
  await answers.return();
});

test("an answer carries what was decoded, made when it is looked at (processing-mutant-map-11)", async () => {
  const decoded = { y: [{ kind: "index", index: 4, score: 1 }] };
  const result = { ...answer(1), decoded } as unknown as RunResult;
  const parts: MapParts = { run: () => Promise.resolve(result), atLeast: 1, atMost: 1 };
  const first = await mapRuns(parts, inputs(1), {}).next();
  expect((first.value as MapResult).decoded).toBe(decoded);
  expect({ ...(first.value as MapResult) }.decoded).toBe(decoded);
});

test("ending the iteration early closes the source, so that a file can be closed", async () => {
  let isClosed = false;
  const source = function* (): Generator<Inputs> {
    try {
      for (let i = 0; ; i += 1) yield input(i);
    } finally {
      isClosed = true;
    }
  };
  const { runs, map } = model();
  const answers = map(source());
  const first = answers.next();
  await settle();
  runs.get(0)?.end();
  await first;
  await answers.return();
  expect(isClosed).toBe(true);
});

test("priority, deadline and the like go to every run, and the map's own options to none", async () => {
  const { runs, map } = model();
  const answers = map(inputs(1), {
    priority: "background",
    deadlineMs: 50,
    transfer: true,
    ordered: false,
    concurrency: 1,
  });
  const first = answers.next();
  await settle();
  const { options } = runs.get(0) ?? expect.fail("nothing ran");
  expect(options).toEqual({ priority: "background", deadlineMs: 50, transfer: true, signal: options.signal });
  runs.get(0)?.end();
  await first;
});

test("small inputs may fill batches, large ones are bounded by their bytes", async () => {
  const count = async (bytes: number): Promise<number> => {
    const { runs, map } = model(2, 128);
    const large = { dtype: "uint8", dims: [bytes], data: new Uint8Array(bytes) } as const;
    const source = Array.from({ length: 300 }, (_, i) => ({ ...input(i), large }));
    const stop = new AbortController();
    const first = map(source, { signal: stop.signal }).next();
    for (let before = -1; before < runs.size;) {
      before = runs.size;
      await settle();
    }
    stop.abort("enough");
    await expect(first).rejects.toBe("enough");
    return runs.size;
  };
  expect([await count(1_000), await count(2 ** 20), await count(2 ** 26)]).toEqual([128, 63, 2]);
});

test("hundreds of thousands of rows pass through it in constant memory", async () => {
  const rows = 300_000;
  let read = 0;
  let taken = 0;
  let furthest = 0;
  const row = input(1);
  const source = function* (): Generator<Inputs> {
    for (; read < rows; read += 1) {
      furthest = Math.max(furthest, read - taken);
      yield row;
    }
  };
  const done = Promise.resolve(answer(2));
  let half = 0;
  for await (const { index } of mapRuns({ run: () => done, atLeast: 8, atMost: 8 }, source(), {})) {
    if (index !== taken) expect.fail(`${index} came as number ${taken}`);
    taken += 1;
    if (taken === rows / 2) half = heldBytes();
  }
  expect(taken).toBe(rows);
  expect(furthest).toBeLessThanOrEqual(8);
  expect(heldBytes() - half).toBeLessThan(4 * 2 ** 20);
});

/** Heap in use after garbage collection. */
function heldBytes(): number {
  setFlagsFromString("--expose-gc");
  (runInNewContext("gc") as () => void)();
  return process.memoryUsage().heapUsed;
}
