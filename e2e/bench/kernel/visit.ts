// Visits a page like a visitor, and receives its timing. The page reports to its server: polling by the driver would
// cost it a script in its first moments and a check with each frame from then on, which on two cores is a tenth of a
// visit.
import type { IncomingMessage, ServerResponse } from "node:http";
import type { BrowserContext } from "@playwright/test";

const PATH = "/told";
/** Last statement of a page: it reports the time since the navigation began, in ms. */
export const TELL = `await fetch("${PATH}?ms=" + performance.now());`;
/** Time for which a newly opened tab is busy; a visitor's tab is idle. */
const SETTLE_MS = 500;

/** Receives the reports of pages, one page at a time. */
export class Visits {
  #told: ((ms: number) => void) | null = null;

  /** Answers a request if it is a page's report; returns whether it was. */
  take({ url = "/" }: IncomingMessage, response: ServerResponse): boolean {
    const { pathname, searchParams } = new URL(url, "http://localhost");
    if (pathname !== PATH) return false;
    response.writeHead(204).end();
    this.#told?.(Number(searchParams.get("ms")));
    return true;
  }

  /**
   * Opens a URL in a new tab, which stays open for a while after its result, and returns the ms until then.
   * @throws Error if the page throws one, or does not report within the timeout
   */
  async visit(context: BrowserContext, address: string, boundMs: number, stayMs = 0): Promise<number> {
    const tab = await context.newPage();
    await tab.waitForTimeout(SETTLE_MS);
    const told = new Promise<number>((resolve, reject) => {
      this.#told = resolve;
      tab.on("pageerror", reject);
      setTimeout(() => {
        reject(new Error(`${address} reported no result within ${boundMs} ms`));
      }, boundMs).unref();
    });
    const [ms] = await Promise.all([told, tab.goto(address)]);
    await tab.waitForTimeout(stayMs);
    await tab.close();
    return ms;
  }
}
