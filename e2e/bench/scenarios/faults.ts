// Scenario `faults`, also part of `overhead`: the cost of safety without faults, and the cost of faults, beside ONNX
// Runtime Web and transformers.js in hand-written workers, with the same faults in the same run: the time until the
// last of 20 requests is settled, and how many hang (their time is then the limit of the wait), are lost or answered
// wrongly, and whether later ones work.
import type { Page } from "@playwright/test";
import { SUFFERERS } from "../../pages/sufferers.ts";
import type { Cost, CostlyFault, Sufferer } from "../../pages/sufferers.ts";
import type { EndedAll, EndedWhen } from "../../pages/faults.ts";
import type { Guard } from "../../pages/guard-cost.ts";
import type { Case, Subject } from "../kernel/kernel.ts";
import type { Bench } from "../kernel/run.ts";

const FAULTS: readonly { readonly fault: CostlyFault; readonly name: string; readonly patienceMs: number }[] = [
  { fault: "kill", name: "a worker ended from outside", patienceMs: 8_000 },
  { fault: "hang", name: "a call that never returns", patienceMs: 8_000 },
  { fault: "missing", name: "a worker script that is not there once", patienceMs: 8_000 },
  { fault: "out-of-memory", name: "wasm out of memory", patienceMs: 8_000 },
  { fault: "destroy", name: "a GPU device destroyed during a run", patienceMs: 10_000 },
  { fault: "invalid", name: "a GPU error that no promise tells", patienceMs: 10_000 },
];
const COUNTED = [
  { what: "hung", name: "requests that hang, of 20" },
  { what: "rejected", name: "requests lost to an error, of 20" },
  { what: "wrong", name: "wrong answers, of 20" },
] as const;
const ENDED: Readonly<Record<EndedWhen, string>> = {
  idle: "while idle",
  warm: "in a warm run",
  first: "in a first run of more than a second",
};
const WATCHDOG_CALLS = 200;
/** Two rounds of checkpoints. */
const STEPS = 32;

/** Yields the cases in order. */
export async function* scenario(bench: Bench): AsyncGenerator<Case> {
  yield* guardCases(bench);
  yield* faultCases(bench);
  yield* endedCases(bench);
}

/** Cost of terminating all workers from outside, beyond the same requests in new workers and one lost run. */
function* endedCases({ browser, browserName, url }: Bench): Generator<Case> {
  for (const when of Object.keys(ENDED) as EndedWhen[]) {
    const found: EndedAll[] = [];
    const row = { backend: "wasm", model: "turns", variant: "f32" } as const;
    const name = `all workers ended from outside, ${ENDED[when]}`;
    // Chromium terminates a worker in a busy loop after two seconds.
    const atMost = 500 + (browserName === "chromium" && when !== "idle" ? 2_000 : 0);
    const usual = { rounds: 3, warmups: 0 } as const;
    yield {
      ...usual,
      name: `${name}: extra time of 20 requests beyond the run`,
      unit: "ms",
      statistic: "median",
      subjects: [
        {
          name: "selvedge",
          async sample() {
            const context = await browser.newContext();
            const ended = await endAll(await context.newPage(), url, when);
            await context.close();
            found.push(ended);
            return { ...row, value: ended.ms - ended.coldMs - ended.runMs };
          },
        },
      ],
      goals: [{ subject: "selvedge", on: "value", atMost }],
    };
    let next = 0;
    yield {
      ...usual,
      name: `${name}: right answers, of 20`,
      unit: "requests",
      statistic: "mean",
      subjects: [
        { name: "selvedge", sample: () => Promise.resolve({ ...row, value: found[next++]?.right ?? Number.NaN }) },
      ],
      goals: [{ subject: "selvedge", on: "value", atLeast: 20 }],
    };
  }
}

async function endAll(page: Page, url: string, when: EndedWhen): Promise<EndedAll> {
  await page.goto(`${url}faults.html`);
  await page.waitForFunction("globalThis.faultsPage !== undefined");
  const ended = await page.evaluate<EndedAll>(`globalThis.faultsPage.endAll(${JSON.stringify(when)}, 2)`);
  console.log(`    ${JSON.stringify({ when, ...ended })}`);
  if (when === "first" && ended.shortestMs <= 1_000) throw new Error(`A run took only ${ended.shortestMs} ms.`);
  return ended;
}

