// Loads a server from outside a page, over connections that stay open: at a rate, with requests at random times, or with
// so many at once. The highest rate within a latency bound is searched, and latency counts from the time at which a
// request was due, so a server that falls behind does not slow the load down. autocannon has neither a rate of random
// arrivals nor that search, and its own latencies count from the sending.
import { Agent, request } from "node:http";
import { arrivalTimes } from "../pages/mix.ts";

/** A request that is sent again and again. */
export interface Target {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
}

/** An answer with status 200. */
export interface Answer {
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly bytes: Uint8Array;
}

/** A connection pool that sends one request. */
export interface Sender {
  /** Sends the request; rejects where it is not answered with 200. */
  send(): Promise<Answer>;
  close(): void;
}

/** Load at a rate. */
export interface Load {
  /** Requests per second. */
  readonly rate: number;
  readonly ms: number;
  /** Seed of the arrival times. */
  readonly seed: string;
  /** Latency from which a request is late. */
  readonly limitMs: number;
}

/** Share of requests that may be late or fail. */
const LATE_SHARE = 0.01;
/** Requests at once of the run that finds how much a server does at most. */
const AT_ONCE = 16;
/** Durations: of that run, and of a try at a rate, which is long enough for so many requests, within bounds. */
const DURATIONS = { saturateMs: 1_500, requests: 300, minMs: 2_000, maxMs: 8_000 } as const;
/** Each halves the range: the last one is 4 % of the most that the server does. */
const STEPS = 5;

/** Not of node:timers/promises, which a test's clock does not replace. */
function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Opens connections as they are needed, at most as many. */
export function openSender({ url, headers, body }: Target, connections = 128): Sender {
  const agent = new Agent({ keepAlive: true, maxSockets: connections });
  const options = { method: "POST", agent, headers: { ...headers, "content-length": String(body.length) } };
  return {
    send: () =>
      new Promise((resolve, reject) => {
        const call = request(url, options, (reply) => {
          const parts: Buffer[] = [];
          reply.on("data", (part: Buffer) => parts.push(part));
          reply.on("error", reject).on("end", () => {
            const bytes = Buffer.concat(parts);
            if (reply.statusCode === 200) resolve({ headers: reply.headers, bytes });
            else reject(new Error(`${url}: status ${reply.statusCode}: ${bytes.toString("utf8", 0, 200)}`));
          });
        });
        call.on("error", reject).end(body);
      }),
    close() {
      agent.destroy();
    },
  };
}

/** Sends the next request when one of so many is answered; returns requests per second. */
export async function saturate({ send }: Pick<Sender, "send">, ms: number, atOnce = AT_ONCE): Promise<number> {
  const startMs = performance.now();
  let answered = 0;
  const work = async (): Promise<void> => {
    while (performance.now() < startMs + ms) {
      await send();
      answered += 1;
    }
  };
  await Promise.all(Array.from({ length: atOnce }, work));
  return (1_000 * answered) / (performance.now() - startMs);
}

/**
 * Sends requests at the times of a Poisson process; returns whether 99 of 100 were answered in time. Once more were late
 * the rest is not sent; what was sent is waited for.
 */
export async function keepsUp({ send }: Pick<Sender, "send">, { rate, ms, seed, limitMs }: Load): Promise<boolean> {
  const times = arrivalTimes(seed, rate, ms);
  const lateMax = Math.floor(LATE_SHARE * times.length);
  let late = 0;
  const call = async (dueMs: number): Promise<void> => {
    const isAnswered = await send().then(
      () => true,
      () => false,
    );
    if (!isAnswered || performance.now() - dueMs > limitMs) late += 1;
  };
  const calls: Promise<void>[] = [];
  const startMs = performance.now();
  for (const atMs of times) {
    for (let waitMs; (waitMs = startMs + atMs - performance.now()) > 0;) await sleep(waitMs);
    if (late > lateMax) break;
    calls.push(call(startMs + atMs));
  }
  await Promise.all(calls);
  return late <= lateMax;
}

/**
 * Searches the highest rate at which 99 of 100 requests are answered within `limitMs`, by halving the range up to what
 * the server does at most; 0 where it does not keep up with any that was tried.
 */
export async function highestRate(
  sender: Pick<Sender, "send">,
  seed: string,
  limitMs: number,
  { saturateMs, requests, minMs, maxMs }: Readonly<Record<keyof typeof DURATIONS, number>> = DURATIONS,
): Promise<number> {
  let [low, high] = [0, 1.2 * (await saturate(sender, saturateMs))];
  for (let step = 0; step < STEPS; step += 1) {
    const rate = (low + high) / 2;
    const ms = Math.min(maxMs, Math.max(minMs, (1_000 * requests) / rate));
    if (await keepsUp(sender, { rate, ms, seed: `${seed} ${step}`, limitMs })) low = rate;
    else high = rate;
  }
  return low;
}
