import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Decision, Route, SchedulerEvent, StartWhy, ScheduledStep } from "./events.ts";
import { Hedger } from "./hedge.ts";
import type { HedgeDecision } from "./hedge.ts";

const LOCAL: Route = { backend: "wasm", modelId: 1, key: "m f32 wasm" };
const SERVER: Route = { backend: "remote", modelId: 2, key: "m f32 remote", costMs: 100 };
const WHY: StartWhy = {
  ...{ lane: "only-lane", inMs: 0, other: null, otherInMs: null, batch: "unbatchable" },
  ...{ waitedMs: 0, apartMs: null, togetherMs: null },
};

function stepOf(id: number, arrivedMs: number, change: Partial<ScheduledStep> = {}): ScheduledStep {
  return {
    ...{ id, routes: [LOCAL, SERVER], priority: 1, arrivedMs, dueMs: Infinity, isRefusable: true, caller: 0, rows: 1 },
    ...{ shape: null, batching: { maxBatchSize: 1, maxQueueDelayMs: 0, preferredBatchSizes: [] } },
    ...{ concurrency: Infinity, preempt: false, ...change },
  };
}

/** Hands events to a hedger. */
class Line {
  readonly hedger = new Hedger();
  #batch = 0;
  arrive(id: number, now: number, change: Partial<ScheduledStep> = {}): void {
    this.tell({ type: "arrived", step: stepOf(id, now, change), isAgain: false }, now);
  }
  start(ids: readonly number[], now: number, route = LOCAL): number {
    const batch = ++this.#batch;
    this.tell({ type: "tick" }, now, [{ type: "start", batch, lane: "wasm-0", route, ids, ms: 10, why: WHY }]);
    return batch;
  }
  end(batch: number, now: number, ms: number | null = 10): void {
    this.tell({ type: "ended", lane: "wasm-0", batch, ms }, now);
  }
  tell(event: SchedulerEvent, now: number, decisions: readonly Decision[] = []): void {
    this.hedger.handle(event, now, decisions);
  }
  /** Answers requests of these latencies, one after another; returns the time. */
  answer(latencies: readonly number[], from = 0, change: Partial<ScheduledStep> = {}, route = LOCAL): number {
    let now = from;
    for (const [i, ms] of latencies.entries()) {
      this.arrive(-1 - i, now, change);
      this.end(this.start([-1 - i], now, route), (now += ms));
    }
    return now;
  }
  /** Time after which a request that arrives now is late. */
  lateMs(now: number, change: Partial<ScheduledStep> = {}): number {
    this.arrive(1_000_000, now, change);
    const lateMs = this.hedger.wakeMs - now;
    this.tell({ type: "cancelled", id: 1_000_000 }, now);
    return lateMs;
  }
}

/** A hundred latencies from 1 to 100 ms, so that their p95 is 95 ms. */
const HUNDRED = Array.from({ length: 100 }, (_, i) => i + 1);

