import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { startServer } from "../../lib/compress/check/local-server.ts";
import { highestRate, keepsUp, openSender, saturate } from "./load-generator.ts";

/** A server that answers one request after the other, each in the same time: so many a second at most. */
function queue(ms: number): { send(): Promise<never>; sent(): number } {
  let last: Promise<unknown> = Promise.resolve();
  let sent = 0;
  return {
    send() {
      sent += 1;
      last = last.then(() => sleep(ms));
      return last as Promise<never>;
    },
    sent: () => sent,
  };
}

test("a server keeps up below its rate, and not above it, where no further request is sent then", async () => {
  const load = { ms: 1_000, seed: "a", limitMs: 150 };
  expect(await keepsUp(queue(10), { ...load, rate: 40 })).toBe(true);
  const slow = queue(10);
  expect(await keepsUp(slow, { ...load, rate: 400 })).toBe(false);
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
  const durations = { saturateMs: 300, requests: 100, minMs: 500, maxMs: 500 };
  const most = await saturate(queue(5), durations.saturateMs);
  expect(most).toBeGreaterThan(20);
  const rate = await highestRate(queue(5), "a", 100, durations);
  expect(rate).toBeGreaterThan(0.4 * most);
  expect(rate).toBeLessThan(1.3 * most);
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
