// Traces of an engine in the simulated world: the part for viewers, repeated decisions, counts, and invalid traces.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { main } from "../../cli/cli.ts";
import { createEngine } from "../../create-engine.ts";
import { isSelvedgeError } from "../../core/errors.ts";
import type { Trace } from "../../observe/trace.ts";
import type { TraceOptions } from "../../engine/options.ts";
import { replayTrace } from "../../replay/replay-trace.ts";
import { readTrace } from "../../replay/file.ts";
import type { ReplayReport } from "../../replay/report.ts";
import { Random } from "../random.ts";
import { createToyBackend, TOY_CHUNK, toyBundle } from "./toy-backend.ts";
import { World } from "./world.ts";

const BASE = "https://app.test/";
const REQUESTS = 200;
const x = (value: number) => ({ x: { dtype: "float32", dims: [1, 2], data: Float32Array.of(value, value) } }) as const;

/** An engine with two models, and a trace of this many requests of three classes, some of which are cancelled. */
async function record(options: Partial<TraceOptions> = {}, before = 0): Promise<Trace> {
  const files = new Map([
    [`${BASE}${TOY_CHUNK.path}`, TOY_CHUNK.content],
    [`${BASE}together.json`, toyBundle("together", 2, "together")],
    [`${BASE}apart.json`, toyBundle("apart", 3, "apart")],
    [`${BASE}sum.json`, toyBundle("sum", null)],
  ]);
  const random = new Random(5);
  const drawFault = (): null => null;
  const world = new World({
    random,
    gpu: null,
    cores: 2,
    files,
    createBackend: createToyBackend,
    drawFault,
    log: null,
  });
  const engine = await createEngine({ effects: world.effects });
  const load = (name: string) => world.finish(engine.load(`${BASE}${name}.json`));
  const [together, apart, sum] = [await load("together"), await load("apart"), await load("sum")];
  const state = sum.stateful();
  const all: Promise<unknown>[] = [];
  const ask = (i: number): void => {
    const stop = new AbortController();
    const signal = i % 20 === 0 ? stop.signal : undefined;
    const model = i % 3 === 0 ? together : apart;
    const kind = [
      { priority: "interactive", deadlineMs: 80 },
      { priority: "normal" },
      { priority: "background" },
    ] as const;
    all.push(model.run(x(i), { ...kind[i % 3], signal }).catch(() => undefined));
    if (i % 25 === 0) all.push(state.run(x(i)).catch(() => undefined));
    world.at(3, () => {
      stop.abort(new Error("gone"));
    });
  };
  for (let i = 0; i < before; i += 1) ask(i + 1);
  await import("../../observe/recorder.ts");
  const tracing = engine.trace({ seconds: 600, ...options });
  for (let i = 0; i < REQUESTS; i += 1)
    world.at(i * 9, () => {
      ask(i);
    });
  let isOver = false;
  world.at(REQUESTS * 9, () => {
    isOver = true;
  });
  await world.run(() => isOver, Infinity);
  await world.finish(Promise.allSettled(all));
  await engine.close();
  return JSON.parse(JSON.stringify(await tracing)) as Trace;
}

let trace: Trace;
beforeAll(async () => {
  trace = await record();
});

