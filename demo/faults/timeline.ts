// Draws the lanes' work of the last seconds, one row each, and the queued requests below. An attempt has a duration but
// no time: the last one ends with its request, each earlier one ends where the next began.
import type { Settled } from "./stream.ts";

const SVG = "http://www.w3.org/2000/svg";
const WINDOW_MS = 20_000;
const ROW = 28;
const LEFT = 84;

interface Bar {
  readonly lane: string;
  readonly fromMs: number;
  readonly toMs: number;
  readonly kind: "ok" | "again" | "bad";
  readonly title: string;
}

/** The timeline of an element. */
export class Timeline {
  readonly #place: HTMLElement;
  readonly #lanes: readonly string[];
  #bars: Bar[] = [];

  constructor(place: HTMLElement, lanes: readonly string[]) {
    this.#place = place;
    this.#lanes = lanes;
  }

  /** Adds a settled request. */
  add({ id, endMs, history, isRight }: Settled): void {
    let toMs = endMs;
    for (const [at, { lane, ms, error }] of [...history.entries()].reverse()) {
      const kind = error !== null || !isRight ? "bad" : at > 0 ? "again" : "ok";
      const title = `request ${id}, ${lane}: ${error ?? "answered"} after ${ms.toFixed(0)} ms`;
      this.#bars.push({ lane, fromMs: toMs - ms, toMs, kind, title });
      toMs -= ms;
    }
  }

  /** Draws; `waiting` holds the send times of the requests in flight. */
  draw(nowMs: number, waiting: readonly number[]): void {
    const startMs = nowMs - WINDOW_MS;
    this.#bars = this.#bars.filter(({ toMs }) => toMs > startMs);
    const width = Math.max(320, this.#place.clientWidth);
    const height = (this.#lanes.length + 1) * ROW + 18;
    const x = (ms: number): number => LEFT + ((Math.max(ms, startMs) - startMs) / WINDOW_MS) * (width - LEFT - 8);
    const parts: SVGElement[] = [];
    for (const [row, lane] of [...this.#lanes, "waits"].entries()) {
      const label = make("text", { x: 8, y: row * ROW + 20 });
      label.textContent = lane;
      parts.push(label, make("line", { x1: LEFT, x2: width - 8, y1: (row + 1) * ROW, y2: (row + 1) * ROW }));
    }
    for (const { lane, fromMs, toMs, kind, title } of this.#bars) {
      const row = this.#lanes.indexOf(lane);
      const bar = make("rect", {
        class: kind,
        x: x(fromMs),
        y: row * ROW + (kind === "bad" ? 4 : 8),
        width: Math.max(1.5, x(toMs) - x(fromMs)),
        height: kind === "bad" ? ROW - 8 : ROW - 14,
        rx: 2,
      });
      const tip = document.createElementNS(SVG, "title");
      tip.textContent = title;
      bar.append(tip);
      parts.push(bar);
    }
    const y = this.#lanes.length * ROW;
    for (const sentMs of waiting)
      parts.push(
        make("rect", { class: "wait", x: x(sentMs), y: y + 8, width: Math.max(1, x(nowMs) - x(sentMs)), height: 4 }),
      );
    for (const seconds of [20, 15, 10, 5, 0]) {
      const tick = make("text", { x: x(nowMs - seconds * 1000) - (seconds === 0 ? 26 : 0), y: height - 6 });
      tick.textContent = seconds === 0 ? "now" : `${seconds} s`;
      parts.push(tick);
    }
    const picture = make("svg", { viewBox: `0 0 ${width} ${height}`, role: "img" });
    picture.setAttribute("aria-label", this.#describe(waiting.length));
    picture.append(...parts);
    this.#place.replaceChildren(picture);
  }

  #describe(waiting: number): string {
    const count = (kind: Bar["kind"]): number => this.#bars.filter((bar) => bar.kind === kind).length;
    return `In the last 20 seconds: ${count("ok")} runs, ${count("bad")} failed attempts, ${count("again")} retries; ${waiting} requests queued or running.`;
  }
}

function make(name: string, attributes: Readonly<Record<string, string | number>>): SVGElement {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes))
    element.setAttribute(key, typeof value === "number" ? value.toFixed(1).replace(/\.0$/, "") : value);
  return element;
}
