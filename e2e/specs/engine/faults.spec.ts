// Never hang, never lie: each fault, from outside, with 20 requests in flight. Every request gets its right answer,
// later ones work, no worker is left behind, and the delay is no more than the fault's detection and a new worker.
import { expect, test } from "@playwright/test";
import type { Page } from "@playwright/test";
import { isSoak, slice } from "../../../lib/test-support/slice.ts";
import { CHROMIUM_IN_TEST, keep } from "../../support/suite.ts";
import type { Case, FaultsPage } from "../../pages/faults.ts";

/** Timeout of every call, so the time to detect a stalled worker. A start must fit into it, on a busy machine too. */
const BOUND_MS = slice(8_000, 4_000);
/** Tolerance for the watchdog's delay. */
const SLACK_MS = 10_000;
const LATE_MS = 250;
/** More starts than a load tries. */
const MANY = 9;
/** Faults that only a watchdog detects. */
const SILENT = ["hang"];
/** Chromium terminates a worker in a busy loop only this long after the request. */
const SPINNING_MS = 2_000;
/** If a model is loaded ahead, a worker that does not start fails no request. */
const AT_START = ["missing", "html", "no-wasm"];

const NAMES = { idle: "while they idle", warm: "in later runs", first: "in first runs of more than a second" } as const;

interface Named extends Case {
  readonly name: string;
  /** Only in the soak, since another case covers it. */
  readonly inSoak?: true;
}

const wasm = { backend: "wasm", lanes: 2, boundMs: BOUND_MS, duringRun: false } as const;
const webgpu = { backend: "webgpu", lanes: 1, boundMs: 20_000, duringRun: true } as const;

const CASES: readonly Named[] = [
  { name: "a worker that is ended from outside", fault: "kill", ...wasm },
  { name: "a worker that is ended while it reads", fault: "kill", ...wasm, reads: true },
  {
    name: "a call that never returns while others read",
    fault: "hang",
    ...wasm,
    duringRun: true,
    reads: true,
    inSoak: true,
  },
  { name: "a worker that ends itself", fault: "close", ...wasm, inSoak: true },
  { name: "a worker that throws", fault: "throw", ...wasm },
  { name: "a worker that throws during a run", fault: "throw", ...wasm, duringRun: true, inSoak: true },
  { name: "a call that never returns", fault: "hang", ...wasm, duringRun: true },
  { name: "a message that can't be read", fault: "messageerror", ...wasm },
  { name: "wasm out of memory", fault: "out-of-memory", ...wasm, lanes: 1 },
  { name: "an ONNX Runtime that does not start", fault: "no-wasm", ...wasm },
  { name: "a worker script that is not there", fault: "missing", ...wasm, inSoak: true },
  { name: "a worker script that is HTML", fault: "html", ...wasm },
  { name: "a GPU device destroyed between runs", fault: "destroy", ...webgpu, duringRun: false },
  { name: "a GPU device destroyed during a run", fault: "destroy", ...webgpu },
  { name: "a GPU validation error that no promise tells", fault: "invalid", ...webgpu },
];

for (const [i, { name, inSoak = false, ...given }] of CASES.entries()) {
  if (inSoak && !isSoak) continue;
  test(`${name}: nothing is lost, nothing is wrong`, i % 2 === 0 ? {} : CHROMIUM_IN_TEST, async ({ browser }) => {
    for (let round = 0; round < slice(1, 10); round += 1) {
      // Costs and GPU losses that a page learnt are cached for the next one: each round must be the first.
      const context = await browser.newContext();
      const page = await context.newPage();
      await open(page);
      const result = await ask(page, "suffer", given);
      const extraMs = result.faultMs - result.plainMs;
      const detectionMs = SILENT.includes(given.fault) ? given.boundMs + LATE_MS : SPINNING_MS;
      const boundMs = detectionMs + 1.5 * result.coldStartMs;
      await keep(test.info(), {
        fault: given.fault,
        backend: given.backend,
        model: given.reads === true ? "ocr-rec" : "tiny",
        plainMs: Math.round(result.plainMs),
        extraMs: Math.round(extraMs),
        coldStartMs: Math.round(result.coldStartMs),
        again: result.again,
        crashes: result.crashes,
        worst: result.worst,
        codes: result.codes.join(),
        backends: result.backends.join(),
      });
      expect(result).toMatchObject({ answered: result.sent, wrong: 0, failed: [], later: 5, leaked: 0 });
      expect(AT_START.includes(given.fault) ? result.crashes : result.again).toBeGreaterThan(0);
      // Only the soak checks the time; beside other suites on two cores a slice only distinguishes a hang from an
      // answer.
      expect(extraMs).toBeLessThanOrEqual(slice(boundMs + SLACK_MS, boundMs));
      await context.close();
    }
  });
}