describe("a trace", () => {
  test("has the parts for viewers: named rows, bars within them, requests that begin and end, the queue depth", () => {
    const { traceEvents, displayTimeUnit } = trace;
    expect(displayTimeUnit).toBe("ms");
    for (const { name, ph, ts, pid, tid, dur } of traceEvents) {
      expect(typeof name).toBe("string");
      expect(ts).toBeGreaterThanOrEqual(0);
      expect([pid, Number.isInteger(tid)]).toEqual([1, true]);
      expect(dur === undefined).toBe(ph !== "X");
      if (dur !== undefined) expect(dur).toBeGreaterThanOrEqual(0);
    }
    const of = (ph: string, name?: string) => traceEvents.filter((x) => x.ph === ph && (name ?? x.name) === x.name);
    expect(of("M", "process_name")[0]?.args).toEqual({ name: "Selvedge" });
    const rows = new Map(of("M", "thread_name").map(({ tid, args }) => [tid, args?.["name"]]));
    expect([...rows.values()]).toEqual(expect.arrayContaining(["wasm-0", "wasm-1"]));
    const batches = of("X").filter(({ cat }) => cat?.startsWith("batch"));
    expect(batches.length).toBeGreaterThan(50);
    for (const { tid } of batches) expect(rows.get(tid)).toMatch(/^wasm-(\d|express)$/);
    // One batch at a time on a lane.
    for (const tid of rows.keys()) {
      const own = batches.filter((x) => x.tid === tid).sort((a, b) => a.ts - b.ts);
      for (const [i, { ts }] of own.entries())
        if (i > 0) expect(ts).toBeGreaterThanOrEqual((own[i - 1]?.ts ?? 0) + (own[i - 1]?.dur ?? 0) - 0.01);
    }
    const ends = new Map(of("e").map(({ id, ts, args }) => [id, { ts, outcome: args?.["outcome"] }]));
    expect(of("b")).toHaveLength(ends.size);
    for (const { id, ts, cat } of of("b")) {
      expect(cat).toBe("request");
      expect(ends.get(id)?.ts).toBeGreaterThanOrEqual(ts);
    }
    const outcomes = new Set([...ends.values()].map(({ outcome }) => outcome));
    expect([...outcomes]).toEqual(expect.arrayContaining(["done", "refused", "cancelled"]));
    const depths = of("C", "requests").map(({ args }) => args as { waiting: number; running: number });
    expect(Math.max(...depths.map(({ waiting }) => waiting))).toBeGreaterThan(0);
    expect(Math.min(...depths.map((x) => Math.min(x.waiting, x.running)))).toBe(0);
    expect(depths.at(-1)).toEqual({ waiting: 0, running: 0 });
  });

  test("holds no inputs unless that is asked for", async () => {
    expect(JSON.stringify(trace)).not.toContain('"inputs"');
    const full = await record({ inputs: true });
    const { args } = full.traceEvents.find(({ ph }) => ph === "b") ?? {};
    const { x: input } = args?.["inputs"] as unknown as { x: { base64: string; dims: number[] } };
    const bytes = Uint8Array.from(atob(input.base64), (c) => c.charCodeAt(0));
    expect([...new Float32Array(bytes.buffer)]).toEqual([0, 0]);
    expect(input.dims).toEqual([1, 2]);
  });

  test("refuses wrong options, and ends with the engine", async () => {
    const engine = await createEngine({
      effects: new World({
        random: new Random(1),
        gpu: null,
        cores: 1,
        files: new Map(),
        createBackend: createToyBackend,
        drawFault: () => null,
        log: null,
      }).effects,
    });
    await expect(engine.trace({} as TraceOptions)).rejects.toThrow(/trace: expected { seconds }/);
    await expect(engine.trace({ seconds: 1e9 })).rejects.toThrow(/seconds: expected a number from 0.1 to 600/);
    await expect(engine.trace({ seconds: 1, input: true } as TraceOptions)).rejects.toThrow(/no option "input"/);
    const tracing = engine.trace({ seconds: 600 });
    await new Promise((resolve) => setImmediate(resolve));
    await engine.close();
    expect((await tracing).selvedge.schema).toBe("selvedge/trace@3");
    expect(await engine.trace({ seconds: 1 }).catch((error: unknown) => isSelvedgeError(error) && error.code)).toBe(
      "closed",
    );
  });
});

