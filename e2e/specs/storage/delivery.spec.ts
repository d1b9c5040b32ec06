// A model is downloaded once: over a bad network, in a tab that is killed, in two tabs, without a network at all.
// Counts the server's requests.
import { expect, test } from "@playwright/test";
import type { Page } from "@playwright/test";
import { sha256Hex } from "../../../lib/core/bundle.ts";
import { weights } from "../../../lib/test-support/cache-fixtures.ts";
import type { Trick } from "../../../lib/test-support/fake-network.ts";
import { slice } from "../../../lib/test-support/slice.ts";
import { CHUNK_BYTES, startDelivery } from "../../support/delivery-server.ts";
import { keep } from "../../support/suite.ts";
import type { DeliveryPage } from "../../pages/delivery.ts";

/** Chunks that one load fetches at once. */
const PARALLEL = 4;

type Delivery = Awaited<ReturnType<typeof startDelivery>>;
let delivery: Delivery;

test.beforeEach(async ({ page }) => {
  delivery = await startDelivery();
  await open(page);
});

test.afterEach(() => {
  delivery.server.close();
});

async function open(page: Page): Promise<void> {
  const { pages } = test.info().config.metadata as { pages: string };
  await page.goto(`${pages}/delivery.html`);
  await page.waitForFunction("globalThis.delivery !== undefined");
}

async function ask<Name extends keyof DeliveryPage>(
  page: Page,
  name: Name,
  ...args: Parameters<DeliveryPage[Name]>
): Promise<Awaited<ReturnType<DeliveryPage[Name]>>> {
  const call = `globalThis.delivery.${name}(...${JSON.stringify(args)})`;
  return page.evaluate<Awaited<ReturnType<DeliveryPage[Name]>>>(call);
}

test("a second page loads from the store, and the server sends one small file", async ({ page }) => {
  const { server, url, chunks, bundle } = delivery;
  const total = bundle.variants[0]?.files.reduce((sum, x) => sum + x.bytes, 0) ?? 0;
  const first = await ask(page, "load", url);
  expect(first).toMatchObject({ result: "right", last: { loadedBytes: total, totalBytes: total, cachedBytes: 0 } });
  expect(server.chunkRequests).toBe(chunks);
  await page.reload();
  await open(page);
  server.asked = [];
  const second = await ask(page, "load", url);
  expect(second).toMatchObject({ result: "right", last: { loadedBytes: total, cachedBytes: total, secondsLeft: 0 } });
  expect(server.asked.map((x) => x.path)).toEqual(["/m/bundle.json"]);
});

test("two tabs that start at once download once", async ({ page, context }) => {
  const { server, url, chunks } = delivery;
  server.trick = (path) => (path.includes("chunks") ? { kind: "trickle", parts: 4, pauseMs: 3 } : null);
  const other = await context.newPage();
  await open(other);
  const both = await Promise.all([ask(page, "load", url), ask(other, "load", url)]);
  expect(both.map((x) => x.result)).toEqual(["right", "right"]);
  expect(server.chunkRequests).toBe(chunks);
});

test("a tab that is killed at any point costs the next one a chunk per stream at the most", async ({
  page,
  context,
}) => {
  const { server, url, chunks, bundle } = delivery;
  server.trick = (path) => (path.includes("chunks") ? { kind: "trickle", parts: 4, pauseMs: 5 } : null);
  const rounds = slice(2, 25); // two kills each
  test.setTimeout(slice(300_000, 1_200_000));
  const total = bundle.variants[0]?.files.reduce((sum, x) => sum + x.bytes, 0) ?? 0;
  let kills = 0;
  let refetched = 0;
  for (let round = 0; round < rounds; round += 1) {
    const tab = await context.newPage();
    await open(tab);
    // Each round begins with an empty store, and is killed at two other points of the download.
    for (const part of [0.1 + 0.55 * ((round * 0.37) % 1), 0.7 + 0.25 * ((round * 0.61) % 1)]) {
      await ask(tab, "begin", url, Math.floor(part * total));
      kills += 1;
      await kill(tab);
      await open(tab);
    }
    const { result } = await ask(tab, "load", url);
    expect(result).toBe("right");
    const extra = server.chunkRequests - chunks;
    expect(extra).toBeLessThanOrEqual(2 * PARALLEL);
    refetched += extra;
    server.asked = [];
    await forgetAll(tab);
    await tab.close();
  }
  await keep(test.info(), { kills, refetched });
  expect(page.url()).toContain("delivery");
});

