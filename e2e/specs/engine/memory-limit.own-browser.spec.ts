// The prediction of memory against the kernel: in a Chromium whose memory is limited, a model that `availability` says
// does not fit kills its page where it is loaded all the same, and one that it says fits is loaded and runs. As root on
// Linux, since the limit is a control group's (support/cgroup.ts: version 1; version 2 is untested). With a profile on
// the disk: the files of an incognito one lie in memory.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium, expect, test } from "@playwright/test";
import type { Page } from "@playwright/test";
import { slice } from "../../../lib/test-support/slice.ts";
import { BROWSER_PATHS, chromiumLaunch } from "../../support/browsers.ts";
import { MemoryGroup } from "../../support/cgroup.ts";
import { ROOT } from "../../support/prepare.ts";
import { keep } from "../../support/suite.ts";
import { layersOf, STACK_WIDTH, writeStack } from "../../support/stack-model.ts";
import type * as Selvedge from "selvedge";

/** An idle Chromium takes some 300 MB; the rest is about the memory that the page reports. */
const LIMIT_BYTES = 800e6;
const REPORTED_GIB = 0.5;
const MODELS = { no: 604e6, yes: 50e6 } as const;
const ANSWER_MS = 200_000;

const urlOf = (fits: keyof typeof MODELS): string => `/corpus/memory/f32-${MODELS[fits] / 1e6}.onnx`;

test.beforeAll(() => {
  for (const fits of ["no", "yes"] as const) {
    const path = join(ROOT, "e2e/.cache", urlOf(fits).slice("/corpus/".length));
    writeStack(path, "f32", layersOf(MODELS[fits]));
  }
});

/** Runs work in a page of a new browser with limited memory. */
async function inLimited<T>(work: (page: Page, group: MemoryGroup) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), "selvedge-limit-"));
  const group = new MemoryGroup(LIMIT_BYTES);
  try {
    const { executablePath = BROWSER_PATHS.chromium, ...launch } = chromiumLaunch("swiftshader");
    const program = group.wrap(executablePath, folder);
    const context = await chromium.launchPersistentContext(join(folder, "profile"), {
      ...launch,
      executablePath: program,
    });
    try {
      return await work(await context.newPage(), group);
    } finally {
      await Promise.race([context.close(), new Promise((resolve) => setTimeout(resolve, 5_000))]);
    }
  } finally {
    await group.remove();
    rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  }
}

/** Opens the page; `gib` is the device's memory as it reports it, null for none. */
async function open(page: Page, gib: number | null): Promise<void> {
  const { pages } = test.info().config.metadata as { pages: string };
  await page.addInitScript((gib) => {
    Object.defineProperty(Navigator.prototype, "deviceMemory", { configurable: true, get: () => gib ?? undefined });
  }, gib);
  await page.goto(`${pages}/engine.html`);
  await page.waitForFunction("globalThis.selvedge !== undefined");
}

/** In the soak alone: a cgroup of its own needs root and a machine that gives one. */
const ROUNDS = slice(0, 3);

/** Returns what `availability` says of both models. */
function said(page: Page): Promise<Record<string, string | null>> {
  return page.evaluate(
    async (urls) => {
      const { createEngine } = (globalThis as unknown as { selvedge: typeof Selvedge }).selvedge;
      const engine = await createEngine({ backends: ["wasm"], workers: 1 });
      const found = await Promise.all(
        urls.map(async ([name, url]) => [name, (await engine.availability(url)).fits] as const),
      );
      await engine.close();
      return Object.fromEntries(found);
    },
    (["no", "yes"] as const).map((x) => [x, urlOf(x)] as const),
  );
}

/** Loads a model and runs it; returns a number of its output. */
function load(page: Page, url: string): Promise<number> {
  return page.evaluate(
    async ([url, width]) => {
      const { createEngine } = (globalThis as unknown as { selvedge: typeof Selvedge }).selvedge;
      const engine = await createEngine({ backends: ["wasm"], workers: 1 });
      const model = await engine.load(url);
      const data = new Float32Array(width).fill(1);
      const { outputs } = await model.run({ x: { dtype: "float32", dims: [1, width], data } });
      await engine.close();
      return Number(outputs["y"]?.data[0]);
    },
    [url, STACK_WIDTH] as const,
  );
}

for (let round = 0; round < ROUNDS; round += 1) {
  test(`what is said not to fit dies when it is forced, ${round}`, async () => {
    await inLimited(async (page, group) => {
      await open(page, REPORTED_GIB);
      expect(await said(page)).toEqual({ no: "no", yes: "yes" });
      await expect(load(page, urlOf("no"))).rejects.toThrow(/does not fit in memory/);
      // The same browser, where the page does not say how little memory there is.
      const forced = await page.context().newPage();
      await open(forced, null);
      const crashed = forced.waitForEvent("crash", { timeout: ANSWER_MS });
      const ended = load(forced, urlOf("no")).then(
        (value) => `answered ${value}`,
        () => "died",
      );
      await crashed;
      expect(await ended).toBe("died");
      await keep(test.info(), { fits: "no", kills: group.kills, peakBytes: group.peakBytes });
      expect(group.kills).toBeGreaterThan(0);
    });
  });

  test(`what is said to fit lives, ${round}`, async () => {
    await inLimited(async (page, group) => {
      await open(page, REPORTED_GIB);
      expect(await load(page, urlOf("yes"))).not.toBeNaN();
      await keep(test.info(), { fits: "yes", kills: group.kills, peakBytes: group.peakBytes });
      expect(group.kills).toBe(0);
    });
  });
}
