import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, test } from "vitest";
import type { Inputs } from "./inputs.ts";
import { mapRuns } from "./map.ts";
import type { Mapped, MapParts, Unmapped } from "./map.ts";
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
const shown = (item: Mapped | Unmapped): string =>
  "error" in item ? `${item.index} ${String(item.error)}` : `${item.index} = ${String(item.outputs["y"]?.data[0])}`;

/** A model whose runs end when the test says so, by the number that they were given. */
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
/** Lets all that can happen now happen. */
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test("answers come in the order of the inputs, whichever is through first", async () => {
  const { runs, map } = model();
  const answers = map(inputs(2));
  const [first, second] = [answers.next(), answers.next()];
  await settle();
  runs.get(1)?.end();
  await settle();
  runs.get(0)?.end();
  expect([(await first).value, (await second).value].map((item) => shown(item as Mapped))).toEqual(["0 = 0", "1 = 2"]);
  expect(await answers.next()).toEqual({ done: true, value: undefined });
});

test("answers come as they are there where no order is asked for, and say what they answer", async () => {
  const { runs, map } = model();
  const answers = map(inputs(2), { ordered: false });
  const first = answers.next();
  await settle();
  runs.get(1)?.end();
  expect(shown((await first).value as Mapped)).toBe("1 = 2");
  const second = answers.next();
  runs.get(0)?.end();
  expect(shown((await second).value as Mapped)).toBe("0 = 0");
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

test("an input that fails is given in its place where that is asked for", async () => {
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
  expect(shown((await first).value as Mapped)).toBe("0 = 14");
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

test("an error of the source ends it, and what is under way is cancelled", async () => {
  const { runs, map } = model(4);
  const broken = function* (): Generator<Inputs> {
    yield input(0);
    throw new Error("the file ends here");
  };
  await expect(map(broken(), { errors: "yield" }).next()).rejects.toThrow("the file ends here");
  expect(runs.get(0)?.options.signal?.aborted).toBe(true);
});

test("leaving it tells the source, so that a file can be closed", async () => {
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

/** What is in use once all that is not was collected. */
function heldBytes(): number {
  setFlagsFromString("--expose-gc");
  (runInNewContext("gc") as () => void)();
  return process.memoryUsage().heapUsed;
}
