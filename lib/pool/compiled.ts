// ONNX Runtime, compiled once for all workers of a pool. The page begins with it, off its own thread, while the first
// worker's script is on its way: a worker that compiles for itself begins later by what it takes to start. Where the page
// can't, the first worker does, and hands on what it has.
import type { Effects } from "../effects.ts";
import { watch } from "../watchdog.ts";
import { START_BOUND_MS } from "./bounds.ts";

/** What the workers of a pool run, compiled once. */
export class Compiled {
  readonly #effects: Effects;
  #coming: Promise<WebAssembly.Module | null> | null = null;
  #module: WebAssembly.Module | null = null;

  constructor(effects: Effects) {
    this.#effects = effects;
  }

  /** Gives the module if it is here; null where it is not. */
  get module(): WebAssembly.Module | null {
    return this.#module;
  }

  /** Gives the module, compiling it where it is not here; null where that failed: then a worker is to try, and tell. */
  async compile(url: string): Promise<WebAssembly.Module | null> {
    if (this.#module !== null) return this.#module;
    const coming = (this.#coming ??= this.#compile(url));
    const module = await coming;
    if (this.#coming === coming) this.keep(module);
    return module;
  }

  /** Keeps what a worker compiled, unless there is one. */
  keep(module: WebAssembly.Module | null): void {
    this.#module ??= module;
  }

  /** Lets go of it: it is large. */
  release(): void {
    this.#module = null;
    this.#coming = null;
  }

  async #compile(url: string): Promise<WebAssembly.Module | null> {
    const silence = new AbortController();
    const stop = watch(this.#effects, START_BOUND_MS, () => {
      silence.abort();
    });
    try {
      return await this.#effects.compileWasm(url, silence.signal);
    } catch {
      return null;
    } finally {
      stop();
    }
  }
}