describe("a replay", () => {
  test("decides the same, from the first request and from the middle", async () => {
    for (const each of [trace, await record({}, 40)]) {
      const { again } = replayTrace(readTrace(JSON.stringify(each)));
      expect(again.difference).toBeNull();
      expect(again.decisions).toBeGreaterThan(100);
    }
  });

  test("reads traces of older versions: before routes had that name, and before wide lanes", () => {
    const second = JSON.stringify(trace)
      .replace('"schema":"selvedge/trace@3"', '"schema":"selvedge/trace@2"')
      .replace(/"route(s?)":/g, '"place$1":');
    const first = second
      .replace('"schema":"selvedge/trace@2"', '"schema":"selvedge/trace@1"')
      .replace(/"(alone|passed)":\d+,/g, "")
      .replace(/"kind":"(usual|express)"/g, (_, kind) => `"isExpress":${kind === "express"}`);
    expect(first).not.toMatch(/trace@[23]|"routes?":|"alone"|"kind":"usual"/);
    for (const old of [first, second]) {
      const { again } = replayTrace(readTrace(old));
      expect(again.difference).toBeNull();
      expect(again.decisions).toBeGreaterThan(100);
    }
  });

  test("reads what older versions did not write as what it was then", async () => {
    const { selvedge } = JSON.parse(JSON.stringify(await record({}, 40))) as {
      selvedge: {
        saved: { owedMs?: number; queue: { groups: { level?: number; home?: string; steps: unknown[][] }[] } };
      };
    };
    const { saved } = selvedge;
    delete saved.owedMs;
    for (const group of saved.queue.groups) {
      delete group.level;
      delete group.home;
      group.steps = group.steps.map(([first]) => [first]);
    }
    const read = readTrace(JSON.stringify({ traceEvents: [], selvedge })).saved;
    expect(read.owedMs).toBe(0);
    expect(read.queue.groups.length).toBeGreaterThan(0);
    for (const { level, home, steps } of read.queue.groups) {
      expect([level, home]).toEqual([steps[0]?.[0].priority, ""]);
      for (const [, ...ms] of steps) expect(ms).toEqual([Infinity, 0]);
    }
  });

  test("returns the first event with a different decision", () => {
    const file = readTrace(JSON.stringify(trace));
    const at = file.told.findIndex(({ decisions }) => decisions.length > 0);
    const told = file.told.map((x, i) => (i === at ? { ...x, decisions: [] } : x));
    expect(replayTrace({ ...file, told }).again.difference).toMatchObject({ index: at, recorded: "[]" });
  });

  test("counts the requests, the batches and the lanes of the record", () => {
    const file = readTrace(JSON.stringify(trace));
    const { recorded } = replayTrace(file);
    const ended = new Map<string, number>();
    for (const { decisions } of file.told)
      for (const each of decisions) ended.set(each.type, (ended.get(each.type) ?? 0) + 1);
    const sum = (key: "asked" | "answered" | "refused" | "cancelled"): number =>
      recorded.classes.reduce((total, x) => total + x[key], 0);
    expect(sum("asked")).toBe(sum("answered") + sum("refused") + sum("cancelled"));
    expect(sum("refused")).toBe(ended.get("reject") ?? 0);
    expect(sum("answered")).toBeGreaterThan(100);
    expect(recorded.executions).toBeLessThanOrEqual(ended.get("start") ?? 0);
    expect(recorded.meanBatchSize).toBe(recorded.requests / recorded.executions);
    expect(recorded.lanes).toBe(file.told[0]?.lanes.length);
    expect(recorded.utilisation).toBeGreaterThan(0);
    expect(recorded.utilisation).toBeLessThanOrEqual(1);
  });
});

