// All effects of Selvedge on the world, behind one injected object: clock, timers, random numbers, network, workers,
// GPU, small stored values, image decoding. `browserEffects` is the real one; tests and the simulation pass their own.
// Nothing else in lib/ (code inside workers excepted) may touch these globals.
import { withoutCredentials } from "../core/credentials.ts";
import { adapterFacts } from "../core/device.ts";
import { browserLocks } from "./web-locks.ts";
import { workerType } from "./opaque-origin.ts";
import type { PageLocks } from "./web-locks.ts";
import type { AdapterFacts } from "../core/device.ts";
import { SelvedgeError } from "../core/errors.ts";

/** The page's view of a worker: `Worker`, or a simulated one. */
export interface WorkerHandle {
  /** Sends a message and transfers the listed objects. */
  postMessage(message: unknown, transfer: Transferable[]): void;
  /** Adds a listener for messages or failures. */
  addEventListener(type: "message" | "error" | "messageerror", listener: (event: Event) => void): void;
  /** Removes a listener. */
  removeEventListener(type: "message" | "error" | "messageerror", listener: (event: Event) => void): void;
  /** Ends the worker at once. */
  terminate(): void;
}

/** Constructor arguments of a worker, and its address. */
export interface WorkerSource {
  /** The script's address, for messages and to ask the server about it. */
  readonly href: string;
  /** The script as the Worker constructor takes it. */
  readonly script: ScriptUrl;
}

/** Watch over a fetch, which aborts it where no bytes arrive. */
export interface FetchWatch {
  /** Aborts the fetch. */
  readonly signal: AbortSignal;
  /** Restarts the bound, since bytes have arrived. */
  readonly renew: () => void;
  /** Ends the watch. */
  readonly stop: () => void;
}

/** The engine's effects on the world. */
export interface Effects {
  /** Monotonic time in milliseconds. */
  now(): number;
  /** Milliseconds since 1970, for data that outlives the page. */
  wallClock(): number;
  /** Calls back once after `ms`; the returned function cancels. */
  setTimer(callback: () => void, ms: number): () => void;
  /** Returns a random number in [0, 1). */
  random(): number;
  /** Fetches, as the global does. */
  fetch(url: string, init: RequestInit): Promise<Response>;
  /** Starts a worker from a script's URL, or from the Trusted Types form of it; the name is visible inside. */
  createWorker(url: ScriptUrl, name: string): WorkerHandle;
  /**
   * Returns an address that the Worker constructor takes: a script of another origin becomes a Blob that imports it.
   * Absent where every address is taken.
   */
  sameOriginUrl?(href: string): string;
  /**
   * Finds out why a worker did not start, or without a source why there are no workers. `fault` is what its constructor
   * threw, the text of the error that its script threw, or null where it has sent nothing for long; null is returned
   * where nothing is wrong with its script. Rejects where the code for that can't be fetched, either.
   */
  diagnose?(source: WorkerSource | null, fault?: unknown): Promise<SelvedgeError | null>;
  /** Shows an error that a caller receives to `selvedge doctor`, where that has opened the page; throws it again. */
  readonly rethrow?: (error: unknown) => never;
  /**
   * Compiles WebAssembly while it is fetched, off this thread; renews the watch as bytes arrive, and stops it after the
   * last one. Rejects where the page can't, and once the signal is aborted.
   */
  compileWasm(url: string, watch: FetchWatch): Promise<WebAssembly.Module>;
  /** Facts of the GPU adapter, or null where there is none; never rejects. */
  probeGpu(): Promise<AdapterFacts | null>;
  /** Resolves once the page is shown for the first time: at once, unless it is being prerendered. */
  activated(): Promise<void>;
  /** Web Locks, by which the end of a worker is noticed; null where there are none. */
  readonly locks: PageLocks | null;
  /** Reports changes of the page's life cycle; the returned function stops listening. */
  onLife(listener: (change: LifeChange) => void): () => void;
  /**
   * Small values that outlive the page, as localStorage: get returns null where nothing is stored, set removes with
   * null.
   */
  readonly memo: {
    /** Returns a stored value; null where there is none. */
    get(key: string): string | null;
    /** Stores a value; null removes it. */
    set(key: string, value: string | null): void;
  };
  /**
   * Holds a lock that tabs share (a Web Lock) until the returned function is called; absent where nothing is shared.
   */
  holdLock?(name: string): () => void;
  /** Requests persistent storage unless the browser would ask the user; never rejects. */
  keepStorage(): Promise<void>;
  /** Whether the user asks to save data (Save-Data). */
  savesData(): boolean;
  /** Whether the browser has a network. Default: what it says itself (online.ts). */
  isOnline?(): boolean;
  /** Decodes or copies an image source without changing the caller's object. */
  createImageBitmap(source: ImageBitmapSource): Promise<ImageBitmap>;
  /** Facts that do not change while the page lives. */
  readonly facts: HostFacts;
}

