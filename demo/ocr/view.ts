// Draws a reading: the picture with its boxes over it, the lines as text beside it, and the times. Independent of
// models. The overlay is an SVG in the page's own pixels, so it stays aligned at any size on the screen.
import { boxCorners } from "./boxes.ts";
import type { ReadLine, Reading } from "./reader.ts";

const SVG = "http://www.w3.org/2000/svg";
/** Height of capital letters and descenders together, as a share of the box, so that text fills it. */
const TEXT_SHARE = 0.72;
/** Lines with a lower confidence are marked. */
const UNSURE = 0.9;

/** The elements that a reading is drawn into. */
export interface Places {
  readonly result: HTMLElement;
  readonly figure: HTMLElement;
  readonly lines: HTMLElement;
  readonly stages: HTMLElement;
}

/** Shows a picture before it is read. */
export function showPicture(places: Places, file: Blob): void {
  clear(places);
  const image = document.createElement("img");
  image.alt = "The page";
  image.decoding = "async";
  const url = URL.createObjectURL(file);
  image.addEventListener("load", () => URL.revokeObjectURL(url), { once: true });
  image.addEventListener("error", () => URL.revokeObjectURL(url), { once: true });
  image.src = url;
  places.figure.replaceChildren(image);
  places.result.hidden = false;
}

/** Clears the view. */
export function clear(places: Places): void {
  places.result.hidden = true;
  for (const element of [places.figure, places.lines, places.stages]) element.replaceChildren();
}

/** Shows a reading over the picture and beside it. */
export function showReading(places: Places, reading: Reading): void {
  const overlay = element("svg", {
    viewBox: `0 0 ${reading.width} ${reading.height}`,
    preserveAspectRatio: "none",
    "aria-hidden": "true",
  });
  for (const [index, line] of reading.lines.entries()) {
    const shape = drawLine(line);
    const item = writeLine(line);
    const mark = (on: boolean) => () => {
      shape.classList.toggle("marked", on);
      item.classList.toggle("marked", on);
    };
    for (const part of [shape, item]) {
      part.addEventListener("pointerenter", mark(true));
      part.addEventListener("pointerleave", mark(false));
    }
    shape.addEventListener("click", () => item.scrollIntoView({ block: "nearest" }));
    item.dataset["index"] = String(index);
    overlay.append(shape);
    places.lines.append(item);
  }
  places.figure.append(overlay);
  for (const { name, ranOn, ms } of [...reading.stages, total(reading)]) {
    const row = document.createElement("tr");
    row.append(cell(name), cell(ranOn), cell(ms.toFixed(0), "number"));
    places.stages.append(row);
  }
}

/** Text of a reading, for the clipboard. */
export function textOf(reading: Reading): string {
  return reading.lines.map((line) => line.text).join("\n");
}

function drawLine({ box, text, confidence }: ReadLine): SVGElement {
  const group = element("g", { class: confidence < UNSURE ? "line unsure" : "line" });
  const points = boxCorners(box).map(({ x, y }) => `${x.toFixed(1)},${y.toFixed(1)}`);
  const size = box.height * TEXT_SHARE;
  const label = element("text", {
    "font-size": size.toFixed(1),
    textLength: (box.width * 0.98).toFixed(1),
    lengthAdjust: "spacingAndGlyphs",
    "text-anchor": "middle",
    y: (size * 0.35).toFixed(1),
    transform: `translate(${box.x.toFixed(1)} ${box.y.toFixed(1)}) rotate(${((box.angle * 180) / Math.PI).toFixed(2)})`,
  });
  label.textContent = text;
  group.append(element("polygon", { points: points.join(" ") }), label);
  return group;
}

/** The line's text is alone in its element; its confidence is beside it. */
function writeLine({ text, confidence }: ReadLine): HTMLElement {
  const item = document.createElement("li");
  const line = document.createElement("span");
  line.dataset["testid"] = "line";
  line.dataset["confidence"] = confidence.toFixed(4);
  line.textContent = text;
  const share = document.createElement("span");
  share.className = confidence < UNSURE ? "confidence unsure" : "confidence";
  share.title = "Confidence";
  share.textContent = `${(confidence * 100).toFixed(0)} %`;
  item.append(line, share);
  return item;
}

function total({ stages }: Reading): { name: string; ranOn: string; ms: number } {
  return { name: "All", ranOn: "", ms: stages.reduce((sum, { ms }) => sum + ms, 0) };
}

function cell(text: string, className = ""): HTMLElement {
  const made = document.createElement("td");
  made.className = className;
  made.textContent = text;
  return made;
}

function element(name: string, attributes: Readonly<Record<string, string>>): SVGElement {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}
