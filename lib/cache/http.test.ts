// Requests to a server of this machine, their errors and retries, on a clock that the test moves.
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { isSelvedgeError, SelvedgeError } from "../core/errors.ts";
import { startServer } from "../compress/check/local-server.ts";
import type { LocalServer } from "../compress/check/local-server.ts";
import { isAway, readAll, request, retry } from "./http.ts";
import type { ResponseBody, NetEffects } from "./http.ts";

/** An answer of the server: its body is cut after `cutAt` bytes, or never ends. */
interface Answer {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Buffer;
  readonly cutAt?: number;
  readonly isEndless?: boolean;
}

let server: LocalServer;
let url: string;
let answers: Answer[] = [];
let asked = 0;
let closed = 0;

beforeEach(async () => {
  [asked, closed] = [0, 0];
  server = await startServer((_, response) => {
    const { status = 200, headers = {}, body = "", cutAt, isEndless } = answers[asked] ?? answers.at(-1) ?? {};
    asked += 1;
    response.once("close", () => {
      if (!response.writableEnded) closed += 1;
    });
    response.writeHead(status, headers);
    if (isEndless === true) response.flushHeaders();
    else if (cutAt === undefined) response.end(body);
    else {
      response.flushHeaders();
      response.write(Buffer.from(body).subarray(0, cutAt), () => setImmediate(() => response.destroy()));
    }
  });
  url = `${server.origin}/m.onnx`;
});

afterEach(() => server.close());

/** Effects with timers that the test fires, and a log of them. */
function clock(more: Partial<NetEffects> = {}) {
  let timers: { callback: () => void; ms: number }[] = [];
  const waits: number[] = [];
  const effects: NetEffects = {
    fetch: (to, init) => fetch(to, init),
    random: () => 0.5,
    setTimer(callback, ms) {
      const timer = { callback, ms };
      timers.push(timer);
      waits.push(ms);
      return () => {
        timers = timers.filter((x) => x !== timer);
      };
    },
    ...more,
  };
  const fire = (): void => {
    for (const { callback } of timers) callback();
  };
  return { effects, waits, fire, pending: () => timers.length };
}

const idle = new AbortController().signal;

async function errorOf(work: Promise<unknown>): Promise<SelvedgeError> {
  const error: unknown = await work.then(
    () => null,
    (x: unknown) => x,
  );
  if (isSelvedgeError(error)) return error;
  throw new Error("it succeeded, or failed otherwise", { cause: error });
}

const statusOf = async (status: number, headers: Readonly<Record<string, string>> = {}): Promise<SelvedgeError> => {
  answers = [{ status, headers }];
  asked = 0;
  return errorOf(request(url, {}, { effects: clock().effects, signal: idle }));
};

async function textOf(body: ResponseBody): Promise<string> {
  return Buffer.from(await readAll(url, body, 1_000, null, () => undefined)).toString();
}

