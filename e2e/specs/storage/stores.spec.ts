// Conformance of every store of a browser: the same suite and the same model as in Node, then a worker that is killed
// while it writes, then a full disk.
import { expect, test } from "@playwright/test";
import type { Page } from "@playwright/test";
import { slice } from "../../../lib/test-support/slice.ts";
import { STORE_RUNS, STORE_SCENES } from "../../support/suite.ts";
import type { StoresPage } from "../../pages/stores.ts";

const KINDS = ["opfs", "cache", "indexeddb", "memory"] as const;

async function ask<Name extends keyof StoresPage>(
  page: Page,
  name: Name,
  ...args: Parameters<StoresPage[Name]>
): Promise<Awaited<ReturnType<StoresPage[Name]>>> {
  const call = `globalThis.stores.${name}(...${JSON.stringify(args)})`;
  return page.evaluate<Awaited<ReturnType<StoresPage[Name]>>>(call);
}

test.beforeEach(async ({ page }) => {
  const { pages } = test.info().config.metadata as { pages: string };
  await page.goto(`${pages}/stores.html`);
  await page.waitForFunction("globalThis.stores !== undefined");
});

for (const kind of KINDS) {
  test(`${kind} passes the conformance suite`, async ({ page }) => {
    expect(await ask(page, "check", kind)).toEqual({});
  });
}

for (const kind of KINDS) {
  test(`whatever happens, ${kind} keeps its promises (store-A1, store-A2, store-B1, store-B3)`, async ({ page }) => {
    expect(await ask(page, "model", kind, STORE_RUNS)).toBeNull();
  });

  for (const [title, scene] of kind === "memory" ? [] : STORE_SCENES)
    test(`${kind} keeps its promises ${title}`, async ({ page }) => {
      expect(await ask(page, "model", kind, STORE_RUNS, scene)).toBeNull();
    });
}

for (const kind of ["opfs", "cache", "indexeddb"] as const) {
  test(`${kind}: a worker that is killed while it writes leaves no partial entry`, async ({ page }) => {
    let whole = 0;
    for (let round = 0; round < slice(4, 50); round += 1) {
      const found = await ask(page, "kill", kind, 100 + ((round * 237) % 600), round % 2 === 1);
      expect(found.torn).toEqual([]);
      whole += found.whole;
    }
    expect(whole).toBeGreaterThan(0);
  });
}

for (const kind of ["opfs", "cache", "indexeddb"] as const) {
  test(`${kind}: entries of an older release are read, migrated when used, and deleted`, async ({ page }) => {
    expect(await ask(page, "migrate", kind)).toEqual([
      "no old place at first",
      "check-a 1,2,3 in the old place",
      "check-a 1,2,3",
      "check-b is gone",
      "check-c 1,2,3 in the old place",
      "no old place at last",
    ]);
  });
}

test("OPFS is the default of this browser", async ({ page }) => {
  expect(await ask(page, "best")).toBe("opfs");
});
