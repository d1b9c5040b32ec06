// Numbers of the fleet against what is known of queues and of samples.
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Random } from "../../lib/test-support/random.ts";
import { drive } from "../../lib/test-support/simulate/drive.ts";
import { ROOT } from "../support/prepare.ts";
import { assume, FLEET, readSetting } from "./assumptions.ts";
import type { Fleet, Growth } from "./assumptions.ts";
import { HOURS, playDay, playSession } from "./device-day.ts";
import type { Day } from "./device-day.ts";
import { rateLine, readCalibration } from "./measured.ts";
import type { ModelFacts } from "./measured.ts";
import { addDay, addStratum, emptyStratum, estimate } from "./sample.ts";
import { arrivals, searchRate, summarize } from "./search-rate.ts";
import type { AtRate } from "./search-rate.ts";
import { formatTable, rowsOf, serversFor } from "./table.ts";

const FACTS: ModelFacts = {
  ...{ runMs: 5, loadMs: 300, wireBytes: 4e6, inputBytes: 4_000, serverMs: 10, ratePerS: 50 },
};
const CHAT = FLEET.growths["chat"] as Growth;

/** Times of a queue of first come, first served, with `count` servers that take `forMs` each. */
function queued(times: readonly number[], count: number, forMs: number): number[] {
  const freeMs = new Array<number>(count).fill(0);
  return times.map((ms) => {
    const first = freeMs.indexOf(Math.min(...freeMs));
    const endMs = Math.max(ms, freeMs[first] ?? 0) + forMs;
    freeMs[first] = endMs;
    return endMs - ms;
  });
}

describe("servers", () => {
  test("the search finds the rate of M/D/1 whose 99th percentile is the bound", async () => {
    const forMs = 10;
    const measure = (rate: number): AtRate => summarize(queued(arrivals(rate, 600_000, new Random(rate)), 1, forMs));
    const { ratePerS } = await searchRate(measure, { p99Ms: 100, startPerS: 4 });
    expect(timely(ratePerS / 1.06, forMs, 100)).toBeGreaterThan(0.99);
    expect(timely(ratePerS * 1.06, forMs, 100)).toBeLessThan(0.99);
  });

  test("a rate below the first one is found, and none is an error", async () => {
    const measure = (rate: number): AtRate => ({ p99Ms: rate > 1.5 ? 200 : 50, medianMs: 1 });
    const { ratePerS } = await searchRate(measure, { p99Ms: 100, startPerS: 64 });
    expect(ratePerS).toBeLessThanOrEqual(1.5);
    expect(ratePerS).toBeGreaterThan(1.5 / 1.05);
    await expect(searchRate(() => ({ p99Ms: 200, medianMs: 1 }), { p99Ms: 100, startPerS: 64 })).rejects.toThrow(
      "above 100 ms",
    );
  });

  test("a rate that broke the bound once is tried again", async () => {
    let calls = 0;
    const measure = (rate: number): AtRate => ({ p99Ms: calls++ === 2 || rate > 32 ? 200 : 50, medianMs: 1 });
    const { ratePerS } = await searchRate(measure, { p99Ms: 100, startPerS: 4 });
    expect(ratePerS).toBeGreaterThan(32 / 1.05);
  });

  test("a constant load takes the load divided by the rate of one, rounded up", () => {
    expect([0, 1, 50, 51, 1_000].map((rate) => serversFor(rate, 50))).toEqual([0, 1, 1, 2, 20]);
  });

  test.each([1, 2, 3])("lanes of the real scheduler are M/D/%s: each request ends as in a queue", (lanes) => {
    const times = arrivals(lanes * 85, 20_000, new Random(lanes));
    const jobs = times.map((atMs, id) => ({ id, atMs, dueMs: Infinity, model: 0, factor: 1 }));
    const { runs } = drive(
      {
        lanes: new Array<string>(lanes).fill("wasm"),
        models: [{ maxRows: 1, msOn: { wasm: () => 10 } }],
        jobs,
        ...{ isLearned: true, countsFromMs: 0, endMs: Infinity, clockMs: 0, noise: 0 },
      },
      1,
    );
    const ends = new Map(runs.flatMap(({ jobs: ran, endMs }) => ran.map((x) => [x.id, endMs] as const)));
    const taken = jobs.map(({ id, atMs }) => (ends.get(id) ?? NaN) - atMs).sort((a, b) => a - b);
    const known = queued(times, lanes, 10).sort((a, b) => a - b);
    const mean = (list: readonly number[]): number => list.reduce((sum, x) => sum + x, 0) / list.length;
    expect(mean(taken)).toBeCloseTo(mean(known), 6);
    if (lanes === 1) {
      // Pollaczek and Khinchine, over as many requests as there are.
      const load = 0.85;
      expect(mean(taken)).toBeGreaterThan(0.8 * (10 + (load * 10) / (2 * (1 - load))));
      expect(mean(taken)).toBeLessThan(1.2 * (10 + (load * 10) / (2 * (1 - load))));
    }
  });
});