describe("a request", () => {
  test("returns status, address and headers, and reads the body to its end", async () => {
    answers = [{ headers: { "x-own": "1" }, body: "abc" }];
    const { effects, pending, waits } = clock();
    const body = await request(url, {}, { effects, signal: idle });
    expect([body.url, body.status, body.headers.get("x-own")]).toEqual([url, 200, "1"]);
    expect(await textOf(body)).toBe("abc");
    expect(pending()).toBe(0);
    expect(new Set(waits)).toEqual(new Set([20_000]));
  });

  test("without a body has ended", async () => {
    const { effects } = clock();
    const body = await request(url, { method: "HEAD" }, { effects, signal: idle });
    expect(await body.read()).toBeNull();
  });

  test("passes on its options", async () => {
    const inits: RequestInit[] = [];
    const { effects } = clock({
      fetch: (to, init) => {
        inits.push(init);
        return fetch(to, init);
      },
    });
    (await request(url, { cache: "no-store", headers: { range: "bytes=0-" } }, { effects, signal: idle })).cancel();
    expect(inits).toMatchObject([{ cache: "no-store", headers: { range: "bytes=0-" } }]);
  });

  test("with a signal that is aborted already is not sent, and rejects with its reason", async () => {
    const signal = AbortSignal.abort(new Error("too late"));
    await expect(request(url, {}, { effects: clock().effects, signal })).rejects.toThrow("too late");
    expect(asked).toBe(0);
  });

  test("with a user name in its URL is not sent, and the error has none", async () => {
    const error = await errorOf(
      request(url.replace("://", "://me:secret@"), {}, { effects: clock().effects, signal: idle }),
    );
    expect(error).toMatchObject({
      code: "download-failed",
      retryable: false,
      details: { url, reason: "credentials", final: true },
    });
    expect(error.message).toMatch(
      /^http:.*m\.onnx was given with a user name or a password in it, .* its URL alone\.$/,
    );
    expect(error.message).not.toContain("secret");
    expect(asked).toBe(0);
  });

  test("that is aborted rejects with the signal's reason, before the answer and within the body", async () => {
    for (const isBefore of [true, false]) {
      answers = [{ isEndless: true }];
      const stop = new AbortController();
      const { effects, pending } = clock();
      const opening = request(url, {}, { effects, signal: stop.signal });
      const reading = isBefore ? opening : (await opening).read();
      stop.abort(new Error("no longer wanted"));
      await expect(reading).rejects.toThrow("no longer wanted");
      expect(pending()).toBe(0);
    }
  });

  test("that is cancelled closes the connection, and follows the signal no longer", async () => {
    answers = [{ isEndless: true }];
    const counted = { added: 0, removed: 0 };
    const { signal } = new AbortController();
    const [add, remove] = [signal.addEventListener.bind(signal), signal.removeEventListener.bind(signal)];
    signal.addEventListener = (...x: Parameters<typeof add>) => {
      counted.added += 1;
      add(...x);
    };
    signal.removeEventListener = (...x: Parameters<typeof remove>) => {
      counted.removed += 1;
      remove(...x);
    };
    const body = await request(url, {}, { effects: clock().effects, signal });
    expect(counted).toEqual({ added: 1, removed: 0 });
    body.cancel();
    expect(counted.removed).toBe(1);
    while (closed === 0) await new Promise((resolve) => setImmediate(resolve));
  });

  test("that was read to its end follows the signal no longer", async () => {
    answers = [{ body: "abc" }];
    const { signal } = new AbortController();
    const removed: unknown[] = [];
    const remove = signal.removeEventListener.bind(signal);
    signal.removeEventListener = (...x: Parameters<typeof remove>) => {
      removed.push(x[0]);
      remove(...x);
    };
    await textOf(await request(url, {}, { effects: clock().effects, signal }));
    expect(removed).toEqual(["abort"]);
  });

  test("without an answer for 20 s stalls, and its connection is closed", async () => {
    const signals: (AbortSignal | null | undefined)[] = [];
    const { effects, fire } = clock({
      fetch: (_, { signal }) => {
        signals.push(signal);
        return new Promise(() => undefined);
      },
    });
    const failed = errorOf(request(url, {}, { effects, signal: idle }));
    fire();
    expect(await failed).toMatchObject({
      code: "download-failed",
      message: `${url} stalled: no data for 20 s.`,
      details: { url, size: 0, reason: "stalled" },
    });
    expect(signals[0]?.aborted).toBe(true);
  });

  test("whose body stalls tells the bytes so far", async () => {
    let more = (): void => undefined;
    const stream = new ReadableStream<Uint8Array>({
      start(controller) {
        controller.enqueue(new Uint8Array(5));
        more = () => {
          controller.enqueue(new Uint8Array(7));
        };
      },
    });
    const { effects, fire } = clock({ fetch: () => Promise.resolve(new Response(stream)) });
    const body = await request(url, {}, { effects, signal: idle });
    expect((await body.read())?.byteLength).toBe(5);
    more();
    expect((await body.read())?.byteLength).toBe(7);
    const failed = errorOf(body.read());
    fire();
    expect(await failed).toMatchObject({ details: { size: 12, reason: "stalled" } });
  });

  test("whose connection is closed tells the bytes so far, and the cause", async () => {
    answers = [{ body: "abcdef", headers: { "content-length": "6" }, cutAt: 4 }];
    const body = await request(url, {}, { effects: clock().effects, signal: idle });
    expect((await body.read())?.byteLength).toBe(4);
    expect(await errorOf(body.read())).toMatchObject({
      code: "download-failed",
      retryable: true,
      message: `${url}: connection closed after 4 bytes.`,
      details: { url, size: 4, reason: "cut" },
      cause: expect.any(TypeError) as unknown,
    });
  });

  test("whose body is not compressed as its header says names the header; one that began well was cut", async () => {
    const failing = (bytes: number): NetEffects["fetch"] => {
      const stream = new ReadableStream<Uint8Array>({
        pull(controller) {
          if (bytes > 0) controller.enqueue(new Uint8Array(bytes));
          else controller.error(new TypeError("decoding failed"));
          bytes = 0;
        },
      });
      return () => Promise.resolve(new Response(stream, { headers: { "content-encoding": "br" } }));
    };
    const none = await request(url, {}, { effects: clock({ fetch: failing(0) }).effects, signal: idle });
    expect(await errorOf(none.read())).toMatchObject({
      retryable: false,
      message: `${url} is not compressed as its header says (\`Content-Encoding: br\`). Send that header only with files that are.`,
      details: { url, size: 0, reason: "encoding" },
      cause: expect.objectContaining({ message: "decoding failed" }) as unknown,
    });
    const some = await request(url, {}, { effects: clock({ fetch: failing(3) }).effects, signal: idle });
    await some.read();
    expect(await errorOf(some.read())).toMatchObject({ details: { size: 3, reason: "cut" } });
  });

  test("whose body fails at once without an encoding was cut after 0 bytes", async () => {
    const stream = new ReadableStream<Uint8Array>({
      pull(controller) {
        controller.error(new TypeError("reset"));
      },
    });
    const { effects } = clock({ fetch: () => Promise.resolve(new Response(stream)) });
    const body = await request(url, {}, { effects, signal: idle });
    expect((await errorOf(body.read())).message).toBe(`${url}: connection closed after 0 bytes.`);
  });

  test("without an answer asks for the cause, which may be final", async () => {
    const lost = new TypeError("Failed to fetch");
    for (const [reason, isFinal] of [
      ["csp", true],
      ["cors", true],
      ["mixed-content", true],
      ["not-found", true],
      ["offline", false],
      ["unreachable", false],
    ] as const) {
      const { effects } = clock({
        fetch: () => Promise.reject(lost),
        causeOf: (to) => Promise.resolve({ reason, text: `Why: ${to}.` }),
      });
      const error = await errorOf(request(url, {}, { effects, signal: idle }));
      expect(error).toMatchObject({
        code: "download-failed",
        message: `${url} could not be fetched. Why: ${url}.`,
        details: { url, size: 0, reason },
        cause: lost,
      });
      expect("final" in error.details).toBe(isFinal);
      expect(error.retryable).toBe(!isFinal);
    }
  });

  test("without an answer, outside browsers, is unreachable", async () => {
    const { effects } = clock({ fetch: () => Promise.reject(new TypeError("Failed to fetch")) });
    expect(await errorOf(request(url, {}, { effects, signal: idle }))).toMatchObject({
      message: `${url} could not be fetched.`,
      details: { reason: "unreachable" },
    });
  });

  test("that fails as a SelvedgeError rejects with that", async () => {
    const own = new SelvedgeError("closed", "The engine is closed.");
    const { effects } = clock({ fetch: () => Promise.reject(own) });
    expect(await errorOf(request(url, {}, { effects, signal: idle }))).toBe(own);
  });
});

