// Common parts of every demo page: a status that screen readers announce and tests read, and a lookup of elements.
import type { BackendName } from "selvedge";

/** State of a page. */
export type State = "loading" | "ready" | "busy" | "running" | "done" | "error";

/** The status of a page: a line of text with its state as `data-state`, and a bar while something loads. */
export class Status {
  readonly #line: HTMLElement;
  readonly #bar: HTMLProgressElement;

  constructor(line: HTMLElement, bar: HTMLProgressElement) {
    this.#line = line;
    this.#bar = bar;
  }

  /** Sets state and text; the text first, so that a test that waits for the state finds it. */
  show(state: State, text: string): void {
    this.say(text);
    this.#bar.hidden = state !== "loading" && state !== "busy";
    if (state === "busy") this.#bar.removeAttribute("value");
    this.#line.dataset["state"] = state;
  }

  /** Sets the text only. */
  say(text: string): void {
    this.#line.textContent = text;
  }

  /** Sets the progress bar, 0…1. */
  progress(share: number): void {
    this.#bar.value = share;
  }

  /** Adds facts as `data-…`. */
  set(facts: Readonly<Record<string, string>>): void {
    Object.assign(this.#line.dataset, facts);
  }
}

/** Finds an element of the page by its id, of a given class. */
export function find(id: string): HTMLElement;
export function find<T extends HTMLElement>(id: string, kind: new () => T): T;
export function find(id: string, kind: new () => HTMLElement = HTMLElement): HTMLElement {
  const element = document.getElementById(id);
  if (element instanceof kind) return element;
  throw new Error(`The page has no ${kind.name} "${id}".`);
}

/** Reads `?backend=`; anything but a backend's name is an error to show, not to guess about. */
export function backendIn(query: URLSearchParams): BackendName | undefined {
  const backend = query.get("backend");
  if (backend === null || backend === "webgpu" || backend === "wasm") return backend ?? undefined;
  throw new Error(`?backend= takes "webgpu" or "wasm", not "${backend}".`);
}
