// The page of scenario `remote`, and the servers that it sends requests to. In Chromium without Playwright: its debugger
// gets a copy of each request's body, which took a third of a core at ten requests of 184 kB a second, so that the device
// seemed three times as slow beside a server as it is.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import type { RemotePage } from "../../pages/remote.ts";
import { BareChromium } from "../../support/bare-chromium.ts";
import { ROOT } from "../../support/prepare.ts";
import type { Bench } from "../kernel/run.ts";

/** Folder of a bundle of the demo's models. */
export const bundleFolder = (name: string): string => join(ROOT, "models/dist", name);

/** Whether one of these names of cases is asked for. */
export function isAsked({ only }: Pick<Bench, "only">, names: readonly string[]): boolean {
  return names.some((name) => name.includes(only));
}

/** The open page. */
export interface Opened {
  /** Returns the awaited value of an expression. */
  evaluate(expression: string): Promise<unknown>;
  close(): Promise<void>;
}

/** Opens the page. */
export async function openPage({ browser, browserName, url }: Bench): Promise<Opened> {
  const opened = browserName === "chromium" ? await openBare(`${url}remote.html`) : await browser.newPage();
  if ("goto" in opened) await opened.goto(`${url}remote.html`);
  while ((await opened.evaluate("globalThis.bench !== undefined")) !== true) await wait(50);
  return opened;
}

async function openBare(url: string): Promise<Opened> {
  const profile = mkdtempSync(join(tmpdir(), "selvedge-remote-"));
  const browser = new BareChromium(profile);
  const page = await browser.open(url);
  return {
    evaluate: (expression) => page.evaluate(expression),
    close: async () => {
      await browser.close();
      // Processes of the browser may still write while they end.
      rmSync(profile, { recursive: true, force: true, maxRetries: 10 });
    },
  };
}

/** Calls a function of the page. */
export function call<N extends keyof RemotePage>(
  page: Opened,
  name: N,
  ...args: Parameters<RemotePage[N]>
): Promise<Awaited<ReturnType<RemotePage[N]>>> {
  const expression = `globalThis.bench.${name}(${args.map((x) => JSON.stringify(x)).join(", ")})`;
  return page.evaluate(expression) as Promise<Awaited<ReturnType<RemotePage[N]>>>;
}
