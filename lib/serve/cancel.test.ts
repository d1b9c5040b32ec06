// A lane to a server, with its worker's code, real time and a real server: deadlines and cancels reach its HTTP requests.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { describe as describeModel } from "../compress/bundle/describe.ts";
import { writeBundle } from "../compress/bundle/pack.ts";
import type { Effects, WorkerHandle } from "../effects/effects.ts";
import { networkEffects } from "../effects/network.ts";
import { createRemoteLane } from "../engine/remote-lane.ts";
import { Lane } from "../pool/lane.ts";
import type { Build, LaneEvents, WaitingBatch } from "../pool/lane-options.ts";
import type { Feeds, LoadMessage, Ran } from "../rpc/messages.ts";
import { slowModel } from "../test-support/compress/fixtures.ts";
import { openScene } from "../test-support/simulate/fixtures.ts";
import { createReferenceBackend } from "../test-support/reference-backend.ts";
import { serve } from "../worker/serve.ts";
import { startServer } from "./server.ts";
import type { RunningServer } from "./server.ts";

const NOTHING = (): void => undefined;
const EVENTS: LaneEvents = {
  ...{ trying: NOTHING, loaded: NOTHING, grown: NOTHING, crashed: NOTHING, freed: NOTHING, idled: NOTHING },
  ...{ isUnloaded: () => false, mayStart: () => true },
};
const MODEL: LoadMessage = {
  ...{ modelId: 1, files: [], session: {}, images: {}, decodes: {}, assets: {} },
  remote: { model: "slow" },
};

let folder: string;
let server: RunningServer;
let lane: Lane;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "selvedge-cancel-test-"));
  const model = slowModel(120);
  const variants = [{ id: "f32", needs: [], files: [{ path: "model.onnx", model }] }];
  await writeBundle(folder, { model: await describeModel(model, "slow.onnx", undefined), variants });
  server = await startServer({ bundles: [folder], port: 0, lanes: 1, threads: 1, maxBatchSize: 1, logLevel: "silent" });
  await server.ready;
  const { world } = await openScene();
  const { now, setTimer } = networkEffects();
  const effects: Effects = { ...world.effects, now, setTimer, createWorker: startWorker };
  const build: Build = {
    source: () => ({ href: "worker.js", script: "worker.js" }),
    wasmUrls: () => ({ wasmUrl: "", restUrl: "" }),
    compiled: { modules: Promise.resolve(null), rest: null },
    endpoint: server.url,
    remote: () => ({ endpoint: server.url, timeoutMs: 60_000, attemptTimeoutMs: 60_000, ports: [] }),
  };
  lane = createRemoteLane(Lane, "remote-0", {
    ...{ effects, events: EVENTS, builds: { usual: build, large: build } },
    ...{ threads: 1, verbose: false, onLog: null, idleMs: 600_000, callTimeoutMs: 60_000 },
  });
  await lane.run(MODEL, [rows(1)]);
}, 120_000);

afterAll(async () => {
  lane.close(new Error("done"));
  await server.close();
  rmSync(folder, { recursive: true, force: true });
}, 120_000);

/** Starts the worker's code on this thread, at the other end of a line. */
function startWorker(): WorkerHandle {
  const [outside, inside] = [new EventTarget(), new EventTarget()];
  const line =
    (to: EventTarget) =>
    (message: unknown, moved: Transferable[] = []) => {
      const data: unknown = structuredClone(message, { transfer: moved });
      setImmediate(() => to.dispatchEvent(new MessageEvent("message", { data })));
    };
  const post = line(outside);
  serve(createReferenceBackend(), {
    postMessage: post,
    addEventListener: inside.addEventListener.bind(inside),
    removeEventListener: inside.removeEventListener.bind(inside),
  });
  return Object.assign(outside, { postMessage: line(inside), terminate: NOTHING });
}

function rows(count: number): Feeds {
  const x = { dtype: "float32", dims: [count, 1], data: new Float32Array(count) } as const;
  return { tensors: { x }, others: null };
}

/**
 * Runs a request that takes a third of a second on the fastest of machines; `rejected` is what its caller gets. Nothing
 * ends a run of ONNX Runtime, so the server closes after it.
 */
function ask(own: Partial<WaitingBatch["steps"][number]["work"]["options"]>): {
  readonly ran: Promise<Ran>;
  readonly rejected: Promise<unknown>;
} {
  const options = { signal: undefined, isRefusable: true, dueMs: Infinity, deadlineMs: Infinity, ...own };
  let reject: (error: unknown) => void = NOTHING;
  const rejected = new Promise<unknown>((resolve) => (reject = resolve));
  const steps = [{ id: 1, work: { routes: [{ backend: "remote" as const, here: () => null }], options }, reject }];
  const ran = lane.run(MODEL, () => [rows(500)], { batch: { steps, withdrawn: new Set(), why: { inMs: 0 } } });
  ran.catch(NOTHING);
  return { ran, rejected };
}

const metrics = async (): Promise<string> => (await fetch(`${server.url}/metrics`)).text();
/** Returns the number of requests that left before their answer. */
const left = async (): Promise<number> => Number(/status="499"} (\d+)/.exec(await metrics())?.[1] ?? 0);

test("an abort of a request on a loaded model cancels its HTTP request at the server", async () => {
  const before = await left();
  const stop = new AbortController();
  const { ran } = ask({ signal: stop.signal });
  await expect.poll(metrics, { interval: 5 }).toContain("selvedge_pending_requests 1");
  stop.abort();
  await expect(ran).rejects.toMatchObject({ code: "closed" });
  await expect.poll(left).toBe(before + 1);
});

test("a deadline ends the HTTP request at the server, with the typed error", async () => {
  const before = await left();
  const startMs = performance.now();
  const { ran, rejected } = ask({ dueMs: startMs + 250, deadlineMs: 250 });
  expect(await rejected).toMatchObject({ code: "deadline-exceeded" });
  expect(performance.now() - startMs).toBeLessThan(2_000);
  expect((await ran).items).toMatchObject([{ ok: false }]);
  await expect.poll(left).toBe(before + 1);
});
