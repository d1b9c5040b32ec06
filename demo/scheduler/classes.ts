// The classes of requests on the page: which model each asks, how urgent it is, and how its requests come.
import type { RunOptions } from "selvedge";

/** A class of requests. */
export interface Class {
  readonly id: "camera" | "fraud" | "advice" | "index";
  /** What it stands for. */
  readonly name: string;
  readonly model: "fashion-cnn" | "fashion-mlp" | "ocr-rec";
  readonly input: string;
  readonly dims: readonly number[];
  readonly options: RunOptions;
  /** Infinity where it may take its time. */
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

/** What a request of a class became. Times by `performance.now()`. */
export interface Settled {
  readonly of: Class;
  readonly calledMs: number;
  readonly endMs: number;
  /** `refused` where the scheduler said at once, or later, that it can't be on time. */
  readonly outcome: "answered" | "refused" | "failed";
  /** Where and when it ran; null where it did not. */
  readonly ran: { readonly lane: string; readonly startMs: number; readonly batchSize: number } | null;
  readonly why: string;
}

/** Tells whether a request was answered within its deadline. */
export function isOnTime({ of, calledMs, endMs, outcome }: Settled): boolean {
  return outcome === "answered" && endMs - calledMs <= of.deadlineMs;
}
