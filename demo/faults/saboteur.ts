// Injects faults into Selvedge's workers from outside: the package has no hook for it. It replaces the page's `Worker`,
// so that each worker starts with `harm.ts` in front of Selvedge's own script, and keeps the handles. The page uses it
// to show the recovery, the browser tests to verify it.
import harmUrl from "./harm.ts?worker&url";

/** Fault of a running worker. */
export type Fault =
  /** Terminates it, as a browser does when memory is short: no event is fired. */
  | "kill"
  /** Closes it from inside: no event is fired. */
  | "close"
  /** Throws an uncaught error. */
  | "throw"
  /** Loops forever. */
  | "hang"
  /** Destroys the GPU device. */
  | "destroy"
  /** Makes the GPU report an error for which no promise rejects. */
  | "invalid"
  /** Prevents WebAssembly memory from growing. */
  | "out-of-memory"
  /** Makes a message unreadable. */
  | "messageerror";

/** Fault of a worker's start. */
export type StartFault = "missing" | "html" | "no-wasm" | "hang-on-load";

/** A message to `harm.ts`: the fault, and whether it waits for the next run. */
export interface HarmMessage {
  readonly harm: Fault;
  readonly duringRun: boolean;
}

/** Resources that `harm.ts` counts in its worker. */
export interface Held {
  /** GPU buffers created and not destroyed. */
  readonly gpuBuffers: number;
  /** Bytes of WebAssembly memory. */
  readonly wasmBytes: number;
}

/**
 * Replaces the page's `Worker` by one into which faults can be injected; the constructor does so, for the life of the
 * page.
 */
export class Saboteur {
  /** Faults of the next starts, in order. */
  readonly nextStarts: (StartFault | null)[] = [];
  readonly #workers: Set<Worker> = new Set();
  /** The worker that last received work. */
  #used: Worker | null = null;
  #endsNext = false;
  /** Number of workers started, except those that fetch models. */
  started = 0;
  /** Number of all workers that have not ended. */
  alive = 0;
  /** When the last worker that computes was terminated by its owner, as `performance.now()`. */
  lastEndMs = 0;

  constructor() {
    const Plain = globalThis.Worker;
    const make = (url: string | URL, options?: WorkerOptions): Worker => this.#make(Plain, String(url), options);
    globalThis.Worker = function (url: string | URL, options?: WorkerOptions) {
      return make(url, options);
    } as unknown as typeof Worker;
  }

  /** Injects a fault into one worker that computes: the newest, or the one at an index counted from there. */
  harm(fault: Fault, duringRun: boolean, fromLast = 0): boolean {
    return this.#harm([...this.#workers].at(-1 - fromLast), fault, duringRun);
  }

  /** Injects a fault into the worker that last received work, or the newest if that one has ended. */
  harmUsed(fault: Fault, duringRun: boolean): boolean {
    const used = this.#used;
    return this.#harm(used !== null && this.#workers.has(used) ? used : [...this.#workers].at(-1), fault, duringRun);
  }

  /** Terminates the worker that receives the next message, right after it: a run that begins then is lost. */
  endNext(): void {
    this.#endsNext = true;
  }

  #harm(worker: Worker | undefined, fault: Fault, duringRun: boolean): boolean {
    if (worker === undefined) return false;
    if (fault === "messageerror") worker.dispatchEvent(new MessageEvent("messageerror"));
    else if (fault === "kill") terminate.call(worker);
    else {
      const message: HarmMessage = { harm: fault, duringRun };
      worker.postMessage(message);
    }
    return true;
  }

  /** Injects a fault into every worker that computes. */
  harmAll(fault: Fault, duringRun: boolean): void {
    for (let i = 0; i < this.#workers.size; i += 1) this.harm(fault, duringRun, i);
  }

  /** Queries the resources of each worker that computes. */
  async held(): Promise<Held[]> {
    return Promise.all(
      [...this.#workers].map(
        (worker) =>
          new Promise<Held>((resolve) => {
            const { port1, port2 } = new MessageChannel();
            port1.onmessage = ({ data }: MessageEvent<Held>) => {
              port1.close();
              resolve(data);
            };
            worker.postMessage({ count: true }, [port2]);
          }),
      ),
    );
  }

  #make(Plain: typeof Worker, url: string, options: WorkerOptions | undefined): Worker {
    const computes = !/worker-cache/.test(url);
    const fault = computes ? (this.nextStarts.shift() ?? null) : null;
    const worker = new Plain(computes ? addressOf(url, fault) : url, options);
    this.alive += 1;
    if (computes) {
      this.started += 1;
      this.#workers.add(worker);
      const post = worker.postMessage.bind(worker) as (message: unknown, transfer: Transferable[]) => void;
      worker.postMessage = (message: unknown, transfer: unknown = []) => {
        this.#used = worker;
        post(message, transfer as Transferable[]);
        if (!this.#endsNext) return;
        this.#endsNext = false;
        terminate.call(worker);
      };
    }
    let isUp = true;
    worker.terminate = () => {
      if (isUp) this.alive -= 1;
      isUp = false;
      if (computes) this.lastEndMs = performance.now();
      this.#workers.delete(worker);
      terminate.call(worker);
    };
    return worker;
  }
}

const terminate = Worker.prototype.terminate;

function addressOf(url: string, fault: StartFault | null): string {
  if (fault === "missing") return new URL("missing.js", url).href;
  if (fault === "html") return document.baseURI;
  const query = new URLSearchParams({ script: url, ...(fault === null ? {} : { fault }) });
  return `${harmUrl}#${query.toString()}`;
}
