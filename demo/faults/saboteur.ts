// Does harm to Selvedge's workers from outside: the package has no hook for it. Puts itself in the place of the page's
// `Worker`, so that each worker starts with `harm.ts` in front of Selvedge's own script, and keeps the handles.
// The page uses it to show what happens then, the browser tests to hold it to that.
import harmUrl from "./harm.ts?worker&url";

/** What can be done to a worker. */
export type Fault =
  /** Ends it, as a browser does that is short of memory: nobody is told. */
  | "kill"
  /** Ends it from inside: nobody is told. */
  | "close"
  /** Throws an error that nobody catches. */
  | "throw"
  /** Never comes back. */
  | "hang"
  /** Destroys the GPU device. */
  | "destroy"
  /** Makes the GPU report an error that no promise rejects for. */
  | "invalid"
  /** Lets WebAssembly memory grow no more. */
  | "out-of-memory"
  /** Makes a message unreadable. */
  | "messageerror";

/** What can go wrong with a worker's start. */
export type StartFault = "missing" | "html" | "no-wasm" | "hang-on-load";

/** A message to `harm.ts`: the fault, and whether it waits for the next run. */
export interface HarmMessage {
  readonly harm: Fault;
  readonly duringRun: boolean;
}

/** What `harm.ts` counts of its worker. */
export interface Held {
  /** GPU buffers that were made and not destroyed. */
  readonly gpuBuffers: number;
  /** Bytes of WebAssembly memory. */
  readonly wasmBytes: number;
}

/** The page's `Worker` replaced by one that can be harmed; the constructor does it, for the life of the page. */
export class Saboteur {
  /** Harms the next workers at their start, first come first served. */
  readonly nextStarts: (StartFault | null)[] = [];
  readonly #workers: Set<Worker> = new Set();
  /** The worker that was given work last. */
  #used: Worker | null = null;
  /** How many workers were started, those that fetch models aside. */
  started = 0;
  /** How many workers have not ended, all counted. */
  alive = 0;
  /** When the last worker that computes was ended by its owner, as `performance.now()`. */
  lastEndMs = 0;

  constructor() {
    const Plain = globalThis.Worker;
    const make = (url: string | URL, options?: WorkerOptions): Worker => this.#make(Plain, String(url), options);
    globalThis.Worker = function (url: string | URL, options?: WorkerOptions) {
      return make(url, options);
    } as unknown as typeof Worker;
  }

  /** Harms one worker that computes: the one that started last, or the one at an index counted from there. */
  harm(fault: Fault, duringRun: boolean, fromLast = 0): boolean {
    return this.#harm([...this.#workers].at(-1 - fromLast), fault, duringRun);
  }

  /** Harms the worker that was given work last, or the one that started last where that has ended. */
  harmUsed(fault: Fault, duringRun: boolean): boolean {
    const used = this.#used;
    return this.#harm(used !== null && this.#workers.has(used) ? used : [...this.#workers].at(-1), fault, duringRun);
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

  /** Harms every worker that computes. */
  harmAll(fault: Fault, duringRun: boolean): void {
    for (let i = 0; i < this.#workers.size; i += 1) this.harm(fault, duringRun, i);
  }

  /** Asks each worker that computes what it holds. */
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
