// The client's bounds of time and size, and waits that servers ask for; what pages can't read. Real HTTP servers where a
// server shows it, with an injected clock.
import { getEventListeners } from "node:events";
import { describe, expect, test } from "vitest";
import { networkEffects } from "../effects/network.ts";
import { DOUBLE, sendJson } from "../test-support/remote/faulty-engine.ts";
import { ManualClock } from "../test-support/remote/manual-clock.ts";
import { connect, failureOf, hang, ONE, start, status, TWO, world, x } from "../test-support/remote/remote-world.ts";

describe("times", () => {
  test.each([NaN, -5, 0, 0.5, 2 ** 31, "x"])("of %s are refused, of the client and of a call", async (ms) => {
    const { engine, remote, model, clock } = await world();
    const timeoutMs = ms as number;
    expect(() => connect([engine.url], clock, { timeoutMs })).toThrow(RangeError);
    expect(() => connect([engine.url], clock, { attemptTimeoutMs: timeoutMs })).toThrow("attemptTimeoutMs");
    await expect(model.infer(ONE, { timeoutMs })).rejects.toThrow(RangeError);
    await expect(remote.metadata({ timeoutMs })).rejects.toThrow(RangeError);
    await expect(remote.health("double", { timeoutMs })).rejects.toThrow(RangeError);
    expect(engine.infers).toEqual([]);
  });

  test("may be Infinity: the real clock then sets no timer", async () => {
    const effects = networkEffects();
    const { engine } = await world();
    engine.always = (response, _, pass) => {
      effects.setTimer(pass, 30);
      response.once("error", () => undefined);
    };
    const remote = connect([engine.url], new ManualClock(), {
      effects,
      attempts: 1,
      timeoutMs: Infinity,
      attemptTimeoutMs: Infinity,
    });
    const model = await remote.model("double");
    expect((await model.infer(ONE, { timeoutMs: 2 ** 31 - 1 })).outputs["y"]?.data).toEqual(TWO);
    expect((await model.infer(ONE, { timeoutMs: Infinity })).outputs["y"]?.data).toEqual(TWO);
    remote.close();
  });

  test("that end before any server may be asked are reported as that", async () => {
    const { engine, model, clock } = await world({ attempts: 1 });
    engine.always = status(502);
    for (let i = 0; i < 5; i += 1) await failureOf(model.infer(ONE)); // the breaker opens
    const late = failureOf(model.infer(ONE, { timeoutMs: 100 }));
    while (clock.waits.length === 0) await new Promise((resolve) => setImmediate(resolve));
    clock.advance(200);
    expect((await late).message).toContain("not sent: no server is free within timeoutMs 100");
    expect(engine.infers).toHaveLength(5);
  });

  test("that end before a server's Retry-After are not waited for", async () => {
    const { engine, model, clock } = await world();
    engine.faults.push(status(429, "", { "retry-after": "40" }));
    expect(await failureOf(model.infer(ONE))).toMatchObject({ reason: "busy", attempts: 1 });
    expect((await failureOf(model.infer(ONE))).message).toContain("not sent: no server is free within timeoutMs");
    expect(clock.now()).toBe(0);
    expect(engine.infers).toHaveLength(1);
    // A call with more time waits.
    const patient = model.infer(ONE, { timeoutMs: 50_000 });
    await new Promise((resolve) => setImmediate(resolve));
    clock.advance(40_000);
    expect((await patient).outputs["y"]?.data).toEqual(TWO);
  });

  test("go on at another server where one asks for a longer wait", async () => {
    const clock = new ManualClock();
    const servers = await start(2);
    const model = await connect(
      servers.map((each) => each.url),
      clock,
    ).model("double");
    for (const each of servers) each.always = status(429, "", { "retry-after": "40" });
    expect(await failureOf(model.infer(ONE))).toMatchObject({ reason: "busy", attempts: 2 });
    expect(clock.now()).toBeLessThan(1_000);
  });

  test("end the question for health where headers never come, and so does a cancel", async () => {
    const { engine } = await world();
    const headers = (): Promise<HeadersInit> => new Promise(() => undefined);
    const remote = connect([engine.url], new ManualClock(), { headers });
    expect(await remote.health(undefined, { timeoutMs: 200 })).toEqual([
      { endpoint: engine.url, isLive: false, isReady: false },
    ]);
    const stop = new AbortController();
    const asked = remote.health(undefined, { signal: stop.signal });
    stop.abort(new Error("left"));
    await expect(asked).rejects.toThrow("left");
  });

  test.each([1, 2])(
    "that end while `headers` is waited for say so, with %i servers, and the servers stay as they were",
    async (count) => {
      const servers = await start(count);
      let isHung = false;
      const headers = (): Promise<HeadersInit> => (isHung ? new Promise(() => undefined) : Promise.resolve({}));
      const urls = servers.map((each) => each.url);
      const clock = new ManualClock(0);
      const model = await connect(urls, clock, { headers }).model("double");
      const pass = async (ms: number): Promise<void> => {
        for (let i = 0; i < 20; i += 1) {
          await new Promise((resolve) => setImmediate(resolve));
          clock.advance(ms / 20);
        }
      };
      isHung = true;
      for (let i = 0; i < 5; i += 1) {
        const failed = failureOf(model.infer(ONE, { timeoutMs: 1_000 }));
        await pass(1_001);
        const { reason, message } = await failed;
        expect([reason, message.includes("not sent: `headers`")]).toEqual(["timeout", true]);
      }
      expect(servers.flatMap((x) => x.infers)).toEqual([]);
      isHung = false;
      // As many failures as these would have the other server, which has not answered yet, left alone.
      if (count === 2) await servers[0]?.kill();
      const answer = model.infer(ONE, { timeoutMs: 200 });
      answer.catch(() => undefined); // awaited below
      await pass(199);
      expect((await answer).outputs["y"]?.data).toEqual(TWO);
    },
  );

  test("leave nothing on a signal of the caller that lives on", async () => {
    const { model } = await world();
    const stop = new AbortController();
    const calls = Array.from({ length: 12 }, () => model.infer(ONE, { signal: stop.signal }));
    // Node warns of more than ten.
    expect(getEventListeners(stop.signal, "abort")).toHaveLength(1);
    await Promise.all(calls);
    expect(getEventListeners(stop.signal, "abort")).toEqual([]);
    const dependants = Object.getOwnPropertySymbols(stop.signal).find((x) => x.description === "kDependantSignals");
    expect(
      dependants === undefined ? 0 : (stop.signal as never as Record<symbol, Set<unknown>>)[dependants]?.size,
    ).toBe(0);
  });

  test("leave no timer where the signal is none", async () => {
    const { model, clock } = await world();
    const signal = { throwIfAborted: () => undefined } as unknown as AbortSignal;
    await expect(model.infer(ONE, { signal })).rejects.toThrow(TypeError);
    expect(clock.pending).toBe(0);
  });
});

