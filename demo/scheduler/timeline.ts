// Draws the lanes of the last second and a half: a row per lane, a bar per batch in the colour of its class, and below
// them a mark for each request at its end: a tick if it was on time, a cross if it was late or rejected. Colours come
// from the style sheet, which handles light and dark.
import { CLASSES, isOnTime } from "./classes.ts";
import type { Class, Settled } from "./classes.ts";

/** Length of the visible window. */
export const WINDOW_MS = 1_500;
const ROW = 26;
const MARKS = 22;
const AXIS = 18;
const LEFT = 96;
const RIGHT = 10;

interface Bar {
  readonly lane: string;
  readonly startMs: number;
  readonly endMs: number;
  readonly classes: Set<Class>;
  count: number;
}

/** The timeline on a canvas. */
export class Timeline {
  readonly #canvas: HTMLCanvasElement;
  readonly #lanes: readonly string[];

  constructor(canvas: HTMLCanvasElement, lanes: readonly string[]) {
    this.#canvas = canvas;
    this.#lanes = lanes;
    canvas.style.height = `${this.#height}px`;
  }

  get #height(): number {
    return this.#lanes.length * ROW + MARKS + AXIS;
  }

  /** Draws all that was settled until now. */
  draw(nowMs: number, settled: readonly Settled[]): void {
    const canvas = this.#canvas;
    const { clientWidth: width, ownerDocument } = canvas;
    const height = this.#height;
    const scale = Math.min(2, globalThis.devicePixelRatio);
    if (canvas.width !== Math.round(width * scale)) canvas.width = Math.round(width * scale);
    if (canvas.height !== Math.round(height * scale)) canvas.height = Math.round(height * scale);
    const context = canvas.getContext("2d");
    if (context === null) return;
    const style = ownerDocument.defaultView?.getComputedStyle(canvas);
    const colour = (name: string): string => style?.getPropertyValue(`--${name}`).trim() ?? "";
    const x = (ms: number): number => LEFT + ((ms - nowMs + WINDOW_MS) / WINDOW_MS) * (width - LEFT - RIGHT);
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, width, height);
    context.font = `12px ${style?.fontFamily ?? "sans-serif"}`;
    context.textBaseline = "middle";
    for (const [row, lane] of this.#lanes.entries()) {
      context.fillStyle = colour("quiet");
      context.fillText(lane, 8, row * ROW + ROW / 2);
      context.fillStyle = colour("line");
      context.fillRect(LEFT, (row + 1) * ROW - 1, width - LEFT - RIGHT, 1);
    }
    context.fillStyle = colour("quiet");
    context.fillText("deadlines", 8, this.#lanes.length * ROW + MARKS / 2);
    context.save();
    context.beginPath();
    context.rect(LEFT, 0, width - LEFT - RIGHT, height - AXIS);
    context.clip();
    const recent = settled.filter(({ endMs }) => endMs > nowMs - WINDOW_MS);
    for (const bar of barsOf(recent)) {
      const row = this.#lanes.indexOf(bar.lane);
      const part = (ROW - 8) / bar.classes.size;
      for (const [i, of] of [...bar.classes].entries()) {
        context.fillStyle = colour(of.id);
        context.fillRect(
          x(bar.startMs),
          row * ROW + 3 + i * part,
          Math.max(1, x(bar.endMs) - x(bar.startMs) - 0.5),
          part,
        );
      }
      if (bar.count > 1 && x(bar.endMs) - x(bar.startMs) > 22) {
        context.fillStyle = colour("on-bar");
        context.fillText(`×${bar.count}`, x(bar.startMs) + 3, row * ROW + ROW / 2);
      }
    }
    const y = this.#lanes.length * ROW + MARKS / 2;
    for (const each of recent) {
      if (each.of.deadlineMs === Number.POSITIVE_INFINITY) continue;
      const at = x(each.endMs);
      if (isOnTime(each)) {
        context.fillStyle = colour(each.of.id);
        context.fillRect(at - 0.75, y - 4, 1.5, 8);
      }
    }
    // Misses on top, and larger: visitors look for them.
    context.strokeStyle = colour("error");
    context.lineWidth = 1.5;
    context.beginPath();
    for (const each of recent) {
      if (each.of.deadlineMs === Number.POSITIVE_INFINITY || isOnTime(each)) continue;
      const at = x(each.endMs);
      context.moveTo(at - 4, y - 6);
      context.lineTo(at + 4, y + 6);
      context.moveTo(at + 4, y - 6);
      context.lineTo(at - 4, y + 6);
    }
    context.stroke();
    context.restore();
    context.fillStyle = colour("quiet");
    for (let ms = WINDOW_MS; ms >= 0; ms -= 500) {
      const text = ms === 0 ? "now" : `${ms / 1_000} s`;
      context.textAlign = ms === 0 ? "right" : "left";
      context.fillText(text, x(nowMs - ms), height - AXIS / 2);
    }
    context.textAlign = "left";
  }
}

/** Requests that ran in one batch are one bar. */
function barsOf(settled: readonly Settled[]): Bar[] {
  const bars = new Map<string, Bar>();
  for (const { of, endMs, ran } of settled) {
    if (ran === null) continue;
    const key = `${ran.lane} ${ran.batchSize > 1 ? ran.startMs.toFixed(0) : ran.startMs} ${of.model}`;
    const bar = bars.get(key) ?? { lane: ran.lane, startMs: ran.startMs, endMs, classes: new Set<Class>(), count: 0 };
    bar.classes.add(of);
    bar.count = Math.max(bar.count, ran.batchSize);
    bars.set(key, bar);
  }
  for (const bar of bars.values()) {
    const sorted = CLASSES.filter((of) => bar.classes.has(of));
    bar.classes.clear();
    for (const of of sorted) bar.classes.add(of);
  }
  return [...bars.values()];
}
