// Scenario `overhead`: cost of Selvedge over ONNX Runtime Web used by hand, same model, same backend, same threads.
import { readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import type { Page } from "@playwright/test";
import { corpusFolder, lines } from "../../../models/corpus/render.ts";
import { ROOT } from "../../support/prepare.ts";
import { scenario as faults } from "./faults.ts";
import { firstResultCases } from "./first-result.ts";
import { frameCases } from "./frames.ts";
import type { Case, Sample, Subject } from "../kernel/kernel.ts";
import type { Bench } from "../kernel/run.ts";

/** Interface that e2e/pages/overhead.ts puts on its page. */
interface PageBench {
  setUp(model: string, names: readonly string[], dims: Readonly<Record<string, number[]>>): Promise<void>;
  sample(name: string, count: number, slowBy: number): Promise<Measured>;
  stall(name: string, count: number, slowBy: number): Promise<Measured>;
  stallReading(urls: readonly string[]): Promise<Measured>;
}
interface Measured {
  readonly ms: number;
  readonly backend: string;
}

const REC = { model: "ocr-rec", variant: "f32" };
const TINY = { model: "add", variant: "f32" };
const LINES = 100;

/** Yields the cases in order; each has a page of its own. */
export async function* scenario(bench: Bench): AsyncGenerator<Case> {
  yield* withPage(
    bench,
    "/expanded/ocr-rec/f32.onnx",
    ["selvedge", "raw worker", "raw worker 2"],
    { x: [1, 3, 48, 320] },
    (page) => ({
      name: "one run of ocr-rec",
      unit: "ms",
      statistic: "median",
      subjects: ["raw worker", "raw worker 2", "selvedge"].map((name) => timed(page, name, 1, REC)),
      of: "raw worker",
      goals: [{ subject: "selvedge", on: "ratio", atMost: 1.03 }],
      control: "selvedge",
      rounds: bench.rounds(60),
      warmups: 3,
    }),
  );
  yield* withPage(bench, "add", ["selvedge", "raw worker", "raw worker 2"], { a: [8, 3], b: [8, 3] }, (page) => ({
    name: "one run of a tiny model",
    unit: "ms",
    statistic: "median",
    subjects: ["raw worker", "raw worker 2", "selvedge"].map((name) => timed(page, name, 100, TINY)),
    of: "raw worker",
    goals: [{ subject: "selvedge", minus: "raw worker", on: "value", atMost: 0.1 }],
    control: "selvedge",
    rounds: bench.rounds(30),
    warmups: 3,
  }));
  yield* stallCase(bench);
  if (bench.browserName === "chromium") yield await sizeCase();
  yield* frameCases(bench);
  yield* firstResultCases(bench);
  yield* faults(bench);
}

async function* withPage(
  bench: Bench,
  model: string,
  names: readonly string[],
  dims: Readonly<Record<string, number[]>>,
  make: (page: Page) => Case,
): AsyncGenerator<Case> {
  const page = await openPage(bench);
  await call(page, "setUp", model, names, dims);
  yield make(page);
  await page.close();
}

/** Longest stall of the main thread while 100 lines are read. */
async function* stallCase(bench: Bench): AsyncGenerator<Case> {
  const corpus = await lines(LINES);
  const folder = basename(await corpusFolder());
  const urls = corpus.map(({ file }) => `/corpus/${folder}/lines/${basename(file)}`);
  const page = await openPage(bench);
  await call(page, "setUp", "/expanded/ocr-rec/f32.onnx", ["raw main thread"], { x: [1, 3, 48, 320] });
  yield {
    name: `longest stall of the main thread, ${LINES} lines`,
    unit: "ms",
    statistic: "median",
    subjects: [
      {
        name: "raw main thread",
        sample: async (slowBy) => sampleOf(await call(page, "stall", "raw main thread", LINES, slowBy), REC),
      },
      {
        name: "selvedge",
        sample: async () => sampleOf(await call(page, "stallReading", urls), { ...REC, variant: "int8-dynamic" }),
      },
    ],
    of: "raw main thread",
    goals: [{ subject: "selvedge", on: "value", atMost: 50 }],
    rounds: bench.rounds(5),
    warmups: 1,
  };
  await page.close();
}

/**
 * JavaScript that a page loads, minified and compressed as sent by a server; workers and wasm are files of their own,
 * and so is code that is loaded on demand.
 */
async function sizeCase(): Promise<Case> {
  const { outputFiles, metafile } = await build({
    entryPoints: [join(ROOT, "dist/index.js")],
    bundle: true,
    splitting: true,
    minify: true,
    format: "esm",
    outdir: "out",
    write: false,
    metafile: true,
  });
  const loaded = new Set<string>(["out/index.js"]);
  for (const path of loaded)
    for (const { path: other, kind } of metafile.outputs[path]?.imports ?? [])
      if (kind === "import-statement") loaded.add(other);
  const files = outputFiles.filter(({ path }) => [...loaded].some((name) => path.endsWith(name)));
  const gzip = files.reduce((sum, { contents }) => sum + gzipSync(contents, { level: 9 }).byteLength, 0);
  const peer = gzipSync(readFileSync(join(ROOT, "node_modules/onnxruntime-web/dist/ort.bundle.min.mjs")), { level: 9 });
  const none = { backend: "none", model: "none", variant: "none" };
  return {
    name: "JavaScript on the main thread, gzip",
    unit: "kB",
    statistic: "median",
    subjects: [
      { name: "onnxruntime-web, default import", sample: async () => ({ ...none, value: peer.byteLength / 1_000 }) },
      { name: "selvedge", sample: async () => ({ ...none, value: gzip / 1_000 }) },
    ],
    of: "onnxruntime-web, default import",
    goals: [{ subject: "selvedge", on: "value", atMost: 40 }],
    rounds: 1,
    warmups: 0,
  };
}

function timed(page: Page, name: string, count: number, ran: { model: string; variant: string }): Subject {
  return { name, sample: async (slowBy) => sampleOf(await call(page, "sample", name, count, slowBy), ran) };
}

function sampleOf({ ms, backend }: Measured, ran: { model: string; variant: string }): Sample {
  return { value: ms, backend, ...ran };
}

async function openPage({ browser, url }: Bench): Promise<Page> {
  const page = await browser.newPage();
  await page.goto(`${url}overhead.html`);
  await page.waitForFunction("globalThis.bench !== undefined");
  return page;
}

function call<N extends keyof PageBench>(
  page: Page,
  name: N,
  ...args: Parameters<PageBench[N]>
): Promise<Awaited<ReturnType<PageBench[N]>>> {
  return page.evaluate(
    ([name, args]) => {
      const { bench } = globalThis as unknown as { bench: Record<string, (...args: unknown[]) => unknown> };
      return bench[name]?.(...args);
    },
    [name, args] as const,
  ) as Promise<Awaited<ReturnType<PageBench[N]>>>;
}
