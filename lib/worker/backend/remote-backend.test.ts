// A lane of a server alone, with a real server over HTTP and the page's end of the line for headers.
import { expect, test } from "vitest";
import type { HeadersRequest } from "../../rpc/backend.ts";
import { ONE, start, status, TWO } from "../../test-support/remote/remote-world.ts";
import { createRemoteBackend } from "./remote-backend.ts";

const LIMITS = { timeoutMs: 10_000, attemptTimeoutMs: 10_000, attempts: 2 };
const NAMES = { remote: { model: "double", identity: "i" } };

test("headers that never come fail their own request alone", async () => {
  const [engine] = await start();
  const { port1: page, port2: port } = new MessageChannel();
  const backend = createRemoteBackend();
  const stop = new AbortController();
  let isHung = false;
  const asked: string[] = [];
  page.onmessage = ({ data: { id, endpoint } }: MessageEvent<HeadersRequest>) => {
    asked.push(endpoint);
    if (isHung) stop.abort(new Error("deadline"));
    else page.postMessage({ id, headers: [["x-token", String(asked.length)]] });
  };
  try {
    const endpoint = engine?.url ?? "";
    await backend.start({ remote: { ...LIMITS, endpoint, ports: [port] } } as never);
    await backend.load(1, NAMES as never);
    isHung = true;
    const late = backend.run(1, ONE, undefined, { signal: stop.signal, leftMs: () => 5_000 });
    await expect(late).rejects.toThrow("deadline");
    isHung = false;
    expect((await backend.run(1, ONE))["y"]?.data).toEqual(TWO);
    expect(engine?.infers.map((x) => x.headers["x-token"])).toEqual(["3"]);
    expect(asked).toEqual([endpoint, endpoint, endpoint]);
  } finally {
    page.close();
  }
});

test("headers that have not come within `timeoutMs` have the lane left alone, as those that can't be made", async () => {
  const [engine] = await start();
  const { port1: page, port2: port } = new MessageChannel();
  const backend = createRemoteBackend();
  let isHung = false;
  page.onmessage = ({ data: { id } }: MessageEvent<HeadersRequest>) => {
    if (!isHung) page.postMessage({ id, headers: [] });
  };
  try {
    const limits = { ...LIMITS, timeoutMs: 200 };
    await backend.start({ remote: { ...limits, endpoint: engine?.url, ports: [port] } } as never);
    await backend.load(1, NAMES as never);
    isHung = true;
    const failed = await backend.run(1, ONE).catch((error: unknown) => error);
    expect(failed).toMatchObject({ code: "remote-failed", details: { reason: "timeout", isLaneDown: true } });
    expect((failed as Error).message).toContain("not sent: `headers` took too long");
    expect(engine?.infers).toEqual([]);
  } finally {
    page.close();
  }
});

test("headers that come late, after those of the next request, are no headers of it", async () => {
  const [engine] = await start();
  const { port1: page, port2: port } = new MessageChannel();
  const backend = createRemoteBackend();
  const asked: number[] = [];
  const stop = new AbortController();
  page.onmessage = ({ data: { id } }: MessageEvent<HeadersRequest>) => {
    asked.push(id);
    const answer = (of: number): void => {
      page.postMessage({ id: of, headers: [["x-token", String(of)]] });
    };
    if (asked.length === 2) stop.abort(new Error("deadline"));
    else if (asked.length === 3) for (const each of asked.slice(1)) answer(each);
    else answer(id);
  };
  try {
    await backend.start({ remote: { ...LIMITS, endpoint: engine?.url, ports: [port] } } as never);
    await backend.load(1, NAMES as never);
    const late = backend.run(1, ONE, undefined, { signal: stop.signal, leftMs: () => 5_000 });
    await expect(late).rejects.toThrow("deadline");
    expect((await backend.run(1, ONE))["y"]?.data).toEqual(TWO);
    expect(engine?.infers.map((x) => x.headers["x-token"])).toEqual([String(asked[2])]);
  } finally {
    page.close();
  }
});

test("a full queue fails its request and is no lost lane, a server that is away is one", async () => {
  const [engine] = await start();
  const backend = createRemoteBackend();
  await backend.start({ remote: { ...LIMITS, attempts: 1, endpoint: engine?.url, ports: [] } } as never);
  await backend.load(1, NAMES as never);
  engine?.faults.push(status(429, '{"error":"Queue is full"}'), status(502));
  const full = await backend.run(1, ONE).catch((error: unknown) => error);
  expect(full).toMatchObject({ code: "remote-failed", details: { reason: "busy", status: 429 } });
  expect(full).not.toHaveProperty("details.isLaneDown");
  await expect(backend.run(1, ONE)).rejects.toMatchObject({ details: { isLaneDown: true } });
});

test("a lane that waits as a full queue asked fails requests, and is not lost (server-wait)", async () => {
  const [engine] = await start();
  const backend = createRemoteBackend();
  await backend.start({ remote: { ...LIMITS, endpoint: engine?.url, ports: [] } } as never);
  await backend.load(1, NAMES as never);
  engine?.faults.push(status(429, '{"error":"Queue is full"}', { "retry-after": "20" }));
  for (let i = 0; i < 3; i += 1) {
    const full = await backend.run(1, ONE).catch((error: unknown) => error);
    expect(full).toMatchObject({ code: "remote-failed", details: { waitMs: expect.any(Number) as number } });
    expect(full).not.toHaveProperty("details.isLaneDown");
  }
  expect(engine?.infers).toHaveLength(1);
});
