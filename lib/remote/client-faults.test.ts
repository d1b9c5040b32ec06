// The client against faults that last, several servers, load, and origins; and the messages of the errors' pages.
import { readFileSync, writeFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { sendJson } from "../test-support/remote/faulty-engine.ts";
import type { ServerFault, FaultyEngine } from "../test-support/remote/faulty-engine.ts";
import { ManualClock } from "../test-support/remote/manual-clock.ts";
import {
  connect,
  failureOf,
  hang,
  ONE,
  reset,
  resetMidBody,
  start,
  status,
  world,
  x,
} from "../test-support/remote/remote-world.ts";
import { connectRemote } from "./index.ts";
import type { RemoteOptions } from "./index.ts";

/** Messages of the errors' pages; written anew with SELVEDGE_RECORD_MESSAGES=1. */
const MESSAGES = "lib/explain/messages.json";

describe("a failure that lasts", () => {
  test("is reported after the attempts that are allowed", async () => {
    const { engine, model } = await world({ attempts: 3 });
    engine.always = status(503, '{"error":"not ready"}');
    expect(await failureOf(model.infer(ONE))).toMatchObject({ reason: "busy", attempts: 3, retryable: true });
  });

  test("is reported as what it was when the time for the call is over", async () => {
    const { engine, model, clock } = await world();
    engine.always = reset;
    const failed = failureOf(model.infer(ONE, { timeoutMs: 20_000 }));
    expect(await failed).toMatchObject({ reason: "unreachable", retryable: true });
    expect(clock.now()).toBeLessThanOrEqual(21_000);
    expect(clock.pending).toBe(0);
  });

  test("of a server that can't be reached names the address", async () => {
    const { engine, model } = await world({ attempts: 2 });
    await engine.kill();
    const { reason, message } = await failureOf(model.infer(ONE));
    expect(reason).toBe("unreachable");
    expect(message).toContain(engine.url);
  });
});

describe("a cancel", () => {
  test("rejects with the signal's own reason, in a request, a back-off and beforehand, and ends the request", async () => {
    const { engine, model, clock } = await world();
    const reason = new Error("left the page");
    const gone: Promise<void>[] = [];
    engine.always = (response) => {
      gone.push(new Promise((resolve) => response.once("close", resolve)));
    };
    const stop = new AbortController();
    const arrived = engine.arrival();
    const answer = model.infer(ONE, { signal: stop.signal });
    await arrived;
    stop.abort(reason);
    await expect(answer).rejects.toBe(reason);
    await Promise.all(gone);
    await expect(model.infer(ONE, { signal: stop.signal })).rejects.toBe(reason);
    expect(clock.pending).toBe(0);
  });

  test("by close rejects all calls with `closed`", async () => {
    const { engine, remote, model } = await world();
    engine.always = hang;
    const arrived = engine.arrival();
    const answer = model.infer(ONE);
    await arrived;
    remote.close();
    await expect(answer).rejects.toMatchObject({ code: "closed" });
    await expect(remote.metadata()).rejects.toMatchObject({ code: "closed" });
  });
});

describe("several servers", () => {
  test("share requests by how many are outstanding, and stand in for one that fails", async () => {
    const [a, b] = (await start(2)) as [FaultyEngine, FaultyEngine];
    const remote = connect([a.url, b.url], new ManualClock());
    const model = await remote.model("double");
    a.always = hang;
    const arrived = a.arrival();
    const held = [model.infer(ONE), model.infer(ONE)];
    await arrived;
    for (let i = 0; i < 10; i += 1) expect((await model.infer(ONE)).info.endpoint).toBe(b.url);
    expect(a.infers).toHaveLength(1);
    await a.kill();
    expect((await Promise.all(held)).map(({ info }) => info.endpoint)).toEqual([b.url, b.url]);
  });

  test("have their states listed", async () => {
    const [a, b, c] = (await start(3)) as [FaultyEngine, FaultyEngine, FaultyEngine];
    b.paths.set("/v2/health/ready", status(400));
    b.paths.set("/v2/models/double/ready", status(404));
    await c.kill();
    const remote = connect([a.url, b.url, c.url], new ManualClock());
    const expected = [
      { endpoint: a.url, isLive: true, isReady: true },
      { endpoint: b.url, isLive: true, isReady: false },
      { endpoint: c.url, isLive: false, isReady: false },
    ];
    expect(await remote.health()).toEqual(expected);
    expect(await remote.health("double")).toEqual(expected);
  });

  test("do not get requests while the breaker of one is open, and one request tries it when its time has come", async () => {
    const [a, b] = (await start(2)) as [FaultyEngine, FaultyEngine];
    const clock = new ManualClock();
    const remote = connect([a.url, b.url], clock);
    const model = await remote.model("double");
    a.always = status(502);
    for (let i = 0; i < 20; i += 1) await model.infer(ONE);
    const tried = a.infers.length;
    expect(tried).toBeLessThanOrEqual(8);
    a.always = null;
    clock.advance(5_000);
    await Promise.all(Array.from({ length: 10 }, () => model.infer(ONE)));
    expect(a.infers.length).toBe(tried + 1);
    await Promise.all(Array.from({ length: 10 }, () => model.infer(ONE)));
    expect(a.infers.length).toBeGreaterThan(tried + 3);
  });
});

describe("under load", () => {
  test("a server that is killed and comes back loses no request, and each has one answer, its own", async () => {
    const { engine, model, clock } = await world({ timeoutMs: 120_000 });
    await model.infer(ONE);
    const downAt = clock.now();
    const answers = Array.from({ length: 200 }, async (_, i) => {
      const { outputs } = await model.infer({ x: x(i, i, i, i) });
      return outputs["y"]?.data[0];
    });
    await engine.arrival();
    await engine.kill();
    // Away for 30 s: refused connections, until the clock says so.
    const back = (async () => {
      while (clock.now() < downAt + 30_000) await new Promise((resolve) => setImmediate(resolve));
      await engine.start();
    })();
    expect(await Promise.all(answers)).toEqual(Array.from({ length: 200 }, (_, i) => 2 * i));
    await back;
    expect(clock.pending).toBe(0);
  });

  test("mixed faults of three servers lose no request, and retries stay within the bound a second", async () => {
    const three = await start(3);
    const clock = new ManualClock();
    const remote = connect(
      three.map((each) => each.url),
      clock,
      { timeoutMs: 300_000, attempts: 50 },
    );
    const model = await remote.model("double");
    const faults: ServerFault[] = [
      reset,
      resetMidBody,
      status(429),
      status(503, "", { "retry-after": "1" }),
      status(502),
    ];
    let turn = 0;
    for (const engine of three)
      engine.always = (response, seen, pass) => {
        turn += 1;
        const fault = turn % 3 === 0 ? faults[turn % faults.length] : undefined;
        if (fault === undefined) pass();
        else fault(response, seen, pass);
      };
    const answers = await Promise.all(Array.from({ length: 300 }, (_, i) => model.infer({ x: x(i, 0, 0, 0) })));
    expect(answers.map(({ outputs }) => outputs["y"]?.data[0])).toEqual(Array.from({ length: 300 }, (_, i) => 2 * i));
    const retries = answers.reduce((sum, { info }) => sum + info.attempts - 1, 0);
    expect(retries).toBeLessThanOrEqual(10 + (10 * clock.now()) / 1_000);
  });
});

describe("the message of each failure", () => {
  const messages = JSON.parse(readFileSync(MESSAGES, "utf8")) as Record<string, readonly string[]>;
  const html = "<!doctype html><title>Not found</title>";
  const other: ServerFault = (response) => {
    sendJson(response, { model_name: "other", outputs: [] });
  };
  const CASES: readonly [reason: string, fault: ServerFault, options?: Partial<RemoteOptions>][] = [
    ["unreachable", reset],
    ["cut", resetMidBody],
    ["busy", status(503, '{"error":"Exceeds maximum queue size"}')],
    ["server", status(502, html)],
    ["failed", status(500, "Internal Server Error")],
    ["denied", status(403, `{"error":"This API is restricted, expecting header 'admin-key'"}`)],
    ["not-found", status(404, '{"error":"Request for unknown model: \'double\' is not found"}')],
    ["refused", status(400, '{"error":"[request id: 1] unexpected shape for input \'x\'"}')],
    ["bad-reply", other],
    ["too-large", (response) => response.end(" ".repeat(2_000)), { maxReplyBytes: 1_000 }],
  ];

  test.each(CASES)("%s is as its page has it", async (reason, fault, options) => {
    const { engine, model } = await world({ attempts: 2, binary: "always", ...options });
    engine.always = fault;
    const failure = await failureOf(model.infer(ONE));
    expect(failure.reason).toBe(reason);
    const message = failure.message.replace(engine.url, "https://infer.example");
    if (process.env["SELVEDGE_RECORD_MESSAGES"] !== undefined) record(`remote-failed ${reason}`, message);
    else expect(messages[`remote-failed ${reason}`]).toContain(message);
  });
});

/** Adds a message to those of the errors' pages. */
function record(key: string, message: string): void {
  const all = JSON.parse(readFileSync(MESSAGES, "utf8")) as Record<string, readonly string[]>;
  const entries = Object.entries({ ...all, [key]: [message] }).sort(([a], [b]) => a.localeCompare(b));
  writeFileSync(MESSAGES, `${JSON.stringify(Object.fromEntries(entries), null, 2)}\n`);
}

describe("a server on another origin", () => {
  const page = "https://app.example/";
  const foreign = (opaque: boolean): Partial<RemoteOptions> => ({
    effects: {
      ...new ManualClock(),
      random: () => 0.5,
      baseUrl: page,
      fetch: (_, init) =>
        init.mode === "no-cors" && opaque
          ? Promise.resolve(Object.defineProperty(new Response(), "type", { value: "opaque" }))
          : Promise.reject(new TypeError("Failed to fetch")),
    },
  });

  test("that is up and sends no CORS headers is named, and one that is away is another case", async () => {
    const clock = new ManualClock();
    const { effects } = foreign(true);
    if (effects === undefined) throw new Error("no effects");
    const up = connect(["https://triton.example"], clock, {
      effects: { ...effects, now: clock.now, setTimer: clock.setTimer },
    });
    expect(await failureOf(up.model("double"))).toMatchObject({ reason: "cors", attempts: 1, retryable: false });
    const away = foreign(false).effects;
    if (away === undefined) throw new Error("no effects");
    const down = connect(["https://triton.example"], clock, {
      effects: { ...away, now: clock.now, setTimer: clock.setTimer },
    });
    expect(await failureOf(down.model("double"))).toMatchObject({ reason: "unreachable" });
  });

  test("without CORS headers is asked once, until one with them answers", async () => {
    const [engine] = (await start()) as [FaultyEngine];
    const clock = new ManualClock();
    const { effects } = foreign(true);
    if (effects === undefined) throw new Error("no effects");
    const asked: string[] = [];
    const remote = connect(["https://a.example", "https://b.example", engine.url], clock, {
      effects: {
        ...{ ...effects, now: clock.now, setTimer: clock.setTimer },
        fetch(url, init) {
          if (init.mode !== "no-cors") asked.push(new URL(url).host);
          return url.startsWith(engine.url) ? fetch(url, init) : effects.fetch(url, init);
        },
      },
    });
    const model = await remote.model("double");
    expect(asked.slice(0, 2)).toEqual(["a.example", "b.example"]);
    for (let i = 0; i < 6; i += 1) await model.infer(ONE);
    expect(asked.filter((x) => x.endsWith(".example"))).toHaveLength(2);
  });

  test("may be given relative to the page", () => {
    expect(() => connectRemote({ endpoints: ["/infer"], ...foreign(true) })).not.toThrow();
  });
});
