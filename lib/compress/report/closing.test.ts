import { expect, test } from "vitest";
import { makeMetric } from "../run/metric.ts";
import { closing, nextSteps } from "./closing.ts";
import type { CompressReport, FormReport } from "./report.ts";

/** A report with the fields that the sentences are made of. */
const report = (forms: readonly object[], more: object): CompressReport =>
  ({
    ...{
      metric: { name: "sqnr", reference: null },
      samples: { n: 40, isSynthetic: false },
      targets: ["webgpu", "wasm"],
    },
    ...{ defaults: {}, isStopped: false, bundle: {}, forms: forms as readonly FormReport[], ...more },
  }) as unknown as CompressReport;

test.each([
  [-3.2, null],
  [0.4, null],
  [1.7, "1dB"],
  [21.9, "21dB"],
])("the best score %d dB leads to advice that --max-drop accepts", async (score, advised) => {
  const form = { id: "int4", score, isWithinBudget: false, checks: [] };
  const lines = nextSteps(report([form], { defaults: { webgpu: null, wasm: null } }));
  expect(lines.length).toBeGreaterThan(1);
  const given = lines.flatMap((x) => /--max-drop (\S+dB)/.exec(x)?.[1] ?? []);
  expect(given).toEqual(advised === null ? [] : [advised]);
  for (const maxDrop of given) await makeMetric("sqnr", { hasLabels: false, maxDrop });
});

test("the closing line has the time of a form on the targets that get it alone", () => {
  const whole = { id: "f32", brotliBytes: 400, score: 200, checks: [] };
  const checks = [
    { target: "webgpu", verdict: "passed" },
    { target: "wasm", verdict: "passed", speed: 1.4 },
  ];
  const form = { id: "f16", brotliBytes: 200, score: 60, checks };
  const line = (defaults: object): string | null => closing(report([whole, form], { defaults }));
  expect(line({ webgpu: "f16", wasm: "f32" })).not.toContain("the time");
  expect(line({ webgpu: "f16", wasm: "f16" })).toContain("1.40 × the time");
});
