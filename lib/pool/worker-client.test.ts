import { afterEach, beforeEach, expect, test } from "vitest";
import { BUILD_ID } from "../core/build-id.ts";
import { SelvedgeError, toWireError } from "../core/errors.ts";
import type { Effects } from "../effects/effects.ts";
import type { StartOptions } from "../rpc/backend.ts";
import { THREAD_NAME } from "../rpc/messages.ts";
import type { LoadMessage } from "../rpc/messages.ts";
import { WorkerClient } from "./worker-client.ts";

/** A worker that never answers. */
class Deaf extends EventTarget {
  readonly got: unknown[] = [];
  readonly moved: Transferable[] = [];
  ended = 0;
  postMessage(message: unknown, moved: readonly Transferable[] = []): void {
    this.got.push(message);
    this.moved.push(...moved);
  }
  terminate(): void {
    this.ended += 1;
  }
}

let made: { name: string; worker: Deaf }[] = [];
const effects: Partial<Effects> = {
  setTimer: () => () => undefined,
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
  expect([thread.got, thread.moved]).toEqual([[{ port }], [port]]);
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
  const message = "A thread crashed: out of stack";
  expect(why).toMatchObject({ code: "worker-crashed", message, details: { message: "out of stack" } });
  expect([lane.ended, thread.ended]).toEqual([1, 1]);
});

/** A client with a call of one second in flight, and a clock that only `pass` moves. */
function callOfASecond(
  more: Partial<Effects> = {},
  boundMs = 1_000,
): {
  client: WorkerClient;
  say: (data: object) => void;
  pass: (ms: number) => void;
  ended: Error[];
} {
  let nowMs = 0;
  let timers: { atMs: number; call: () => void }[] = [];
  const clocked: Partial<Effects> = {
    ...effects,
    ...more,
    now: () => nowMs,
    setTimer(call, ms) {
      const timer = { atMs: nowMs + ms, call };
      timers.push(timer);
      return () => {
        timers = timers.filter((x) => x !== timer);
      };
    },
  };
  const client = new WorkerClient(clocked as Effects, { href: "worker.js", script: "worker.js" });
  const ended: Error[] = [];
  client.onEnd = (error) => ended.push(error);
  client.unload(1, boundMs).catch(() => undefined);
  const pass = (ms: number): void => {
    for (let i = 0; i < ms; i += 10) {
      nowMs += 10;
      const due = timers.filter(({ atMs }) => atMs <= nowMs);
      timers = timers.filter(({ atMs }) => atMs > nowMs);
      for (const { call } of due) call();
    }
  };
  const { worker } = made[0] as (typeof made)[0];
  const say = (data: object): void => {
    worker.dispatchEvent(new MessageEvent("message", { data }));
  };
  return { client, say, pass, ended };
}

const MODULE = new WebAssembly.Module(Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0));

test("no watchdog counts while the page fetches the second part of the binary for a worker", async () => {
  const { client, say, pass, ended } = callOfASecond();
  let resolve: (rest: WebAssembly.Module) => void = () => undefined;
  client.onRest = () =>
    new Promise((done) => {
      resolve = done;
    });
  const { port1, port2 } = new MessageChannel();
  open.push(port1, port2);
  const got = new Promise((done) => {
    port1.onmessage = ({ data }) => {
      done(data);
    };
  });
  pass(900);
  say({ selvedge: "rest", port: port2 });
  pass(20_000);
  expect(ended).toEqual([]);
  resolve(MODULE);
  expect(await got).toBeInstanceOf(WebAssembly.Module);
  pass(90);
  expect(ended).toEqual([]);
  pass(20);
  expect(ended).toHaveLength(1);
});

test("no watchdog counts while a worker is blocked by the fetch of the second part, which the page then keeps", () => {
  const { client, say, pass, ended } = callOfASecond();
  const kept: unknown[] = [];
  client.onLinked = (rest) => kept.push(rest);
  pass(900);
  say({ selvedge: "linking" });
  pass(20_000);
  say({ selvedge: "linked", rest: MODULE });
  pass(90);
  expect([ended, kept]).toEqual([[], [MODULE]]);
  pass(20);
  expect(ended).toHaveLength(1);
});

/** A client whose call has no bound, and what its script's examinations were asked. */
function callWithoutBound(found: SelvedgeError | null) {
  const faults: unknown[] = [];
  const diagnose = (_source: unknown, fault: unknown): Promise<SelvedgeError | null> => {
    faults.push(fault);
    return Promise.resolve(found);
  };
  const { client, ...rest } = callOfASecond({ diagnose }, Infinity);
  const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
  return { ...rest, client, faults, settle };
}
const EMPTY = new SelvedgeError("setup-failed", "it is empty", { reason: "worker-invalid" });

test("the script of a worker that sends nothing for 5 s is examined, and ends it where it is at fault", async () => {
  const { pass, faults, ended, settle } = callWithoutBound(EMPTY);
  pass(4_980);
  expect(faults).toEqual([]);
  pass(20);
  await settle();
  expect([faults, ended]).toEqual([[null], [EMPTY]]);
});

test("a worker whose script is right may be slow: it goes on, and is not examined again", async () => {
  const { pass, faults, ended, settle } = callWithoutBound(null);
  pass(60_000);
  await settle();
  expect([faults, ended]).toEqual([[null], []]);
});

test("the script of a worker that has sent a message is not examined", async () => {
  const { say, pass, faults, settle } = callWithoutBound(EMPTY);
  say({ selvedge: "ready", build: BUILD_ID });
  pass(60_000);
  await settle();
  expect(faults).toEqual([]);
});

