// The golden check by itself: runs that fail in part, and results that several pages of a site store.
import { describe, expect, test, vi } from "vitest";
import { writeSafetensors } from "../compress/bundle/safetensors.ts";
import { codeOf, SelvedgeError, toWireError } from "../core/errors.ts";
import type { Effects } from "../effects/effects.ts";
import type { Feeds, Ran, RanItem } from "../rpc/messages.ts";
import type { Reply } from "../rpc/reply.ts";
import { Random } from "../test-support/random.ts";
import { createToyBackend } from "../test-support/simulate/toy-backend.ts";
import type { Tensor } from "../core/tensor.ts";
import { REFUSED_KEY } from "../pool/gpu-loss-ledger.ts";
import { World } from "../test-support/simulate/world.ts";
import { GoldenCheck } from "./golden-check.ts";
import type { CheckParts } from "./golden-check.ts";

const siteOf = (): Effects =>
  new World({
    ...{ random: new Random(1), gpu: null, cores: 1, files: new Map(), createBackend: createToyBackend },
    ...{ drawFault: () => null, log: null },
  }).effects;

const tensor = (rows: number, columns: number, value: number) =>
  ({ dtype: "float32", dims: [rows, columns], data: new Float32Array(rows * columns).fill(value) }) as const;
const request = (rows: number, columns = 4): Feeds => ({ tensors: { x: tensor(rows, columns, 1) }, others: null });
const answer = ({ tensors: { x } }: Feeds, value: number): Reply<RanItem> => {
  const [rows = 0, columns = 0] = x?.dims ?? [];
  return { ok: true, value: { outputs: { y: tensor(rows, columns, value) }, decoded: {} } };
};
const ranOf = (items: readonly Reply<RanItem>[], runs = 1): Ran => ({
  ...{ items, runs, preprocessMs: 0, runMs: 0, decodeMs: 0 },
});
/** Answers each request with a value. */
const answers =
  (value: (feeds: Feeds) => number) =>
  (items: readonly Feeds[]): Promise<Ran> =>
    Promise.resolve(ranOf(items.map((feeds) => answer(feeds, value(feeds)))));
const ones = answers(() => 1);
const fails = (code: "internal" | "out-of-memory") => () => Promise.reject(new SelvedgeError(code, "simulated"));

/** Returns the check of a page for a model of one input and one output, and its notes on what was not checked. */
function pageOf(site: Effects, change: Partial<CheckParts> = {}): { check: GoldenCheck; notes: (string | null)[] } {
  const notes: (string | null)[] = [];
  const ports = [{ name: "x", dtype: "float32", dims: ["n", "w"], batchAxis: 0 }] as const;
  const check = new GoldenCheck({
    ...{ effects: site, gpu: null, identity: "abc", variant: { id: "f32", needs: [], files: [] }, random: [] },
    ...{ shapes: () => ({ ports, states: {} }), typical: { w: 4 }, read: null, allowsUnverified: false },
    run: (_, items) => ones(items()),
    model: () => Promise.resolve(new Blob()),
    isIdle: () => true,
    onRefused: () => undefined,
    onUnchecked: (why) => notes.push(why),
    ...change,
  });
  return { check, notes };
}

/** Checks a batch of requests with the answers of a GPU; returns the code of its error, or null. */
const compare = async (
  check: GoldenCheck,
  items: readonly Feeds[],
  values: readonly number[],
  gpu = ones,
): Promise<string | null> => {
  const ran = ranOf(items.map((feeds, i) => answer(feeds, values[i] ?? NaN)));
  try {
    await check.answered(items, ran, gpu);
    return null;
  } catch (error) {
    return codeOf(error);
  }
};

test("a batch that agrees with answers that wasm can't compute is no pass for later pages (golden alone)", async () => {
  const site = siteOf();
  const first = pageOf(site, { run: fails("out-of-memory"), allowsUnverified: true });
  await first.check.prepare();
  await first.check.loaded(ones);
  expect(await compare(first.check, [request(1), request(1)], [1, 1])).toBeNull();
  const again = first.check.answered([request(1), request(1)], await ones([request(1), request(1)]), ones);
  expect([first.notes, again]).toEqual([["wasm can't run it (out-of-memory)"], null]);
  const later = pageOf(site, { run: fails("out-of-memory") });
  await expect(later.check.prepare()).rejects.toMatchObject({ details: { reason: "unverified" } });
});

