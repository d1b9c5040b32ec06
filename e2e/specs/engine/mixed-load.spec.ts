// The scheduler in real browsers, with real models: a crowd of requests of three models, of all priorities, one in ten
// cancelled, while three workers die. No request is lost, and every answer equals the one that the request gets alone.
import { expect, test } from "@playwright/test";
import { slice } from "../../../lib/test-support/slice.ts";
import { keep } from "../../support/suite.ts";
import type { MixedLoadPage } from "../../pages/mixed-load.ts";

const REQUESTS = slice(600, 5_000);
const DEATHS = 3;

test(`${REQUESTS} mixed requests, cancels and ${DEATHS} dead workers: nothing is lost, nothing is wrong`, async ({
  page,
}, info) => {
  test.setTimeout(slice(300_000, 900_000));
  await page.goto(`${String(info.config.metadata["pages"])}/mixed-load.html`);
  await page.waitForFunction("globalThis.page !== undefined");
  const told = await page.evaluate(
    ([count, deaths]) => (globalThis as unknown as { page: MixedLoadPage }).page.crowd(count, deaths, "crowd"),
    [REQUESTS, DEATHS] as const,
  );
  const { answered, cancelled, refused, wrong, deaths, meanBatch, again, left } = told;
  await keep(info, {
    requests: REQUESTS,
    answered,
    cancelled,
    refused,
    again,
    meanBatch: Number(meanBatch.toFixed(2)),
  });
  expect(wrong).toEqual([]);
  expect(deaths).toBe(DEATHS);
  expect(answered + cancelled + refused).toBe(REQUESTS);
  expect(answered).toBeGreaterThan(REQUESTS / 2);
  expect(left).toEqual({ queued: 0, running: 0 });
});