test("Retry-After may be a date, which is compared with the server's own", async () => {
  const { engine, model, clock } = await world();
  const at = clock.now();
  engine.faults.push(
    status(429, "", { date: "Mon, 02 Nov 2026 10:00:00 GMT", "retry-after": "Mon, 02 Nov 2026 10:00:07 GMT" }),
    status(503, "", { date: "Mon, 02 Nov 2026 10:00:07 GMT", "retry-after": "Mon, 02 Nov 2026 10:00:07 GMT" }),
  );
  await model.infer(ONE);
  expect(clock.now() - at).toBeGreaterThanOrEqual(7_000);
  expect(clock.now() - at).toBeLessThan(8_000);
});

test("Retry-After of one model's 404 keeps no other model waiting", async () => {
  const { engine, remote, model, clock } = await world();
  engine.paths.set("/v2/models/gone", status(404, "", { "retry-after": "3600" }));
  expect(await failureOf(remote.model("gone"))).toMatchObject({ reason: "not-found" });
  expect((await model.infer(ONE)).outputs["y"]?.data).toEqual(TWO);
  expect(clock.now()).toBe(0);
});

test("an error whose body never ends keeps its status", async () => {
  const clock = new ManualClock();
  let came = (): void => undefined;
  const head = new Promise<void>((resolve) => (came = resolve));
  const effects = {
    ...{ ...networkEffects(), now: clock.now, setTimer: clock.setTimer },
    fetch: async (url: string, init: RequestInit): Promise<Response> => {
      const response = await fetch(url, init);
      if (response.status === 404) setImmediate(came);
      return response;
    },
  };
  const { engine, model } = await world({ binary: "always", effects }, clock);
  engine.always = (response) => {
    response.writeHead(404);
    response.write("{");
  };
  const failed = failureOf(model.infer(ONE));
  await head;
  clock.advance(15_000);
  expect(await failed).toMatchObject({ reason: "not-found", attempts: 1 });
  engine.always = hang;
});

