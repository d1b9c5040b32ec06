// The page's side of one worker: starts it, calls it, and settles every call when it ends, whatever the cause.
//
// Comlink's calls never reject when a worker ends and its release never settles, so Comlink stays inside this file:
// each call is raced with the end of the worker and with a watchdog, and nothing is ever released, only ended.
import * as Comlink from "comlink";
import type { BackendFacts, ModelFacts, StartOptions } from "../backend/backend.ts";
import type { Effects, ScriptUrl, WorkerHandle } from "../effects.ts";
import { fromWireError, SelvedgeError } from "../errors.ts";
import { isNotice } from "./protocol.ts";
import type { LoadMessage, Ran, Reply, RunMessage, WorkerApi } from "./protocol.ts";
import { watch } from "./watchdog.ts";

/** What a worker is made from. */
export interface WorkerSource {
  /** The script, for the error message and for a look at what the server answered. */
  readonly href: string;
  /** The script as the Worker constructor takes it. */
  readonly script: ScriptUrl;
}

/** One worker, from its start to its end. */
export class WorkerClient {
  /** Called once when the worker has ended, with the error that its calls were rejected with. */
  onEnd: ((error: Error) => void) | null = null;
  /** Called for each line of the runtime's log, where the worker was started verbose. */
  onLog: ((line: string) => void) | null = null;

  readonly #effects: Effects;
  readonly #source: WorkerSource;
  readonly #worker: WorkerHandle;
  readonly #api: Comlink.Remote<WorkerApi>;
  readonly #pending: Set<(error: Error) => void> = new Set();
  #ended: Error | null = null;
  #started = false;

  constructor(effects: Effects, source: WorkerSource) {
    this.#effects = effects;
    this.#source = source;
    this.#worker = effects.createWorker(source.script);
    this.#api = Comlink.wrap<WorkerApi>(this.#worker);
    this.#worker.addEventListener("message", (event) => {
      this.#notice(event);
    });
    this.#worker.addEventListener("error", (event) => {
      this.#crash(event);
    });
    this.#worker.addEventListener("messageerror", () => {
      this.end(new SelvedgeError("worker-crashed", "A message to or from the worker could not be read."));
    });
  }

  /** Tells whether the worker has ended. */
  get ended(): boolean {
    return this.#ended !== null;
  }

  /** Starts the backend inside. */
  async start(options: StartOptions, boundMs: number): Promise<BackendFacts> {
    const facts = await this.#call("start", boundMs, () => this.#api.start(options));
    this.#started = true;
    return facts;
  }

  /** Loads a model. */
  load(message: LoadMessage, boundMs: number): Promise<ModelFacts> {
    return this.#call("load", boundMs, () => this.#api.load(message));
  }

  /** Runs a batch. Inputs are copied to the worker, never moved: they are needed again should it die. */
  run(message: RunMessage, boundMs: number): Promise<Ran> {
    return this.#call("run", boundMs, () => this.#api.run(message));
  }

  /** Frees a model. */
  unload(modelId: number, boundMs: number): Promise<null> {
    return this.#call("unload", boundMs, () => this.#api.unload(modelId));
  }

  /** Ends the worker now and rejects what is pending; the first error stays. */
  end(error: Error): void {
    if (this.#ended !== null) return;
    this.#ended = error;
    this.#worker.terminate();
    this.onEnd?.(error);
    const pending = [...this.#pending];
    this.#pending.clear();
    for (const fail of pending) fail(error);
  }

  #call<T>(name: string, boundMs: number, send: () => Promise<Reply<T>>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (this.#ended !== null) {
        reject(this.#ended);
        return;
      }
      const stop = watch(this.#effects, boundMs, () => {
        const text = `The worker did not answer "${name}" within ${Math.round(boundMs)} ms and was ended.`;
        this.end(new SelvedgeError("worker-crashed", text, { call: name, boundMs, cause: "watchdog" }));
      });
      const fail = (error: Error): void => {
        stop();
        reject(error);
      };
      this.#pending.add(fail);
      send().then(
        (reply) => {
          if (!this.#pending.delete(fail)) return;
          stop();
          if (reply.ok) resolve(reply.value);
          else reject(fromWireError(reply.error));
        },
        (error: unknown) => {
          if (!this.#pending.delete(fail)) return;
          fail(new SelvedgeError("internal", `The call "${name}" could not be sent to the worker.`, {}, error));
        },
      );
    });
  }

  #notice(event: Event): void {
    const data: unknown = (event as MessageEvent).data;
    if (!isNotice(data)) return;
    if (data.selvedge === "log") this.onLog?.(data.line);
    else this.end(new SelvedgeError("device-lost", `The GPU device was lost: ${data.reason}`, { reason: data.reason }));
  }

  /** A script that never loads gives an error event without a message: ask the server what it answers. */
  #crash(event: Event): void {
    event.preventDefault();
    const text = (event as ErrorEvent).message as string | undefined;
    if (this.#started || (text !== undefined && text !== "")) {
      const details = text === undefined ? {} : { message: text };
      this.end(new SelvedgeError("worker-crashed", `The worker crashed: ${text ?? "no message"}`, details));
      return;
    }
    void describe(this.#effects, this.#source.href).then((answer) => {
      const fix = "Serve the package's files beside it, or set `assetsBase`; under CSP allow `worker-src 'self'`.";
      const message = `The worker script ${this.#source.href} did not load (${answer}). ${fix}`;
      this.end(new SelvedgeError("worker-crashed", message, { url: this.#source.href, answer }));
    });
  }
}

/** Says in a few words what a server answers for the script: status and type. Never rejects. */
async function describe(effects: Effects, url: string): Promise<string> {
  try {
    const response = await effects.fetch(url, { method: "HEAD" });
    return `status ${response.status}, ${response.headers.get("content-type") ?? "no content type"}`;
  } catch (error) {
    return `not reachable: ${error instanceof Error ? error.message : String(error)}`;
  }
}
