// Reads rendered lines with both variants of ocr-rec on wasm, through the shipped package, against ground truth.
import { expect, test } from "@playwright/test";
import { basename } from "node:path";
import { slice } from "../../../lib/test-support/slice.ts";
import { corpusFolder, lines } from "../../../models/corpus/render.ts";
import { exactRate, isExact, pairedDifference } from "../../../models/corpus/score.ts";
import { keep } from "../../support/suite.ts";
import type { Answer, Task } from "../../pages/ocr-lines.ts";

const MIN_EXACT = 0.96;
/** Limit on int8's loss against f32, as a share of lines. */
const MAX_LOSS = 0.005;

test("ocr-rec reads rendered lines on wasm, int8 as well as f32", async ({ page, browserName }) => {
  const count = slice(browserName === "chromium" ? 120 : 40, 2_000);
  test.setTimeout(slice(300_000, 1_800_000));
  const corpus = await lines(count);
  const folder = basename(await corpusFolder());
  const urls = corpus.map(({ file }) => `/corpus/${folder}/lines/${basename(file)}`);
  const { pages } = test.info().config.metadata as { pages: string };
  await page.goto(`${pages}/ocr-lines.html`);
  await page.waitForFunction("globalThis.readLines !== undefined");

  const read = async (variant: string): Promise<string[]> => {
    const task: Task = { backend: "wasm", variant, urls };
    const answer = await page.evaluate<Answer, Task>(
      (task) => (globalThis as unknown as { readLines: (task: Task) => Promise<Answer> }).readLines(task),
      task,
    );
    expect(answer).toMatchObject({ backends: ["wasm"], variants: [variant] });
    expect(answer.texts).toHaveLength(count);
    return [...answer.texts];
  };
  const f32 = await read("f32");
  const int8 = await read("int8");

  const hits = (texts: readonly string[]): number[] =>
    corpus.map(({ text }, at) => (isExact(text, texts[at] ?? "") ? 1 : 0));
  const pairs = (texts: readonly string[]): { truth: string; read: string }[] =>
    corpus.map(({ text }, at) => ({ truth: text, read: texts[at] ?? "" }));
  const f32Rate = exactRate(pairs(f32));
  const int8Rate = exactRate(pairs(int8));
  const loss = pairedDifference(hits(f32), hits(int8));
  await keep(test.info(), { lines: count, f32: f32Rate, int8: int8Rate, lossLow: loss.low, lossHigh: loss.high });

  expect(f32Rate).toBeGreaterThanOrEqual(MIN_EXACT);
  expect(int8Rate).toBeGreaterThanOrEqual(MIN_EXACT);
  // A slice is too small to resolve half a point: there, int8 fails only if it is significantly worse.
  expect(slice(loss.low, loss.mean)).toBeLessThanOrEqual(MAX_LOSS);
});