describe("a reply", () => {
  test("of a few bytes that claims to be huge takes no memory", async () => {
    const { engine, model } = await world({ binary: "never", attempts: 1, maxReplyBytes: Infinity });
    engine.always = (response) => {
      response.writeHead(200, { "content-length": "9000000000000" });
      response.write("{}", () => response.socket?.resetAndDestroy());
    };
    expect(await failureOf(model.infer(ONE))).toMatchObject({ reason: "cut" });
  });

  test.each(["-5", "x", "1.5"])("is read whatever length it states, as %s in a browser", async (length) => {
    const { engine, clock } = await world();
    const effects = {
      ...{ now: clock.now, setTimer: clock.setTimer, random: () => 0.5, baseUrl: undefined },
      async fetch(url: string, init: RequestInit): Promise<Response> {
        const reply = await fetch(url, init);
        const headers = new Headers(reply.headers);
        headers.set("content-length", length);
        return new Response(reply.body, { status: reply.status, headers });
      },
    };
    const model = await connect([engine.url], clock, { effects }).model("double");
    expect((await model.infer(ONE)).outputs["y"]?.data).toEqual(TWO);
  });

  test("with an error and status 200 is reported with the server's words", async () => {
    const { engine, model } = await world();
    engine.always = (response) => {
      sendJson(response, { error: "CUDA out of memory" });
    };
    expect((await failureOf(model.infer(ONE))).message).toContain("CUDA out of memory");
  });

  test("may have any shape where the model declares no axes", async () => {
    const { engine, remote } = await world();
    engine.paths.set("/v2/models/double", (response) => {
      sendJson(response, { ...DOUBLE, outputs: [{ name: "y", datatype: "FP32", shape: [] }] });
    });
    const { outputs } = await (await remote.model("double")).infer(ONE);
    expect(outputs["y"]?.dims).toEqual([1, 4]);
  });
});

test("a tensor on a GPU is refused by name", async () => {
  const { engine, model } = await world();
  const tensor = { ...x(1, 2, 3, 4), buffer: {} };
  await expect(model.infer({ x: tensor })).rejects.toThrow('input "x": expected data in an array');
  await expect(model.infer({ x: { ...tensor, data: undefined } as never })).rejects.toThrow(TypeError);
  expect(engine.infers).toEqual([]);
});

test.each(["?", "#", "/?#", "//"])("an address may end with %s", async (end) => {
  const { engine, clock } = await world();
  const [health] = await connect([engine.url + end], clock).health();
  expect(health).toMatchObject({ endpoint: engine.url, isLive: true });
});

test("a proxy's 503 without CORS headers is retried where the server's replies could be read before", async () => {
  const { engine } = await world();
  const clock = new ManualClock();
  let isAway = false;
  const remote = connect([engine.url], clock, {
    effects: {
      now: clock.now,
      setTimer: clock.setTimer,
      random: () => 0.5,
      baseUrl: "https://app.example/",
      fetch(url, init) {
        if (init.mode === "no-cors")
          return Promise.resolve(Object.defineProperty(new Response(), "type", { value: "opaque" }));
        return isAway && clock.now() < 2_000 ? Promise.reject(new TypeError("Failed to fetch")) : fetch(url, init);
      },
    },
  });
  const model = await remote.model("double");
  isAway = true;
  expect((await model.infer(ONE)).outputs["y"]?.data).toEqual(TWO);
});