test("a script that throws before it is ready is diagnosed by its error; without a cause it has crashed", async () => {
  const message = "Uncaught SyntaxError: Unexpected end of input";
  const fail = (): boolean | undefined =>
    made.at(-1)?.worker.dispatchEvent(Object.assign(new Event("error"), { message }));
  const known = callWithoutBound(EMPTY);
  fail();
  await known.settle();
  expect([known.faults, known.ended]).toEqual([[message], [EMPTY]]);
  const unknown = callWithoutBound(null);
  fail();
  await unknown.settle();
  expect(unknown.ended).toMatchObject([{ code: "worker-crashed", message: `The worker crashed: ${message}` }]);
});

test("a worker that throws once it is ready has crashed", () => {
  const { say, ended, faults } = callWithoutBound(EMPTY);
  say({ selvedge: "ready", build: BUILD_ID });
  made[0]?.worker.dispatchEvent(Object.assign(new Event("error"), { message: "x" }));
  expect([faults, ended]).toMatchObject([[], [{ code: "worker-crashed" }]]);
});

/** A client whose worker answers each call of a name with the next of some replies. */
function answering(name: string, ...replies: readonly object[]) {
  const { client, say } = callOfASecond({}, Infinity);
  const { worker } = made[0] as (typeof made)[0];
  const calls: unknown[][] = [];
  const post = worker.postMessage.bind(worker);
  worker.postMessage = (message, moved) => {
    post(message, moved);
    const { id, path, argumentList } = message as { id: number; path: string[]; argumentList: { value: unknown }[] };
    if (path[0] !== name) return;
    calls.push(argumentList.map(({ value }) => value));
    const value = replies[calls.length - 1];
    if (value !== undefined) setImmediate(say, { id, type: "RAW", value });
  };
  say({ selvedge: "ready", build: BUILD_ID });
  return { client, worker, calls };
}

test("ports of a server's fetches move to the worker when it starts", async () => {
  const { port1, port2 } = new MessageChannel();
  open.push(port1, port2);
  const { client, worker, calls } = answering("start", { ok: true, value: {} }, { ok: true, value: {} });
  const remote = { ports: [port1] };
  await client.start({ remote } as unknown as StartOptions, 1_000);
  expect([calls, worker.moved]).toEqual([[[{ remote }]], [port1]]);
  await client.start({} as StartOptions, 1_000);
  expect(worker.moved).toEqual([port1]);
});

test("a worker is notified of a model that it will load, and its failure is the load's to report", async () => {
  const failed = { ok: false, error: { kind: "other", name: "Error", message: "no such file" } };
  const { client, calls } = answering("foresee", failed);
  const model = new Blob(["model"]);
  client.foresee(model);
  await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
  expect(calls).toEqual([[model]]);
});

const lost = () => ({
  ok: false,
  error: toWireError(new SelvedgeError("download-failed", "the file is gone", { reason: "unreadable" })),
});
const FILES = [{ path: "", data: new Blob(["model"]) }];

test("a load whose bytes the browser has lost is repeated once they are renewed, and fails where they can't be", async () => {
  const facts = { inputs: [] };
  const message = { modelId: 1, files: FILES } as unknown as LoadMessage;
  const renewed: unknown[] = [];
  const renew = (isRenewed: boolean) => (files: LoadMessage["files"]) => {
    renewed.push(files);
    return Promise.resolve(isRenewed);
  };
  const right = answering("load", lost(), { ok: true, value: facts });
  expect(await right.client.load({ ...message, renew: renew(true) }, 1_000)).toEqual(facts);
  expect([right.calls, renewed]).toEqual([[[message], [message]], [FILES]]);
  for (const more of [{}, { renew: renew(false) }]) {
    made = [];
    const wrong = answering("load", lost());
    await expect(wrong.client.load({ ...message, ...more }, 1_000)).rejects.toMatchObject({ code: "download-failed" });
    expect(wrong.calls).toHaveLength(1);
  }
});

test("the log, the memory and the end of the device are taken from the worker's messages; others are not", () => {
  const { client, say, ended } = callOfASecond({}, Infinity);
  say({ selvedge: "ready", build: BUILD_ID });
  say({ selvedge: "log", line: "unheard" });
  const lines: string[] = [];
  client.onLog = (line) => lines.push(line);
  say({ selvedge: "log", line: "a warning" });
  expect(client.memoryBytes).toBe(0);
  say({ selvedge: "memory", bytes: 4_096 });
  expect([lines, client.memoryBytes]).toEqual([["a warning"], 4_096]);
  say({ from: "an extension" });
  expect(ended).toEqual([]);
  say({ selvedge: "device-lost", reason: "the driver was reset" });
  const message = "The GPU device was lost: the driver was reset";
  expect(ended).toMatchObject([{ code: "device-lost", message, details: { message: "the driver was reset" } }]);
  expect(client.memoryBytes).toBe(4_096);
});

test("a worker that asks for the second part is answered with none where nobody fetches it", async () => {
  const { say } = callOfASecond({}, Infinity);
  const { port1, port2 } = new MessageChannel();
  open.push(port1, port2);
  const got = new Promise((done) => {
    port1.onmessage = ({ data }) => {
      done(data);
    };
  });
  say({ selvedge: "rest", port: port2 });
  expect(await got).toBeNull();
});

test("a second part that a worker linked without a fetch, or could not link, is kept only where there is one", () => {
  const { client, say } = callOfASecond({}, Infinity);
  say({ selvedge: "linked", rest: MODULE });
  const kept: unknown[] = [];
  client.onLinked = (rest) => kept.push(rest);
  say({ selvedge: "linked", rest: null });
  say({ selvedge: "linked", rest: MODULE });
  expect(kept).toEqual([MODULE]);
});
