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

/** Returns the row of a source, with a button that removes it. */
export function sourceRow({ name, passages, missing }: Source, onRemove: () => void): HTMLTableRowElement {
  const row = document.createElement("tr");
  row.insertCell().textContent = name;
  for (const text of [String(passages), percent(passages - missing, passages)]) {
    const cell = row.insertCell();
    cell.className = "number";
    cell.textContent = text;
  }
  const button = document.createElement("button");
  button.type = "button";
  button.className = "button small";
  button.textContent = "Remove";
  button.setAttribute("aria-label", `Remove ${name}`);
  button.addEventListener("click", onRemove);
  const cell = row.insertCell();
  cell.className = "number";
  cell.append(button);
  return row;
}

function paragraph(text: string, className = ""): HTMLParagraphElement {
  const element = document.createElement("p");
  element.textContent = text;
  element.className = className;
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
