// Many requests at once: what they find out about servers together, how they share retries, and a bad server among good
// ones. Real HTTP servers, with an injected clock.
import { describe, expect, test } from "vitest";
import { DOUBLE, sendJson } from "../test-support/remote/faulty-engine.ts";
import type { ServerFault, FaultyEngine, SeenRequest } from "../test-support/remote/faulty-engine.ts";
import { ManualClock } from "../test-support/remote/manual-clock.ts";
import {
  connect,
  failureOf,
  hang,
  ONE,
  reset,
  start,
  status,
  TWO,
  world,
} from "../test-support/remote/remote-world.ts";
import type { RemoteModel } from "./index.ts";

const isBytes = ({ headers }: SeenRequest): boolean => headers["inference-header-content-length"] !== undefined;
/** Refuses what is sent as bytes. */
const refuseBytes =
  (code: number): ServerFault =>
  (response, seen, pass) => {
    if (isBytes(seen)) status(code, '{"error":"no bytes"}')(response, seen, pass);
    else pass();
  };
/** Starts calls at once; returns how many were answered. */
const answered = async (model: RemoteModel, count: number): Promise<number> => {
  const all = await Promise.allSettled(Array.from({ length: count }, () => model.infer(ONE)));
  return all.filter((x) => x.status === "fulfilled").length;
};

/** A clock that only tests move, and the number of pauses of calls. */
function countingClock(): { readonly clock: ManualClock; pauses(): number } {
  const clock = new ManualClock(0);
  const { setTimer } = clock;
  let pauses = 0;
  clock.setTimer = (callback, ms) => {
    if (ms < 14_000) pauses += 1;
    return setTimer(callback, ms);
  };
  return { clock, pauses: () => pauses };
}

/** Waits for the network until something holds. */
const until = async (holds: () => boolean): Promise<void> => {
  while (!holds()) await new Promise((resolve) => setImmediate(resolve));
};

describe("the form that a server takes", () => {
  test.each([400, 415, 422, 500])(
    "is found by requests at once: all are answered where bytes are refused with %i, before and after the first answer in JSON",
    async (code) => {
      const { engine, model } = await world();
      const held: (() => void)[] = [];
      let answers = 0;
      engine.always = (response, seen, pass) => {
        if (!isBytes(seen)) {
          pass();
          answers += 1;
          // After each answer another refusal.
          response.once("close", () => held.shift()?.());
        } else if (engine.infers.length === 1) status(code)(response, seen, pass);
        else
          held.push(() => {
            status(code)(response, seen, pass);
          });
      };
      expect(await answered(model, 20)).toBe(20);
      expect(answers).toBe(20);
    },
  );

  test("is not JSON for good after one status 500 to bytes, and is after several", async () => {
    const { engine, model } = await world();
    engine.faults.push(status(500, '{"error":"Stub process is not healthy"}'));
    expect((await model.infer(ONE)).info.isBinary).toBe(false);
    expect((await model.infer(ONE)).info.isBinary).toBe(true);
    const other = await world();
    other.engine.always = refuseBytes(500);
    const attempts = [];
    for (let i = 0; i < 5; i += 1) attempts.push((await other.model.infer(ONE)).info.attempts);
    expect(attempts).toEqual([2, 2, 2, 1, 1]);
  });

  test("is the model's: one takes bytes, another of the same server JSON", async () => {
    const { engine, remote, model } = await world();
    engine.paths.set("/v2/models/text", (response) => {
      sendJson(response, { ...DOUBLE, name: "text" });
    });
    engine.always = (response, seen, pass) => {
      if (!seen.path.includes("/text/")) pass();
      else if (isBytes(seen)) status(400)(response, seen, pass);
      else
        sendJson(response, {
          model_name: "text",
          outputs: [{ name: "y", datatype: "FP32", shape: [1, 4], data: [...TWO] }],
        });
    };
    expect((await model.infer(ONE)).info.isBinary).toBe(true);
    const text = await remote.model("text");
    expect((await text.infer(ONE)).info.attempts).toBe(2);
    // Another handle of the same model knows it.
    expect((await (await remote.model("text")).infer(ONE)).info.attempts).toBe(1);
    expect((await model.infer(ONE)).info.isBinary).toBe(true);
  });

  test("is not doubted for BF16, which JSON lacks: the server's own words are reported", async () => {
    const { engine, remote } = await world();
    engine.paths.set("/v2/models/brain", (response) => {
      sendJson(response, { ...DOUBLE, name: "brain", inputs: [{ name: "x", datatype: "BF16", shape: [-1, 4] }] });
    });
    engine.always = status(500, '{"error":"Stub process is not healthy"}');
    const failure = await failureOf((await remote.model("brain")).infer(ONE));
    expect(failure).toMatchObject({ reason: "failed", attempts: 1 });
    expect(failure.message).toContain("Stub process is not healthy");
  });
});