/** Cost of watchdog and checkpoints per call. */
async function* guardCases({ browser, url, rounds }: Bench): AsyncGenerator<Case> {
  const page = await browser.newPage();
  await page.goto(`${url}guard-cost.html`);
  await page.waitForFunction("globalThis.guardCost !== undefined");
  await page.evaluate("globalThis.guardCost.setUp()");
  const subject = (name: Guard, count: number, model: string): Subject => ({
    name,
    sample: async (slowBy) => {
      const given = JSON.stringify([name, count, slowBy]);
      const said = await page.evaluate<{ ms: number; backend: string }>(`globalThis.guardCost.sample(...${given})`);
      return { value: said.ms, backend: said.backend, model, variant: "f32" };
    },
  });
  const pair = (name: string, guard: Guard, bare: Guard, count: number, model: string): Case => ({
    name,
    unit: "ms",
    statistic: "median",
    subjects: [subject(bare, count, model), subject(guard, count, model)],
    of: bare,
    goals: [{ subject: guard, minus: bare, on: "value", atMost: 0.1 }],
    control: guard,
    rounds: rounds(30),
    warmups: 3,
  });
  yield pair("a call with the watchdog and without", "watchdog", "no watchdog", WATCHDOG_CALLS, "add");
  yield pair("a step with checkpoints and without", "checkpoints", "no checkpoints", STEPS, "vad");
  await page.close();
}

/** Cost of each fault: five cases that share their samples, since a page takes one fault only. */
async function* faultCases({ browser, url }: Bench): AsyncGenerator<Case> {
  for (const { fault, name, patienceMs } of FAULTS) {
    const costs = new Map<Sufferer, Cost[]>(SUFFERERS.map((who) => [who, []]));
    const read = (who: Sufferer, at: number, value: (cost: Cost) => number): Awaited<ReturnType<Subject["sample"]>> => {
      const cost = costs.get(who)?.[at];
      if (cost === undefined) throw new Error(`${who} has not suffered ${name} yet`);
      return {
        value: value(cost),
        backend: cost.backend,
        model: fault === "out-of-memory" ? "zeros" : "add",
        variant: "f32",
      };
    };
    const usual = { statistic: "median", rounds: 3, warmups: 0 } as const;
    yield {
      ...usual,
      name: `${name}: until 20 requests are settled`,
      unit: "ms",
      subjects: SUFFERERS.map((who) => ({
        name: who,
        async sample() {
          const context = await browser.newContext();
          const cost = await suffer(await context.newPage(), url, [who, fault, patienceMs]);
          await context.close();
          const own = costs.get(who);
          own?.push(cost);
          return read(who, (own?.length ?? 0) - 1, ({ ms }) => ms);
        },
      })),
      of: "onnxruntime-web",
      goals: [],
    };
    const counted = (title: string, unit: string, value: (cost: Cost) => number, goal: object): Case => {
      const next = new Map<Sufferer, number>();
      return {
        ...usual,
        name: `${name}: ${title}`,
        unit,
        statistic: "mean",
        subjects: SUFFERERS.map((who) => ({
          name: who,
          sample() {
            const at = next.get(who) ?? 0;
            next.set(who, at + 1);
            return Promise.resolve(read(who, at, value));
          },
        })),
        goals: [{ subject: "selvedge", on: "value", ...goal }],
      };
    };
    for (const { what, name: title } of COUNTED) yield counted(title, "requests", (cost) => cost[what], { atMost: 0 });
    yield counted("later requests that work, of 5", "requests", ({ later }) => later, { atLeast: 5 });
  }
}

async function suffer(page: Page, url: string, given: readonly unknown[]): Promise<Cost> {
  await page.goto(`${url}fault-cost.html`);
  await page.waitForFunction("globalThis.faultCost !== undefined");
  const cost = await page.evaluate<Cost>(`globalThis.faultCost.suffer(...${JSON.stringify(given)})`);
  console.log(`    ${JSON.stringify({ given, ...cost })}`);
  return cost;
}