test("a wrong batch is refused although wasm fails each of its requests (golden failed item)", async () => {
  const failed: Reply<RanItem> = { ok: false, error: toWireError(new Error("simulated")) };
  const onWasm: CheckParts["run"] = (_, items) =>
    items().length === 1 ? ones(items()) : Promise.resolve(ranOf(items().map(() => failed)));
  const { check } = pageOf(siteOf(), { run: onWasm });
  expect(await compare(check, [request(1), request(1)], [999, NaN])).toBe("wrong-result");
});

test("a batch whose requests fail alone on the GPU is unverified, and no pass (golden failed item)", async () => {
  const site = siteOf();
  const failed: Reply<RanItem> = { ok: false, error: toWireError(new Error("simulated")) };
  const gpu = (items: readonly Feeds[]): Promise<Ran> =>
    items.length === 1 ? ones(items) : Promise.resolve(ranOf(items.map(() => failed)));
  const { check, notes } = pageOf(site);
  expect(await compare(check, [request(1), request(1)], [1, 1])).toBeNull();
  const batch = Array.from({ length: 4 }, () => request(1));
  expect(await compare(check, batch, [9, 9, 9, 9], gpu)).toBeNull();
  expect(notes).toEqual(["a batch could not be compared"]);
  const later = pageOf(site);
  await later.check.loaded(ones);
  expect(await compare(later.check, batch, [9, 9, 9, 9])).toBe("wrong-result");
});

test("a page that found the GPU right replaces no refusal of another page (golden two pages)", async () => {
  const site = siteOf();
  const [first, second] = [pageOf(site), pageOf(site)];
  expect(await compare(first.check, [request(1)], [9])).toBe("wrong-result");
  expect(await compare(second.check, [request(1, 40)], [1])).toBeNull();
  expect(pageOf(site).check.refused?.message).toContain("error 8 above 0.001");
});

test("passes of two pages add up (golden two pages)", async () => {
  const site = siteOf();
  const [first, second] = [pageOf(site), pageOf(site)];
  expect(await compare(first.check, [request(1)], [1])).toBeNull();
  expect(await compare(second.check, [request(1, 40)], [1])).toBeNull();
  const { check } = pageOf(site);
  await check.loaded(ones);
  for (const columns of [4, 40])
    expect(check.answered([request(1, columns)], ranOf([answer(request(1, columns), 1)]), ones)).toBeNull();
});

test("requests without rows that run together are answered (golden no rows)", async () => {
  const { check } = pageOf(siteOf());
  expect(await compare(check, [request(0), request(0)], [1, 1])).toBeNull();
  const other = pageOf(siteOf(), { run: (_, items) => answers(() => 1)(items().map(() => request(1))) });
  expect(await compare(other.check, [request(0), request(0)], [1, 1])).toBe("wrong-result");
});

/** Files of a golden: x of one row is ones, and y has a value. */
const goldenOf = (value: number) => () =>
  Promise.resolve(
    [{ x: tensor(1, 4, 1) }, { y: tensor(1, 4, value) }].map((x) => new Blob([writeSafetensors(x) ?? ""])),
  );

/** A model of two outputs whose first is one huge value or a mask, and whose golden has a floor. */
const withFloor = (first: number, y = 1, floor = 1e-4): CheckParts["read"] => {
  const files = [
    writeSafetensors({ x: tensor(1, 4, 1) }),
    writeSafetensors({ y: row(first, y) }, { y: String(floor) }),
  ].map((x) => new Blob([x ?? ""]));
  return () => Promise.resolve(files);
};
const row = (...values: number[]): Tensor => ({
  dtype: "float32",
  dims: [1, values.length],
  data: Float32Array.from(values),
});
const rowAnswers =
  (...values: number[]) =>
  (items: readonly Feeds[]): Promise<Ran> =>
    Promise.resolve(ranOf(items.map(() => ({ ok: true, value: { outputs: { y: row(...values) }, decoded: {} } }))));