// First runs of seconds take two minutes.
for (const when of isSoak ? (["idle", "warm", "first"] as const) : (["idle", "warm"] as const))
  test(`all workers ended from outside, ${NAMES[when]}: noticed at once`, async ({ page, browserName }) => {
    await open(page);
    const { ms, coldMs, runMs, shortestMs, ...rest } = await ask(page, "endAll", when, 2);
    await keep(test.info(), { when, ms, coldMs, runMs, shortestMs, ...rest, failed: rest.failed.join() });
    if (when === "first") expect(shortestMs).toBeGreaterThan(1_000);
    expect(rest).toMatchObject({ right: 20, failed: [], leaked: 0 });
    // Chromium terminates a worker in a busy loop after two seconds.
    const noticedMs = 500 + (browserName === "chromium" && when !== "idle" ? 2_000 : 0);
    expect(ms).toBeLessThanOrEqual(slice(SLACK_MS, 0) + 1.5 * coldMs + runMs + noticedMs);
  });

test("the model that never ends is ended within its bound, and others are answered meanwhile", async ({ page }) => {
  await open(page);
  // Loads count too, and the first that loops fetches and links the rest of ONNX Runtime.
  const boundMs = 5_000;
  const { endedMs, ...rest } = await ask(page, "endless", boundMs);
  await keep(test.info(), { boundMs, endedMs });
  expect(rest).toEqual({ code: "worker-crashed", right: 20, leaked: 0 });
  expect(endedMs).toBeGreaterThanOrEqual(boundMs);
  expect(endedMs).toBeLessThanOrEqual(boundMs + slice(SLACK_MS, LATE_MS));
});

test("the second lost device within two minutes leaves the GPU alone", async ({ page }) => {
  await open(page);
  const { first, second, why } = await ask(page, "loseTwice", webgpu.boundMs);
  expect(first).toEqual(["webgpu", "webgpu", "webgpu"]);
  expect(second).toEqual(["wasm", "wasm", "wasm"]);
  expect(why).toBe("gpu-fallback");
});

test("a load fails with one clear error where the worker can't start", async ({ page }) => {
  await open(page);
  const missing = await ask(page, "startWith", "missing", MANY);
  expect(missing).toMatchObject({ code: "setup-failed", leaked: 0 });
  expect(missing.message).toContain("worker");
  const wasmless = await ask(page, "startWith", "no-wasm", MANY);
  expect(wasmless).toMatchObject({ code: "no-backend", leaked: 0 });
});

test("a load whose worker fails once starts another", async ({ page }) => {
  await open(page);
  expect(await ask(page, "startWith", "missing", 1)).toEqual({ code: "loaded", message: "loaded", leaked: 0 });
});

test("a worker that takes another's place does not fetch ONNX Runtime again", async ({ page, context }) => {
  let fetched = 0;
  await context.route("**/*.wasm", (route) => {
    // The rest, which this model's Loop needs, is linked by each worker itself, from the browser's cache.
    if (!route.request().url().endsWith("-rest.wasm")) fetched += 1;
    return route.continue();
  });
  await open(page);
  const { code } = await ask(page, "endless", 5_000);
  // Otherwise Playwright leaves the cache of all of Firefox off, and a page that counts as offline is not requested
  // from its service worker.
  await context.unrouteAll();
  expect(code).toBe("worker-crashed");
  expect(fetched).toBe(1);
});

test("two engines on a page do not meet", async ({ page }) => {
  await open(page);
  expect(await ask(page, "two", BOUND_MS)).toEqual({ right: 25, leaked: 0, restarts: 0 });
});

test("a page that died while it loaded makes the next one choose less", async ({ page, context, browserName }) => {
  await open(page);
  const usual = await ask(page, "loadReader");
  expect(usual).toMatchObject({ markers: 0 });
  const key = await ask(page, "hangOnLoad");
  expect(key).toContain(`/${usual.variant}/wasm`);
  const next = await context.newPage();
  if (browserName === "chromium") {
    const session = await context.newCDPSession(page);
    session.send("Page.crash").catch(() => undefined); // a page that crashed does not answer
    await page.waitForEvent("crash");
    await open(next);
  } else {
    // Playwright can't kill a tab of Firefox: the page closes in good order, and its marker is restored.
    await page.close();
    await open(next);
    await ask(next, "leaveMarker", key);
  }
  const after = await ask(next, "loadReader");
  expect(after.code).toBe("crashed-before");
  expect(after.variant).not.toBe(usual.variant);
  expect(after.text).toContain(usual.variant);
});

test("a page that is left in good order leaves no marker", async ({ page }) => {
  await open(page);
  const usual = await ask(page, "loadReader");
  await ask(page, "hangOnLoad");
  await page.reload();
  await page.waitForFunction(() => Reflect.has(globalThis, "faultsPage"));
  expect(await ask(page, "loadReader")).toEqual(usual);
});

async function open(page: Page): Promise<void> {
  const { pages } = test.info().config.metadata as { pages: string };
  await page.goto(`${pages}/faults.html`);
  await page.waitForFunction(() => Reflect.has(globalThis, "faultsPage"));
}

/** Calls a function of the page. */
async function ask<Name extends keyof FaultsPage>(
  page: Page,
  name: Name,
  ...given: Parameters<FaultsPage[Name]>
): Promise<Awaited<ReturnType<FaultsPage[Name]>>> {
  return page.evaluate<Awaited<ReturnType<FaultsPage[Name]>>>(
    `globalThis.faultsPage.${name}(...${JSON.stringify(given)})`,
  );
}