/** Clears the store. */
async function forgetAll(page: Page): Promise<void> {
  // A file that the page's worker is writing can't be removed: it notes the network rate after a load has ended.
  await expect(() =>
    page.evaluate(async () => {
      const root = await navigator.storage.getDirectory();
      await root.removeEntry("selvedge-2", { recursive: true });
    }),
  ).toPass({ timeout: 10_000 });
}

/** Kills a page and all its workers without notice; nothing that it could do is waited for. */
async function kill(page: Page): Promise<void> {
  await page.goto("about:blank");
}

test("without a network stored models are used", async ({ page }) => {
  const { server, url } = delivery;
  expect((await ask(page, "load", url)).result).toBe("right");
  server.close();
  await page.reload();
  await open(page);
  expect((await ask(page, "load", url)).result).toBe("right");
});

test("without a store it loads again and again", async ({ page }) => {
  const { server, url, chunks } = delivery;
  expect((await ask(page, "load", url, false)).result).toBe("right");
  expect((await ask(page, "load", url, "memory")).result).toBe("right");
  expect(server.chunkRequests).toBeGreaterThanOrEqual(chunks);
});

test("a model that is deleted from the store while it is in use is fetched again when a worker needs it", async ({
  page,
}) => {
  const { server, url, chunks } = delivery;
  expect(await ask(page, "outlive", url)).toBe(6);
  expect(server.chunkRequests).toBe(2 * chunks);
});

const TRICKS: readonly (readonly [string, Trick])[] = [
  ["one bit flipped", { kind: "flip", at: 77 }],
  ["a body cut before its first byte", { kind: "cut", at: 0 }],
  ["a body cut in the middle", { kind: "cut", at: 30_000 }],
  ["a body cut before its last byte", { kind: "cut", at: CHUNK_BYTES - 1 }],
  ["a body that is too short", { kind: "length", bytes: 999 }],
  ["a body that is too long", { kind: "length", bytes: CHUNK_BYTES + 1 }],
  ["an app's start page", { kind: "html" }],
  ["status 500", { kind: "status", status: 500 }],
  ["status 429 with a time", { kind: "status", status: 429, headers: { "retry-after": "1" } }],
  ["a range that was not requested", { kind: "range", shift: 100 }],
  ["a redirect", { kind: "redirect" }],
  ["a compressed body", { kind: "gzip" }],
  ["a compressed body that is broken", { kind: "gzip", broken: true }],
  ["a body without end", { kind: "endless" }],
];

test("a fault of the server in one response for a chunk is recovered from", async ({ page }) => {
  const { server, url } = delivery;
  for (const [name, trick] of TRICKS) {
    // Every twelfth chunk only, or waiting for the server would make a test of hours.
    server.asked = [];
    server.trick = (path, nth) => (nth === 0 && /chunks\/[0-3]/.test(path) ? trick : null);
    expect((await ask(page, "load", url, false)).result, name).toBe("right");
  }
});

test("a permanent fault of the server ends in a typed error, and nothing is stored", async ({ page }) => {
  const { server, url } = delivery;
  const forever: readonly (readonly [string, Trick])[] = [
    ["integrity-failed", { kind: "flip", at: 77 }],
    ["download-failed", { kind: "html" }],
    ["integrity-failed", { kind: "endless" }],
    ["download-failed", { kind: "status", status: 404 }],
  ];
  for (const [code, trick] of forever) {
    server.trick = (path) => (path.includes("chunks") ? trick : null);
    expect((await ask(page, "load", url)).result, trick.kind).toBe(code);
  }
  server.trick = () => null;
  server.asked = [];
  expect((await ask(page, "load", url)).result).toBe("right");
  // By URL: requests of the previous load may arrive late.
  expect(new Set(server.asked.map((x) => x.path)).size).toBe(delivery.chunks + 1);
});