for (const [what, rows, columns] of [
  ["a shape", 1, 40],
  ["a batch", 2, 4],
  ["a batch of a new shape", 3, 40],
] as const) {
  const items = Array.from({ length: rows }, () => request(1, columns));
  const right = rowAnswers(1e6, 1);
  const check = (read: CheckParts["read"]): GoldenCheck =>
    pageOf(siteOf(), { read, run: (_, taken) => right(taken()) }).check;

  test(`one huge value blinds no comparison of ${what} that the golden does not have (golden floors)`, async () => {
    const blind = check(withFloor(1e6));
    await blind.loaded(right);
    const wrong = await rowAnswers(1e6, 3)(items);
    await expect(blind.answered(items, wrong, right)).rejects.toMatchObject({ code: "wrong-result" });
    const honest = check(withFloor(1e6));
    await honest.loaded(right);
    await expect(honest.answered(items, await rowAnswers(1e6 + 10, 1 + 1e-4)(items), right)).resolves.toBeUndefined();
  });

  test(`a GPU within the golden's floor is believed for ${what} that the golden does not have (golden floors)`, async () => {
    const faint = rowAnswers(1e-3, 1e-4);
    const page = pageOf(siteOf(), { read: withFloor(1, 1, 1e-3), run: (_, taken) => faint(taken()) }).check;
    await page.loaded(rowAnswers(1, 1));
    const near = await rowAnswers(1e-3, 5e-4)(items);
    await expect(page.answered(items, near, faint)).resolves.toBeUndefined();
  });
}

test("floors are read for a page whose golden passed before, and a golden that is gone gives none (golden floors)", async () => {
  const site = siteOf();
  const right = rowAnswers(1e6, 1);
  const parts = { run: (_: unknown, taken: () => readonly Feeds[]) => right(taken()) };
  await pageOf(site, { ...parts, read: withFloor(1e6) }).check.loaded(right);
  const wrong = await rowAnswers(1e6, 3)([request(1, 40)]);
  const gone = pageOf(site, { ...parts, read: () => Promise.reject(new TypeError("simulated")) }).check;
  await gone.loaded(right);
  await expect(gone.answered([request(1, 40)], wrong, right)).resolves.toBeUndefined();
  const later = pageOf(site, { ...parts, read: withFloor(1e6) }).check;
  await later.loaded(right);
  await expect(later.answered([request(1, 80)], wrong, right)).rejects.toMatchObject({ code: "wrong-result" });
});

test("a golden that could not be fetched runs on the next page, whatever passed meanwhile (golden missing)", async () => {
  const site = siteOf();
  const first = pageOf(site, { read: () => Promise.reject(new TypeError("simulated")) });
  await first.check.loaded(ones);
  expect(await compare(first.check, [request(1, 40)], [1])).toBeNull();
  expect(first.notes).toEqual(["the golden files could not be fetched"]);
  const second = pageOf(site, { read: goldenOf(1) });
  await second.check.loaded(ones);
  expect(second.notes).toEqual([null]);
  let reads = 0;
  const third = pageOf(site, { read: () => ((reads += 1), goldenOf(1)()) });
  await third.check.loaded(ones);
  expect(reads).toBe(0);
  await expect(pageOf(siteOf(), { read: goldenOf(9) }).check.loaded(ones)).rejects.toThrow("error 0.89 above 0.001");
});

test("a bare model that wasm can't load is refused, whatever the error (golden bare internal)", async () => {
  const { check } = pageOf(siteOf(), { run: fails("internal") });
  await expect(check.prepare()).rejects.toMatchObject({ details: { reason: "unverified" } });
});

test("a bare model whose requests wasm can't run is called unverified (golden bare internal)", async () => {
  const run: CheckParts["run"] = (_, items) => {
    items();
    return fails("internal")();
  };
  const { check, notes } = pageOf(siteOf(), { run });
  await check.prepare();
  await check.loaded(ones);
  expect(await compare(check, [request(1)], [1])).toBeNull();
  expect(notes).toEqual(["a shape could not be compared with wasm"]);
});

test("each run that a batch was split into is compared by its own size (golden groups)", async () => {
  const site = siteOf();
  const items = [20, 40, 20, 40].map((columns) => request(1, columns));
  const isShort = ({ tensors: { x } }: Feeds): boolean => x?.dims[1] === 20;
  const gpu = answers((feeds) => (isShort(feeds) ? 5 : 1));
  const { check } = pageOf(site);
  const ran = {
    ...(await gpu(items)),
    runs: 2,
    groups: [
      [0, 2],
      [1, 3],
    ],
  };
  await expect(check.answered(items, ran, gpu)).rejects.toMatchObject({ code: "wrong-result" });
  expect(pageOf(site).check.refused).not.toBeNull();
});

