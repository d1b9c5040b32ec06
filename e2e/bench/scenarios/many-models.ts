// Part of `delivery`: sixteen models on one lane with memory for four, requested by Zipf's law (the n-th 1/n as often
// as the first). Compared with all sixteen kept in memory, and with an app that keeps the four most recently loaded and
// reloads the others: requests per second, and how many of them had to load their model.
import type { Page } from "@playwright/test";
import type { MemoryPage, Policy } from "../../pages/many-models.ts";
import type { Case, Sample } from "../kernel/kernel.ts";
import type { Bench } from "../kernel/run.ts";

const POLICIES = {
  "all kept": "all",
  "the four loaded last kept by the app": "naive",
  "selvedge, a budget for four": "budget",
} as const satisfies Record<string, Policy>;
const OURS = "selvedge, a budget for four";
const NAIVE = "the four loaded last kept by the app";

/** Yields the cases; each subject gets the same requests in the same order. */
export async function* manyModels({ browser, url, rounds }: Bench): AsyncGenerator<Case> {
  const pages: Page[] = [];
  const misses = new Map<string, number>();
  const ask = async (name: keyof typeof POLICIES, slowBy: number): Promise<Sample & { misses: number }> => {
    const page = await browser.newPage();
    pages.push(page);
    await page.goto(`${url}many-models.html`);
    await page.waitForFunction("globalThis.manyModels !== undefined");
    const call = `globalThis.manyModels.serve(${JSON.stringify(POLICIES[name])})`;
    const served = await page.evaluate<Awaited<ReturnType<MemoryPage["serve"]>>>(call);
    await page.close();
    misses.set(name, served.misses);
    const value = served.requestsPerSecond / (1 + slowBy);
    return { value, backend: "wasm", model: "fashion-mlp", variant: served.variant, misses: served.misses };
  };
  const names = Object.keys(POLICIES) as (keyof typeof POLICIES)[];
  yield {
    name: "16 models, memory for 4",
    unit: "requests a second",
    statistic: "median",
    ratio: "under",
    subjects: names.map((name) => ({ name, sample: (slowBy) => ask(name, slowBy) })),
    of: NAIVE,
    goals: [{ subject: OURS, on: "ratio", atMost: 1 }],
    control: NAIVE,
    rounds: rounds(3),
    warmups: 0,
  };
  yield {
    name: "16 models, memory for 4: misses",
    unit: "share of the requests",
    statistic: "max",
    subjects: names.map((name) => ({
      name,
      sample: async () => {
        const { backend, model, variant, misses } = await ask(name, 0);
        return { value: misses, backend, model, variant };
      },
    })),
    of: NAIVE,
    // None: the budget bounds measured bytes, and WebAssembly's memory grows in steps that count for the model that
    // needed them; so fewer than four may be loaded.
    goals: [],
    rounds: 1,
    warmups: 0,
  };
}
