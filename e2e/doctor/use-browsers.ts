// Parts that the tests of `selvedge doctor` share: a browser that examines a site, one that visits it, and the test of a site
// with one fault: it is found and no other, and the page answers once the change that it names is made.
import { chromium, expect, test } from "@playwright/test";
import type { Browser } from "@playwright/test";
import { startBrowser } from "../../lib/doctor/browser.ts";
import type { DoctorBrowser } from "../../lib/doctor/browser.ts";
import { diagnose } from "../../lib/doctor/doctor.ts";
import type { DoctorReport } from "../../lib/doctor/doctor.ts";
import { chromiumLaunch } from "../support/browsers.ts";
import { ROOT } from "../support/prepare.ts";
import { mend, serveSite } from "./site.ts";
import type { Site } from "./site.ts";
import type { Broken } from "./sites.ts";

/** Title of a page whose model has answered, or whose bundle is loaded. */
export const ANSWER: RegExp = /^(?:answer 11 22 33|loaded)$/;

/** The two browsers of a test file. */
export interface Browsers {
  /** Asks the doctor about a site. */
  examine(url: string, hints?: boolean): Promise<DoctorReport>;
  /** Opens a site as a visitor, and returns what its title says in the end. */
  titleOf(url: string, site: Site, isSilent?: boolean): Promise<string>;
}

/** Starts both browsers before the tests of a file, and ends them afterwards. */
export function useBrowsers(): Browsers {
  let page: Browser;
  let doctor: DoctorBrowser;
  test.beforeAll(async () => {
    page = await chromium.launch(chromiumLaunch());
    const started = await startBrowser([ROOT], chromiumLaunch().executablePath);
    if (typeof started === "string") throw new Error(started);
    doctor = started;
  });
  test.afterAll(async () => {
    await doctor.close();
    await page.close();
  });
  return {
    examine: (url, hints = false) => diagnose(url, { project: null, browser: doctor, hints }),
    titleOf: (url, site, isSilent = false) => titleOf(page, url, site, isSilent),
  };
}

/** Lists a report's findings, as `error worker-missing`. */
export function idsOf({ findings }: DoctorReport): string[] {
  return findings.map(({ severity, id }) => `${severity} ${id}`);
}

async function titleOf(page: Browser, url: string, site: Site, isSilent: boolean): Promise<string> {
  const context = await page.newContext({ ignoreHTTPSErrors: true });
  try {
    const visit = await context.newPage();
    // A script that is never answered keeps the page from being loaded.
    if (isSilent) await visit.goto(url, { timeout: 10_000 }).catch(() => undefined);
    else await visit.goto(url);
    if (site.app.isLazy === true) await visit.mouse.click(5, 5);
    const changed = visit.waitForFunction(() => document.title !== "app", null, { timeout: isSilent ? 3_000 : 30_000 });
    await (isSilent ? changed.catch(() => undefined) : changed);
    // A page that may run no scripts does not tell its title.
    const untold = new Promise<string>((resolve) => setTimeout(resolve, 3_000, "app"));
    return await (isSilent ? Promise.race([visit.title(), untold]) : visit.title());
  } finally {
    await context.close();
  }
}

/** Tests that each fault is found, and that the page answers once it is mended. */
export function testFixes({ examine, titleOf }: Browsers, sites: readonly Broken[]): void {
  for (const { name, finding, severity = "error", isSilent = false, line, evidence = /./, mendApp, make } of sites)
    test(`finds ${name}, and the fix that it names makes the page work`, async () => {
      const site = await make();
      const served = await serveSite(site);
      try {
        const report = await examine(served.url, severity === "hint");
        expect(idsOf(report)).toEqual([`${severity} ${finding}`]);
        const [found] = report.findings;
        expect(found?.evidence.join("\n")).toMatch(evidence);
        expect(found?.fixes.map((x) => `${x.where}: ${x.line}`).join("\n")).toMatch(line);
        if (severity === "error")
          expect(await titleOf(served.url, site, isSilent)).toMatch(isSilent ? /^app$/ : /^failed/);
        for (const { change } of found?.fixes ?? []) mend(site, change);
        mendApp?.(site);
        expect(await titleOf(served.url, site)).toMatch(ANSWER);
        expect(idsOf(await examine(served.url, severity === "hint"))).toEqual([]);
      } finally {
        await served.close();
      }
    });
}