describe("a status", () => {
  test.each([
    [202, "busy", true],
    [204, "not-found", false],
    [205, "not-found", false],
    [206, "refused", false],
    [304, "server", true],
    [400, "refused", false],
    [401, "denied", false],
    [403, "denied", false],
    [404, "not-found", false],
    [407, "denied", false],
    [408, "busy", true],
    [410, "not-found", false],
    [416, "refused", false],
    [425, "busy", true],
    [429, "busy", true],
    [451, "denied", false],
    [499, "refused", false],
    [500, "server", true],
    [501, "refused", false],
    [503, "server", true],
    [505, "refused", false],
  ] as const)("%i is named %s", async (status, reason, isTransient) => {
    // Node's fetch refuses some of them by itself, and a Response of them has no body.
    const { effects } = clock({ fetch: () => Promise.resolve(new Response(null, { status })) });
    const error = await errorOf(request(url, {}, { effects, signal: idle }));
    expect(error).toMatchObject({
      code: "download-failed",
      retryable: isTransient,
      details: { url, status, reason, final: !isTransient },
    });
    const part = status === 206 ? " By that it sent a part of the file, and all of it was requested." : "";
    expect(error.message).toBe(`${url} answered with status ${status}.${part}`);
  });

  test("that is accepted is returned, and 200 no longer is where it is not named", async () => {
    answers = [{ status: 404, body: "no" }];
    const { effects } = clock();
    const body = await request(url, {}, { effects, signal: idle }, [404, 405]);
    expect([body.status, await textOf(body)]).toEqual([404, "no"]);
    answers = [{ status: 200 }];
    expect((await errorOf(request(url, {}, { effects, signal: idle }, [206]))).details["status"]).toBe(200);
  });

  test("that is refused closes the connection", async () => {
    answers = [{ status: 503, isEndless: true }];
    await errorOf(request(url, {}, { effects: clock().effects, signal: idle }));
    while (closed === 0) await new Promise((resolve) => setImmediate(resolve));
  });

  test("206 counts as 200 where it is all of the file, and no range was requested", async () => {
    const { effects } = clock();
    const statusFor = async (range: string | null, init: RequestInit = {}): Promise<number> => {
      answers = [{ status: 206, headers: range === null ? {} : { "content-range": range }, body: "abc" }];
      const body = await request(url, init, { effects, signal: idle }, [200, 206]);
      body.cancel();
      return body.status;
    };
    expect(await statusFor("bytes 0-2/3")).toBe(200);
    for (const range of [
      "bytes 0-1/3",
      "bytes 0-3/3",
      "bytes 1-2/3",
      "bytes 0-2/*",
      "x bytes 0-2/3",
      "bytes 0-2/3 x",
      null,
    ])
      expect(await statusFor(range)).toBe(206);
    expect(await statusFor("bytes 0-12/13")).toBe(200);
    expect(await statusFor("bytes 0-2/3", { headers: { range: "bytes=0-" } })).toBe(206);
  });

  test("200 with a Content-Range stays 200", async () => {
    answers = [{ status: 203, headers: { "content-range": "bytes 0-2/3" }, body: "abc" }];
    const body = await request(url, {}, { effects: clock().effects, signal: idle }, [200, 203]);
    body.cancel();
    expect(body.status).toBe(203);
  });

  test("with Retry-After tells how long to wait, in ms; more than a minute is final", async () => {
    expect((await statusOf(503, { "retry-after": "2.5" })).details).toMatchObject({
      retryAfterMs: 2_500,
      final: false,
    });
    expect((await statusOf(503, { "retry-after": "0" })).details).toMatchObject({ retryAfterMs: 0, final: false });
    expect((await statusOf(503, { "retry-after": "60" })).details).toMatchObject({
      retryAfterMs: 60_000,
      final: false,
    });
    expect((await statusOf(503, { "retry-after": "61" })).details).toMatchObject({ retryAfterMs: 61_000, final: true });
    for (const other of ["-1", "soon", "Infinity"])
      expect((await statusOf(429, { "retry-after": other })).details).not.toHaveProperty("retryAfterMs");
    expect((await statusOf(503)).details).not.toHaveProperty("retryAfterMs");
  });
});

