// Opens an app and returns what it reads from its sample picture.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import AxeBuilder from "@axe-core/playwright";
import { chromium } from "@playwright/test";
import type { BrowserContext, Page, Worker } from "@playwright/test";
import { chromiumLaunch } from "../support/browsers.ts";

const ANSWER_MS = 120_000;

/** Text and errors of a page. */
export interface Shown {
  readonly text: string;
  /** Faults of accessibility that axe finds, where it was asked. */
  readonly barriers: readonly string[];
  /** Errors that the page's console has, for the message of a failure. */
  readonly errors: readonly string[];
}

/** Options of {@link readAt}. */
export interface ReadOptions {
  /** Whether barriers are looked for once the text is there. */
  readonly withAxe?: boolean;
  /** Selector of what is clicked first. */
  readonly click?: string | undefined;
}

/** Opens a page and waits for the text that it reads, or for its error. */
export async function readAt(page: Page, url: string, { withAxe = false, click }: ReadOptions = {}): Promise<Shown> {
  const errors: string[] = [];
  page.on("pageerror", (error) => errors.push(error.message));
  page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
  page.on("requestfailed", (request) => errors.push(`${request.url()}: ${request.failure()?.errorText ?? "failed"}`));
  const answer = await page.goto(url, { timeout: ANSWER_MS });
  if (answer?.ok() === false) return { text: "", barriers: [], errors: [`${url}: status ${answer.status()}`] };
  const output = page.locator("output");
  if (click !== undefined) await page.click(click);
  try {
    await page.waitForFunction(
      () => !["", "Loading…", undefined].includes(document.querySelector("output")?.textContent),
      null,
      { timeout: ANSWER_MS },
    );
  } catch {
    errors.push(`no text within ${ANSWER_MS / 1_000} s`);
  }
  const text = (await output.textContent({ timeout: 5_000 }).catch(() => null)) ?? "";
  const { violations } = withAxe ? await new AxeBuilder({ page }).analyze() : { violations: [] };
  const barriers = violations.map(({ id, nodes }) => `${id}: ${nodes.map((x) => x.html).join(" ")}`);
  return { text, barriers, errors: errors.slice(0, 10) };
}

/** Loads an unpacked extension in a Chromium of its own, and reads at a page of it. */
export async function readInExtension(folder: string, path: string, options?: ReadOptions): Promise<Shown> {
  return inExtension(folder, async (worker, context) =>
    readAt(await context.newPage(), new URL(path, worker.url()).href, options),
  );
}

/** Loads an unpacked extension in a Chromium of its own; gives its background service worker to a function. */
export async function inExtension<T>(
  folder: string,
  look: (worker: Worker, context: BrowserContext) => Promise<T>,
): Promise<T> {
  const profile = mkdtempSync(join(tmpdir(), "selvedge-profile-"));
  const { args = [], ...launch } = chromiumLaunch();
  const context = await chromium.launchPersistentContext(profile, {
    ...launch,
    ignoreDefaultArgs: ["--disable-extensions"],
    args: [...args, `--disable-extensions-except=${folder}`, `--load-extension=${folder}`],
  });
  try {
    const worker = context.serviceWorkers()[0] ?? (await context.waitForEvent("serviceworker", { timeout: 30_000 }));
    return await look(worker, context);
  } finally {
    await context.close();
    rmSync(profile, { recursive: true, force: true });
  }
}
