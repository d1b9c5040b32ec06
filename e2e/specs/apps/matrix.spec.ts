// The package in apps: each row of e2e/apps/rows.ts is built from the packed tarball in a fresh folder, opened, and
// reads the right text; `selvedge doctor` finds nothing on it. `npm test` runs the slice; the soak runs all rows and
// keeps their results in e2e/results/apps.json. Needs dist/ (`npm run build`).
import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "@playwright/test";
import type { Page } from "@playwright/test";
import { startBrowser } from "../../../lib/doctor/browser.ts";
import { diagnose } from "../../../lib/doctor/doctor.ts";
import { readAt, readInExtension } from "../../apps/open.ts";
import type { Shown } from "../../apps/open.ts";
import { keepResult } from "../../apps/results.ts";
import { SAMPLE_TEXT } from "../../apps/row.ts";
import type { AppBrowser, Row } from "../../apps/row.ts";
import { ROWS } from "../../apps/rows.ts";
import { serveApp } from "../../apps/serve.ts";
import { makeApp, removeApp, runIn } from "../../apps/workplace.ts";
import { chromiumLaunch } from "../../support/browsers.ts";
import { commit } from "../../support/origin.ts";
import { ROOT } from "../../support/prepare.ts";
import { isSoak } from "../../../lib/test-support/slice.ts";

/** Returns what `selvedge doctor` finds on an app, and the bundler and host that it takes it for. */
async function examine(url: string): Promise<{ findings: string[]; stack: string }> {
  const doctor = await startBrowser([ROOT], chromiumLaunch().executablePath);
  if (typeof doctor === "string") throw new Error(doctor);
  try {
    const { findings, stack } = await diagnose(url, { project: null, browser: doctor });
    const told = findings.map(
      (x) => `${x.severity} ${x.id}: ${x.message} ${x.fixes.map((fix) => fix.line).join("; ")}`,
    );
    return { findings: told, stack: `${stack.bundler ?? "?"} on ${stack.host ?? "?"}` };
  } finally {
    await doctor.close();
  }
}

/** Builds and opens an app; returns what it shows, and what the doctor finds where `withDoctor` asks it. */
async function readIn(
  row: Row,
  app: string,
  page: Page,
  withDoctor: boolean,
): Promise<Shown & { readonly findings?: readonly string[] }> {
  for (const command of row.build ?? []) runIn(app, command);
  // A template as it is written has no barriers.
  const withAxe = row.files === undefined && row.edits === undefined;
  if (row.serve.kind === "extension")
    return readInExtension(join(app, row.serve.folder), row.path ?? "index.html", { withAxe, click: row.click });
  const server = await serveApp(app, row.serve);
  const url = new URL(row.path ?? "./", server.url).href;
  let findings: readonly string[] = [];
  try {
    const shown = await readAt(page, url, { withAxe });
    if (withDoctor && shown.text === SAMPLE_TEXT) {
      const found = await examine(url);
      findings = found.findings;
      console.log(JSON.stringify({ row: row.id, doctor: found.stack, findings }));
    }
    if (row.opensOffline !== true || shown.text !== SAMPLE_TEXT) return { ...shown, findings };
    await page.evaluate(async () => void (await navigator.serviceWorker.ready));
    await readAt(page, url);
  } finally {
    await server.close();
  }
  return { ...(await readAt(page, url)), findings };
}

function emittedBytes({ emitted, serve }: Row, app: string): number | null {
  const folder = emitted ?? (serve.kind === "folder" ? serve.folder : null);
  // Nothing is there where the build failed.
  if (folder === null || !existsSync(join(app, folder))) return null;
  return readdirSync(join(app, folder), { recursive: true, encoding: "utf8" })
    .map((x) => statSync(join(app, folder, x)))
    .reduce((sum, x) => sum + (x.isFile() ? x.size : 0), 0);
}

/** Rows that Firefox does not open are left out of its project by this tag. */
const tag = ({ browsers = ["chromium"] }: Row): string => (browsers.includes("firefox") ? "" : " @chromium");

test.describe.configure({ timeout: 900_000 });
for (const row of ROWS.filter((x) => isSoak || x.isInSlice === true))
  test(`${row.id}: ${row.title} reads the right text${tag(row)}`, async ({ page, browser, browserName }) => {
    const name = browserName as AppBrowser;
    const app = await makeApp(row);
    const startMs = performance.now();
    let result = "failed";
    try {
      const { text, errors, barriers, findings = [] } = await readIn(row, app, page, isSoak && name === "chromium");
      result = text === SAMPLE_TEXT ? "passed" : `showed ${JSON.stringify(text)}`;
      expect(text, errors.join("\n")).toBe(SAMPLE_TEXT);
      expect(barriers).toEqual([]);
      expect(findings).toEqual([]);
    } catch (error) {
      if (result === "failed") result = `failed: ${String(error).split("\n", 3).join(" ").slice(0, 300)}`;
      throw error;
    } finally {
      if (isSoak)
        keepResult({
          row: row.id,
          browser: name,
          browserVersion: browser.version(),
          packages: row.packages,
          result,
          emittedBytes: emittedBytes(row, app),
          seconds: Math.round((performance.now() - startMs) / 1_000),
          commit: commit(),
          date: new Date().toISOString(),
        });
      removeApp(app);
    }
  });