/**
 * Changes of a page's life cycle: hidden or visible; left (unloaded, frozen, or into the back/forward cache) or shown
 * again after that. A page that is navigated away from is `leaving` first; `stayed` follows where it was not left
 * within 30 s, since the navigation was a download, say, or was cancelled.
 */
export type LifeChange = "hidden" | "visible" | "leaving" | "stayed" | "left" | "back";

/** A script's address: a string, or the TrustedScriptURL that a Trusted Types policy made of it. */
export interface ScriptUrl {
  /** Returns the address as text. */
  toString(): string;
}

/** Facts of the browser that do not change while the page lives. */
export interface HostFacts {
  /** Logical cores, at least 1. */
  readonly cores: number;
  /** Memory of the device in bytes, as the browser reports it (`navigator.deviceMemory`); null where it does not. */
  readonly memoryBytes: number | null;
  /** Whether SharedArrayBuffer, and so wasm threads, may be used. */
  readonly isolated: boolean;
  /** Whether WebAssembly can suspend on promises (JSPI), so that the small build runs. */
  readonly jspi: boolean;
  /** Whether the page is a secure context: https, or localhost. */
  readonly secure: boolean;
  /** Whether WebAssembly is available. */
  readonly wasm: boolean;
  /** Whether workers are available. */
  readonly workers: boolean;
  /** The page's address without credentials, against which relative URLs are resolved. */
  readonly baseUrl: string;
  /** Random id of this page load: the same for all engines on it, another one after a reload. */
  readonly page: string;
  /** Name and version of the browser, as it reports them; checks of a GPU are valid for one. */
  readonly browser?: string | undefined;
}

const LIFE_EVENTS = ["beforeunload", "pagehide", "freeze", "pageshow", "resume", "visibilitychange"];
const LEAVING_MS = 30_000;

/**
 * The browser's effects, in a page or in a worker that holds an engine.
 * @throws SelvedgeError `no-backend` in a browser that is older than those of docs/browsers.md
 */
export function browserEffects(): Effects {
  // The newest of the functions that are used without another way.
  if (!("any" in AbortSignal)) {
    const text = "This browser is older than Chrome 116, Firefox 124, Safari 17.4.";
    throw new SelvedgeError("no-backend", text, { reason: "old-browser" });
  }
  return {
    now: () => performance.now(),
    wallClock: () => Date.now(),
    setTimer(callback, ms) {
      const timer = setTimeout(callback, ms);
      return () => {
        clearTimeout(timer);
      };
    },
    random: () => Math.random(),
    fetch: (url, init) => fetch(url, init),
    createWorker: (url, name) => new Worker(url as string, { type: workerType(), name }),
    sameOriginUrl: sameOriginUrls(),
    diagnose: async (source, fault) => {
      const { diagnose } = await import("./diagnose-worker.ts");
      return diagnose(source, fault);
    },
    rethrow: (error) => {
      (Reflect.get(globalThis, Symbol.for("selvedge.doctor")) as ((error: unknown) => void) | undefined)?.(error);
      throw error;
    },
    compileWasm: async (url, watch) => {
      const response = await fetch(url, watch);
      // A copy: browsers cache the compiled code of the network's own response alone.
      void response
        .clone()
        .body?.pipeTo(new WritableStream({ write: watch.renew }))
        .then(watch.stop, () => undefined);
      if (response.headers.get("content-type")?.startsWith("application/wasm") === true)
        return WebAssembly.compileStreaming(response);
      const { compileUntyped } = await import("./compile-untyped.ts");
      return compileUntyped(url, response);
    },
    probeGpu,
    activated,
    locks: browserLocks(),
    onLife,
    memo: { get: readMemo, set: writeMemo },
    holdLock,
    keepStorage: async () => {
      const { keepQuietly } = await import("./persist-storage.ts");
      await keepQuietly();
    },
    savesData: () =>
      (navigator as { readonly connection?: { readonly saveData?: boolean } }).connection?.saveData === true,
    createImageBitmap: (source) =>
      createImageBitmap(source, {
        imageOrientation: "from-image",
        premultiplyAlpha: "none",
        colorSpaceConversion: "default",
      }),
    facts: hostFacts(),
  };
}

