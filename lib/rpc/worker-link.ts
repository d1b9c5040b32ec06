// The page's side of one worker, whatever it serves: every call is settled when the worker ends, by whatever cause.
//
// Comlink serves the calls at the worker's end. Here its messages are sent without it: `wrap` returns calls that never
// reject when a worker ends and a release that never settles (comlink issue 601), so each call would have to be tracked
// a second time to race it with that end and with a watchdog; and it would be a tenth of what a page loads. The
// messages are those of comlink 4: delete this in favour of `wrap` once a call of it rejects with its worker.
import type { Effects, WorkerHandle, WorkerSource } from "../effects/effects.ts";
import { BUILD_ID, otherBuild } from "../core/build-id.ts";
import type { WorkerReady } from "../core/build-id.ts";
import { fromWireError, SelvedgeError } from "../core/errors.ts";
import type { Reply } from "./reply.ts";
import { Watchdog } from "./watchdog.ts";
import { watchWorkerEnd } from "./worker-end.ts";

/** The API of a worker: calls that resolve to a value or to an error as a plain object. `hold` is one of them. */
export type Served<Api> = { readonly [K in keyof Api]: (...args: never[]) => Promise<Reply<unknown>> };

/** Result type of a call. */
export type Value<Call> = Call extends (...args: never[]) => Promise<Reply<infer T>> ? T : never;

/** An answer as Comlink sends it; of type HANDLER where the answer could not be cloned. */
interface Answer {
  readonly id: number;
  readonly type: "RAW" | "HANDLER";
  readonly value: unknown;
}

interface Pending {
  readonly watchdog: Watchdog;
  answer(reply: Reply<unknown>): void;
  fail(error: Error): void;
}

/** Bound on holding calls back until the worker's end can be detected, in ms: a browser's locks may not answer. */
const HELD_BACK_MS = 1_000;

/** Time without a message from a new worker after which its script is examined, in ms. */
const EXAMINE_MS = 5_000;

/** One worker that serves an Api, from its start to its end. */
export class Link<Api extends Served<Api>> {
  /** Called once when the worker has ended, before its calls reject, with the error that they reject with. */
  onEnd: ((error: Error) => void) | null = null;
  /** Whether its end is noticed at once, by a lock. */
  isWatched = false;
  /** Called for each message that is not an answer. */
  onNotice: ((data: unknown) => void) | null = null;

  readonly #effects: Effects;
  readonly #source: WorkerSource;
  /** Null where the browser refused it at once. */
  readonly #worker: WorkerHandle | null;
  readonly #pending: Map<number, Pending> = new Map();
  readonly #stopWatching: () => void;
  /** Cancels the examination of a script that sends nothing: an empty file, say, causes no event. */
  readonly #stopExamining: () => void;
  /**
   * Calls held back until the worker holds its lock. A worker that gets work at once was seen to compute for many
   * seconds before it noticed that it holds one (Chromium 156, Firefox 153). Null once calls are sent directly.
   */
  #heldBack: (() => void)[] | null = [];
  #nextId = 1;
  #ended: Error | null = null;
  /** Whether a first message has come, which names the worker's build. */
  #isReady = false;