test("rows that a batch pads are compared with wasm's batch: they have another answer alone (golden padded)", async () => {
  const items = [request(1, 40), request(1, 20), request(1, 20)];
  const onWasm: CheckParts["run"] = (_, taken) =>
    Promise.resolve(ranOf(taken().map((feeds, _i, { length }) => answer(feeds, length > 1 ? 3 : 1))));
  // The widest row is right, and of the narrower ones each is as wasm has it in the same batch, or wrong.
  for (const [last, code] of [
    [3, null],
    [1, "wrong-result"],
  ] as const) {
    const { check } = pageOf(siteOf(), { run: onWasm });
    expect(await compare(check, items, [1, 3, last])).toBe(code);
  }
});

test("a class stays open where wasm fails a request, so that the next is compared (golden open class)", async () => {
  let isFailing = true;
  const { check, notes } = pageOf(siteOf(), { run: (_, items) => (isFailing ? fails("internal")() : ones(items())) });
  expect(await compare(check, [request(1)], [9])).toBeNull();
  expect(notes).toEqual(["a shape could not be compared with wasm"]);
  isFailing = false;
  expect(await compare(check, [request(1)], [9])).toBe("wrong-result");
});

test("wasm is not asked for ever where it fails each request of a class (golden open class)", async () => {
  let asked = 0;
  const run: CheckParts["run"] = () => ((asked += 1), fails("internal")());
  const { check } = pageOf(siteOf(), { run });
  for (let i = 0; i < 50; i += 1) expect(await compare(check, [request(1)], [1])).toBeNull();
  expect(asked).toBeGreaterThan(1);
  expect(asked).toBeLessThan(10);
});

test.each([NaN, 0])(
  "an answer of %s alone proves nothing for later ones of its class (golden proof)",
  async (value) => {
    let right = value;
    const site = siteOf();
    const run: CheckParts["run"] = (_, items) => answers(() => right)(items());
    const bare = pageOf(site, { run }).check;
    await bare.prepare();
    await bare.loaded(answers(() => value));
    right = 1;
    expect(await compare(pageOf(site, { run }).check, [request(1)], [1.5])).toBe("wrong-result");
    const golden = pageOf(siteOf(), { run, read: goldenOf(value) }).check;
    await golden.loaded(answers(() => value));
    expect(await compare(golden, [request(1)], [1.5])).toBe("wrong-result");
  },
);

