// Part of `compress`: speed of the variant that the engine chooses relative to float32, on each backend of a browser.
//
// Each is loaded anew for every sample, in an engine of its own: the place of its memory makes one session faster than
// another of the same file, by some percent, for as long as both live. Then they take turns, and the minimum of each
// counts. One thread each: the gain from threads is learnt at run time, and by one sooner than by the other.
import { join, relative } from "node:path";
import type { Page } from "@playwright/test";
import type * as Selvedge from "selvedge";
import type { Feed } from "../../../lib/compress/run/feeds.ts";
import { FOLDER } from "./compress-subjects.ts";
import type { Case, Sample, Subject } from "../kernel/kernel.ts";
import type { Bench } from "../kernel/run.ts";

/** A bundle to be timed. */
export interface Timed {
  readonly model: string;
  readonly folder: string;
  readonly feed: Feed;
  /** Minimum speed of the chosen variant over float32 on wasm. */
  readonly atLeast: number;
}

/** One of the sessions that take turns. */
interface Turn {
  readonly name: string;
  readonly slowBy: number;
}

const CHOSEN = "chosen";
/** The difference between float32 and float32 loaded again is the noise floor of the other differences. */
const COMPARED = ["float32", "float32, loaded again", CHOSEN].map((name): Turn => ({ name, slowBy: 0 }));
const CONTROLLED = [0, 0.2].map((slowBy): Turn => ({ name: "float32", slowBy }));

/** Yields the cases. */
export async function* speedCases(bench: Bench, { model, folder, feed, atLeast }: Timed): AsyncGenerator<Case> {
  const page = await openPage(bench);
  const bundle = `/corpus/${relative(join(FOLDER, ".."), folder)}/bundle.json`;
  const input = Object.entries(feed).map(([name, x]) => ({ ...x, name, data: Array.from(x.data as Float32Array) }));
  for (const backend of ["wasm", "webgpu"] as const) {
    if (backend === "webgpu" && (await isSoftware(page))) {
      console.log(`${model}: no row of speed on WebGPU, since there is no adapter or one in software`);
      continue;
    }
    let rounds = 0;
    /**
     * Makes subjects that are sampled together once a round, in every possible order: the order affects the times too.
     */
    const subjects = (turns: readonly Turn[]): Subject[] => {
      const orders = ordersOf(turns);
      const left = new Map<string, Omit<Sample, "model">>();
      return [...new Set(turns.map((x) => x.name))].map((name) => ({
        name,
        sample: async (slowBy) => {
          if (left.size === 0) {
            const order = orders[rounds++ % orders.length] ?? turns;
            const taken = await page.evaluate(timeTurns, { bundle, backend, input, order });
            for (const [i, one] of taken.entries()) left.set(keyOf(order[i] as Turn), one);
          }
          const one = left.get(keyOf({ name, slowBy }));
          if (one === undefined) throw new Error(`${name} was not timed`);
          left.delete(keyOf({ name, slowBy }));
          return { ...one, model };
        },
      }));
    };
    yield {
      name: `${model}: one run, variant chosen by the engine, ${backend}`,
      unit: "ms",
      statistic: "median",
      subjects: subjects(COMPARED),
      of: "float32",
      ratio: "under",
      // If the same kernels run, the true ratio is 1, and half of the measurements are below.
      goals: backend === "wasm" ? [{ subject: CHOSEN, on: "ratio", atLeast, byInterval: atLeast === 1 }] : [],
      rounds: bench.rounds(24),
    };
    yield {
      name: `${model}: float32 beside itself, ${backend}`,
      unit: "ms",
      statistic: "median",
      subjects: subjects(CONTROLLED),
      goals: [],
      control: "float32",
      rounds: bench.rounds(8),
    };
  }
  await page.close();
}

/** Returns every order of the turns. */
function ordersOf(turns: readonly Turn[]): (readonly Turn[])[] {
  if (turns.length < 2) return [turns];
  return turns.flatMap((first) => ordersOf(turns.filter((x) => x !== first)).map((rest) => [first, ...rest]));
}

function keyOf({ name, slowBy }: Turn): string {
  return `${name} ${slowBy}`;
}

/** Opens a page that has the package. */
export async function openPage(bench: Bench): Promise<Page> {
  const page = await bench.browser.newPage();
  await page.goto(`${bench.url}engine.html`);
  await page.waitForFunction("globalThis.selvedge !== undefined");
  // tsx makes esbuild name functions by a helper of its own, which the page does not have.
  await page.evaluate("globalThis.__name = (x) => x");
  return page;
}

/** Whether a browser has no adapter, or a software one. */
export async function isSoftware(page: Page): Promise<boolean> {
  return page.evaluate(async () => {
    const { createEngine } = (globalThis as unknown as { selvedge: typeof Selvedge }).selvedge;
    const engine = await createEngine();
    const { gpu } = engine.device;
    await engine.close();
    return gpu === null || gpu.software;
  });
}

interface Asked {
  readonly bundle: string;
  readonly backend: "wasm" | "webgpu";
  readonly input: readonly { name: string; dtype: string; dims: readonly number[]; data: readonly number[] }[];
  readonly order: readonly Turn[];
}

/** Runs in the page: returns the minimum run time of each, in the order in which they are loaded. */
async function timeTurns({ bundle, backend, input, order }: Asked): Promise<Omit<Sample, "model">[]> {
  const { createEngine } = (globalThis as unknown as { selvedge: typeof Selvedge }).selvedge;
  const inputs = Object.fromEntries(
    input.map(({ name, dtype, dims, data }) => {
      const values = dtype === "int32" ? Int32Array.from(data) : Float32Array.from(data);
      return [name, { dtype, dims, data: values } as Selvedge.Tensor];
    }),
  );
  const engines: Selvedge.Engine[] = [];
  const models: Selvedge.Model[] = [];
  for (const { name } of order) {
    const engine = await createEngine({ backends: [backend], workers: 1, threads: 1 });
    engines.push(engine);
    models.push(await engine.load(bundle, name === "chosen" ? {} : { variant: "f32" }));
  }
  const timed = async (model: Selvedge.Model, times: number, slowBy = 0): Promise<number> => {
    const start = performance.now();
    for (let i = 0; i < times; i++) await model.run(inputs);
    const until = performance.now() + (performance.now() - start) * slowBy;
    while (performance.now() < until);
    return (performance.now() - start) / times;
  };
  for (const model of models) await timed(model, 5);
  // Fast ones run more often, because of the clock's resolution; all take about 2 seconds, and 5 turns each at least.
  const once = await timed(models[0] as Selvedge.Model, 3);
  const times = Math.max(1, Math.min(50, Math.ceil(20 / once)));
  const turns = Math.max(5, Math.min(30, Math.ceil(2_000 / (once * times * models.length))));
  const least = models.map(() => Infinity);
  for (let turn = 0; turn < turns; turn++)
    for (const [i, model] of models.entries())
      least[i] = Math.min(least[i] ?? Infinity, await timed(model, times, order[i]?.slowBy));
  const backends = models.map((x) => ({ backend: x.backend, variant: x.variant }));
  for (const engine of engines) await engine.close();
  return least.map((value, i) => ({ value, backend: "", variant: "", ...backends[i] }));
}
