// Subjects of the benchmark of faults, in the page: Selvedge, ONNX Runtime Web and transformers.js, each in workers,
// the same model, the same 20 requests in flight, the same fault. A page takes one fault only: it is loaded anew for
// each sample.
import { createEngine } from "selvedge";
import type { Inputs } from "selvedge";
import { addModel, zerosModel } from "../../lib/test-support/backend-models.ts";
import { Saboteur } from "../../demo/faults/saboteur.ts";
import { preferGpu } from "./prefer-gpu.ts";
import ortUrl from "./peer-ort.ts?worker&url";
import transformersUrl from "./peer-transformers.ts?worker&url";
import type { Cost, CostlyFault, Sufferer } from "./sufferers.ts";
import type { PeerAnswer, PeerAsk, PeerData, PeerFeeds } from "./peer.ts";

interface Subject {
  run(feeds: PeerFeeds): Promise<PeerData | undefined>;
}

const COUNT = 20;
const LATER = 5;
const BIG = 30_000_000;
/** Time until a stalled worker is detected. */
const BOUND_MS = 3_000;
const GPU_FAULTS: readonly string[] = ["destroy", "invalid"];

type Asked = Pick<Cost, "ms" | "hung" | "rejected" | "wrong" | "errors">;

const saboteur = new Saboteur();

/** Injects a fault into a subject with requests in flight; waits at most `patienceMs` for them. */
async function suffer(who: Sufferer, fault: CostlyFault, patienceMs: number): Promise<Cost> {
  const onGpu = GPU_FAULTS.includes(fault);
  const grows = fault === "out-of-memory";
  const model = grows ? zerosModel(1) : addModel();
  if (fault === "missing") saboteur.nextStarts.push("missing");
  const began = performance.now();
  const loading = who === "selvedge" ? selvedge(model, onGpu) : byHand(who, model, onGpu);
  const loaded = await within(loading, patienceMs);
  const subject: Subject =
    "value" in loaded ? loaded.value : { run: (feeds) => loading.then((late) => late.run(feeds)) };
  let plainMs = 0;
  if (fault !== "missing") {
    await ask(subject, grows, false, 2, patienceMs);
    plainMs = (await ask(subject, grows, false, COUNT, patienceMs)).ms;
  }
  // Faults of a run are requested before: a hand-written worker has all requests in its mailbox as soon as they are
  // sent.
  if (fault !== "missing" && fault !== "kill") saboteur.harmUsed(fault, fault !== "out-of-memory");
  const hurt = await ask(subject, grows, grows, COUNT, patienceMs, () => {
    if (fault === "kill") saboteur.harmUsed(fault, false);
  });
  const ms = fault === "missing" ? performance.now() - began : hurt.ms;
  const after = await ask(subject, grows, false, LATER, patienceMs);
  const later = LATER - after.hung - after.rejected - after.wrong;
  return { ...hurt, ms: Math.min(ms, patienceMs), plainMs, later, backend: onGpu ? "webgpu" : "wasm" };
}

async function selvedge(model: Uint8Array<ArrayBuffer>, onGpu: boolean): Promise<Subject> {
  if (onGpu) preferGpu();
  const backends = onGpu ? (["webgpu", "wasm"] as const) : (["wasm"] as const);
  const engine = await createEngine({ backends, workers: 1, callTimeoutMs: onGpu ? 20_000 : BOUND_MS });
  // One lane at a time: wasm, which is faster than a software GPU, would take all requests before the fault.
  const loaded = await engine.load(model, onGpu ? { concurrency: 1 } : {});
  return { run: async (feeds) => (await loaded.run(feeds as Inputs)).outputs["y"]?.data as PeerData };
}

/** A worker around a library, with an app's typical code: a worker's error rejects the pending requests. */
async function byHand(who: Sufferer, model: Uint8Array<ArrayBuffer>, onGpu: boolean): Promise<Subject> {
  const url = who === "transformers.js" ? transformersUrl : ortUrl;
  const worker = new Worker(new URL(url, location.href), { type: "module" });
  const waiting = new Map<number, { resolve(y: PeerData | undefined): void; reject(error: Error): void }>();
  let lastId = 0;
  worker.onmessage = ({ data: { id, y, error } }: MessageEvent<PeerAnswer>) => {
    if (error === undefined) waiting.get(id)?.resolve(y);
    else waiting.get(id)?.reject(new Error(error));
    waiting.delete(id);
  };
  worker.onerror = ({ message }) => {
    for (const { reject } of waiting.values()) reject(new Error(`the worker failed: ${message}`));
    waiting.clear();
  };
  const send = (ask: Omit<PeerAsk, "id">): Promise<PeerData | undefined> =>
    new Promise((resolve, reject) => {
      const id = ++lastId;
      waiting.set(id, { resolve, reject });
      worker.postMessage({ ...ask, id });
    });
  const backend = onGpu ? "webgpu" : "wasm";
  await send({ path: ["load"], model, backend });
  return { run: (feeds) => send({ path: ["run"], feeds }) };
}

/** Sends requests at once, one of them big if required; calls `harm` when all are sent. */
async function ask(
  subject: Subject,
  grows: boolean,
  isBig: boolean,
  count: number,
  patienceMs: number,
  harm?: () => void,
): Promise<Asked> {
  const began = performance.now();
  let [settled, rejected, wrong] = [0, 0, 0];
  const errors = new Set<string>();
  const sent = Array.from({ length: count }, async (_, i) => {
    const length = isBig && i === 7 ? BIG : 1_000 + i;
    try {
      const y = await subject.run(grows ? size(length) : addends(i));
      const isRight = grows
        ? y?.length === length && Number(y.at(-1)) === 0
        : y?.length === 3 && y[0] === 3 * i && y[2] === 3 * i + 0.5;
      if (!isRight) wrong += 1;
    } catch (error) {
      rejected += 1;
      errors.add(String(error).slice(0, 120));
    }
    settled += 1;
  });
  harm?.();
  await within(Promise.all(sent), patienceMs);
  return { ms: performance.now() - began, hung: count - settled, rejected, wrong, errors: [...errors] };
}

function addends(i: number): PeerFeeds {
  const of = (...data: number[]): PeerFeeds[string] => ({
    dtype: "float32",
    dims: [1, 3],
    data: new Float32Array(data),
  });
  return { a: of(i, i, i), b: of(2 * i, 2 * i, 2 * i + 0.5) };
}

function size(n: number): PeerFeeds {
  return { x: { dtype: "int64", dims: [1], data: BigInt64Array.of(BigInt(n)) } };
}

/** Waits with a timeout. A rejection is left to the caller that awaits the promise itself. */
function within<T>(promise: Promise<T>, ms: number): Promise<{ value: T } | { error: unknown }> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => {
      resolve({ error: new Error(`nothing came within ${ms} ms`) });
    }, ms);
    promise.then(
      (value) => {
        clearTimeout(timer);
        resolve({ value });
      },
      (error: unknown) => {
        clearTimeout(timer);
        resolve({ error });
      },
    );
  });
}

Object.assign(globalThis, { faultCost: { suffer } });
