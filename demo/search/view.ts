// Results and sources as elements of the page.
import type { Hit, Source } from "./search-index.ts";

/** Returns the element of a passage that was found. */
export function hitElement({ source, text, byMeaning, byWords }: Hit): HTMLLIElement {
  const item = document.createElement("li");
  const ranks = [
    byMeaning === null ? [] : [`${ordinal(byMeaning)} by meaning`],
    byWords === null ? [] : [`${ordinal(byWords)} by words`],
  ].flat();
  item.append(paragraph(`${source} · ${ranks.join(", ")}`, "where"), paragraph(text));
  return item;
}

/** Rows that are added together: a browser lays 500 new rows out in 50 ms and more, in which no key is answered. */
const ROWS_TOGETHER = 100;
/** Time between them, in which a frame is drawn. */
const BETWEEN_MS = 20;

/** The table of sources, each with a button that removes it. Rows stay as they are while their source does. */
export class SourceTable {
  readonly #body: HTMLElement;
  readonly #onRemove: (name: string) => void;
  #rows: Map<string, Row> = new Map();
  /** Rows that are still to be added. */
  #waiting: HTMLElement[] = [];

  constructor(body: HTMLElement, onRemove: (name: string) => void) {
    this.#body = body;
    this.#onRemove = onRemove;
  }

  /** Shows these sources, in this order. */
  show(sources: readonly Source[]): void {
    const rows = new Map(sources.map((x) => [x.name, this.#rows.get(x.name) ?? this.#add(x.name)]));
    for (const [name, { element }] of this.#rows) if (!rows.has(name)) element.remove();
    this.#rows = rows;
    for (const { name, passages, missing } of sources) {
      const row = rows.get(name);
      setText(row?.passages, String(passages));
      setText(row?.embedded, percent(passages - missing, passages));
    }
  }

  #append(): void {
    const kept = new Set([...this.#rows.values()].map((x) => x.element));
    this.#waiting = this.#waiting.filter((x) => kept.has(x));
    this.#body.append(...this.#waiting.splice(0, ROWS_TOGETHER));
    if (this.#waiting.length > 0) setTimeout(() => this.#append(), BETWEEN_MS);
  }

  #add(name: string): Row {
    const element = document.createElement("tr");
    const title = element.insertCell();
    title.textContent = name;
    title.dir = "auto";
    const [passages, embedded, action] = [element.insertCell(), element.insertCell(), element.insertCell()];
    for (const cell of [passages, embedded, action]) cell.className = "number";
    const button = document.createElement("button");
    button.type = "button";
    button.className = "button small";
    button.textContent = "Remove";
    button.setAttribute("aria-label", `Remove ${name}`);
    button.addEventListener("click", () => this.#onRemove(name));
    action.append(button);
    if (this.#waiting.push(element) === 1) queueMicrotask(() => this.#append());
    return { element, passages, embedded };
  }
}

interface Row {
  readonly element: HTMLElement;
  readonly passages: HTMLElement;
  readonly embedded: HTMLElement;
}

/** Sets a text that changed: the same anew would be laid out again. */
function setText(element: HTMLElement | undefined, text: string): void {
  if (element !== undefined && element.textContent !== text) element.textContent = text;
}

function paragraph(text: string, className = ""): HTMLParagraphElement {
  const element = document.createElement("p");
  element.textContent = text;
  element.className = className;
  // Texts of a person may run from right to left.
  element.dir = "auto";
  return element;
}

/** Rounds down, so that 100 % means all. */
function percent(part: number, all: number): string {
  return `${Math.floor((100 * part) / all)} %`;
}

function ordinal(rank: number): string {
  const place = rank + 1;
  const ending = ["th", "st", "nd", "rd"][place % 100 > 10 && place % 100 < 14 ? 0 : place % 10] ?? "th";
  return `${place}${ending}`;
}
