// Fails where WebKitGTK lost a feature that the other tests rely on, or has gained WebGPU (then these tests must change).
import { expect, test } from "../../support/webkit.ts";
import { ASK_FEATURES, expectedFeatures } from "../../support/features.ts";
import type { Features } from "../../support/features.ts";

test("WebKit still has every feature that the tests rely on, and no WebGPU", async ({ webkit, pages }) => {
  await webkit.navigate(`${pages}/blank.html`);
  const features = (await webkit.run(ASK_FEATURES)) as Features;
  const expected = expectedFeatures("webkit");
  expect(features.page).toMatchObject(expected.page);
  expect(features.worker).toMatchObject(expected.worker);
});
