// Every effect that Selvedge has on the world, behind one injected object: the clock, timers, chance, the network,
// workers, the GPU, small remembered values, decoding of images. `browserEffects` is the real one; tests and the
// simulation hand in their own. Nothing else in lib/ (the worker's inside excepted) may touch these globals.
import type { AdapterFacts } from "./device.ts";

/** What a worker looks like from the page: `Worker`, or a simulated one. */
export interface WorkerHandle {
  postMessage(message: unknown, transfer: Transferable[]): void;
  addEventListener(type: "message" | "error" | "messageerror", listener: (event: Event) => void): void;
  removeEventListener(type: "message" | "error" | "messageerror", listener: (event: Event) => void): void;
  terminate(): void;
}

/** All that the engine does to the world. */
export interface Effects {
  /** Monotonic time in milliseconds. */
  now(): number;
  /** Calls back once after `ms`; the returned function cancels. */
  setTimer(callback: () => void, ms: number): () => void;
  /** A number in [0, 1). */
  random(): number;
  fetch(url: string, init: RequestInit): Promise<Response>;
  /** Starts a worker from a script's URL. */
  createWorker(url: string | TrustedScriptUrl): WorkerHandle;
  /** Facts of the GPU adapter, or null where there is none; never rejects. */
  probeGpu(): Promise<AdapterFacts | null>;
  /** Small values that outlive the page, as localStorage; get gives null where nothing is kept. */
  readonly memo: { get(key: string): string | null; set(key: string, value: string): void };
  /** Decodes or copies an image source without touching the caller's object. */
  createImageBitmap(source: ImageBitmapSource): Promise<ImageBitmap>;
  readonly facts: HostFacts;
}

/** What a TrustedTypePolicy makes; a plain string where there are no Trusted Types. */
export interface TrustedScriptUrl {
  toString(): string;
}

/** Facts of the browser that do not change while the page lives. */
export interface HostFacts {
  /** Logical cores, at least 1. */
  readonly cores: number;
  /** Whether SharedArrayBuffer, and so wasm threads, may be used. */
  readonly isolated: boolean;
  /** Whether WebAssembly can suspend on promises (JSPI), so that the small build runs. */
  readonly jspi: boolean;
  readonly wasm: boolean;
  readonly workers: boolean;
  /** The page's address, against which relative URLs are resolved. */
  readonly baseUrl: string;
}
