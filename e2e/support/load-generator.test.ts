import { expect, test, vi } from "vitest";
import { startServer } from "../../lib/compress/check/local-server.ts";
import { highestRate, keepsUp, openSender, saturate } from "./load-generator.ts";

/** A server that answers one request after the other, each in the same time: so many a second at most. */
function queue(ms: number): { send(): Promise<never>; sent(): number } {
  let last: Promise<unknown> = Promise.resolve();
  let sent = 0;
  return {
    send() {
      sent += 1;
      last = last.then(() => new Promise((resolve) => setTimeout(resolve, ms)));
      return last as Promise<never>;
    },
    sent: () => sent,
  };
}

/** Does timed work on a clock of the test's own: what else the machine does would be a slow server. */
async function onOwnClock<T>(work: () => Promise<T>): Promise<T> {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
  try {
    const done = work();
    await vi.advanceTimersByTimeAsync(60_000);
    return await done;
  } finally {
    vi.useRealTimers();
  }
}

test("a server keeps up below its rate, and not above it, where no further request is sent then", async () => {
  const load = { ms: 1_000, seed: "a", limitMs: 150 };
  expect(await onOwnClock(() => keepsUp(queue(10), { ...load, rate: 40 }))).toBe(true);
  const slow = queue(10);
  expect(await onOwnClock(() => keepsUp(slow, { ...load, rate: 400 }))).toBe(false);
  expect(slow.sent()).toBeLessThan(300);
});

test("a request that fails counts as late", async () => {
  let sent = 0;
  const send = async (): Promise<never> => {
    if (++sent % 20 === 0) throw new Error("busy");
    return undefined as never;
  };
  expect(await keepsUp({ send }, { rate: 500, ms: 400, seed: "a", limitMs: 60 })).toBe(false);
});

test("the highest rate lies below what the server does at most, and near it", async () => {
  const durations = { saturateMs: 1_000, requests: 100, minMs: 2_000, maxMs: 2_000 };
  const most = await onOwnClock(() => saturate(queue(5), durations.saturateMs));
  expect(most).toBeCloseTo(200, 0);
  const rate = await onOwnClock(() => highestRate(queue(5), "a", 100, durations));
  expect(rate).toBeGreaterThan(0.6 * most);
  expect(rate).toBeLessThan(1.05 * most);
});

test("requests go over connections that stay open, and a status other than 200 rejects with the server's words", async () => {
  const sockets = new Set<unknown>();
  const server = await startServer((request, response) => {
    sockets.add(request.socket);
    request.resume().on("end", () => {
      response.writeHead(request.headers["x-bad"] === undefined ? 200 : 429, { "x-own": "1" }).end("words");
    });
  });
  const url = server.origin;
  const good = openSender({ url, headers: {}, body: Uint8Array.of(1, 2) });
  const bad = openSender({ url, headers: { "x-bad": "1" }, body: Uint8Array.of(1) });
  try {
    for (let i = 0; i < 5; i += 1) expect((await good.send()).headers["x-own"]).toBe("1");
    expect(sockets.size).toBe(1);
    await expect(bad.send()).rejects.toThrow("status 429: words");
  } finally {
    good.close();
    bad.close();
    await server.close();
  }
});
