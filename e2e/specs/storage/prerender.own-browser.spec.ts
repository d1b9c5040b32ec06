// A prerendered page starts its engine at once: no request may be lost, and no worker terminated for the time in which
// the page was not shown. Only Chromium prerenders, and no page with a debugger: so this starts the browser without
// Playwright, and reads the page's report from the URL in its list of tabs.
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium, expect, test } from "@playwright/test";
import { chromiumLaunch } from "../../support/browsers.ts";
import { keep } from "../../support/suite.ts";
import { freePort } from "../../support/free-port.ts";
import type { Prerendered } from "../../pages/prerendered.ts";

const AWAY_MS = 4_000;

test("a prerendered page starts its engine when it is shown, and all is answered", async () => {
  const { pages } = test.info().config.metadata as { pages: string };
  const folder = mkdtempSync(join(tmpdir(), "selvedge-prerender-"));
  const port = await freePort();
  const { executablePath = chromium.executablePath(), args = [] } = chromiumLaunch();
  const url = `${pages}/prerender.html?ms=${AWAY_MS}`;
  const own = ["--headless", `--remote-debugging-port=${port}`, `--user-data-dir=${folder}`, url];
  // A process group of its own: the browser's children write to its folder for a while after it has ended.
  const browser = spawn(executablePath, [...args, ...own], { stdio: "ignore", detached: true });
  const ended = new Promise((resolve) => browser.once("exit", resolve));
  try {
    await expect.poll(() => addressOf(port), { timeout: 60_000 }).toContain("?done=");
    const address = new URL(await addressOf(port));
    const seen = JSON.parse(address.searchParams.get("done") ?? "null") as Prerendered;
    await keep(test.info(), { ...seen, failed: seen.failed.join(), wasPrerendered: String(seen.wasPrerendered) });
    expect(seen).toMatchObject({ wasPrerendered: true, early: 0, right: 8, failed: [], restarts: 0 });
    expect(seen.waitedMs).toBeGreaterThanOrEqual(AWAY_MS - 100);
  } finally {
    if (browser.pid !== undefined) process.kill(-browser.pid, "SIGKILL");
    await ended;
    rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  }
});

/** Returns the URL of the tab, "" until the browser has one. */
async function addressOf(port: number): Promise<string> {
  try {
    const tabs = (await (await fetch(`http://127.0.0.1:${port}/json/list`)).json()) as { type: string; url: string }[];
    return tabs.find(({ type }) => type === "page")?.url ?? "";
  } catch {
    return "";
  }
}
