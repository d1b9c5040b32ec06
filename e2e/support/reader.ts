// Reads a page on the demo's /ocr/ in any of the browsers, through the page's documented hooks. The two drivers of a
// browser (Playwright's page, WebDriver) are reduced to three verbs.
import type { Page } from "@playwright/test";
import type { WebDriver } from "./webdriver.ts";

/** Driver functions for reading a page. */
export interface Drive {
  goto(url: string): Promise<void>;
  /** Sets the file of an input. */
  upload(selector: string, path: string): Promise<void>;
  /** Evaluates an expression in the page. */
  evaluate(expression: string): Promise<unknown>;
}

/** Result of reading a page, and where it ran. */
export interface PageReading {
  readonly lines: readonly string[];
  readonly backend: string;
  readonly variant: string;
  readonly ms: number;
  /** Counts of operators per model, if the page was opened with `log=verbose`. */
  readonly assignment: string | null;
}

const READY_MS = 120_000;
const PAGE_MS = 240_000;

/** Drives a Playwright page. */
export function throughPlaywright(page: Page): Drive {
  return {
    goto: async (url) => {
      await page.goto(url);
    },
    upload: (selector, path) => page.locator(selector).setInputFiles(path),
    evaluate: (expression) => page.evaluate(expression),
  };
}

/** Drives a WebKitGTK window. */
export function throughWebDriver(webkit: WebDriver): Drive {
  return {
    goto: (url) => webkit.navigate(url),
    upload: async (selector, path) => webkit.upload(await webkit.find(selector), path),
    evaluate: (expression) => webkit.run(`return (${expression});`),
  };
}

/** Opens /ocr/ and waits until it is ready. */
export async function openReader(drive: Drive, base: string, query: string): Promise<void> {
  await drive.goto(`${base}/ocr/?${query}`);
  await untilState(drive, ["ready"], READY_MS);
}

/** Passes a picture to the open page and waits for its text. */
export async function readPage(drive: Drive, file: string): Promise<PageReading> {
  // The previous page may have left "done" behind: the state is reset, so that only a new one counts.
  await drive.evaluate(`document.querySelector('[data-testid=status]').dataset.state = "given"`);
  const began = performance.now();
  await drive.upload("input[type=file]", file);
  await untilState(drive, ["done"], PAGE_MS);
  const ms = performance.now() - began;
  const read = (await drive.evaluate(`({
    lines: [...document.querySelectorAll("[data-testid=line]")].map((line) => line.textContent),
    backend: document.querySelector("[data-testid=status]").dataset.backend ?? "",
    variant: document.querySelector("[data-testid=status]").dataset.variant ?? "",
    assignment: document.querySelector("[data-testid=status]").dataset.assignment ?? null,
  })`)) as Omit<PageReading, "ms">;
  return { ...read, ms };
}

/** Waits for one of the states; an error of the page is thrown with its text. */
async function untilState(drive: Drive, states: readonly string[], boundMs: number): Promise<void> {
  const until = performance.now() + boundMs;
  for (;;) {
    const { state, text } = (await drive.evaluate(`(() => {
      const status = document.querySelector("[data-testid=status]");
      return { state: status?.dataset.state ?? "none", text: status?.textContent ?? "" };
    })()`)) as { state: string; text: string };
    if (states.includes(state)) return;
    if (state === "error") throw new Error(`the page says: ${text}`);
    if (performance.now() > until) throw new Error(`after ${boundMs} ms the page is "${state}": ${text}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