describe("retries", () => {
  const passing = new SelvedgeError("download-failed", "passing");
  const wrong = new SelvedgeError("integrity-failed", "wrong");
  const hurry = (waits: number[] = [], random = 0.5): NetEffects => ({
    ...clock().effects,
    random: () => random,
    setTimer: (callback, ms) => {
      waits.push(ms);
      queueMicrotask(callback);
      return () => undefined;
    },
  });

  test("pass the number of the attempt, and wait twice as long each time, up to 8 s, by chance half or one and a half", async () => {
    for (const [random, factor] of [
      [0, 0.5],
      [0.5, 1],
      [1, 1.5],
    ] as const) {
      const waits: number[] = [];
      const tried: number[] = [];
      const work = retry(
        { effects: hurry(waits, random), signal: idle },
        (n) => {
          tried.push(n);
          return n < 8 ? Promise.reject(passing) : Promise.resolve("ok");
        },
        () => 9,
      );
      expect(await work).toBe("ok");
      expect(tried).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
      expect(waits).toEqual([250, 500, 1_000, 2_000, 4_000, 8_000, 8_000].map((x) => x * factor));
    }
  });

  test("are five attempts", async () => {
    let tried = 0;
    const work = retry({ effects: hurry(), signal: idle }, (n) => {
      tried = n;
      return Promise.reject(passing);
    });
    expect(await errorOf(work)).toBe(passing);
    expect(tried).toBe(5);
  });

  test("are counted anew after progress", async () => {
    const waits: number[] = [];
    let tried = 0;
    const work = retry({ effects: hurry(waits), signal: idle }, (n, onward) => {
      tried = n;
      if (n <= 3) onward();
      return Promise.reject(passing);
    });
    expect(await errorOf(work)).toBe(passing);
    expect(tried).toBe(7);
    expect(waits).toEqual([250, 250, 250, 500, 1_000, 2_000]);
  });

  test("are two for wrong bytes, progress or not", async () => {
    let tried = 0;
    const work = retry({ effects: hurry(), signal: idle }, (n, onward) => {
      tried = n;
      onward();
      return Promise.reject(n === 2 ? passing : wrong);
    });
    expect(await errorOf(work)).toBe(wrong);
    expect(tried).toBe(3);
  });

  test("wait as long as the server says", async () => {
    const waits: number[] = [];
    const busy = new SelvedgeError("download-failed", "busy", { retryAfterMs: 3_000 });
    await retry({ effects: hurry(waits), signal: idle }, (n) => (n < 3 ? Promise.reject(busy) : Promise.resolve()));
    expect(waits).toEqual([3_000, 3_000]);
  });

  test("are none for a final error, nor for an error that is none of Selvedge's", async () => {
    for (const error of [new SelvedgeError("download-failed", "no", { final: true }), new TypeError("broken")]) {
      let tried = 0;
      const work = retry({ effects: hurry(), signal: idle }, (n) => {
        tried = n;
        return Promise.reject(error);
      });
      await expect(work).rejects.toBe(error);
      expect(tried).toBe(1);
    }
  });

  test("end with the signal's reason: before an attempt, after a failed one, and in a pause at once", async () => {
    const gone = new Error("gone");
    let tried = 0;
    const count = (): Promise<void> => {
      tried += 1;
      return Promise.reject(passing);
    };
    await expect(retry({ effects: hurry(), signal: AbortSignal.abort(gone) }, count)).rejects.toBe(gone);
    expect(tried).toBe(0);
    const stop = new AbortController();
    const failing = retry({ effects: hurry(), signal: stop.signal }, () => {
      stop.abort(gone);
      return Promise.reject(new TypeError("aborted"));
    });
    await expect(failing).rejects.toBe(gone);
    const later = new AbortController();
    const { effects, pending } = clock();
    const waiting = retry({ effects, signal: later.signal }, count);
    while (pending() === 0) await new Promise((resolve) => setImmediate(resolve));
    later.abort(gone);
    await expect(waiting).rejects.toBe(gone);
    expect([tried, pending()]).toEqual([1, 0]);
  });

  test("leave no listener at the signal after a pause", async () => {
    const { signal } = new AbortController();
    const counted = { added: 0, removed: 0 };
    const [add, remove] = [signal.addEventListener.bind(signal), signal.removeEventListener.bind(signal)];
    signal.addEventListener = (...x: Parameters<typeof add>) => {
      counted.added += 1;
      add(...x);
    };
    signal.removeEventListener = (...x: Parameters<typeof remove>) => {
      counted.removed += 1;
      remove(...x);
    };
    await retry({ effects: hurry(), signal }, (n) => (n < 3 ? Promise.reject(passing) : Promise.resolve()));
    expect(counted).toEqual({ added: 2, removed: 2 });
  });
});