/** Share of requests of M/D/1 that take at most `withinMs`: Erlang's sum. */
function timely(ratePerS: number, forMs: number, withinMs: number): number {
  const perMs = ratePerS / 1_000;
  const waitMs = withinMs - forMs;
  let sum = 0;
  let factorial = 1;
  for (let k = 0; k <= Math.floor(waitMs / forMs); k += 1) {
    if (k > 0) factorial *= k;
    const x = perMs * (k * forMs - waitMs);
    sum += (x ** k / factorial) * Math.exp(-x);
  }
  return (1 - perMs * forMs) * sum;
}

describe("the sample", () => {
  /** A day of 1 to 3 requests in one hour, of which servers answer each with a probability. */
  const dayOf = (random: Random, chance: number): Day => {
    const [requests, remote] = [new Float64Array(HOURS), new Float64Array(HOURS)];
    requests[12] = 1 + random.below(3);
    for (let i = 0; i < requests[12]; i += 1) remote[12] = (remote[12] ?? 0) + Number(random.chance(chance));
    return { requests, remote, downloadBytes: new Float64Array(HOURS), late: 0 };
  };
  const CHANCES = [
    { share: 3, chance: 0.1 },
    { share: 1, chance: 0.6 },
  ];

  test("95 of 100 intervals have the true value of a known population", () => {
    const [truth, samples] = [2 * (0.75 * 0.1 + 0.25 * 0.6), 400];
    let [share, peak] = [0, 0];
    for (let seed = 0; seed < samples; seed += 1) {
      const random = new Random(seed);
      const device = estimate(
        CHANCES.map(({ share, chance }) => {
          const stratum = emptyStratum();
          for (let i = 0; i < 100; i += 1) addDay(stratum, dayOf(random, chance));
          return { share, stratum };
        }),
      );
      const has = ({ low, high }: { low: number; high: number }, value: number): number =>
        Number(low <= value && value <= high);
      share += has(device.localShare, 1 - truth / 2);
      peak += has(device.remotePeak, truth);
    }
    for (const covered of [share, peak]) {
      expect(covered / samples).toBeGreaterThan(0.92);
      expect(covered / samples).toBeLessThan(0.98);
    }
  });

  test("parts of a sample add up to the whole", () => {
    const [whole, first, second] = [emptyStratum(), emptyStratum(), emptyStratum()];
    const random = new Random(1);
    for (let i = 0; i < 50; i += 1) {
      const day = dayOf(random, 0.5);
      addDay(whole, day);
      addDay(i < 20 ? first : second, day);
    }
    addStratum(first, second);
    expect(first).toEqual(whole);
  });

  test("a class that is not sampled has no interval, and one without a share does not count", () => {
    const stratum = emptyStratum();
    addDay(stratum, dayOf(new Random(1), 0.5));
    expect(estimate([{ share: 1, stratum }]).remotePeak.high).toBe(Infinity);
    const two = emptyStratum();
    for (let i = 0; i < 9; i += 1) addDay(two, dayOf(new Random(i), 0.5));
    const classes = [
      { share: 1, stratum: two },
      { share: 0, stratum },
    ];
    expect(estimate(classes)).toEqual(estimate(classes.slice(0, 1)));
  });
});

