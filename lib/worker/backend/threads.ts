// ONNX Runtime's threads, which are workers that it makes by `new Worker` inside the lane's worker. The page makes them
// instead, and what the two say to each other goes through a port:
// - Firefox (153) can hang for good in `new Worker` inside a worker: the parent then waits until the page's thread has
//   registered the child, on a condition variable on which the child's own thread may wait by then as well, and one waiter
//   is woken, which may be the child. Where seven pages shared two cores that was one start of sixty. A page doesn't wait so.
// - A page that enforces Trusted Types has vouched for this script already, under one policy.
//
// Each thread has an instance of its own, to which it links the rest of the binary itself (worker/backend/link-parts.ts).
import { linkWhenCalled } from "./link-parts.ts";

/** As much of a worker's `self` as a thread needs. */
export interface ThreadScope {
  onmessage: ((event: MessageEvent) => void) | null;
  postMessage(message: unknown, moved?: Transferable[]): void;
  addEventListener(type: "message", listener: (event: MessageEvent) => void, options: { once: boolean }): void;
}

/** First message that a thread receives through its port. */
interface RestMessage {
  readonly rest: WebAssembly.Module;
}

/** Has ONNX Runtime's threads made by the page, which `ask` hands each one's port; each gets the rest of the binary. */
export function askForThreads(rest: WebAssembly.Module, ask: (port: MessagePort) => void): void {
  /** As much of a Worker as ONNX Runtime's glue uses; the page ends it with the worker that asked. */
  class Thread {
    onmessage: ((event: MessageEvent) => void) | null = null;
    /** Set by the glue. A thread that fails ends its lane, by the page. */
    onerror: ((event: ErrorEvent) => void) | null = null;
    readonly #port: MessagePort;

    constructor() {
      const { port1, port2 } = new MessageChannel();
      this.#port = port1;
      port1.onmessage = (event: MessageEvent): void => {
        this.onmessage?.(event);
      };
      port1.postMessage({ rest } satisfies RestMessage);
      ask(port2);
    }

    postMessage(message: unknown, moved: Transferable[] = []): void {
      this.#port.postMessage(message, moved);
    }

    terminate(): void {
      this.#port.close();
    }
  }
  globalThis.Worker = Thread as unknown as typeof Worker;
}

/** Has what ONNX Runtime's glue says and hears inside a thread go through the port that comes first. */
export function beThread(scope: ThreadScope): void {
  const listen = ({ data }: MessageEvent): void => {
    const { port } = data as { readonly port: MessagePort };
    scope.postMessage = port.postMessage.bind(port);
    port.onmessage = ({ data }: MessageEvent): void => {
      linkInstance((data as RestMessage).rest);
      port.onmessage = (event: MessageEvent): void => {
        scope.onmessage?.(event);
      };
    };
  };
  scope.addEventListener("message", listen, { once: true });
}

/** Has the rest linked to the one instance that the glue makes here, when it is called. */
function linkInstance(rest: WebAssembly.Module): void {
  const { Instance } = WebAssembly;
  WebAssembly.Instance = class extends Instance {
    constructor(module: WebAssembly.Module, imports: WebAssembly.Imports = {}) {
      super(module, imports);
      WebAssembly.Instance = Instance;
      linkWhenCalled(this, imports, () => rest);
    }
  };
}