describe("selvedge replay", () => {
  const folder = mkdtempSync(join(tmpdir(), "selvedge-replay-"));
  const path = join(folder, "trace.json");
  afterAll(() => {
    rmSync(folder, { recursive: true });
  });

  async function run(...words: string[]): Promise<{ code: number; out: string; err: string }> {
    let [out, err] = ["", ""];
    const spies = [
      vi.spyOn(process.stdout, "write").mockImplementation((text) => ((out += String(text)), true)),
      vi.spyOn(process.stderr, "write").mockImplementation((text) => ((err += String(text)), true)),
    ];
    const code = await main(["replay", ...words]);
    for (const spy of spies) spy.mockRestore();
    return { code, out, err };
  }

  test("prints what was recorded, for people and for programs", async () => {
    writeFileSync(path, JSON.stringify(trace));
    const { code, out, err } = await run(path);
    expect({ code, err }).toEqual({ code: 0, err: "" });
    expect(out).toMatch(/replayed: \d+ events, \d+ decisions, all the same/);
    expect(out).toMatch(/interactive, 80 ms \(\d+\) +on time +[\d.]+ %/);
    expect(out).toMatch(/p99 +[\d.]+ ms/);
    const report = JSON.parse((await run(path, "--json")).out) as ReplayReport;
    expect(report.again.difference).toBeNull();
    expect(report.recorded.classes.map(({ name }) => name)).toContain("interactive, 80 ms");
    expect((await run("--help")).out).toContain("--json");
  });

  test("says so where it decides otherwise, and ends with 2", async () => {
    const told = (trace.selvedge.told as unknown as [number, unknown, number, unknown[]][]).map(
      ([now, event, lanes]) => [now, event, lanes, []],
    );
    writeFileSync(path, JSON.stringify({ ...trace, selvedge: { ...trace.selvedge, told } }));
    const { code, out } = await run(path);
    expect(code).toBe(2);
    expect(out).toMatch(/different decision: event \d+ \("tick", after [\d.]+ ms\)/);
  });

  const broken = (change: (part: Record<string, unknown>) => void): string => {
    const part = structuredClone(trace.selvedge) as unknown as Record<string, unknown>;
    change(part);
    return JSON.stringify({ traceEvents: [], selvedge: part });
  };
  const told = (part: Record<string, unknown>): [number, Record<string, unknown>, number, unknown][] =>
    part["told"] as [number, Record<string, unknown>, number, unknown][];

  test("names in it reach the terminal without what a terminal obeys (processing-L15)", async () => {
    const name = "a\u001b]0;owned\u0007\u009b31m\u202e";
    const shown = /a\\u001b]0;owned\\u0007\\u009b31m\\u202e/;
    writeFileSync(
      path,
      broken((x) => {
        for (const each of told(x)) each[3] = [{ type: "end", lane: name }];
      }),
    );
    const { code, out } = await run(path);
    expect([code, out]).toEqual([2, expect.stringMatching(shown)]);
    writeFileSync(
      path,
      broken((x) => ((told(x)[0]?.[1] ?? {})["type"] = name)),
    );
    const { err } = await run(path);
    expect(err).toMatch(shown);
    for (const text of [out, err]) expect(text).not.toMatch(/[\u001b\u0007\u009b\u202e]/);
  });

  test.each<[string, () => string, RegExp]>([
    ["cut short", () => JSON.stringify(trace).slice(0, 5_000), /not a JSON file, or a truncated one/],
    ["empty", () => "", /not a JSON file, or a truncated one/],
    ["null", () => "null", /the part "selvedge" is missing/],
    ["of somebody else", () => JSON.stringify({ traceEvents: [] }), /the part "selvedge" is missing/],
    [
      "of another version",
      () => broken((x) => (x["schema"] = "selvedge/trace@4")),
      /its schema is "selvedge\/trace@4"/,
    ],
    [
      "without an estimate",
      () => broken((x) => ((x["saved"] as Record<string, unknown>)["estimate"] = "[[1,2]]")),
      /saved.estimate: not an estimate/,
    ],
    ["with an unknown event", () => broken((x) => ((told(x)[0]?.[1] ?? {})["type"] = "exploded")), /told.0.1.type/],
    [
      "with lanes that are not there",
      () => broken((x) => void told(x).splice(0, 1, [6e4, { type: "tick" }, 999, []])),
      /there are no lanes 999/,
    ],
    ["that goes back in time", () => broken((x) => void told(x).push([0, { type: "tick" }, 0, []])), /earlier than/],
    [
      "with endless rows",
      () =>
        broken(
          (x) =>
            void ((told(x).find(([, e]) => e["type"] === "arrived")?.[1]["step"] as Record<string, unknown>)["rows"] =
              1e12),
        ),
      /step.rows/,
    ],
    ["nested without end", () => `{"selvedge":${'{"a":'.repeat(5_000)}1${"}".repeat(5_000)}}`, /nested too deeply/],
  ])("refuses a file that is %s, and says where", async (_, text, message) => {
    writeFileSync(path, text());
    const { code, err } = await run(path);
    expect([code, err]).toEqual([1, expect.stringMatching(message)]);
    expect(err).toContain("trace.json: ");
  });

  test.each<[string, string[], RegExp]>([
    ["no path", [], /missing required argument 'trace'/],
    ["no file", [join(folder, "none.json")], /none.json does not exist/],
    ["an option that it does not have", ["a.json", "--set", "speed=2"], /unknown option '--set'/],
    ["a second trace", ["a.json", "b.json"], /too many arguments|Expected 1 argument/i],
  ])("refuses %s", async (_, words, message) => {
    expect(await run(...words)).toMatchObject({ code: 1, err: expect.stringMatching(message) as string });
  });
});