  constructor(effects: Effects, source: WorkerSource) {
    this.#effects = effects;
    this.#source = source;
    this.#worker = this.#start();
    this.#stopExamining = effects.setTimer(() => void this.#explain(null), EXAMINE_MS);
    const hold = (name: string | null): Promise<boolean> => {
      const holder = this as unknown as Link<{ hold: (name: string | null) => Promise<Reply<boolean>> }>;
      return holder.call("hold", Infinity, name);
    };
    const ended = (): void => {
      this.end(new SelvedgeError("worker-crashed", "The worker was ended from outside."));
    };
    let cancel = (): void => undefined;
    const settled = (isWatched: boolean): void => {
      this.isWatched = isWatched;
      cancel();
      for (const post of this.#heldBack ?? []) post();
      this.#heldBack = null;
    };
    this.#stopWatching = watchWorkerEnd(effects, hold, ended, settled);
    // Set after the call of `hold`, which may settle at once.
    if (this.#heldBack !== null)
      cancel = effects.setTimer(() => {
        settled(false);
      }, HELD_BACK_MS);
  }

  /**
   * Makes a call that must be answered within a bound, in ms of running time; Infinity for none. A watchdog instead of
   * a number counts from when the caller begins it.
   */
  call<K extends keyof Api & string>(
    name: K,
    bound: number | Watchdog,
    ...args: Parameters<Api[K]>
  ): Promise<Value<Api[K]>> {
    return this.callMoving(name, bound, [], ...args);
  }

  /** Makes a call and transfers buffers with it. */
  callMoving<K extends keyof Api & string>(
    name: K,
    bound: number | Watchdog,
    moved: Transferable[],
    ...args: Parameters<Api[K]>
  ): Promise<Value<Api[K]>> {
    return new Promise((resolve, reject) => {
      if (this.#ended !== null) {
        reject(this.#ended);
        return;
      }
      const id = this.#nextId++;
      const watchdog = typeof bound === "number" ? new Watchdog(this.#effects, bound) : bound;
      const { boundMs } = watchdog;
      watchdog.onExpire = () => {
        const text = `The worker did not answer "${name}" within ${Math.round(boundMs)} ms.`;
        this.end(new SelvedgeError("worker-crashed", text, { call: name, boundMs, cause: "watchdog" }));
      };
      if (watchdog !== bound && boundMs < Infinity) watchdog.begin();
      const fail = (error: Error): void => {
        watchdog.stop();
        this.#pending.delete(id);
        reject(error);
      };
      const answer = (reply: Reply<unknown>): void => {
        if (!reply.ok) fail(fromWireError(reply.error));
        else {
          watchdog.stop();
          this.#pending.delete(id);
          resolve(reply.value as Value<Api[K]>);
        }
      };
      this.#pending.set(id, { watchdog, answer, fail });
      const argumentList = args.map((value) => ({ type: "RAW", value }));
      const post = (): void => {
        if (!this.#pending.has(id)) return;
        try {
          this.#worker?.postMessage({ id, type: "APPLY", path: [name], argumentList }, moved);
        } catch (error) {
          fail(error as Error); // a run's is explained by engine/input-fault.ts
        }
      };
      if (this.#heldBack === null || name === "hold") post();
      else this.#heldBack.push(post);
    });
  }

  /** Pauses the running watchdogs of pending calls; the returned function resumes them. */
  pause(): () => void {
    const paused = [...this.#pending.values()].filter(({ watchdog }) => watchdog.pause());
    return () => {
      for (const { watchdog } of paused) watchdog.begin();
    };
  }

  /** Ends the worker now and rejects pending calls; the first error is kept. */
  end(error: Error): void {
    if (this.#ended !== null) return;
    this.#ended = error;
    this.#stopWatching();
    this.#stopExamining();
    this.#worker?.terminate();
    this.onEnd?.(error);
    for (const { fail } of [...this.#pending.values()]) fail(error);
  }

  #start(): WorkerHandle | null {
    try {
      const worker = this.#effects.createWorker(this.#source.script, "selvedge");
      worker.addEventListener("message", (event) => {
        this.#take((event as MessageEvent<Answer | WorkerReady>).data);
      });
      worker.addEventListener("error", (event) => {
        this.#crash(event);
      });
      worker.addEventListener("messageerror", () => {
        this.end(new SelvedgeError("worker-crashed", "A message was unreadable."));
      });
      return worker;
    } catch (error) {
      void this.#explain(error);
      return null;
    }
  }

  #take(data: Answer | WorkerReady): void {
    if (!this.#isReady) this.#checkBuild(data as Partial<WorkerReady>);
    if (!("id" in data)) {
      if (data.selvedge !== "ready") this.onNotice?.(data);
      return;
    }
    const pending = this.#pending.get(data.id);
    if (pending === undefined) return;
    if (data.type === "RAW") pending.answer(data.value as Reply<unknown>);
    // All that a worker answers can be copied, as long as there is memory.
    else pending.fail(new SelvedgeError("out-of-memory", "The worker's answer is too large to send.", {}, data.value));
  }

  #checkBuild(first: Partial<WorkerReady>): void {
    this.#isReady = true;
    this.#stopExamining();
    const build = otherBuild(first);
    if (build === null) return;
    const { href } = this.#source;
    const text = `${href} is of another build than the page (page ${BUILD_ID}, worker ${build}): copy the package's dist/ again.`;
    const details = { url: href, page: BUILD_ID, worker: build, reason: "version" };
    this.end(new SelvedgeError("setup-failed", text, details));
  }

  /** A script that never loads fires an error event without a message. */
  #crash(event: Event): void {
    event.preventDefault();
    const { message = "" } = event as Partial<ErrorEvent>;
    if (this.#isReady) this.end(new SelvedgeError("worker-crashed", crashed(message), { message }));
    else void this.#explain(message || undefined);
  }

  /**
   * Ends the link of a worker that did not start, once the cause is known. `fault` is what its constructor threw, the
   * text of the error that its script threw, or null where it sends nothing: it may be slow.
   */
  async #explain(fault: unknown): Promise<void> {
    const { href } = this.#source;
    // Fails where the page's own files can't be fetched any more, either.
    const known = (await this.#effects.diagnose?.(this.#source, fault).catch(() => null)) ?? null;
    if (fault === null && (known === null || this.#isReady)) return;
    const text = typeof fault === "string" ? crashed(fault) : `The worker script ${href} did not load.`;
    this.end(known ?? new SelvedgeError("worker-crashed", text, { url: href }, fault));
  }
}

const crashed = (message: string): string => `The worker crashed: ${message || "no message"}`;
