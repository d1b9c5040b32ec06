import { describe, expect, test } from "vitest";
import { Random } from "../../../lib/test-support/random.ts";
import { CONTROL, rowLine, runCase, voidReason } from "./kernel.ts";
import type { Case, Sample, Setting, Subject } from "./kernel.ts";

const SETTING: Setting = {
  scenario: "trial",
  command: "npm run bench -- trial",
  commit: "0123abc",
  date: "2026-11-24T12:00:00.000Z",
  machine: "2 cores",
  browser: "chromium 156",
  adapter: "none",
  versions: { selvedge: "0.1.0" },
};

const WASM = { backend: "wasm", model: "ocr-rec", variant: "f32" };

/** A subject with known samples; `obeys` is whether it slows down on request. */
function subject(name: string, values: readonly number[], log: string[] = [], obeys = true): Subject {
  let at = 0;
  return {
    name,
    sample: async (slowBy): Promise<Sample> => {
      log.push(slowBy > 0 ? `${name} slowed` : name);
      const value = values[at++ % values.length] ?? 0;
      return { ...WASM, value: obeys ? value * (1 + slowBy) : value };
    },
  };
}

function trial(parts: Partial<Case> & Pick<Case, "subjects">): Case {
  return { name: "one line", unit: "ms", statistic: "median", goals: [], rounds: 5, ...parts };
}

describe("rounds", () => {
  test("every subject and the control run once in each round, warm-ups are discarded", async () => {
    const log: string[] = [];
    const item = trial({ subjects: [subject("a", [1], log), subject("b", [1], log)], control: "a", warmups: 2 });
    const rows = await runCase(item, SETTING, new Random("rounds"));
    expect(log).toHaveLength(3 * 7);
    for (let round = 0; round < 7; round++) {
      expect(log.slice(3 * round, 3 * round + 3).sort()).toEqual(["a", "a slowed", "b"]);
    }
    expect(rows.map(({ n }) => n)).toEqual([5, 5, 5]);
  });

  test("there is no ratio to a subject with value 0, and a goal on it is missed", async () => {
    const subjects = [subject("a", [99]), subject("b", [0])];
    const goals = [{ subject: "a", on: "ratio", atLeast: 2 }] as const;
    const [row] = await runCase(trial({ subjects, goals, of: "b", unit: "% on time" }), SETTING, new Random("nothing"));
    expect(row).toMatchObject({ value: 99, pass: false });
    expect(row?.ratio).toBeUndefined();
  });

  test("the order differs between rounds and is the same for the same seed", async () => {
    const orders = await Promise.all(
      ["x", "x", "y"].map(async (seed) => {
        const log: string[] = [];
        const subjects = ["a", "b", "c", "d"].map((name) => subject(name, [1], log));
        await runCase(trial({ subjects }), SETTING, new Random(seed));
        return log.join("");
      }),
    );
    expect(orders[0]).toBe(orders[1]);
    expect(orders[0]).not.toBe(orders[2]);
    expect(new Set(orders[0]?.match(/.{4}/g)).size).toBeGreaterThan(1);
  });
});