describe("a device", () => {
  const session = { fleet: FLEET, growth: CHAT, lanes: 2, runMs: 5, remoteMs: 60, readyMs: 2_000 };
  const places = (own: Partial<typeof session>, atMs: readonly number[]): boolean[] => {
    const found: boolean[] = [];
    playSession({ ...session, ...own }, atMs, 1, (_, isRemote) => found.push(isRemote));
    return found;
  };

  test("asks a server until its model has come, and itself afterwards", () => {
    expect(places({}, [0, 500, 1_000, 1_999, 2_000, 3_000, 4_000])).toEqual([
      ...[true, true, true, true],
      ...[false, false, false],
    ]);
  });

  test("that is too slow for the deadline asks a server, except for trials", () => {
    const atMs = Array.from({ length: 200 }, (_, i) => i * 2_000);
    const found = places({ runMs: 3_000, readyMs: 0 }, atMs);
    expect(found.filter(Boolean).length).toBeGreaterThan(180);
  });

  test("that is slower than the server by less than its cost answers for itself", () => {
    const atMs = Array.from({ length: 100 }, (_, i) => i * 200);
    // But for those by which the server's time is learnt, and looked at again.
    expect(places({ runMs: 140, readyMs: 0 }, atMs).filter(Boolean).length).toBeLessThan(10);
    expect(places({ runMs: 300, readyMs: 0 }, atMs).filter(Boolean).length).toBeGreaterThan(80);
  });

  test("has a long session of which a part stands for the rest", () => {
    const atMs = Array.from({ length: 3_000 }, (_, i) => i * 1_000);
    const found = places({}, atMs);
    expect(found).toHaveLength(3_000);
    expect(found.filter(Boolean)).toHaveLength(2);
  });

  test("that can't run the model sends every request and downloads nothing", () => {
    const own = FLEET.classes["can't run it"] as Fleet["classes"][string];
    const { requests, remote, downloadBytes } = playDay(FLEET, CHAT, own, FACTS, new Random(1));
    expect(remote).toEqual(requests);
    expect(Math.max(...downloadBytes)).toBe(0);
  });

  test("downloads a model once, also over several sessions", () => {
    const own = { ...(FLEET.classes["desktop"] as Fleet["classes"][string]), lineMbit: 0.5 };
    const growth = { ...CHAT, sessions: 8 };
    const fleet = { ...FLEET, newShare: 1, lineSpread: 0 };
    const bytes = playDay(fleet, growth, own, FACTS, new Random(3)).downloadBytes.reduce((a, b) => a + b, 0);
    expect(bytes).toBeCloseTo(FACTS.wireBytes, 0);
    const stored = { ...fleet, newShare: 0, staleShare: 0 };
    expect(Math.max(...playDay(stored, growth, own, FACTS, new Random(3)).downloadBytes)).toBe(0);
  });
});

/** Samples a few devices of each class and returns the rows of a growth. */
function play(fleet: Fleet, facts: ModelFacts, seed: string, devices = 20): ReturnType<typeof rowsOf> {
  const growth = fleet.growths["chat"] as Growth;
  const classes = Object.entries(fleet.classes).map(([key, own]) => {
    const stratum = emptyStratum();
    for (let i = 0; i < devices; i += 1)
      addDay(stratum, playDay(fleet, growth, own, facts, new Random(`${seed}/${key}/${i}`)));
    return { share: own.share, stratum };
  });
  return rowsOf(fleet, "chat", estimate(classes), facts);
}

describe("the table", () => {
  test("equal seeds give equal tables, others do not", () => {
    const text = (seed: string): string => formatTable(play(FLEET, FACTS, seed));
    expect(text("1")).toBe(text("1"));
    expect(text("1")).not.toBe(text("2"));
  });

  test("rounds a count to the next unit", () => {
    const [row] = play(FLEET, FACTS, "1");
    if (row === undefined) throw new Error("no row");
    const text = formatTable([{ ...row, requestsPerDay: 999_990, peakPerS: 999.9 }]);
    expect(text).toMatch(/\| 1 M +\| 1 K +\|/);
  });

  test("says which share of the answers is in time and late; a few late ones are not rounded away", () => {
    const [row] = play(FLEET, FACTS, "1");
    if (row === undefined) throw new Error("no row");
    const column = (lateShare: number): string => {
      const [head = "", , line = ""] = formatTable([{ ...row, lateShare }]).split("\n");
      const cells = (text: string): string[] => text.split("|").map((x) => x.trim());
      return cells(line)[cells(head).indexOf("in time, late")] ?? "";
    };
    expect([0, 0.000001, 0.0123, 0.5, 1].map(column)).toEqual([
      "100.00 %, 0.00 %",
      "99.99 %, 0.01 %",
      "98.77 %, 1.23 %",
      "50.00 %, 50.00 %",
      "0.00 %, 100.00 %",
    ]);
  });

  test("an answer of a server that comes after the deadline is late, also for a device that can't run the model", () => {
    for (const [deadlineMs, late] of [
      [1, 1],
      [100_000, 0],
    ] as const) {
      const classes = { none: { share: 1, factor: null, lanes: 0, lineMbit: 15, rttMs: 60 } };
      const [row] = play({ ...FLEET, classes, growths: { chat: { ...CHAT, deadlineMs } } }, FACTS, "1");
      expect([row?.lateShare, row?.localShare.value]).toEqual([late, 0]);
    }
  });

  test("grows with the size, and its share stays", () => {
    const rows = play(FLEET, FACTS, "1");
    for (const [i, row] of rows.entries()) {
      expect(row.requestsPerDay).toBeCloseTo(row.size, 3);
      expect(row.peakPerS).toBeCloseTo((rows[0]?.peakPerS ?? 0) * 10 ** i, 3);
      expect(row.localShare).toEqual(rows[0]?.localShare);
    }
  });

  test("offload never needs more servers than all remote, but for the downloads", () => {
    const number = (min: number, max: number): fc.Arbitrary<number> => fc.double({ min, max, noNaN: true });
    fc.assert(
      fc.property(
        fc.record({
          ...{ newShare: number(0, 1), staleShare: number(0, 1), updateShare: number(0, 1), burst: number(1, 3) },
          ...{ lineSpread: number(0, 2), factorSpread: number(0, 2), noise: number(0, 0.9), costMs: number(0, 500) },
        }),
        fc.record({
          ...{ runMs: number(0.1, 3_000), loadMs: number(0, 5_000), wireBytes: number(1, 1e9) },
          ...{ inputBytes: number(1, 1e6), serverMs: number(0, 500), ratePerS: number(0.1, 1e4) },
        }),
        fc.integer({ min: 0, max: 1_000_000 }),
        (given, facts, seed) => {
          for (const row of play({ ...FLEET, ...given }, facts, String(seed), 3)) {
            expect(row.remotePeakPerS.value).toBeLessThanOrEqual(row.peakPerS);
            const { value } = row.serversWithOffload;
            expect(value + row.downloadHosts).toBeLessThanOrEqual(row.serversAllRemote + row.downloadHosts);
            if (row.downloadBytes === 0) expect(row.downloadHosts).toBe(0);
          }
        },
      ),
      { numRuns: 40 },
    );
  });
});

