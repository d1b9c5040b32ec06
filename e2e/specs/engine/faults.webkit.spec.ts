// A worker's end is detected in WebKitGTK as in the other browsers (faults.spec.ts).
import { slice } from "../../../lib/test-support/slice.ts";
import { expect, test } from "../../support/webkit.ts";
import { keep } from "../../support/suite.ts";
import type { EndedAll } from "../../pages/faults.ts";

for (const when of ["idle", "warm"] as const)
  test(`all workers ended from outside in WebKit, ${when}: noticed at once`, async ({ webkit, pages }) => {
    await webkit.navigate(`${pages}/faults.html`);
    const body = `while (globalThis.faultsPage === undefined) await new Promise((r) => setTimeout(r, 50));
      return globalThis.faultsPage.endAll(...args);`;
    const { ms, coldMs, runMs, shortestMs, ...rest } = (await webkit.run(body, when, 2)) as EndedAll;
    await keep(test.info(), { when, ms, coldMs, runMs, shortestMs, ...rest, failed: rest.failed.join() });
    expect(rest).toMatchObject({ right: 20, failed: [], leaked: 0 });
    expect(ms).toBeLessThanOrEqual(slice(10_000, 500) + 1.5 * coldMs + runMs);
  });
