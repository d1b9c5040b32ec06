// The page's side of a compute worker: the calls of WorkerApi, and the messages that the worker sends by itself.
import type { BackendFacts, ModelFacts, StartOptions } from "../rpc/backend.ts";
import type { Effects, WorkerHandle, WorkerSource } from "../effects/effects.ts";
import { isUnreadable, SelvedgeError } from "../core/errors.ts";
import { Link } from "../rpc/worker-link.ts";
import type { Watchdog } from "../rpc/watchdog.ts";
import { isNotice, THREAD_NAME } from "../rpc/messages.ts";
import type { LoadMessage, Ran, RunMessage, ThreadMessage, WorkerApi } from "../rpc/messages.ts";
import { sendRun, takeRan } from "../rpc/pack-batch.ts";

/** One compute worker, from its start to its end. */
export class WorkerClient {
  /** Called for each line of the runtime's log, where the worker was started verbose. */
  onLog: ((line: string) => void) | null = null;
  /** Called for the second part of the wasm binary; null lets the worker compile it. */
  onRest: (() => Promise<WebAssembly.Module | null>) | null = null;
  /** Called with the second part that the worker compiled during a call. */
  onLinked: ((rest: WebAssembly.Module) => void) | null = null;
  /** Memory of the worker in bytes, as far as it can be measured. */
  memoryBytes = 0;

  /** Called once when the worker has ended, before its calls reject, with the error that they reject with. */
  onEnd: ((error: Error) => void) | null = null;

  readonly #link: Link<WorkerApi>;
  /** Null once the worker has ended. */
  #threads: WorkerHandle[] | null = [];
  /** Resumes watchdogs that are paused while the worker fetches; null where it does not. */
  #resume: (() => void) | null = null;

  constructor(effects: Effects, source: WorkerSource) {
    this.#link = new Link(effects, source);
    this.#link.onNotice = (data) => {
      if (!isNotice(data)) return;
      if (data.selvedge === "log") this.onLog?.(data.line);
      else if (data.selvedge === "memory") this.memoryBytes = data.bytes;
      else if (data.selvedge === "thread") this.#startThread(effects, source, data.port);
      else if (data.selvedge === "rest") void this.#sendRest(data.port);
      else if (data.selvedge === "linking") this.#resume ??= this.#link.pause();
      else if (data.selvedge === "linked") this.#linked(data.rest);
      else
        this.end(new SelvedgeError("device-lost", `The GPU device was lost: ${data.reason}`, { message: data.reason }));
    };
    this.#link.onEnd = (error) => {
      for (const thread of this.#threads ?? []) thread.terminate();
      this.#threads = null;
      this.onEnd?.(error);
    };
  }

  /** Starts the worker's backend. */
  start(options: StartOptions, boundMs: number): Promise<BackendFacts> {
    return this.#link.callMoving("start", boundMs, options.remote?.ports ?? [], options);
  }

  /** Makes the worker prefetch the files that a model needs beside its bytes, even before it starts. */
  foresee(model: Blob): void {
    this.#link.call("foresee", Infinity, model).catch(() => undefined); // the load reports the error
  }

  /** Loads a model; where the browser has lost its blobs, retries with new ones. */
  async load(message: LoadMessage, boundMs: number): Promise<ModelFacts> {
    const lost = message.files;
    // The page renews files and checks, and a function can't be sent.
    const load = ({ renew: _renew, check: _check, ...told }: LoadMessage): Promise<ModelFacts> =>
      this.#link.call("load", boundMs, told);
    try {
      return await load(message);
    } catch (error) {
      if (!isUnreadable(error) || (await message.renew?.(lost)) !== true) throw error;
      return load(message);
    }
  }

  /**
   * Runs a batch. Inputs are copied to the worker, never moved: a retry needs them. A watchdog in place of a bound
   * counts from when the caller begins it.
   */
  async run(message: RunMessage, bound: number | Watchdog): Promise<Ran> {
    const { message: wire, moved } = sendRun(message);
    return takeRan(await this.#link.callMoving("run", bound, moved, wire));
  }

  /** Frees a model. */
  unload(modelId: number, boundMs: number): Promise<null> {
    return this.#link.call("unload", boundMs, modelId);
  }

  /** Frees a state. */
  removeState(stateId: number, boundMs: number): Promise<null> {
    return this.#link.call("removeState", boundMs, stateId);
  }

  /** Ends the worker now and rejects pending calls. */
  end(error: Error): void {
    this.#link.end(error);
  }

  /** Pauses all watchdogs while the page fetches. */
  async #sendRest(port: MessagePort): Promise<void> {
    const resume = this.#link.pause();
    const rest = (await this.onRest?.()) ?? null;
    resume();
    port.postMessage(rest);
  }

  #linked(rest: WebAssembly.Module | null): void {
    this.#resume?.();
    this.#resume = null;
    if (rest !== null) this.onLinked?.(rest);
  }

  #startThread(effects: Effects, { script }: WorkerSource, port: MessagePort): void {
    if (this.#threads === null) return;
    const thread = effects.createWorker(script, THREAD_NAME);
    thread.addEventListener("error", (event) => {
      event.preventDefault();
      const { message } = event as ErrorEvent;
      this.end(new SelvedgeError("worker-crashed", `A thread crashed: ${message}`, { message }));
    });
    thread.postMessage({ port } satisfies ThreadMessage, [port]);
    this.#threads.push(thread);
  }
}
