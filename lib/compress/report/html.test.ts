import { describe, expect, test } from "vitest";
import type { CompressReport } from "./report.ts";
import { htmlReport } from "./html.ts";
import { markdownReport, terminalReport } from "./markdown.ts";

const report: CompressReport = {
  schema: "selvedge/report@1",
  model: "a|b <script>.onnx",
  sourceBytes: 1_000,
  targets: ["wasm", "webgpu"],
  metric: { name: "sqnr", budget: "at least 30 dB", reference: 200 },
  samples: { n: 40, fitted: 20, scored: 20, isSynthetic: false },
  forms: [
    {
      ...{
        id: "f32",
        file: "f32.onnx",
        needs: [],
        bytes: 1_000,
        brotliBytes: 900,
        deviceBytes: 1_000,
        score: 200,
        sqnrDb: 200,
        isWithinBudget: true,
      },
      ...{ checks: [{ target: "wasm", verdict: "passed", speed: 1 }], seconds: 1 },
    },
    {
      ...{
        id: "int8",
        file: "int8.onnx",
        needs: [],
        bytes: 270,
        brotliBytes: 240,
        deviceBytes: 777_001,
        score: 12,
        sqnrDb: 12,
        isWithinBudget: false,
      },
      ...{ checks: [{ target: "wasm", verdict: "passed", speed: 1.4 }], seconds: 1 },
    },
    {
      ...{
        id: "int4",
        file: "int4.onnx",
        needs: [],
        bytes: 0,
        brotliBytes: 0,
        deviceBytes: null,
        score: null,
        sqnrDb: null,
        isWithinBudget: false,
      },
      ...{ checks: [], seconds: 1, why: "it could not be made: no <b>" },
    },
  ],
  defaults: { wasm: "f32" },
  bundle: { identity: "0".repeat(64), variants: ["f32"], bytes: 1_000, wireBytes: 900 },
  tensors: [{ name: 'w"1', bytes: 800 }],
  sensitivity: [{ name: "w&1", operator: "MatMul", bytes: 800, int8Db: 40.5, int4Db: 15.25 }],
  notes: ["A note."],
  isStopped: false,
  seconds: 3,
  peakBytes: 2 ** 28,
};

describe("every format of the report has the same content", () => {
  test.each([
    ["terminal", terminalReport],
    ["pull request", markdownReport],
    ["page", htmlReport],
  ])("on the %s", (_, write) => {
    const text = write(report);
    for (const part of [
      "wasm gets f32",
      "int8 missed its budget: sqnr 12",
      "1.400 times as long",
      "not made",
      "GPU bytes",
      "777,001",
      "A note.",
    ])
      expect(text).toContain(part);
  });
});

test("the page is one file without scripts or links, in which names are text", () => {
  const page = htmlReport(report);
  expect(page).not.toMatch(/<script|<link|src=|https?:/);
  expect(page).toContain("a|b &lt;script>.onnx");
  expect(page).toContain("no &lt;b>");
  expect(page).toContain("w&amp;1");
  expect(page).toMatch(/prefers-color-scheme:dark/);
  expect(page.match(/<svg [^>]*role="img" aria-label="/g)).toHaveLength(3);
});

test("a pipe in a name does not break the Markdown table", () => {
  const text = markdownReport({ ...report, sensitivity: [{ ...report.sensitivity[0]!, name: "a|b" }] });
  expect(text).toContain("| a\\|b | MatMul | 800 | 40.5 | 15.3 |");
});

test("texts of a search are text in its plot (store-C11)", () => {
  const form = '"><script>alert(1)</script>';
  const candidate = { form, price: 0, left: 0, bytes: 10, macs: 10, score: 1, isPassed: true };
  const search = { candidates: [candidate], chosen: [], uniform: null, leftAlone: [], isCutShort: false };
  const page = htmlReport({ ...report, search: { ...search, seconds: 1, ortSeconds: 1, peakBytes: 1 } });
  expect(page).toContain("&lt;script>");
  expect(page).not.toContain("<script");
});
