// The page of scenario `remote`, and the servers that it sends requests to.
import { join } from "node:path";
import type { Page } from "@playwright/test";
import type { RemotePage } from "../../pages/remote.ts";
import { ROOT } from "../../support/prepare.ts";
import type { Bench } from "../kernel/run.ts";

/** Folder of a bundle of the demo's models. */
export const bundleFolder = (name: string): string => join(ROOT, "models/dist", name);

/** Whether one of these names of cases is asked for. */
export function isAsked({ only }: Pick<Bench, "only">, names: readonly string[]): boolean {
  return names.some((name) => name.includes(only));
}

/** Opens the page. */
export async function openPage({ browser, url }: Bench): Promise<Page> {
  const page = await browser.newPage();
  await page.goto(`${url}remote.html`);
  await page.waitForFunction("globalThis.bench !== undefined");
  return page;
}

/** Calls a function of the page. */
export function call<N extends keyof RemotePage>(
  page: Page,
  name: N,
  ...args: Parameters<RemotePage[N]>
): Promise<Awaited<ReturnType<RemotePage[N]>>> {
  return page.evaluate(
    ([name, args]) => {
      const { bench } = globalThis as unknown as { bench: Record<string, (...args: unknown[]) => unknown> };
      return bench[name]?.(...args);
    },
    [name, args] as const,
  ) as Promise<Awaited<ReturnType<RemotePage[N]>>>;
}
