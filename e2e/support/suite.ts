// Settings of the browsers' suites. A suite's measurements are kept beside its verdict as an attachment, from which the
// soak's dated report is made.
import type { TestInfo } from "@playwright/test";
import { isSoak } from "../../lib/test-support/slice.ts";
import type { StoreScene } from "../../lib/test-support/store-model/store-property.ts";
import type { ModelRuns } from "../pages/stores.ts";

/** For a test that `npm test` runs in Chromium alone, and the soak in each browser. */
export const CHROMIUM_IN_TEST: { readonly tag: string | string[] } = { tag: isSoak ? [] : "@chromium" };

/**
 * Sequences of a store's model: the same few in each `npm test`, which meet a tight store and a newer version; others in
 * each soak.
 */
export const STORE_RUNS: ModelRuns = isSoak ? { numRuns: 20 } : { numRuns: 4, seed: 5 };

/** Actors of the model beside tabs, servers, users and disks, by what the tests' titles say of them. */
export const STORE_SCENES: readonly (readonly [string, StoreScene])[] = [
  ["whatever servers sign (store-signed)", { isSigned: true }],
  ["beside an older release (store-older)", { isSigned: true, hasOlder: true }],
];

/** Attaches measurements: a flat record of numbers and names. */
export async function keep(info: TestInfo, measured: Readonly<Record<string, number | string>>): Promise<void> {
  console.log(`    ${JSON.stringify(measured)}`);
  await info.attach("measured", { body: JSON.stringify(measured), contentType: "application/json" });
}