describe("the bound on retries", () => {
  test.each([200, 400])(
    "lets %i requests be answered that a server reset once, as fast as it answers",
    async (count) => {
      const { clock, pauses } = countingClock();
      const { engine, model } = await world({}, clock);
      engine.faults.push(...Array.from({ length: count }, () => reset));
      const all = answered(model, count);
      // All have failed and back off.
      await until(() => pauses() === count);
      clock.advance(1_000);
      expect(await all).toBe(count);
      // A later call finds its place free.
      engine.faults.push(status(429, "", { "retry-after": "0.001" }));
      const before = pauses();
      const later = model.infer(ONE);
      await until(() => pauses() > before);
      clock.advance(100);
      expect((await later).info.attempts).toBe(2);
    },
  );

  test("holds for requests in JSON after a status 500 to bytes", async () => {
    const { clock, pauses } = countingClock();
    const { engine, remote, model } = await world({ retriesPerSecond: 10 }, clock);
    engine.always = status(500);
    const all = Promise.all(Array.from({ length: 40 }, () => model.infer(ONE).catch(() => null)));
    await until(() => engine.infers.length >= 50 && pauses() > 0);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(engine.infers).toHaveLength(50);
    remote.close();
    await all;
  });

  test("holds for retries that fail", async () => {
    const { engine, model, clock } = await world({ attempts: 3, retriesPerSecond: 4, timeoutMs: 600_000 });
    // An answer, for the breaker.
    engine.always = status(429, "", { "retry-after": "0.001" });
    expect(await answered(model, 60)).toBe(0);
    expect(engine.infers).toHaveLength(180);
    expect(120).toBeLessThanOrEqual(5 + (4 * clock.now()) / 1_000);
  });

  test("does not count calls that ended before their turn", async () => {
    const { clock, pauses } = countingClock();
    const { engine, model } = await world({}, clock);
    engine.always = status(429, "", { "retry-after": "0.001" });
    const stop = new AbortController();
    const calls = Array.from({ length: 60 }, () => model.infer(ONE, { signal: stop.signal }).catch(() => null));
    await until(() => pauses() === 60);
    stop.abort();
    await Promise.all(calls);
    clock.advance(1);
    engine.always = null;
    engine.faults.push(status(429, "", { "retry-after": "0.001" }));
    const answer = model.infer(ONE);
    await until(() => pauses() > 60);
    clock.advance(100);
    expect((await answer).info.attempts).toBe(2);
  });
});

describe("a server that answers with errors where another answers rightly", () => {
  test.each([
    ["500", status(500, '{"error":"Stub process is not healthy"}')],
    ["404", status(404, '{"error":"unknown model"}')],
    ["400", status(400, '{"error":"model not ready"}')],
    ["another model", (response) => response.writeHead(200).end('{"model_name":"other","outputs":[]}')],
  ] as [string, ServerFault][])("%s costs no call, and soon gets no more requests", async (_, fault) => {
    const [bad, good] = (await start(2)) as [FaultyEngine, FaultyEngine];
    const model = await connect([bad.url, good.url], new ManualClock(), { binary: "always" }).model("double");
    bad.always = fault;
    const worker = async (): Promise<void> => {
      for (let i = 0; i < 25; i += 1) expect((await model.infer(ONE)).info.endpoint).toBe(good.url);
    };
    await Promise.all(Array.from({ length: 8 }, worker));
    expect(bad.infers.length).toBeLessThan(40);
    expect(await answered(model, 100)).toBe(100);
  });

  test("costs no call either where two of three do, and where the form is not known yet", async () => {
    const three = (await start(3)) as [FaultyEngine, FaultyEngine, FaultyEngine];
    const urls = three.map((x) => x.url);
    const model = await connect(urls, new ManualClock()).model("double");
    three[0].always = three[1].always = status(400, '{"error":"model not ready"}');
    let lost = 0;
    for (let i = 0; i < 60; i += 1) await model.infer(ONE).catch(() => (lost += 1));
    // Until they are known, a retry may meet the other bad one.
    expect(lost).toBeLessThanOrEqual(2);
    expect(three[0].infers.length + three[1].infers.length).toBeLessThan(60);
  });

  test("differs from a faulty request, which is sent twice and closes no server", async () => {
    const [a, b] = (await start(2)) as [FaultyEngine, FaultyEngine];
    const model = await connect([a.url, b.url], new ManualClock(), { binary: "always" }).model("double");
    a.always = b.always = status(400, '{"error":"unexpected shape"}');
    for (let i = 0; i < 20; i += 1)
      expect(await failureOf(model.infer(ONE))).toMatchObject({ reason: "refused", attempts: 2 });
    a.always = b.always = null;
    const ends = [];
    for (let i = 0; i < 4; i += 1) ends.push((await model.infer(ONE)).info.endpoint);
    expect(new Set(ends).size).toBe(2);
  });
});

