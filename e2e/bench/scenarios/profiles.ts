// Visits of a scenario's pages in browser profiles: new ones, and one a page that has been there before.
import type { BrowserContext } from "@playwright/test";
import type { Bench } from "../kernel/run.ts";
import type { Visits } from "../kernel/visit.ts";

const BOUND_MS = 180_000;

/** How pages are visited. */
export interface ProfilesOptions<Page extends string> {
  /** Receives the reports of the pages. */
  readonly visits: Visits;
  readonly address: (page: Page) => string;
  /** Resolves once the server sends nothing to tabs that were closed. Default: at once. */
  readonly idle?: () => Promise<void>;
  /** Number of visits that make a profile a used one, and their duration after the result, in ms. Default: 1, 0. */
  readonly before?: { readonly visits: number; readonly stayMs: number };
}

/** Browser profiles by page. */
export class Profiles<Page extends string> {
  readonly #bench: Bench;
  readonly #options: ProfilesOptions<Page>;
  readonly #used = new Map<Page, BrowserContext>();

  constructor(bench: Bench, options: ProfilesOptions<Page>) {
    this.#bench = bench;
    this.#options = options;
  }

  /** Visits a page; returns the ms until its result. */
  visit(context: BrowserContext, page: Page, stayMs = 0): Promise<number> {
    const { visits, address } = this.#options;
    return visits.visit(context, address(page), BOUND_MS, stayMs);
  }

  /** Visits a page in a new profile; returns the ms until its result. */
  async visitNew(page: Page): Promise<number> {
    const context = await this.#bench.newProfile();
    try {
      return await this.visit(context, page);
    } finally {
      await context.close();
      await this.#options.idle?.();
    }
  }

  /** Visits a page in a profile that has been there before; returns the ms until its result. */
  async visitUsed(page: Page): Promise<number> {
    return this.visit(await this.used(page), page);
  }

  /** Returns the profile that has been on a page before. */
  async used(page: Page): Promise<BrowserContext> {
    const known = this.#used.get(page);
    if (known !== undefined) return known;
    const context = await this.#bench.newProfile();
    this.#used.set(page, context);
    const { visits, stayMs } = this.#options.before ?? { visits: 1, stayMs: 0 };
    for (let i = 0; i < visits; i += 1) await this.visit(context, page, stayMs);
    return context;
  }

  async close(): Promise<void> {
    for (const context of this.#used.values()) await context.close();
  }
}

/** Two visits of 8 s: browsers cache the machine code of a page's WebAssembly some seconds after it was hot. */
export const CACHES_CODE = { visits: 2, stayMs: 8_000 } as const;
