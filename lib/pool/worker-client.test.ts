import { afterEach, beforeEach, expect, test } from "vitest";
import type { Effects } from "../effects/effects.ts";
import { THREAD_NAME } from "../rpc/messages.ts";
import { WorkerClient } from "./worker-client.ts";

/** A worker that only listens. */
class Deaf extends EventTarget {
  readonly got: unknown[] = [];
  ended = 0;
  postMessage(message: unknown): void {
    this.got.push(message);
  }
  terminate(): void {
    this.ended += 1;
  }
}

let made: { name: string; worker: Deaf }[] = [];
const effects: Partial<Effects> = {
  createWorker(_url, name) {
    const worker = new Deaf();
    made.push({ name, worker });
    return worker;
  },
};
const open: MessagePort[] = [];

beforeEach(() => {
  made = [];
});
afterEach(() => {
  for (const port of open.splice(0)) port.close();
});

function askForOne(): { client: WorkerClient; lane: Deaf; thread: Deaf; port: MessagePort } {
  const client = new WorkerClient(effects as Effects, { href: "worker.js", script: "worker.js" });
  const lane = (made[0] as (typeof made)[0]).worker;
  const { port1, port2 } = new MessageChannel();
  open.push(port1, port2);
  lane.dispatchEvent(new MessageEvent("message", { data: { selvedge: "thread", port: port1 } }));
  return { client, lane, thread: (made[1] as (typeof made)[0]).worker, port: port1 };
}

test("a thread that a worker asks for is made by the page, gets the port, and ends with the worker", () => {
  const { client, lane, thread, port } = askForOne();
  expect(made.map(({ name }) => name)).toEqual(["selvedge", THREAD_NAME]);
  expect(thread.got).toEqual([{ port }]);
  client.end(new Error("done"));
  expect([lane.ended, thread.ended]).toEqual([1, 1]);
});

test("a thread that is asked for by a worker that has ended is not made", () => {
  const { client, lane, port } = askForOne();
  client.end(new Error("done"));
  lane.dispatchEvent(new MessageEvent("message", { data: { selvedge: "thread", port } }));
  expect(made).toHaveLength(2);
});

test("a thread that crashes ends its worker, and the other threads", () => {
  const { client, lane, thread } = askForOne();
  let why: Error | null = null;
  client.onEnd = (error) => {
    why = error;
  };
  thread.dispatchEvent(Object.assign(new Event("error"), { message: "out of stack" }));
  expect(why).toMatchObject({ code: "worker-crashed", details: { message: "out of stack" } });
  expect([lane.ended, thread.ended]).toEqual([1, 1]);
});