describe("a breaker", () => {
  test("is not opened by a model whose replies differ from its metadata", async () => {
    const { engine, remote, model, clock } = await world({ binary: "never" });
    engine.paths.set("/v2/models/bad", (response) => {
      sendJson(response, { ...DOUBLE, name: "bad" });
    });
    const bad = await remote.model("bad");
    for (let i = 0; i < 5; i += 1)
      expect(await failureOf(bad.infer(ONE))).toMatchObject({ reason: "bad-reply", attempts: 2 });
    const at = clock.now();
    await model.infer(ONE);
    expect(clock.now()).toBe(at);
  });

  test("lets a request try the server while one of before hangs", async () => {
    const { clock, pauses } = countingClock();
    const { engine, model } = await world({}, clock);
    engine.faults.push(hang);
    const arrived = engine.arrival();
    const hung = model.infer(ONE);
    await arrived;
    engine.faults.push(...Array.from({ length: 5 }, () => reset));
    const others = answered(model, 5);
    await until(() => pauses() === 5);
    clock.advance(1_000);
    expect(await others).toBe(5);
    clock.advance(14_000);
    await until(() => pauses() > 5);
    clock.advance(100);
    await hung;
  });
});

describe("a server that hangs, where calls have less time than an attempt,", () => {
  const times = { timeoutMs: 40_000, attemptTimeoutMs: 60_000 };

  test("costs the first call at most: the later ones leave time for another server", async () => {
    const [bad, good] = (await start(2)) as [FaultyEngine, FaultyEngine];
    const clock = new ManualClock();
    const model = await connect([bad.url, good.url], clock, times).model("double");
    await Promise.all([model.infer(ONE), model.infer(ONE)]);
    let ms = 40_000;
    bad.always = () =>
      setImmediate(() => {
        clock.advance(ms);
        ms = 20_000;
      });
    let lost = 0;
    for (let i = 0; i < 12; i += 1) await model.infer(ONE).catch(() => (lost += 1));
    expect(lost).toBe(1);
    expect(bad.infers.length).toBeGreaterThan(2);
  });

  test("is left alone after five of them", async () => {
    const [bad, good] = (await start(2)) as [FaultyEngine, FaultyEngine];
    const clock = new ManualClock();
    const model = await connect([bad.url, good.url], clock, times).model("double");
    await Promise.all([model.infer(ONE), model.infer(ONE)]);
    bad.always = hang;
    const before = bad.infers.length;
    const held = Array.from({ length: 10 }, () => model.infer(ONE).catch(() => null));
    await until(() => bad.infers.length >= before + 5);
    clock.advance(40_000);
    await Promise.all(held);
    const asked = bad.infers.length;
    expect(await answered(model, 20)).toBe(20);
    expect(bad.infers).toHaveLength(asked);
  });

  test("is not blamed where another one had used up most of the call's time", async () => {
    const [slow, late] = (await start(2)) as [FaultyEngine, FaultyEngine];
    const clock = new ManualClock();
    const model = await connect([slow.url, late.url], clock, { ...times, binary: "always" }).model("double");
    // Both have answered, and the next call begins with the slow one.
    for (let end = ""; end !== late.url;) end = (await model.infer(ONE)).info.endpoint;
    slow.always = (response, seen, pass) => {
      clock.advance(30_000);
      status(500)(response, seen, pass);
    };
    late.always = () => setImmediate(() => clock.advance(10_000));
    const before = late.infers.length;
    for (let i = 0; i < 14; i += 1) await model.infer(ONE).catch(() => null);
    // As many as would have it left alone.
    expect(late.infers.length - before).toBeGreaterThan(5);
    late.always = null;
    slow.always = status(500);
    expect((await model.infer(ONE)).info.endpoint).toBe(late.url);
  });

  test("has all of a call's time where no other attempt may follow", async () => {
    const [slow, other] = (await start(2)) as [FaultyEngine, FaultyEngine];
    const clock = new ManualClock();
    slow.paths.set("/v2/models/double", (_, __, pass) => {
      clock.advance(30_000);
      pass();
    });
    const model = await connect([slow.url, other.url], clock, { ...times, attempts: 1 }).model("double");
    expect(model.metadata.name).toBe("double");
  });

  test("costs no call where it has never answered", async () => {
    const [bad, good] = (await start(2)) as [FaultyEngine, FaultyEngine];
    const clock = new ManualClock();
    bad.paths.set("/v2/models/double", () => setImmediate(() => clock.advance(20_000)));
    const model = await connect([bad.url, good.url], clock, times).model("double");
    expect(model.metadata.name).toBe("double");
  });
});