test("a bare model resumes where a killed tab stopped, and is requested only once", async ({ page }) => {
  const { server } = delivery;
  const path = "/bare/model.onnx";
  const bytes = weights(9_000_000, 9);
  server.files.set(path, { bytes, etag: `"${(await sha256Hex(bytes)).slice(0, 8)}"` });
  // It stalls there, or a tab that is left slowly would have all of it.
  server.trick = (at) => (at === path ? { kind: "stall", at: 6_500_000 } : null);
  await ask(page, "begin", server.url + path, 6_000_000);
  await kill(page);
  await open(page);
  server.trick = () => null;
  server.asked = [];
  server.sentBytes = 0;
  // These bytes are not a model, but they arrive complete.
  const { result, last } = await ask(page, "load", server.url + path);
  expect(result).toBe("model-invalid");
  expect(last).toMatchObject({ loadedBytes: bytes.length, totalBytes: bytes.length });
  // Of 6 MB the first chunk was complete when the tab was killed.
  const ranges = server.asked.map((x) => (/^bytes=(\d+)-(\d+)$/.exec(x.range ?? "") ?? []).slice(1).map(Number));
  ranges.sort(([a = 0], [b = 0]) => a - b);
  expect(ranges.length).toBeGreaterThan(0);
  const again = ranges.reduce((sum, [first = 0, last = Infinity]) => sum + last + 1 - first, 0);
  expect(again).toBeLessThan(bytes.length);
  for (const [i, [first = 0]] of ranges.entries()) expect(first).toBeGreaterThan(ranges[i - 1]?.[1] ?? -1);
  server.asked = [];
  expect((await ask(page, "load", server.url + path)).last?.cachedBytes).toBe(bytes.length);
  expect(server.asked.map((x) => x.method)).toEqual(["HEAD"]);
});

test("a model's cost is known before its load, an update fetches only changed chunks, and the user may list and delete", async ({
  page,
}) => {
  const { server, url, bundle } = delivery;
  const files = bundle.variants[0]?.files ?? [];
  const total = files.reduce((sum, x) => sum + x.bytes, 0);
  expect(await ask(page, "look", url, 1_000)).toMatchObject({
    state: "downloadable",
    bytes: total,
    bytesToFetch: total,
  });
  expect(server.chunkRequests).toBe(0);
  expect(await ask(page, "update", url)).toMatchObject({ isNew: true, fetchedBytes: total });
  expect((await ask(page, "load", url)).last?.cachedBytes).toBe(total);
  const look = await ask(page, "look", url, 60_000);
  expect(look).toMatchObject({ state: "available", bytesToFetch: 0, secondsToFetch: 0, canMeetDeadline: true });
  expect(look.expectedMs).toBeGreaterThan(0);
  expect(await ask(page, "update", url)).toMatchObject({ isNew: false, fetchedBytes: 0 });
  const managed = await ask(page, "manage", url);
  expect(managed).toMatchObject({ isPinned: true, sizes: files.map((x) => x.bytes), freed: total, left: 0 });
  expect(managed.before.bundles).toMatchObject([{ name: "test", bytes: total, variants: ["f32"] }]);
  server.close();
  expect(await ask(page, "look", url, 1_000)).toMatchObject({ state: "unavailable" });
});

test("a user who saves data is asked before weights are fetched, and not for what is stored", async ({ page }) => {
  const { server, url, bundle } = delivery;
  const bytesToFetch = bundle.variants[0]?.files.reduce((sum, x) => sum + x.bytes, 0);
  expect(await ask(page, "askFirst", url, false)).toMatchObject({ cost: null, result: "loaded" });
  await page.addInitScript(() => {
    Object.defineProperty(navigator, "connection", { value: { saveData: true } });
  });
  await forgetAll(page);
  await open(page);
  server.asked = [];
  expect(await ask(page, "askFirst", url, false)).toMatchObject({ cost: { bytesToFetch }, result: "AbortError" });
  expect(server.chunkRequests).toBe(0);
  expect(await ask(page, "askFirst", url, true)).toMatchObject({ cost: { bytesToFetch }, result: "loaded" });
  expect(await ask(page, "askFirst", url, false)).toMatchObject({ cost: null, result: "loaded" });
});

test("persistent answers are found by the next page, others are not", async ({ page }) => {
  const { url } = delivery;
  const first = [false, true].map((isCached) => ({ isCached, sum: 6 }));
  expect(await ask(page, "answers", url, false)).toEqual(first);
  await open(page);
  expect(await ask(page, "answers", url, true)).toEqual(first);
  await open(page);
  expect(await ask(page, "answers", url, true)).toEqual(Array(2).fill({ isCached: true, sum: 6 }));
  await open(page);
  expect(await ask(page, "answers", url, false)).toEqual(first);
});

// Only Chromium lets a test set the quota.
test("on a disk that is full the model still runs", { tag: "@chromium" }, async ({ page, context }) => {
  const { url, server, chunks } = delivery;
  const { pages } = test.info().config.metadata as { pages: string };
  const session = await context.newCDPSession(page);
  await session.send("Storage.overrideQuotaForOrigin", { origin: new URL(pages).origin, quotaSize: 1_000_000 });
  expect((await ask(page, "load", url)).result).toBe("right");
  expect(server.chunkRequests).toBe(chunks);
  await expect(ask(page, "update", url)).rejects.toThrow(/no room for \d+ bytes/);
});
