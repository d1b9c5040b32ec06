// The client against real HTTP servers that misbehave, with an injected clock. Real engines: e2e/specs/remote.
import { readFileSync, writeFileSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { isSelvedgeError } from "../core/errors.ts";
import type { Tensor } from "../core/tensor.ts";
import { DOUBLE, FaultyEngine, floats, sendBinary, sendJson } from "../test-support/remote/faulty-engine.ts";
import type { Fault } from "../test-support/remote/faulty-engine.ts";
import { ManualClock } from "../test-support/remote/manual-clock.ts";
import { connectRemote } from "./index.ts";
import type { RemoteClient, RemoteModel, RemoteOptions } from "./index.ts";

/** Messages of the errors' pages; written anew with SELVEDGE_RECORD_MESSAGES=1. */
const MESSAGES = "lib/explain/messages.json";

const engines: FaultyEngine[] = [];
const rejections: unknown[] = [];
const note = (reason: unknown): void => {
  rejections.push(reason);
};

beforeEach(() => {
  process.on("unhandledRejection", note);
});

afterEach(async () => {
  await Promise.all(engines.splice(0).map((x) => x.kill()));
  await new Promise((resolve) => setImmediate(resolve));
  process.off("unhandledRejection", note);
  expect(rejections.splice(0)).toEqual([]);
});

interface World {
  readonly engine: FaultyEngine;
  readonly clock: ManualClock;
  readonly remote: RemoteClient;
  readonly model: RemoteModel;
}

async function start(count = 1): Promise<FaultyEngine[]> {
  const started = Array.from({ length: count }, () => new FaultyEngine());
  engines.push(...started);
  await Promise.all(started.map((x) => x.start()));
  return started;
}

function connect(urls: readonly string[], clock: ManualClock, options: Partial<RemoteOptions> = {}): RemoteClient {
  const { now, setTimer } = clock;
  const effects = { now, setTimer, random: () => 0.5, fetch, baseUrl: undefined };
  return connectRemote({ endpoints: urls, effects, ...options });
}

/** A server and its client, which tries by itself whether the server takes bytes unless `binary` says so. */
async function world(options: Partial<RemoteOptions> = {}): Promise<World> {
  const [engine = new FaultyEngine()] = await start();
  const clock = new ManualClock();
  const remote = connect([engine.url], clock, options);
  return { engine, clock, remote, model: await remote.model("double") };
}

const x = (...values: number[]): Tensor => ({
  dtype: "float32",
  dims: [values.length / 4, 4],
  data: Float32Array.from(values),
});

const ONE = { x: x(1, 2, 3, 4) };
const TWO = Float32Array.of(2, 4, 6, 8);

/** Returns the reason and details of a failure. */
async function failureOf(
  promise: Promise<unknown>,
): Promise<{ reason: unknown; message: string; retryable: boolean; attempts: unknown }> {
  const error: unknown = await promise.then(
    () => null,
    (reason: unknown) => reason,
  );
  if (!isSelvedgeError(error) || error.code !== "remote-failed") throw new Error("not remote-failed", { cause: error });
  const { message, retryable, details } = error;
  return { reason: details["reason"], message, retryable, attempts: details["attempts"] };
}

const status =
  (code: number, body = "", headers: Record<string, string> = {}): Fault =>
  (response) => {
    response.writeHead(code, headers).end(body);
  };
const reset: Fault = (response) => {
  response.socket?.resetAndDestroy();
};
const resetMidBody: Fault = (response) => {
  response.writeHead(200, { "content-length": "1000" });
  response.write(" ".repeat(64), () => response.socket?.resetAndDestroy());
};
const hang: Fault = () => undefined;

describe("an answer", () => {
  test("has the outputs by name, the server, and whether bytes were sent, both ways", async () => {
    const { engine, model } = await world();
    const first = await model.infer(ONE);
    expect(first.outputs).toEqual({ y: { dtype: "float32", dims: [1, 4], data: TWO } });
    expect(first.info).toMatchObject({ endpoint: engine.url, attempts: 1, modelVersion: "1", isBinary: true });
    await model.infer(ONE);
    expect(engine.infers.map((each) => each.headers["content-type"])).toEqual([
      "application/octet-stream",
      "application/octet-stream",
    ]);
  });

  test("comes in JSON from a server that refuses bytes, which are not tried again", async () => {
    const { engine, model } = await world();
    engine.isBinary = false;
    const attempts = [];
    for (let i = 0; i < 3; i += 1) {
      const { outputs, info } = await model.infer(ONE);
      expect([outputs["y"]?.data, info.isBinary]).toEqual([TWO, false]);
      attempts.push(info.attempts);
    }
    expect(attempts).toEqual([2, 1, 1]);
    expect(engine.infers[1]?.body.toString()).toContain('"binary_data_output":false');
  });

  test("comes by bytes where the first request was refused in both forms, for a fault of its own", async () => {
    const { engine, model } = await world();
    engine.faults.push(status(400), status(400));
    expect(await failureOf(model.infer(ONE))).toMatchObject({ reason: "refused", attempts: 2 });
    expect((await model.infer(ONE)).info.isBinary).toBe(true);
  });

  test("may have numbers that JSON lacks in both directions", async () => {
    const { engine, model } = await world({ binary: "never" });
    engine.always = (response) => {
      const y = { name: "y", datatype: "FP32", shape: [1, 4], data: [null, 2, 3, 4] };
      sendJson(response, { model_name: "double", outputs: [y] });
    };
    const { outputs } = await model.infer({ x: x(NaN, 1, Infinity, -Infinity) });
    expect(outputs["y"]?.data).toEqual(Float32Array.of(NaN, 2, 3, 4));
    expect(engine.infers[0]?.body.toString()).toContain('"data":["NaN",1,"Infinity","-Infinity"]');
  });

  test("has the declared rank where the server adds an axis, and only the outputs asked for", async () => {
    const { engine, remote } = await world();
    engine.paths.set("/v2/models/rank", (response) => {
      sendJson(response, {
        ...DOUBLE,
        name: "rank",
        versions: null,
        outputs: [{ name: "y", datatype: "FP32", shape: [-1] }],
      });
    });
    engine.always = (response) => {
      const y = { name: "y", datatype: "FP32", shape: [2, 1], data: [1, 2] };
      sendJson(response, { model_name: "rank", model_version: null, outputs: [{ ...y, name: "other" }, y] });
    };
    const model = await remote.model("rank");
    expect(model.metadata.versions).toEqual([]);
    const { outputs, info } = await model.infer(ONE, { outputs: ["y"] });
    expect(outputs).toEqual({ y: { dtype: "float32", dims: [2], data: Float32Array.of(1, 2) } });
    expect(info.modelVersion).toBeNull();
  });

  test("is of the input as it was when infer was called", async () => {
    const { model } = await world();
    const input = x(1, 2, 3, 4);
    const answer = model.infer({ x: input });
    (input.data as Float32Array).fill(9);
    expect((await answer).outputs["y"]?.data).toEqual(TWO);
  });

  test("comes for a request that is compressed with gzip; the length header counts what is uncompressed", async () => {
    const { engine, model } = await world({ gzip: true, binary: "always" });
    expect((await model.infer(ONE)).outputs["y"]?.data).toEqual(TWO);
    expect(engine.infers[0]?.headers["content-encoding"]).toBe("gzip");
  });

  test("is asked for with an id of printable ASCII and fresh headers each time", async () => {
    let token = 0;
    const { engine, model } = await world({
      headers: () => {
        token += 1;
        return Promise.resolve({ authorization: `Bearer ${token}` });
      },
    });
    engine.faults.push(status(401, '{"error":"expired"}'));
    await model.infer(ONE);
    expect(engine.infers.map((each) => each.headers.authorization)).toEqual(["Bearer 2", "Bearer 3"]);
    expect(engine.infers[0]?.body.toString()).toMatch(/^\{"id":"[ -~]+?","inputs"/);
    await expect(model.infer(ONE, { id: "ü" })).rejects.toThrow(TypeError);
  });
});

describe("a mistake of the caller is reported before anything is sent:", () => {
  test.each<[string, Record<string, unknown>]>([
    ["an unknown input", { x: ONE.x, z: ONE.x }],
    ["a missing input", {}],
    ["another dtype", { x: { dtype: "int32", dims: [1, 4], data: new Int32Array(4) } }],
    ["another array", { x: { dtype: "float32", dims: [1, 4], data: new Float64Array(4) } }],
    ["fewer elements than the dims", { x: { dtype: "float32", dims: [1, 4], data: new Float32Array(3) } }],
    ["another rank", { x: { dtype: "float32", dims: [4], data: new Float32Array(4) } }],
    ["another size of a fixed axis", { x: { dtype: "float32", dims: [1, 5], data: new Float32Array(5) } }],
    ["huge dims", { x: { dtype: "float32", dims: [9007199254740993, 4], data: new Float32Array(4) } }],
    ["no tensor", { x: 1 }],
  ])("%s", async (_, inputs) => {
    const { engine, model } = await world();
    const error: unknown = await model.infer(inputs as Record<string, Tensor>).catch((reason: unknown) => reason);
    expect(error instanceof TypeError || error instanceof RangeError).toBe(true);
    expect(engine.infers).toEqual([]);
  });

  test("an unknown output, which MLServer never answers", async () => {
    const { engine, model } = await world();
    await expect(model.infer(ONE, { outputs: ["z"] })).rejects.toThrow('no output "z"');
    expect(engine.infers).toEqual([]);
  });

  test("a bool that is neither 0 nor 1, and half a surrogate pair, where the model declares no inputs", async () => {
    const { engine, remote } = await world();
    engine.paths.set("/v2/models/open", (response) => {
      sendJson(response, { name: "open", versions: null, platform: "", inputs: [], outputs: [] });
    });
    const model = await remote.model("open");
    await expect(model.infer({ a: { dtype: "bool", dims: [1], data: Uint8Array.of(2) } })).rejects.toThrow(RangeError);
    await expect(model.infer({ a: { dtype: "string", dims: [1], data: ["\ud800"] } })).rejects.toThrow(TypeError);
    await expect(model.infer({ a: { ...ONE.x, dtype: "float8" } as never })).rejects.toThrow(TypeError);
    expect(engine.infers).toEqual([]);
  });

  test("names that would be other paths, and wrong options", async () => {
    const { remote, clock } = await world();
    for (const name of ["", ".", ".."]) await expect(remote.model(name)).rejects.toThrow(TypeError);
    for (const url of ["", "ftp://a", "https://user@a", "https://a?b", "/relative", 1])
      expect(() => connect([url as string], clock)).toThrow(TypeError);
    expect(() => connect([], clock)).toThrow(TypeError);
    expect(() => connect(["http://a"], clock, { timeoutMs: 0 })).toThrow(RangeError);
    expect(() => connect(["http://a"], clock, { binary: "yes" as never })).toThrow(TypeError);
  });
});

describe("a passing fault is retried:", () => {
  test.each<[string, Fault]>([
    ["a reset connection", reset],
    ["a reset in the body", resetMidBody],
    ["429", status(429)],
    ["503", status(503, '{"error":"Exceeds maximum queue size"}')],
    ["502 of a proxy", status(502, "<html><body>Bad gateway</body></html>")],
    [
      "a body with a length that is too small",
      (response) => {
        response.writeHead(200, { "inference-header-content-length": "3" }).end('{"model_name":"double","outputs":[]}');
      },
    ],
    [
      "another dtype than the model declares",
      (response) => {
        sendJson(response, {
          model_name: "double",
          outputs: [{ name: "y", datatype: "FP64", shape: [1, 4], data: [1, 2, 3, 4] }],
        });
      },
    ],
    [
      "another shape than the model declares",
      (response) => {
        sendJson(response, {
          model_name: "double",
          outputs: [{ name: "y", datatype: "FP32", shape: [1, 3], data: [1, 2, 3] }],
        });
      },
    ],
    [
      "another model",
      (response) => {
        sendJson(response, {
          model_name: "other",
          outputs: [{ name: "y", datatype: "FP32", shape: [1, 4], data: [1, 2, 3, 4] }],
        });
      },
    ],
    [
      "fewer bytes than announced",
      (response) => {
        const y = { name: "y", datatype: "FP32", shape: [1, 4], parameters: { binary_data_size: 16 } };
        sendBinary(response, { model_name: "double", outputs: [y] }, floats([1, 2, 3]));
      },
    ],
  ])("%s", async (_, fault) => {
    const { engine, model } = await world();
    engine.faults.push(fault);
    const { outputs, info } = await model.infer(ONE);
    expect(outputs["y"]?.data).toEqual(TWO);
    expect(info.attempts).toBe(2);
    expect(engine.infers).toHaveLength(2);
  });

  test("a version that was not asked for", async () => {
    const { engine, remote } = await world();
    const model = await remote.model("double", { version: "2" });
    expect(await failureOf(model.infer(ONE))).toMatchObject({ reason: "bad-reply", attempts: 2 });
    expect(engine.infers[0]?.path).toBe("/v2/models/double/versions/2/infer");
  });

  test("with a back-off that grows, jitter, and Retry-After followed", async () => {
    const { engine, model, clock } = await world();
    engine.faults.push(status(502), status(502), status(502), status(429, "", { "retry-after": "7" }));
    await model.infer(ONE);
    expect(clock.waits.slice(0, 3)).toEqual([100, 200, 400]);
    // The rest of the 7 s after its own back-off.
    expect(clock.waits.slice(3)).toEqual([800, 6_200]);
  });

  test("a reply that never comes, and one of a byte now and then: cancelled after their time, and sent again", async () => {
    const { engine, model, clock } = await world();
    const trickle: Fault = (response) => {
      response.writeHead(200);
      response.write("{");
    };
    for (const fault of [hang, trickle]) {
      engine.faults.push(fault);
      const arrived = engine.arrival();
      const answer = model.infer(ONE);
      await arrived;
      clock.advance(15_000);
      expect((await answer).outputs["y"]?.data).toEqual(TWO);
    }
    expect(clock.pending).toBe(0);
  });
});

describe("a failure that waiting does not change is reported at once:", () => {
  test.each<[string, Fault, string, string]>([
    ["400", status(400, '{"error":"unexpected shape for input \'x\'"}'), "refused", "unexpected shape"],
    [
      "404 as text",
      status(404, '{"error":"unknown model"}', { "content-type": "text/plain" }),
      "not-found",
      "unknown model",
    ],
    [
      "422 with a list",
      status(422, '{"detail":[{"type":"x","msg":"Input should be a list","input":"AAAA'),
      "refused",
      "Input should be a list",
    ],
    ["405 with a text", status(405, '{"detail":"Method Not Allowed"}'), "refused", "Method Not Allowed"],
    ["500 for the client's fault", status(500, "Internal Server Error"), "failed", "Internal Server Error"],
    ["501", status(501), "refused", "status 501"],
    ["403", status(403, '{"error":"restricted"}'), "denied", "restricted"],
    ["an HTML page", status(404, "<!doctype html><title>x</title>"), "not-found", "an HTML page"],
  ])("%s", async (_, fault, reason, message) => {
    const { engine, model } = await world({ binary: "always" });
    engine.always = fault;
    const failure = await failureOf(model.infer(ONE));
    expect(failure).toMatchObject({ reason, retryable: false });
    expect(failure.message).toContain(message);
    expect(engine.infers.length).toBe(reason === "denied" ? 2 : 1);
  });

  test("an error with a body of 100 MB, of which a few kilobytes are read", async () => {
    const { engine, model } = await world();
    let sent = 0;
    engine.always = (response) => {
      response.writeHead(422);
      response.write('{"detail":[{"msg":"Input should be a valid list","input":"');
      const part = Buffer.alloc(65_536, "A");
      const more = (): void => {
        while (sent < 1e8 && !response.destroyed) {
          sent += part.length;
          if (!response.write(part)) {
            response.once("drain", more);
            return;
          }
        }
      };
      more();
    };
    expect(await failureOf(model.infer(ONE))).toMatchObject({
      reason: "refused",
      message: expect.stringContaining("valid list") as string,
    });
    // In both forms.
    expect(sent).toBeLessThan(2e7);
  });

  test("a reply beyond the bound", async () => {
    const { engine, model } = await world({ maxReplyBytes: 1_000 });
    engine.always = (response) => {
      response.writeHead(200).end(Buffer.alloc(100_000, " "));
    };
    expect(await failureOf(model.infer(ONE))).toMatchObject({ reason: "too-large", attempts: 1 });
  });

  test("BF16 on a server without the binary extension", async () => {
    const { engine, remote } = await world({ binary: "never" });
    engine.paths.set("/v2/models/brain", (response) => {
      sendJson(response, { ...DOUBLE, name: "brain", inputs: [{ name: "x", datatype: "BF16", shape: [-1, 4] }] });
    });
    const model = await remote.model("brain");
    expect(await failureOf(model.infer(ONE))).toMatchObject({ reason: "no-binary" });
    expect(engine.infers).toEqual([]);
  });
});

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
    const faults: Fault[] = [reset, resetMidBody, status(429), status(503, "", { "retry-after": "1" }), status(502)];
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
  const other: Fault = (response) => {
    sendJson(response, { model_name: "other", outputs: [] });
  };
  const CASES: readonly [reason: string, fault: Fault, options?: Partial<RemoteOptions>][] = [
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
    expect(await failureOf(up.model("double"))).toMatchObject({ reason: "cors", attempts: 2, retryable: false });
    const away = foreign(false).effects;
    if (away === undefined) throw new Error("no effects");
    const down = connect(["https://triton.example"], clock, {
      effects: { ...away, now: clock.now, setTimer: clock.setTimer },
    });
    expect(await failureOf(down.model("double"))).toMatchObject({ reason: "unreachable" });
  });

  test("may be given relative to the page", () => {
    expect(() => connectRemote({ endpoints: ["/infer"], ...foreign(true) })).not.toThrow();
  });
});
