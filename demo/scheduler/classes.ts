// Request classes of the page: the model, the priority, and the arrivals of each.
import type { RunOptions } from "selvedge";

/** A class of requests. */
export interface Class {
  readonly id: "camera" | "fraud" | "advice" | "index";
  /** The use case that it represents. */
  readonly name: string;
  readonly model: "fashion-cnn" | "fashion-mlp" | "ocr-rec";
  readonly input: string;
  readonly dims: readonly number[];
  readonly options: RunOptions;
  /** Infinity without a deadline. */
  readonly deadlineMs: number;
}

const fashion = { input: "image", dims: [1, 1, 28, 28] } as const;

/** All classes, the most urgent first. */
export const CLASSES: readonly Class[] = [
  {
    ...fashion,
    ...{ id: "camera", name: "Camera", model: "fashion-cnn", deadlineMs: 10 },
    options: { priority: "interactive", deadlineMs: 10 },
  },
  {
    ...fashion,
    ...{ id: "fraud", name: "Fraud check", model: "fashion-mlp", deadlineMs: 100 },
    options: { deadlineMs: 100 },
  },
  {
    ...fashion,
    ...{ id: "advice", name: "Recommendation", model: "fashion-mlp", deadlineMs: 200 },
    options: { deadlineMs: 200 },
  },
  {
    ...{ id: "index", name: "Background index", model: "ocr-rec", input: "x", dims: [1, 3, 48, 320] },
    deadlineMs: Number.POSITIVE_INFINITY,
    options: { priority: "background" },
  },
];

/** Result of a request. Times by `performance.now()`. */
export interface Settled {
  readonly of: Class;
  readonly calledMs: number;
  readonly endMs: number;
  /** `refused` if the scheduler rejected it, at once or later, because it can't be on time. */
  readonly outcome: "answered" | "refused" | "failed";
  /** Lane and time of its run; null if it did not run. */
  readonly ran: { readonly lane: string; readonly startMs: number; readonly batchSize: number } | null;
  readonly why: string;
}

/** Whether a request was answered within its deadline. */
export function isOnTime({ of, calledMs, endMs, outcome }: Settled): boolean {
  return outcome === "answered" && endMs - calledMs <= of.deadlineMs;
}
