// Draws the table of latencies and the histogram, and redraws them after each run.
import { quantile } from "../quantile.ts";
import { histogram } from "./samples.ts";
import type { Stall } from "./stall.ts";

/** All measurements of a subject. */
export interface Series {
  readonly name: string;
  readonly samples: number[];
  readonly stalls: Stall[];
}

const BINS = 48;
const SVG = "http://www.w3.org/2000/svg";

/** Draws a row per subject, with the numbers also as `data-…`, in ms. */
export function drawRows(body: HTMLElement, all: readonly Series[]): void {
  body.replaceChildren(
    ...all.map(({ name, samples, stalls }) => {
      const gapMs = Math.max(0, ...stalls.map((stall) => stall.gapMs));
      const tasks = stalls.flatMap(({ longTaskMs }) => longTaskMs ?? []);
      const row = document.createElement("tr");
      row.dataset["testid"] = "row";
      row.dataset["subject"] = name;
      row.dataset["runs"] = String(samples.length);
      row.dataset["p50"] = (quantile(samples, 0.5) ?? NaN).toFixed(3);
      row.dataset["p95"] = (quantile(samples, 0.95) ?? NaN).toFixed(3);
      row.dataset["stall"] = gapMs.toFixed(3);
      row.append(
        cell(name),
        cell(String(samples.length), "number"),
        cell(show(quantile(samples, 0.5) ?? NaN), "number"),
        cell(show(quantile(samples, 0.95) ?? NaN), "number"),
        cell(samples.length === 0 ? "–" : show(gapMs), "number"),
        cell(samples.length === 0 || tasks.length === 0 ? "–" : showTask(Math.max(...tasks)), "number"),
      );
      return row;
    }),
  );
}

/** Adds the subjects that can't run here, with the reason. */
export function drawAbsent(body: HTMLElement, name: string, reason: string): void {
  const row = document.createElement("tr");
  const why = cell(`not available: ${reason}`);
  why.setAttribute("colspan", "5");
  row.dataset["testid"] = "absent";
  row.dataset["subject"] = name;
  row.append(cell(name), why);
  body.append(row);
}

/** Draws a histogram per subject over one logarithmic axis. */
export function drawHistogram(place: HTMLElement, all: readonly Series[]): void {
  const every = all.flatMap(({ samples }) => samples);
  if (every.length === 0) {
    place.replaceChildren();
    return;
  }
  const min = Math.max(0.01, Math.min(...every) / 1.2);
  const max = Math.max(...every) * 1.2;
  const parts = all.flatMap(({ name, samples }) => {
    const label = document.createElement("span");
    label.textContent = name;
    return [label, bars(histogram(samples, min, max, BINS), `${name}: p50 ${show(quantile(samples, 0.5) ?? NaN)} ms`)];
  });
  const axis = document.createElement("div");
  axis.className = "axis";
  for (const at of [min, Math.sqrt(min * max), max]) {
    const tick = document.createElement("span");
    tick.textContent = `${show(at)} ms`;
    axis.append(tick);
  }
  place.replaceChildren(...parts, axis);
}

function bars(counts: readonly number[], description: string): SVGElement {
  const picture = document.createElementNS(SVG, "svg");
  const highest = Math.max(1, ...counts);
  picture.setAttribute("viewBox", `0 0 ${BINS} 1`);
  picture.setAttribute("preserveAspectRatio", "none");
  picture.setAttribute("role", "img");
  picture.setAttribute("aria-label", description);
  for (const [bin, count] of counts.entries()) {
    if (count === 0) continue;
    const bar = document.createElementNS(SVG, "rect");
    const height = count / highest;
    for (const [key, value] of Object.entries({ x: bin + 0.08, y: 1 - height, width: 0.84, height }))
      bar.setAttribute(key, value.toFixed(3));
    picture.append(bar);
  }
  return picture;
}

function cell(text: string, className = ""): HTMLElement {
  const made = document.createElement("td");
  made.className = className;
  made.textContent = text;
  return made;
}

function show(ms: number): string {
  if (!Number.isFinite(ms)) return "–";
  return ms >= 100 ? ms.toFixed(0) : ms >= 10 ? ms.toFixed(1) : ms.toFixed(2);
}

function showTask(ms: number): string {
  return ms === 0 ? "none" : show(ms);
}