describe("rows", () => {
  test("a ratio is over the named subject, or under it for rates", async () => {
    const subjects = [subject("raw", [10]), subject("selvedge", [12])];
    const over = await runCase(trial({ subjects, of: "raw" }), SETTING, new Random("over"));
    expect(over[0]?.ratio).toBeUndefined();
    expect(over[1]).toMatchObject({ ratio: 1.2, of: "raw" });
    const under = await runCase(trial({ subjects, of: "raw", ratio: "under" }), SETTING, new Random("under"));
    expect(under[1]?.ratio).toBeCloseTo(10 / 12, 12);
  });

  test("a goal is passed on its bound and missed beyond it", async () => {
    const subjects = [subject("raw", [100]), subject("selvedge", [103])];
    const goal = { subject: "selvedge", on: "ratio", atMost: 1.03 } as const;
    const [, met] = await runCase(trial({ subjects, of: "raw", goals: [goal] }), SETTING, new Random("met"));
    expect(met).toMatchObject({ goal: "ratio <= 1.03", pass: true });
    const tight = { ...goal, atMost: 1.02 };
    const [, missed] = await runCase(trial({ subjects, of: "raw", goals: [tight] }), SETTING, new Random("missed"));
    expect(missed).toMatchObject({ pass: false });
  });

  test("a ratio has the interval that its rounds give, drawn in pairs", async () => {
    const raw = [10, 20, 30, 40, 50];
    const halves = raw.map((x) => x / 2);
    const [, even] = await runCase(
      trial({ subjects: [subject("raw", raw), subject("selvedge", halves)], of: "raw", warmups: 0 }),
      SETTING,
      new Random("pairs"),
    );
    expect(even).toMatchObject({ ratio: 0.5, interval: [0.5, 0.5] });
    const [, wide] = await runCase(
      trial({ subjects: [subject("raw", [10]), subject("selvedge", [9, 9, 10, 11, 11])], of: "raw", warmups: 0 }),
      SETTING,
      new Random("pairs"),
    );
    expect(wide).toMatchObject({ ratio: 1, interval: [0.9, 1.1] });
  });

  test("with byInterval a goal is met if the interval reaches the bound", async () => {
    const goal = { subject: "selvedge", on: "ratio", atMost: 1, byInterval: true } as const;
    const judge = async (values: number[]): Promise<unknown> => {
      const subjects = [subject("raw", [10]), subject("selvedge", values)];
      const rows = await runCase(trial({ subjects, of: "raw", goals: [goal] }), SETTING, new Random("equal"));
      return rows[1];
    };
    expect(await judge([9, 10.1, 10.1, 10.1, 11])).toMatchObject({ goal: "interval of ratio <= 1", pass: true });
    expect(await judge([10.1, 10.2, 10.1, 10.1, 11])).toMatchObject({ pass: false });
  });

  test("a difference is paired round by round and has a row of its own", async () => {
    const subjects = [subject("raw", [1, 5, 9]), subject("selvedge", [2, 6, 10])];
    const goals = [{ subject: "selvedge", minus: "raw", on: "value", atMost: 0.5 } as const];
    const rows = await runCase(trial({ subjects, goals, rounds: 3, warmups: 0 }), SETTING, new Random("paired"));
    expect(rows[2]).toMatchObject({ subject: "selvedge minus raw", samples: [1, 1, 1], value: 1, pass: false });
  });

  test("a subject that changed its backend is rejected", async () => {
    let calls = 0;
    const turncoat: Subject = {
      name: "a",
      sample: async () => ({ ...WASM, value: 1, backend: calls++ < 3 ? "webgpu" : "wasm" }),
    };
    await expect(runCase(trial({ subjects: [turncoat] }), SETTING, new Random("two"))).rejects.toThrow(/webgpu.*wasm/);
  });

  test("a subject without its backend is rejected", async () => {
    const silent: Subject = { name: "a", sample: async () => ({ ...WASM, value: 1, backend: "" }) };
    await expect(runCase(trial({ subjects: [silent] }), SETTING, new Random("none"))).rejects.toThrow(/backend/);
  });

  test("a line shows case, value, ratio, goal and verdict", async () => {
    const subjects = [subject("raw", [10]), subject("selvedge", [12])];
    const goals = [{ subject: "selvedge", on: "ratio", atMost: 1.1 } as const];
    const rows = await runCase(trial({ subjects, of: "raw", goals }), SETTING, new Random("line"));
    expect(rows.map(rowLine)).toEqual([
      "one line · raw · chromium 156  10 ms median  –  –  –",
      "one line · selvedge · chromium 156  12 ms median  1.200 (1.200 to 1.200)  ratio <= 1.1  miss",
    ]);
  });
});

describe("the control", () => {
  test("a detected slowdown passes, and the run is valid", async () => {
    const rows = await runCase(trial({ subjects: [subject("a", [10])], control: "a" }), SETTING, new Random("shows"));
    expect(rows[1]).toMatchObject({ ratio: 1 + CONTROL.slowBy, of: "a", pass: true });
    expect(voidReason(rows)).toBeNull();
  });

  test("an undetected slowdown voids the run", async () => {
    const item = trial({ subjects: [subject("a", [10], [], false)], control: "a" });
    const rows = await runCase(item, SETTING, new Random("hides"));
    expect(rows[1]).toMatchObject({ pass: false });
    expect(voidReason(rows)).toMatch(/^void: one line: "a slowed by 20 %" shows as 1\.000/);
  });

  test("of a rate, a slowed subject shows as the ratio under it", async () => {
    const slowing: Subject = { name: "a", sample: async (slowBy) => ({ ...WASM, value: 10 / (1 + slowBy) }) };
    const rows = await runCase(trial({ subjects: [slowing], control: "a", isRate: true }), SETTING, new Random("rate"));
    expect(rows[1]?.ratio).toBeCloseTo(1.2, 12);
    expect(voidReason(rows)).toBeNull();
  });

  test("a run without any control is void", async () => {
    const rows = await runCase(trial({ subjects: [subject("a", [10])] }), SETTING, new Random("without"));
    expect(voidReason(rows)).toMatch(/^void/);
  });

  test("a control that is not a subject is rejected", async () => {
    const item = trial({ subjects: [subject("a", [10])], control: "b" });
    await expect(runCase(item, SETTING, new Random("wrong"))).rejects.toThrow(/control "b"/);
  });
});
