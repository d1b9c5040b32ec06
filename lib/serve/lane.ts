// A lane of the server: a thread that holds all models in ONNX Runtime, and runs one batch at a time. onnxruntime-node
// computes on the thread that calls it, so runs on the server's own thread would stop it from answering anything else.
//
// The thread's code is a text of plain CommonJS, as that of model-process.ts: it needs no file that a bundler or a
// loader of TypeScript would have to find.
import { setTimeout as sleep } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { withRightPasses } from "../compress/run/right-passes.ts";
import type { Tensor } from "../core/tensor.ts";
import { SelvedgeError } from "../core/errors.ts";

/** Tensors by name. */
export type ServeTensors = Readonly<Record<string, Tensor>>;

/** A model as a lane loads it. */
export interface LaneModel {
  readonly id: number;
  /** Path of the graph. */
  readonly path: string;
  /** Session entries of ONNX Runtime. */
  readonly extra: Readonly<Record<string, string>>;
}

/** Time that the end of a thread may take: a run that has begun can't be stopped. */
const CLOSE_MS = 5_000;

/** Code of the thread. */
const THREAD = `
const { parentPort, workerData } = require("node:worker_threads");
const ort = require(workerData.runtime);
const sessions = new Map();
const calls = {
  async load({ id, path, extra }) {
    const intraOpNumThreads = workerData.threads;
    sessions.set(id, await ort.InferenceSession.create(path, { intraOpNumThreads, interOpNumThreads: 1, logSeverityLevel: 4, extra }));
  },
  async run({ id, feeds }) {
    const tensors = feeds.map(([name, { dtype, dims, data }]) => [name, new ort.Tensor(dtype, data, dims)]);
    const results = await sessions.get(id).run(Object.fromEntries(tensors));
    return Object.entries(results).map(([name, { type, dims, data }]) => [name, { dtype: type, dims: [...dims], data }]);
  },
  close: () => process.exit(),
};
parentPort.on("message", async ({ call, name, given }) => {
  let answer;
  try {
    answer = { call, result: await calls[name](given) };
  } catch (error) {
    answer = { call, error: error instanceof Error ? error.message : String(error) };
  }
  parentPort.postMessage(answer);
});
`;

interface Answer {
  readonly call: number;
  readonly result?: unknown;
  readonly error?: string;
}

interface Waiting {
  resolve(result: unknown): void;
  reject(error: Error): void;
}

/** A thread with models. */
export class ServeLane {
  /** Name of the lane. */
  readonly id: string;
  readonly #worker: Worker;
  readonly #waiting: Map<number, Waiting> = new Map();
  #calls = 0;
  #ended: Error | null = null;
  #hasExited = false;

  /** The error of a thread that ended; null while it runs. */
  get ended(): Error | null {
    return this.#ended;
  }

  /** Starts the thread. `runtime` is the path of onnxruntime-node; `onEnd` is called when the thread ends by itself. */
  constructor(id: string, runtime: string, threads: number, onEnd: (error: Error) => void) {
    this.id = id;
    this.#worker = new Worker(THREAD, { eval: true, workerData: { runtime, threads }, execArgv: [] });
    this.#worker.on("message", ({ call, result, error }: Answer) => {
      const waiting = this.#waiting.get(call);
      this.#waiting.delete(call);
      if (error === undefined) waiting?.resolve(result);
      else waiting?.reject(new Error(error));
    });
    const end = (cause: unknown): void => {
      if (this.#ended !== null) return;
      const why = cause instanceof Error ? cause.message : `exit code ${String(cause)}`;
      onEnd(this.#end(new SelvedgeError("worker-crashed", `The thread of lane ${id} ended: ${why}.`, {}, cause)));
    };
    this.#worker.on("error", end);
    this.#worker.on("exit", (code) => {
      this.#hasExited = true;
      end(code);
    });
  }

  /** Loads a model. Rejects with ONNX Runtime's error. */
  async load({ id, path, extra }: LaneModel): Promise<void> {
    await this.#call("load", { id, path, extra: withRightPasses(path, extra) }, []);
  }

  /** Runs a model; the feeds' buffers move to the thread. Rejects with ONNX Runtime's error, or `worker-crashed`. */
  async run(id: number, feeds: ServeTensors): Promise<Record<string, Tensor>> {
    const own = Object.entries(feeds).map(([name, tensor]) => [name, whole(tensor)] as const);
    const buffers = own.flatMap(([, { data }]) => (Array.isArray(data) ? [] : [data.buffer as ArrayBuffer]));
    const results = await this.#call("run", { id, feeds: own }, [...new Set(buffers)]);
    return Object.fromEntries(results as (readonly [string, Tensor])[]);
  }

  /**
   * Ends the thread and rejects what it has with `closed`. Resolves after `maxMs` at the latest; the thread then ends
   * after its run. It ends itself: where a thread is terminated in a run, onnxruntime-node throws what nothing catches,
   * and the process aborts.
   */
  async close(maxMs: number = CLOSE_MS): Promise<void> {
    if (this.#ended === null) this.#end(new SelvedgeError("closed", "The server is closed."));
    if (this.#hasExited) return;
    const exit = new Promise((resolve) => this.#worker.once("exit", resolve));
    this.#worker.postMessage({ call: this.#calls++, name: "close", given: null });
    await Promise.race([exit, sleep(maxMs, undefined, { ref: false })]);
  }

  #end(error: Error): Error {
    this.#ended = error;
    for (const waiting of this.#waiting.values()) waiting.reject(error);
    this.#waiting.clear();
    return error;
  }

  #call(name: string, given: object, transfer: ArrayBuffer[]): Promise<unknown> {
    const call = this.#calls++;
    return new Promise((resolve, reject) => {
      if (this.#ended !== null) {
        reject(this.#ended);
        return;
      }
      this.#waiting.set(call, { resolve, reject });
      this.#worker.postMessage({ call, name, given }, transfer);
    });
  }
}

/** Copies a tensor whose array is a part of a buffer, which can't move without the rest. */
function whole(tensor: Tensor): Tensor {
  const { data } = tensor;
  return Array.isArray(data) || data.byteLength === data.buffer.byteLength
    ? tensor
    : ({ ...tensor, data: data.slice() } as Tensor);
}
