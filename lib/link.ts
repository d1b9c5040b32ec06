// The page's side of one worker, whatever it serves: every call is settled when the worker ends, by whatever cause.
//
// Comlink's calls never reject when a worker ends and its release never settles, so Comlink stays inside this file:
// each call is raced with the end of the worker and with a watchdog, and nothing is ever released, only ended.
import * as Comlink from "comlink";
import type { Effects, ScriptUrl, WorkerHandle } from "./effects.ts";
import { fromWireError, SelvedgeError } from "./errors.ts";
import type { Reply } from "./reply.ts";
import { watch } from "./watchdog.ts";

/** What a worker is made from. */
export interface WorkerSource {
  /** The script's address, for messages and for a look at what the server answered. */
  readonly href: string;
  /** The script as the Worker constructor takes it. */
  readonly script: ScriptUrl;
}

/** One worker that serves an Api, from its start to its end. */
export class Link<Api> {
  /** Called once when the worker has ended, before its calls reject, with the error that they reject with. */
  onEnd: ((error: Error) => void) | null = null;
  /** Called for each message that is not an answer. */
  onNotice: ((data: unknown) => void) | null = null;
  /** The calls that the worker serves; to be made inside `call`. */
  readonly api: Comlink.Remote<Api>;

  readonly #effects: Effects;
  readonly #source: WorkerSource;
  readonly #worker: WorkerHandle;
  readonly #pending: Set<(error: Error) => void> = new Set();
  #ended: Error | null = null;
  #answered = false;

  constructor(effects: Effects, source: WorkerSource) {
    this.#effects = effects;
    this.#source = source;
    this.#worker = effects.createWorker(source.script);
    this.api = Comlink.wrap<Api>(this.#worker);
    this.#worker.addEventListener("message", (event) => {
      this.onNotice?.((event as MessageEvent).data);
    });
    this.#worker.addEventListener("error", (event) => {
      this.#crash(event);
    });
    this.#worker.addEventListener("messageerror", () => {
      this.end(new SelvedgeError("worker-crashed", "A message could not be read."));
    });
  }

  /** Makes a call that must be answered within `boundMs` of running time, without bound where that is Infinity. */
  call<T>(name: string, boundMs: number, send: () => Promise<Reply<T>>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (this.#ended !== null) {
        reject(this.#ended);
        return;
      }
      const stop = watch(this.#effects, boundMs, () => {
        const text = `The worker did not answer "${name}" within ${Math.round(boundMs)} ms.`;
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
          this.#answered = true;
          if (reply.ok) resolve(reply.value);
          else reject(fromWireError(reply.error));
        },
        (error: unknown) => {
          if (!this.#pending.delete(fail)) return;
          fail(new SelvedgeError("internal", `The call "${name}" could not be sent.`, {}, error));
        },
      );
    });
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

  /** A script that never loads gives an error event without a message: ask the server what it answers. */
  #crash(event: Event): void {
    event.preventDefault();
    const text = (event as ErrorEvent).message as string | undefined;
    if (this.#answered || (text !== undefined && text !== "")) {
      const message = text ?? "no message";
      this.end(new SelvedgeError("worker-crashed", `The worker crashed: ${message}`, { message }));
      return;
    }
    const { href } = this.#source;
    void describe(this.#effects, href).then((answer) => {
      const fix =
        "Serve it there or set `assetsBase`; exclude selvedge from Vite's `optimizeDeps`; under CSP allow `worker-src 'self'`.";
      const message = `The worker script ${href} did not load (${answer}). ${fix}`;
      this.end(new SelvedgeError("worker-crashed", message, { url: href, answer }));
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