describe("a request", () => {
  test("is hedged once, after the p95 of the last answers of this device", () => {
    const line = new Line();
    const now = line.answer(HUNDRED);
    line.arrive(1, now);
    line.start([1], now);
    expect(line.hedger.wakeMs).toBe(now + 95);
    expect(line.hedger.due(now + 94)).toEqual([]);
    expect(line.hedger.due(now + 95)).toEqual([{ id: 1, afterMs: 95 }]);
    expect(line.hedger.due(now + 1_000)).toEqual([]);
    expect(line.hedger.wakeMs).toBe(Infinity);
  });

  test("is hedged while it is queued as well", () => {
    const line = new Line();
    const now = line.answer(HUNDRED);
    line.arrive(1, now);
    expect(line.hedger.due(now + 95)).toHaveLength(1);
  });

  test("is not hedged before enough answers are known", () => {
    const line = new Line();
    const now = line.answer(HUNDRED.slice(0, 19));
    line.arrive(1, now);
    expect(line.hedger.wakeMs).toBe(Infinity);
  });

  test("that was answered, cancelled, or rejected is not hedged", () => {
    for (const settle of [
      (line: Line, now: number) => {
        line.end(line.start([1], now), now + 1);
      },
      (line: Line, now: number) => {
        line.tell({ type: "cancelled", id: 1 }, now);
      },
      (line: Line, now: number) => {
        line.tell({ type: "tick" }, now, [{ type: "reject", id: 1, code: "deadline-exceeded", expected: 1 }]);
      },
    ]) {
      const line = new Line();
      const now = line.answer(HUNDRED);
      line.arrive(1, now);
      settle(line, now);
      expect(line.hedger.due(now + 1_000)).toEqual([]);
    }
  });

  test("that runs on a server already is not hedged; one that comes back from it is", () => {
    const line = new Line();
    const now = line.answer(HUNDRED);
    line.arrive(1, now);
    line.arrive(2, now);
    line.start([1], now, SERVER);
    const failed = line.start([2], now, SERVER);
    line.end(failed, now + 10, null);
    line.tell({ type: "arrived", step: stepOf(2, now), isAgain: true }, now + 10);
    expect(line.hedger.due(now + 95).map(({ id }) => id)).toEqual([2]);
  });

  test("that was withdrawn from a batch is not answered by it", () => {
    const line = new Line();
    const now = line.answer(HUNDRED);
    line.arrive(1, now);
    const batch = line.start([1], now);
    line.tell({ type: "tick" }, now, [{ type: "withdraw", lane: "wasm-0", batch, ids: [1] }]);
    line.end(batch, now + 20);
    expect(line.hedger.due(now + 95)).toHaveLength(1);
  });

  test("of a recurrent state, with one placement alone, of a server's model or of one that loads is never hedged", () => {
    const loading = { ...LOCAL, key: "" };
    for (const change of [
      { state: { id: 1, after: 0 } },
      { routes: [LOCAL] },
      { routes: [SERVER] },
      { routes: [SERVER, LOCAL] },
      { routes: [loading, SERVER] },
    ] as const) {
      const line = new Line();
      const now = line.answer(HUNDRED, 0, change);
      line.answer(HUNDRED, now);
      expect(line.lateMs(now, change)).toBe(Infinity);
      expect(line.lateMs(now)).toBe(95);
    }
  });

  test("is compared with those of its model and its number of rows alone", () => {
    const line = new Line();
    const now = line.answer(HUNDRED);
    expect(line.lateMs(now)).toBe(95);
    for (const change of [{ rows: 2 }, { routes: [{ ...LOCAL, key: "other f32 wasm" }, SERVER] }] as const)
      expect(line.lateMs(now, change)).toBe(Infinity);
  });

  test("that ran out of memory with its batch, or whose model is loaded elsewhere, is still pending", () => {
    const line = new Line();
    const now = line.answer(HUNDRED);
    line.arrive(1, now);
    line.end(line.start([1], now), now + 10, Infinity);
    line.tell({ type: "arrived", step: stepOf(1, now), isAgain: true }, now + 10);
    line.tell({ type: "tick" }, now + 10, [{ type: "warm", lane: "wasm-1", id: 1, route: LOCAL }]);
    expect(line.hedger.due(now + 95)).toEqual([{ id: 1, afterMs: 95 }]);
  });

  test("is hedged before one that is late after it, of equal ones the first", () => {
    const line = new Line();
    const now = line.answer(HUNDRED);
    for (const [id, ms] of [
      [9, 0],
      [2, 5],
      [1, 5],
      [7, 3],
      [4, 4],
    ] as const)
      line.arrive(id, now + ms);
    expect(line.hedger.due(now + 200).map(({ id }) => id)).toEqual([9, 7, 4, 1, 2]);
  });
});

