import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { explain } from "./explain-run.ts";
import { whyKept } from "./result-cache.ts";
import type { StartWhy } from "../schedule/events.ts";
import { WHY_CODES } from "../core/reasons.ts";

const start: StartWhy = {
  ...{ lane: "earliest-finish", inMs: 32, other: "wasm-1", otherInMs: 80.4 },
  ...{ batch: "batched", waitedMs: 1.8, apartMs: 44, togetherMs: 22 },
};
const routeWhy = { code: "software-adapter", text: "wasm: the GPU is a software adapter" } as const;
const grounds = { routeWhy, start, lane: "wasm-0", count: 4, failures: [], lateMs: 0 };

test("one sentence has every reason with its numbers, and the first gives the code", () => {
  const { code, text, reasons } = explain(grounds);
  expect(code).toBe("software-adapter");
  expect(text).toBe(
    "wasm: the GPU is a software adapter; estimated finish 32 ms on wasm-0, 80 ms on wasm-1; batched with 3: waiting 1.8 ms saves 22 ms",
  );
  expect(reasons.map((x) => x.code)).toEqual(["software-adapter", "earliest-finish", "batched"]);
});

test("failed attempts, lateness and cached answers are reported", () => {
  const failures = [{ lane: "webgpu-0", ms: 120.2, error: "device-lost" }];
  const { text, reasons } = explain({ ...grounds, failures, lateMs: 3.14 });
  expect(text).toContain("retried: webgpu-0 failed after 120 ms (device-lost)");
  expect(text).toContain("finished 3.1 ms late");
  expect(reasons.map((x) => x.code)).toEqual(["software-adapter", "retried", "earliest-finish", "batched", "late"]);
  expect(whyKept("wasm-0", 31)).toMatchObject({
    code: "cached",
    text: expect.stringContaining("31 ms on wasm-0") as string,
  });
});

test("each code of a start has a sentence of its own", () => {
  const lanes = ["only-lane", "earliest-finish", "lane-queue-full", "express-lane", "wide-lane", "state-kept"] as const;
  const batches = [
    ...(["batched", "batch-tried", "unbatchable", "nothing-to-join"] as const),
    ...(["batch-costs", "lanes-idle", "batch-limit"] as const),
  ];
  const texts = [
    ...lanes.map((lane) => explain({ ...grounds, start: { ...start, lane } }).reasons[1]?.text),
    ...batches.map((batch) => explain({ ...grounds, start: { ...start, batch } }).reasons[2]?.text),
  ];
  expect(new Set(texts).size).toBe(texts.length);
  expect(texts.every((text) => text !== undefined && !/undefined|NaN|\?/.test(text))).toBe(true);
});

test("every code there is has a test that names it", () => {
  const folders = ["core", "engine", "schedule", "test-support/simulate"].map((folder) =>
    join(import.meta.dirname, "..", folder),
  );
  const files = folders.flatMap((folder) => readdirSync(folder).map((file) => join(folder, file)));
  const tests = files.filter((x) => x.endsWith(".test.ts") && !x.endsWith("explain.test.ts"));
  const text = tests.map((path) => readFileSync(path, "utf8")).join("\n");
  expect(Object.keys(WHY_CODES).filter((code) => !text.includes(`"${code}"`))).toEqual([]);
});
