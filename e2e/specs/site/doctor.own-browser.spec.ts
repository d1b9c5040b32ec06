// `selvedge doctor` on sites with one fault each: it finds that fault and no other, the page answers once the change that
// it names is made, and nothing is found on sites without a fault. Needs dist/ and the bundles.
import { join } from "node:path";
import { chromium, expect, test } from "@playwright/test";
import type { Browser } from "@playwright/test";
import { startBrowser } from "../../../lib/doctor/browser.ts";
import type { DoctorBrowser } from "../../../lib/doctor/browser.ts";
import { serveFolder } from "../../../lib/doctor/serve-folder.ts";
import { diagnose } from "../../../lib/doctor/doctor.ts";
import type { Report } from "../../../lib/doctor/doctor.ts";
import { mend, serveSite } from "../../doctor/site.ts";
import type { Site } from "../../doctor/site.ts";
import { GOOD, SITES } from "../../doctor/sites.ts";
import { TWINS } from "../../doctor/twins.ts";
import { chromiumLaunch } from "../../support/browsers.ts";
import { ROOT } from "../../support/prepare.ts";
import { slice } from "../../support/slice.ts";

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

async function examine(url: string): Promise<Report> {
  return diagnose(url, { project: null, browser: doctor });
}

function idsOf({ findings }: Report): string[] {
  return findings.map(({ severity, id }) => `${severity} ${id}`);
}

/** Opens a site as a visitor, and returns what its title says in the end. */
async function titleOf(url: string, site: Site): Promise<string> {
  const context = await page.newContext();
  try {
    const visit = await context.newPage();
    await visit.goto(url);
    if (site.app.isLazy === true) await visit.mouse.click(5, 5);
    await visit.waitForFunction(() => document.title !== "app", null, { timeout: 30_000 });
    return await visit.title();
  } finally {
    await context.close();
  }
}

/** A part of the sites in each run, all of them in the soak: one takes 12 seconds. */
const broken = [...SITES, ...TWINS].filter((_, i) => i % slice(5, 1) === 0);

const ANSWER = /^(?:answer 11 22 33|loaded)$/;

for (const { name, finding, severity = "error", line, make } of broken)
  test(`finds ${name}, and the fix that it names makes the page work`, async () => {
    const site = await make();
    const served = await serveSite(site);
    try {
      const report = await examine(served.url);
      expect(idsOf(report)).toEqual([`${severity} ${finding}`]);
      const [found] = report.findings;
      expect(found?.evidence.length).toBeGreaterThan(0);
      expect(found?.fixes.map((x) => `${x.where}: ${x.line}`).join("\n")).toMatch(line);
      if (severity === "error") expect(await titleOf(served.url, site)).toMatch(/^failed/);
      for (const { change } of found?.fixes ?? []) mend(site, change);
      expect(await titleOf(served.url, site)).toMatch(ANSWER);
      expect(idsOf(await examine(served.url))).toEqual([]);
    } finally {
      served.close();
    }
  });

test("finds nothing on the demo's pages, and on what it serves of a built folder", async () => {
  const { baseURL = "" } = test.info().project.use;
  for (const path of ["ocr/", "spam/"])
    expect([path, idsOf(await examine(new URL(path, baseURL).href))]).toEqual([path, []]);
  const served = await serveFolder(join(ROOT, "demo-dist"));
  try {
    expect(idsOf(await examine(new URL("ocr/", served.url).href))).toEqual([]);
  } finally {
    served.close();
  }
});

test("names the faults that requests alone show where there is no browser", async () => {
  const site = await SITES.find((x) => x.finding === "csp-wasm")!.make();
  const served = await serveSite(site);
  try {
    const report = await diagnose(served.url, { project: null, browser: "no driver" });
    expect(idsOf(report)).toEqual(["error csp-wasm"]);
    expect(report.notes).toEqual(["no driver"]);
  } finally {
    served.close();
  }
});

for (const { name, make } of GOOD)
  test(`finds nothing on a site without a fault: ${name}`, async () => {
    const site = await make();
    const served = await serveSite(site);
    try {
      const report = await examine(served.url);
      expect(idsOf(report)).toEqual([]);
      expect(report.hasSelvedge).toBe(true);
      expect(await titleOf(served.url, site)).toMatch(ANSWER);
    } finally {
      served.close();
    }
  });
