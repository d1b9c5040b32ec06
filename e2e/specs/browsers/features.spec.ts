// Fails where a browser lost a feature that the other tests rely on.
import { expect, test } from "@playwright/test";
import { ASK_FEATURES, expectedFeatures } from "../../support/features.ts";
import type { Features } from "../../support/features.ts";

test("the browser still has every feature that the tests rely on", async ({ page, browserName }) => {
  const { pages } = test.info().config.metadata as { pages: string };
  await page.goto(`${pages}/blank.html`);
  const features = await page.evaluate<Features>(`(async () => { ${ASK_FEATURES} })()`);
  const expected = expectedFeatures(browserName);
  expect(features.page).toMatchObject(expected.page);
  expect(features.worker).toMatchObject(expected.worker);
  expect(features.worker.adapter).toMatch(/swiftshader|llvmpipe|lavapipe|mesa software|^\s*$/i);
});
