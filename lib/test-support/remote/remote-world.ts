// Shared by the tests of the client: servers with faults, a client with a manual clock, and no unhandled rejection after
// any test.
import { afterEach, beforeEach, expect } from "vitest";
import { isSelvedgeError } from "../../core/errors.ts";
import type { Tensor } from "../../core/tensor.ts";
import { connectRemote } from "../../remote/index.ts";
import type { RemoteClient, RemoteModel, RemoteOptions } from "../../remote/index.ts";
import { FaultyEngine } from "./faulty-engine.ts";
import type { ServerFault } from "./faulty-engine.ts";
import { ManualClock } from "./manual-clock.ts";

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

/** A server, its client and their clock. */
export interface RemoteWorld {
  readonly engine: FaultyEngine;
  readonly clock: ManualClock;
  readonly remote: RemoteClient;
  readonly model: RemoteModel;
}

/** Starts servers, which end with the test. */
export async function start(count = 1): Promise<FaultyEngine[]> {
  const started = Array.from({ length: count }, () => new FaultyEngine());
  engines.push(...started);
  await Promise.all(started.map((x) => x.start()));
  return started;
}

/** Connects to servers with a clock. */
export function connect(
  urls: readonly string[],
  clock: ManualClock,
  options: Partial<RemoteOptions> = {},
): RemoteClient {
  const { now, setTimer } = clock;
  const effects = { now, setTimer, random: () => 0.5, fetch, baseUrl: undefined };
  return connectRemote({ endpoints: urls, effects, ...options });
}

/** A server and its client, which tries by itself whether the server takes bytes unless `binary` says so. */
export async function world(options: Partial<RemoteOptions> = {}, clock = new ManualClock()): Promise<RemoteWorld> {
  const [engine = new FaultyEngine()] = await start();
  const remote = connect([engine.url], clock, options);
  return { engine, clock, remote, model: await remote.model("double") };
}

/** An input of rows of four. */
export const x = (...values: number[]): Tensor => ({
  dtype: "float32",
  dims: [values.length / 4, 4],
  data: Float32Array.from(values),
});

/** Inputs of one row. */
export const ONE: { readonly x: Tensor } = { x: x(1, 2, 3, 4) };
/** The answer to them. */
export const TWO: Float32Array = Float32Array.of(2, 4, 6, 8);

/** Returns the reason and details of a failure. */
export async function failureOf(
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

/** Answers with a status. */
export const status =
  (code: number, body = "", headers: Record<string, string> = {}): ServerFault =>
  (response) => {
    response.writeHead(code, headers).end(body);
  };
/** Resets the connection instead of an answer. */
export const reset: ServerFault = (response) => {
  response.socket?.resetAndDestroy();
};
/** Resets the connection in the middle of the answer. */
export const resetMidBody: ServerFault = (response) => {
  response.writeHead(200, { "content-length": "1000" });
  response.write(" ".repeat(64), () => response.socket?.resetAndDestroy());
};
/** Never answers. */
export const hang: ServerFault = () => undefined;
