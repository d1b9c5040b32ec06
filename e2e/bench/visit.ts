// Visits a page as a visitor does, and hears from it what it took. The page tells its server: to be asked costs it a script
// of the driver's in its first moments, and a look with each frame from then on, which on two cores is a tenth of a visit.
import type { IncomingMessage, ServerResponse } from "node:http";
import type { BrowserContext } from "@playwright/test";

const PATH = "/told";
/** What a page ends with: it tells the time since the navigation began, in ms. */
export const TELL = `await fetch("${PATH}?ms=" + performance.now());`;
/** A tab that was just opened is busy with itself for so long; a visitor's has been there. */
const SETTLE_MS = 500;

/** Takes what pages tell a server, one page at a time. */
export class Visits {
  #told: ((ms: number) => void) | null = null;

  /** Answers a request if it is a page that tells; says whether it was. */
  take({ url = "/" }: IncomingMessage, response: ServerResponse): boolean {
    const { pathname, searchParams } = new URL(url, "http://localhost");
    if (pathname !== PATH) return false;
    response.writeHead(204).end();
    this.#told?.(Number(searchParams.get("ms")));
    return true;
  }

  /**
   * Opens an address in a new tab, which stays for a while after its result, and gives the ms to that.
   * @throws Error where the page throws one, or tells nothing within the bound
   */
  async visit(context: BrowserContext, address: string, boundMs: number, stayMs = 0): Promise<number> {
    const tab = await context.newPage();
    await tab.waitForTimeout(SETTLE_MS);
    const told = new Promise<number>((resolve, reject) => {
      this.#told = resolve;
      tab.on("pageerror", reject);
      setTimeout(() => {
        reject(new Error(`${address} told no result within ${boundMs} ms`));
      }, boundMs).unref();
    });
    const [ms] = await Promise.all([told, tab.goto(address)]);
    await tab.waitForTimeout(stayMs);
    await tab.close();
    return ms;
  }
}