describe("a body that is read whole", () => {
  /** A body of these parts. */
  function bodyOf(...parts: readonly string[]) {
    const left = parts.values();
    let isCancelled = false;
    const body: ResponseBody = {
      ...{ url: "", status: 200, headers: new Headers() },
      read: () => {
        const { value } = left.next();
        return Promise.resolve(value === undefined ? null : new Uint8Array(Buffer.from(value)));
      },
      cancel: () => {
        isCancelled = true;
      },
    };
    return { body, isCancelled: () => isCancelled };
  }

  test("is the bytes of its parts, each of which is reported", async () => {
    const sizes: number[] = [];
    const bytes = await readAll(url, bodyOf("ab", "c", "").body, 3, null, (x) => sizes.push(x));
    expect([Buffer.from(bytes).toString(), sizes]).toEqual(["abc", [2, 1, 0]]);
    expect(Buffer.from(await readAll(url, bodyOf("ab", "c").body, 3, 3, () => undefined)).toString()).toBe("abc");
  });

  test("may be larger than expected at first, and holds no more than twice its bytes", async () => {
    const part = "x".repeat(40_000);
    const bytes = await readAll(url, bodyOf(part, part, "y").body, 1_000_000, null, () => undefined);
    expect(Buffer.from(bytes).toString()).toBe(`${part}${part}y`);
    expect(bytes.buffer.byteLength).toBe(160_000);
    const bounded = await readAll(url, bodyOf(part, part).body, 90_000, null, () => undefined);
    expect([bounded.byteLength, bounded.buffer.byteLength]).toEqual([80_000, 90_000]);
    const small = await readAll(url, bodyOf("x".repeat(65_536)).body, 90_000, null, () => undefined);
    expect(small.buffer.byteLength).toBe(65_536);
    const exact = await readAll(url, bodyOf("abc").body, 10, 3, () => undefined);
    expect(exact.buffer.byteLength).toBe(3);
  });

  test("beyond the limit is refused before it is held, and cancelled", async () => {
    const { body, isCancelled } = bodyOf("ab", "cd");
    const sizes: number[] = [];
    expect(await errorOf(readAll(url, body, 3, null, (x) => sizes.push(x)))).toMatchObject({
      code: "download-failed",
      retryable: false,
      message: `${url} exceeds the limit of 3 bytes.`,
      details: { url, reason: "too-large", final: true },
    });
    expect([isCancelled(), sizes]).toEqual([true, [2]]);
  });

  test("of another size than the exact one is wrong", async () => {
    for (const [parts, got] of [
      [["ab"], "2"],
      [["ab", "cd"], "more than 3"],
    ] as const)
      expect(await errorOf(readAll(url, bodyOf(...parts).body, 3, 3, () => undefined))).toMatchObject({
        code: "integrity-failed",
        message: `${url} has ${got} bytes instead of 3.`,
        details: { url },
      });
    expect(await errorOf(readAll(url, bodyOf("ab", "cd").body, 9, 3, () => undefined))).toMatchObject({
      message: `${url} has 4 bytes instead of 3.`,
    });
  });
});

test("an error means that the server is away where it has no status, a server's own, or 429", () => {
  const failed = (details: Readonly<Record<string, unknown>>, code: "download-failed" | "closed" = "download-failed") =>
    new SelvedgeError(code, "x", details as never);
  expect([{}, { status: 500 }, { status: 503 }, { status: 429 }].map((x) => isAway(failed(x)))).toEqual(
    Array.from({ length: 4 }, () => true),
  );
  for (const status of [404, 403, 499, 428]) expect(isAway(failed({ status }))).toBe(false);
  expect(isAway(failed({}, "closed"))).toBe(false);
  expect(isAway(new Error("x"))).toBe(false);
});