test("the page of the documentation has the rates of calibration.json", () => {
  const page = readFileSync(join(ROOT, "docs/fleet.md"), "utf8");
  const rates = readCalibration().rates.filter(({ engine }) => engine === "selvedge serve");
  expect(rates.map(({ model }) => model).sort()).toEqual(["fashion-cnn", "fashion-mlp", "ocr-rec"]);
  for (const rate of rates) expect(page).toContain(rateLine(rate));
});

describe("assumptions", () => {
  test("a path or a file replaces values; classes are added and left out", () => {
    const one = assume(FLEET, readSetting("classes.desktop.share=0.5"));
    expect(one.classes["desktop"]).toEqual({ ...FLEET.classes["desktop"], share: 0.5 });
    const two = assume(FLEET, { classes: { tablet: { ...FLEET.classes["desktop"], share: 0.1 }, desktop: null } });
    expect(Object.keys(two.classes)).toEqual(["new phone", "mid phone", "old phone", "can't run it", "tablet"]);
    expect(assume(FLEET, readSetting("growths.chat.model=spam")).growths["chat"]?.model).toBe("spam");
    expect(FLEET).toEqual(assume(FLEET, {}));
  });

  test.each([
    ["classes.desktop.shares=1", "classes.desktop.shares: unknown; known are share, factor"],
    ["burst=0", "burst: expected a number from 1 to 100, got 0"],
    ["classes.desktop.lanes=1.5", "classes.desktop.lanes: expected a whole number from 0 to 64, got 1.5"],
    ["classes.tablet.share=0.1", "classes.tablet.factor: expected a number"],
    ["curves.flat=[1]", "curves.flat: expected 24 numbers"],
    ["growths.chat.curve=night", 'growths.chat.curve: "night" is none of flat, shops'],
    ["growths.chat.counts=users", "growths.chat.counts: expected"],
    ["growths.chat=5", "growths.chat: expected an object, got 5"],
    ["growths.chat.sizes=[]", "growths.chat.sizes: expected numbers"],
    ["noise", "--set: expected path=value"],
  ])("%s is refused", (text, message) => {
    expect(() => assume(FLEET, readSetting(text))).toThrow(message);
  });
});

describe("the command line", () => {
  /** Runs it; returns its exit code and what it wrote to standard error. */
  function command(...words: readonly string[]): Promise<readonly [code: unknown, text: string]> {
    const args = ["--import", "tsx", join(ROOT, "e2e/fleet/main.ts"), ...words];
    return new Promise((resolve) => {
      execFile(process.execPath, args, (error, _, stderr) => {
        resolve([error?.code ?? 0, stderr]);
      });
    });
  }

  test.each([
    [["--nope"], "unknown option '--nope'"],
    [["x"], "too many arguments"],
    [["--set"], "argument missing"],
    [["--devices", "1"], 'Expected a whole number from 2, got "1"'],
    [["--engine", "none"], "Allowed choices are selvedge serve, triton"],
    [["--calibrate", "--model", "none"], '--model: "none" is none of fashion-mlp'],
    [["--set", "classes.x=5"], "classes.x: expected an object, got 5"],
    [["--set", "growths.chat.unit=5"], "growths.chat.unit: expected a name, got 5"],
  ])(
    "refuses %j in a sentence, without a stack",
    async (words, message) => {
      const [code, text] = await command(...words);
      expect([code, text.split("\n")[0]]).toEqual([1, expect.stringContaining(message)]);
      expect(text).not.toMatch(/^ +at /m);
    },
    60_000,
  );
});