test("a moment without a token passes, and a copy that was not sent gives its token back", () => {
  const line = new Line();
  // 100 requests are 10 tokens, which is also the most that are kept.
  const now = line.answer([...HUNDRED, ...HUNDRED]);
  for (let id = 1; id <= 12; id += 1) line.arrive(id, now);
  const due = line.hedger.due(now + 100);
  expect(due.map(({ id }) => id)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  line.hedger.unsent(1);
  line.arrive(13, now);
  expect(line.hedger.due(now + 100)).toHaveLength(1);
});

test("a copy gives its token back once, and only if it was sent and is not settled", () => {
  const line = new Line();
  const now = line.answer(HUNDRED);
  for (let id = 1; id <= 12; id += 1) line.arrive(id, now);
  expect(line.hedger.due(now + 100)).toHaveLength(10);
  line.tell({ type: "cancelled", id: 2 }, now + 100);
  for (const id of [1, 1, 2, 12, 99]) line.hedger.unsent(id);
  for (let id = 21; id <= 23; id += 1) line.arrive(id, now);
  expect(line.hedger.due(now + 100)).toHaveLength(1);
});

test("neither answers of a server, nor requests that were cancelled without a copy, tell how long this device takes", () => {
  const line = new Line();
  let now = line.answer(HUNDRED);
  now = line.answer(Array<number>(100).fill(1_000), now, {}, SERVER);
  for (let id = 1; id <= 100; id += 1) {
    line.arrive(id, now);
    line.tell({ type: "cancelled", id }, (now += 1_000));
  }
  expect(line.lateMs(now)).toBe(95);
});

test("what concerns unknown requests and batches is passed over", () => {
  const line = new Line();
  const now = line.answer(HUNDRED);
  line.tell({ type: "cancelled", id: 99 }, now);
  line.tell({ type: "tick" }, now, [{ type: "withdraw", lane: "wasm-0", batch: 99, ids: [99] }]);
  line.end(99, now);
  line.end(line.start([99], now), now);
  expect(line.lateMs(now)).toBe(95);
});

test("the latencies of 256 kinds of requests are kept, those used last", () => {
  const line = new Line();
  let now = line.answer(HUNDRED);
  for (let rows = 2; rows <= 256; rows += 1) now = line.answer([1], now, { rows });
  expect(line.lateMs(now)).toBe(95);
  now = line.answer([1], now, { rows: 257 });
  expect(line.lateMs(now)).toBe(Infinity);
});

test("a copy takes a token for each of its rows, and a request adds its share for each", () => {
  const line = new Line();
  // 120 rows in batches are 12 tokens, of which 10 are kept; then 6.4 for each batch of 64 rows.
  const now = line.answer([...HUNDRED, ...HUNDRED.slice(0, 20)]);
  const large = { rows: 64 };
  let later = now;
  for (let id = 201; id <= 220; id += 1) {
    line.arrive(id, later, large);
    line.end(line.start([id], later), (later += 10));
  }
  // 64 tokens are there, as many as the largest request has rows: one copy.
  for (let id = 1; id <= 3; id += 1) line.arrive(id, later, large);
  const due = line.hedger.due(later + 100);
  expect(due.map(({ id }) => id)).toEqual([1]);
  line.hedger.unsent(1);
  line.arrive(4, later + 200, large);
  expect(line.hedger.due(later + 300).map(({ id }) => id)).toEqual([4]);
});

test("a copy that answers first teaches that this device took at least as long", () => {
  const line = new Line();
  let now = line.answer(HUNDRED);
  for (let id = 1; id <= 6; id += 1) {
    line.arrive(id, now);
    line.start([id], now);
    line.hedger.due(now + 200);
    line.tell({ type: "cancelled", id }, (now += 200));
  }
  line.arrive(99, now);
  expect(line.hedger.wakeMs - now).toBeGreaterThan(96);
});

describe("for any stream of requests", () => {
  const events = fc.array(
    fc.record({
      gapMs: fc.nat(30),
      kind: fc.constantFrom("arrive", "start", "server", "end", "fail", "cancel", "state"),
    }),
    { minLength: 50, maxLength: 600 },
  );
  type Stream = readonly { readonly gapMs: number; readonly kind: string }[];

  /** Plays a stream; returns the decisions, and the shares of copies at each. */
  function play(stream: Stream): { copies: HedgeDecision[]; wrong: string[] } {
    const line = new Line();
    const copies: HedgeDecision[] = [];
    const wrong: string[] = [];
    const [queued, open, settled] = [[] as number[], new Map<number, { ids: number[] }>(), new Set<number>()];
    let [now, next, eligible] = [line.answer(HUNDRED.slice(0, 40)), 1, 40];
    for (const { gapMs, kind } of stream) {
      now += gapMs;
      for (const due of line.hedger.due(now)) {
        if (settled.has(due.id)) wrong.push(`${due.id} was settled`);
        if (copies.some(({ id }) => id === due.id)) wrong.push(`${due.id} twice`);
        copies.push(due);
        if (copies.length > 0.1 * eligible + 1e-9) wrong.push(`${copies.length} copies of ${eligible}`);
      }
      const [batch] = open.keys();
      if (kind === "arrive") {
        line.arrive(next, now);
        queued.push(next++);
        eligible += 1;
      } else if (kind === "state") line.arrive(next++, now, { state: { id: 1, after: 0 } });
      else if ((kind === "start" || kind === "server") && queued.length > 0) {
        const ids = queued.splice(0, 2);
        open.set(line.start(ids, now, kind === "server" ? SERVER : LOCAL), { ids });
      } else if (kind === "cancel" && queued.length > 0) {
        const id = queued.shift() as number;
        line.tell({ type: "cancelled", id }, now);
        settled.add(id);
      } else if (batch !== undefined && (kind === "end" || kind === "fail")) {
        const ids = open.get(batch)?.ids ?? [];
        open.delete(batch);
        line.end(batch, now, kind === "end" ? 10 : null);
        for (const id of ids)
          if (kind === "end") settled.add(id);
          else {
            line.tell({ type: "arrived", step: stepOf(id, now), isAgain: true }, now);
            queued.push(id);
          }
      }
    }
    return { copies, wrong };
  }

  test("copies are at most a tenth of the requests, each once, and none of a settled one", () => {
    let count = 0;
    fc.assert(
      fc.property(events, (stream) => {
        const { copies, wrong } = play(stream);
        count += copies.length;
        expect(wrong).toEqual([]);
      }),
      { numRuns: 500 },
    );
    expect(count).toBeGreaterThan(500);
  });

  test("the same events decide the same", () => {
    fc.assert(
      fc.property(events, (stream) => {
        expect(play(stream)).toEqual(play(stream));
      }),
      { numRuns: 50 },
    );
  });
});