/** Makes one Blob per script, which lives as long as the page. */
function sameOriginUrls(): (href: string) => string {
  const made = new Map<string, string>();
  return (href) => {
    const { origin, protocol } = new URL(href);
    if (origin === self.origin || !protocol.startsWith("http")) return href;
    const known = made.get(href);
    if (known !== undefined) return known;
    const text = JSON.stringify(href);
    const code = workerType() === "module" ? `import ${text}` : `importScripts(${text})`;
    const url = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
    made.set(href, url);
    return url;
  };
}

function holdLock(name: string): () => void {
  let free = (): void => undefined;
  const held = new Promise<void>((resolve) => {
    free = resolve;
  });
  // Missing on pages that are not secure; rejects in a detached document.
  (navigator as Partial<Navigator>).locks?.request(name, { mode: "shared" }, () => held).catch(() => undefined);
  return free;
}

function hostFacts(): HostFacts {
  // Each of these is missing somewhere: in Node, in workers, in old browsers.
  const {
    isSecureContext,
    navigator,
    crossOriginIsolated,
    SharedArrayBuffer,
    WebAssembly,
    Worker,
    document,
    location,
  } = globalThis as Partial<typeof globalThis>;
  const { deviceMemory } = (navigator ?? {}) as { readonly deviceMemory?: number };
  return {
    cores: Math.max(1, navigator?.hardwareConcurrency ?? 1),
    // WebKitGTK reports isolation but has no shared memory.
    memoryBytes: deviceMemory === undefined ? null : deviceMemory * 2 ** 30,
    isolated: crossOriginIsolated === true && SharedArrayBuffer !== undefined,
    jspi: "Suspending" in (WebAssembly ?? {}),
    secure: isSecureContext !== false,
    wasm: !!WebAssembly,
    workers: !!Worker,
    baseUrl: withoutCredentials(document?.baseURI ?? location?.href ?? ""),
    page: String(performance.timeOrigin),
    browser: navigator?.userAgent,
  };
}

async function probeGpu(): Promise<AdapterFacts | null> {
  try {
    const adapter = await navigator.gpu?.requestAdapter({ powerPreference: "high-performance" });
    return adapter ? adapterFacts(adapter) : null;
  } catch {
    return null; // Firefox may throw where WebGPU is off
  }
}

/** A prerendered page must not start workers: browsers hold them back, and a watchdog would count that time. */
async function activated(): Promise<void> {
  const { document } = globalThis as { readonly document?: Document & { readonly prerendering?: boolean } };
  if (document?.prerendering !== true) return;
  await new Promise((resolve) => {
    document.addEventListener("prerenderingchange", resolve, { once: true });
  });
}

function onLife(listener: (change: LifeChange) => void): () => void {
  if (typeof document === "undefined") return () => undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const tell = ({ type }: Event): void => {
    if (type === "visibilitychange") {
      listener(document.hidden ? "hidden" : "visible");
      return;
    }
    clearTimeout(timer);
    if (type === "beforeunload") {
      timer = setTimeout(() => {
        listener("stayed");
      }, LEAVING_MS);
      listener("leaving");
    } else listener(type === "pagehide" || type === "freeze" ? "left" : "back");
  };
  // Capture phase: not all of these events bubble from the document to the window.
  for (const type of LIFE_EVENTS) addEventListener(type, tell, true);
  return () => {
    clearTimeout(timer);
    for (const type of LIFE_EVENTS) removeEventListener(type, tell, true);
  };
}

function readMemo(key: string): string | null {
  try {
    return localStorage.getItem(key);
  } catch {
    return null; // no storage in workers, sandboxed frames and some private modes
  }
}

function writeMemo(key: string, value: string | null): void {
  try {
    if (value === null) localStorage.removeItem(key);
    else localStorage.setItem(key, value);
  } catch {
    // Storing is an optimisation: without it the next page measures again.
  }
}
