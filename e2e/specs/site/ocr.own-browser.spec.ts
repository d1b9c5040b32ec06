// The main job: /ocr/ reads rendered pages in every browser and on each of its backends. Text is compared with the
// truth, with npm @gutenye/ocr-node (the same models), and between browsers, which must agree to the letter.
import { chromium, expect, firefox, test } from "@playwright/test";
import { isSoak, slice } from "../../../lib/test-support/slice.ts";
import { chromiumLaunch, firefoxLaunch } from "../../support/browsers.ts";
import { fairReading, readPages } from "../../../models/corpus/reference.ts";
import { pages, smallPages } from "../../../models/corpus/render.ts";
import { characterErrorRate } from "../../../models/corpus/score.ts";
import { openReader, readPage, throughPlaywright, throughWebDriver } from "../../support/reader.ts";
import { keep } from "../../support/suite.ts";
import { WebDriver } from "../../support/webdriver.ts";
import type { BrowserName } from "../../support/browsers.ts";
import type { CorpusPage } from "../../../models/corpus/render.ts";
import type { Drive, PageReading } from "../../support/reader.ts";

interface Target {
  readonly browser: BrowserName;
  readonly backend: "wasm" | "webgpu";
  readonly variant: "f32" | "int8";
}

/** Bound on the character error rate over all pages, and tolerance above the reference's. */
const MAX_RATE = 0.01;
const MAX_ABOVE = 0.002;
const COUNT = slice(1, 30);
const VARIANTS = ["f32", "int8"] as const;

test.describe.configure({ timeout: slice(600_000, 3_600_000) });

/** Chromium's reading on wasm, to which all others are compared; read once for each variant. */
const known = new Map<string, Promise<PageReading[]>>();
function chromiumOnWasm(variant: Target["variant"]): Promise<PageReading[]> {
  const reading =
    known.get(variant) ??
    pages(COUNT).then((corpus) => readAll({ browser: "chromium", backend: "wasm", variant }, corpus));
  known.set(variant, reading);
  return reading;
}

for (const variant of VARIANTS) {
  test(`Chromium on wasm reads pages with ${variant}, as well as the reference does`, async () => {
    const corpus = await pages(COUNT);
    const read = await chromiumOnWasm(variant);
    const reference = await readPages(corpus.map(({ file }) => file));
    const rate = characterErrorRate(corpus.map(({ lines }, at) => ({ truth: lines, read: read[at]?.lines ?? [] })));
    const referenceRate = characterErrorRate(corpus.map((page, at) => fairReading(page, reference[at] ?? [])));
    const msPerPage = Math.round(read.reduce((sum, { ms }) => sum + ms, 0) / read.length);
    await keep(test.info(), { pages: COUNT, variant, rate, referenceRate, msPerPage });
    expect(rate).toBeLessThanOrEqual(MAX_RATE);
    expect(rate).toBeLessThanOrEqual(referenceRate + MAX_ABOVE);
  });
}

/** In the slice each of these reads with one variant; a whole page on a software adapter takes minutes. */
const OTHERS: readonly { readonly target: Target; readonly inSoak?: true }[] = [
  { target: { browser: "firefox", backend: "wasm", variant: "f32" }, inSoak: true },
  { target: { browser: "firefox", backend: "wasm", variant: "int8" } },
  { target: { browser: "webkit", backend: "wasm", variant: "f32" } },
  { target: { browser: "webkit", backend: "wasm", variant: "int8" }, inSoak: true },
  { target: { browser: "firefox", backend: "webgpu", variant: "int8" }, inSoak: true },
  { target: { browser: "firefox", backend: "webgpu", variant: "f32" }, inSoak: true },
];

for (const { target, inSoak = false } of OTHERS) {
  if (inSoak && !isSoak) continue;
  const count = target.backend === "webgpu" ? 10 : COUNT;
  test(`${target.browser} on ${target.backend} reads with ${target.variant} what Chromium reads on wasm`, async () => {
    const expected = (await chromiumOnWasm(target.variant)).slice(0, count);
    const read = await readAll(target, await pages(count));
    expect(read.map(({ lines }) => lines)).toEqual(expected.map(({ lines }) => lines));
  });
}

for (const browser of ["chromium", "firefox"] as const) {
  for (const variant of VARIANTS) {
    if (!isSoak && (browser === "chromium") !== (variant === "int8")) continue;
    test(`${browser} on webgpu reads a small page with ${variant} as on wasm, and truly`, async () => {
      const corpus = await smallPages(1);
      const [onWasm] = await readAll({ browser, backend: "wasm", variant }, corpus);
      const [onWebgpu] = await readAll({ browser, backend: "webgpu", variant }, corpus);
      expect(onWebgpu?.lines).toEqual(onWasm?.lines);
      const truth = corpus[0]?.lines ?? [];
      expect(characterErrorRate([{ truth, read: onWebgpu?.lines ?? [] }])).toBeLessThanOrEqual(MAX_RATE);
    });
  }
}

/** Reads pages in one fresh browser, and checks that the requested backend and variant ran. */
async function readAll(target: Target, corpus: readonly CorpusPage[]): Promise<PageReading[]> {
  return withDrive(target.browser, async (drive) => {
    const { backend, variant } = target;
    await openReader(drive, test.info().project.use.baseURL ?? "", `backend=${backend}&variant=${variant}&log=verbose`);
    const readings: PageReading[] = [];
    for (const { file } of corpus) {
      const reading = await readPage(drive, file);
      expect(reading).toMatchObject({ backend, variant });
      if (backend === "webgpu") assertOnDevice(reading);
      readings.push(reading);
    }
    return readings;
  });
}

/** According to ONNX Runtime's own log, only shape arithmetic of a model may be on the CPU. */
function assertOnDevice({ assignment }: PageReading): void {
  const models = JSON.parse(assignment ?? "{}") as Record<string, { device: number; cpu: number } | null>;
  for (const name of ["ocr-det", "ocr-rec"]) {
    expect(models[name]?.cpu, `operators of ${name} on the CPU`).toBe(0);
    expect(models[name]?.device, `operators of ${name} on the device`).toBeGreaterThan(0);
  }
}

async function withDrive<T>(browser: BrowserName, work: (drive: Drive) => Promise<T>): Promise<T> {
  if (browser === "webkit") {
    const webkit = await WebDriver.start();
    try {
      return await work(throughWebDriver(webkit));
    } finally {
      await webkit.close();
    }
  }
  const launched = await (browser === "chromium" ? chromium.launch(chromiumLaunch()) : firefox.launch(firefoxLaunch()));
  try {
    return await work(throughPlaywright(await launched.newPage()));
  } finally {
    await launched.close();
  }
}