describe("an honest GPU is believed where rounding explains the difference, which proves nothing (golden rounding)", () => {
  /** Answers each request with one value, and with another one where its inputs are nudged. */
  const sums = (value: number, nudged: number = value) =>
    answers(({ tensors: { x } }) => (new Set(x?.data as Float32Array).size > 1 ? nudged : value));
  const onWasm =
    (run: (items: readonly Feeds[]) => Promise<Ran>): CheckParts["run"] =>
    (_, items) =>
      run(items());
  const half = (rows: number, columns: number): Feeds => ({ tensors: { x: tensor(rows, columns, 0.5) }, others: null });

  for (const [what, rows] of [
    ["a large shape", 1],
    ["a batch of a large shape", 3],
  ] as const) {
    const items = Array.from({ length: rows }, () => half(1, 4_000));
    const values = items.map(() => 2e-3);

    test(`in ${what} whose sum is nearly zero`, async () => {
      const site = siteOf();
      const right = sums(1e-3, 1e-3 + 1e-4);
      const { check } = pageOf(site, { read: withFloor(1, 1, 1e-4), run: onWasm(right) });
      expect(await compare(check, items, values, sums(1e-3))).toBeNull();
      // Its class stays open: neither this page nor a later one takes it for checked.
      const wrong = await compare(
        check,
        items,
        items.map(() => 0.5),
        sums(1e-3),
      );
      expect(wrong).toBe("wrong-result");
      expect(pageOf(site).check.refused).not.toBeNull();
    });

    test(`in ${what} of a model without a golden, by the size of its usual answer`, async () => {
      const site = siteOf();
      const usual = pageOf(site, {
        run: onWasm(answers((feeds) => (feeds.tensors["x"]?.dims[1] === 4 ? 5 : 1e-3))),
      }).check;
      await usual.prepare();
      await usual.loaded(answers(() => 5));
      const gpu = sums(1e-3);
      expect(await compare(usual, items, values, gpu)).toBeNull();
      expect(
        await compare(
          usual,
          items,
          items.map(() => 0.5),
          gpu,
        ),
      ).toBe("wrong-result");
    });
  }

  /** A model without a golden, whose usual answer is 5. */
  const usualFive = async (near: (items: readonly Feeds[]) => Promise<Ran>): Promise<ReturnType<typeof pageOf>> => {
    const known = answers(() => 5);
    const run = onWasm((items) => (items[0]?.tensors["x"]?.dims[1] === 4 ? known(items) : near(items)));
    const page = pageOf(siteOf(), { run });
    await page.check.prepare();
    await page.check.loaded(known);
    return page;
  };

  test("and zeros of a sum that cancels out, but not zeros else, nor any answer of a model that rounds", async () => {
    const near = await usualFive(sums(1e-3));
    expect(await compare(near.check, [half(1, 40)], [2e-3])).toBeNull();
    expect(await compare(near.check, [half(1, 40)], [0])).toBeNull();
    const far = await usualFive(sums(0.5, 0.506));
    expect(await compare(far.check, [half(1, 40)], [0])).toBe("wrong-result");
    const unsure = sums(0.05, 0.06);
    expect(await compare((await usualFive(unsure)).check, [half(1, 40)], [0.1])).toBeNull();
    expect(await compare((await usualFive(unsure)).check, [half(1, 40)], [0])).toBe("wrong-result");
    const rounding = sums(0.5, 0.506);
    const check = () => pageOf(siteOf(), { run: onWasm(rounding) }).check;
    expect(await compare(check(), [half(1, 400)], [0.506])).toBeNull();
    for (const value of [0, 0.6, -0.5]) expect(await compare(check(), [half(1, 400)], [value])).toBe("wrong-result");
  });

  test("and is called unverified after eight such differences", async () => {
    const { check, notes } = await usualFive(sums(1e-3));
    for (let i = 0; i < 7; i += 1) expect(await compare(check, [half(1, 40)], [2e-3])).toBeNull();
    expect(notes).toEqual([]);
    expect(await compare(check, [half(1, 40)], [2e-3])).toBeNull();
    expect(notes).toEqual(["comparisons of a shape were inconclusive"]);
  });

  test("and one huge answer makes no later one usual", async () => {
    const { check } = await usualFive(answers(({ tensors: { x } }) => (x?.dims[1] === 8 ? 1e6 : 1e-3)));
    expect(await compare(check, [half(1, 8)], [1e6])).toBeNull();
    expect(await compare(check, [half(1, 40)], [4e-3])).toBeNull();
    expect(await compare(check, [half(1, 40)], [1])).toBe("wrong-result");
  });

  test("and where wasm fails for the nudged inputs, the refusal is not stored", async () => {
    const right = sums(1e-3);
    const isNudged = ({ tensors: { x } }: Feeds): boolean => new Set(x?.data as Float32Array).size > 1;
    const run = onWasm((items) => (items.some(isNudged) ? fails("out-of-memory")() : right(items)));
    for (const count of [1, 3]) {
      const site = siteOf();
      const { check } = pageOf(site, { read: withFloor(1, 1, 1e-4), run });
      const items = Array.from({ length: count }, () => half(1, 4_000));
      const values = items.map(() => 2e-3);
      expect(await compare(check, items, values, right)).toBe("wrong-result");
      expect([check.refused === null, pageOf(site).check.refused]).toEqual([false, null]);
      expect(site.memo.get(REFUSED_KEY)).not.toBeNull();
    }
  });

  test("and where the second look can't be fetched, the refusal is not stored", async () => {
    vi.doMock("./second-look.ts", () => {
      throw new TypeError("no network");
    });
    const site = siteOf();
    const { check } = pageOf(site, { run: onWasm(sums(1e-3)) });
    const end = await compare(check, [half(1, 40)], [0.5]);
    vi.doUnmock("./second-look.ts");
    expect([end, check.refused === null, pageOf(site).check.refused]).toEqual(["wrong-result", false, null]);
  });

  test("but no wrong row of a model that mixes its rows", async () => {
    const items = [half(1, 40), half(1, 40), half(1, 40)];
    const mixed = (values: readonly number[]) => (taken: readonly Feeds[]) =>
      Promise.resolve(ranOf(taken.map((feeds, i) => answer(feeds, taken.length > 1 ? (values[i] ?? NaN) : 1))));
    const run = onWasm(mixed([3, 1, 1]));
    const honest = pageOf(siteOf(), { run }).check;
    expect(await compare(honest, items, [3, 1, 1])).toBeNull();
    const lying = pageOf(siteOf(), { run }).check;
    expect(await compare(lying, items, [3, 9, 1])).toBe("wrong-result");
  });
});
