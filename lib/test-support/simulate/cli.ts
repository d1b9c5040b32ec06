/* eslint-disable no-console -- a command line talks */
// `npm run simulate -- --seeds N [--from S]` simulates N seeds on all cores, and exits 1 with each seed that broke an
// invariant; `--seed S` simulates one with its log; `--world W` plays worlds only; `--bound` compares the scheduler
// with the bound.
import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { judge, reaches, summarise } from "./judge.ts";
import type { Summary, GoodputResult } from "./judge.ts";
import { spread } from "./shares.ts";
import { simulate } from "./simulate.ts";
import type { Story } from "./simulate.ts";
import type { WorldPlan } from "./scene.ts";
import { FAMILIES } from "./workloads.ts";
import { playWorld, WORLDS } from "./worlds.ts";
import type { Told } from "./worlds.ts";

const HELP = `Simulates pool and engine with faults, from a seed.

  npm run simulate -- --seeds 10000           simulates this many seeds, on all cores
  npm run simulate -- --seed 42               simulates one, with every event
  npm run simulate -- --bound --seeds 1000    goodput of the scheduler beside the best policy that knows the true costs

  --seeds N   number of seeds (default 1,000): every tenth plays a world, in turn, the others stories; with --world, N
              of each world; with --bound, N of each family of workloads
  --from S    the first seed (default 1)
  --seed S    one seed, with its log; with --bound its verdicts
  --world W   only worlds, or families of workloads, whose name contains W; "" for all, disabled ones too
  --bound     judges the scheduler; prints each family's mean and least share of the best policy, and of the upper bound
  --report F  writes the totals to a file, as JSON
  --help      this text

Exits 1 where an invariant did not hold, or a goal of the bound was missed, and names the seed.`;

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "1000" },
    from: { type: "string", default: "1" },
    seed: { type: "string" },
    bound: { type: "boolean", default: false },
    world: { type: "string" },
    report: { type: "string" },
    share: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});

/** One seed in this many plays a world; the others are stories. */
const WORLD_EVERY = 10;

const families = FAMILIES.filter(({ name }) => name.includes(values.world ?? ""));
const { world } = values;
const worlds = world === undefined ? WORLDS : WORLDS.filter(({ name }) => name.includes(world));
const from = whole("--from", values.from);
const count = whole("--seeds", values.seeds);
if ((values.bound ? families : worlds).length === 0) {
  console.error(`--world: none has "${values.world}" in its name`);
  process.exit(2);
}
if (values.help) console.log(HELP);
else if (values.share) await simulateShare();
else if (values.bound && values.seed !== undefined) judgeOne(whole("--seed", values.seed));
else if (values.bound) await judgeAll();
else if (values.seed !== undefined) await replay(whole("--seed", values.seed));
else await simulateAll();

function whole(option: string, text: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value >= 0) return value;
  console.error(`${option}: expected a whole number, got "${text}"`);
  process.exit(2);
}

/** Returns the worlds that a seed plays; empty for a story. */
function worldsOf(seed: number): readonly WorldPlan[] {
  if (values.world !== undefined) return worlds;
  return seed % WORLD_EVERY === 0 ? worlds.slice((seed / WORLD_EVERY) % worlds.length).slice(0, 1) : [];
}

async function replay(seed: number): Promise<void> {
  const own = worldsOf(seed);
  const told: readonly (Story | Told)[] =
    own.length === 0
      ? [await simulate({ seed, log: console.log })]
      : await oneByOne(own, (plan) => playWorld(plan, seed, console.log));
  console.log(...told);
  process.exit(told.every(({ broken }) => broken.length === 0) ? 0 : 1);
}

async function oneByOne<T, R>(list: readonly T[], work: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  for (const item of list) results.push(await work(item));
  return results;
}

/** Simulates seeds sequentially, in a process of its own. */
async function simulateShare(): Promise<void> {
  for (let seed = from; seed < from + count; seed += 1) {
    const own = values.bound ? [] : worldsOf(seed);
    for (const plan of own) process.send?.({ seed, told: await playWorld(plan, seed) });
    if (values.bound)
      for (const family of families) process.send?.({ name: family.name, verdict: judge(family, seed) });
    else if (own.length === 0) process.send?.({ seed, story: await simulate({ seed }) });
  }
  process.disconnect();
}

async function simulateAll(): Promise<void> {
  const startS = process.uptime();
  const totals = { stories: 0, answered: 0, failed: 0, cancelled: 0, faults: 0 };
  const played = new Map(worlds.map(({ name }) => [name, { seeds: 0, broken: 0, possible: 0, answered: 0 }]));
  const broken: string[] = [];
  const args = values.world === undefined ? [] : ["--world", values.world];
  const isWhole = await spread({ from, count }, args, (message) => {
    const { seed, story, told } = message as { seed: number; story?: Story; told?: Told };
    const name = told === undefined ? "" : ` of world "${told.world}"`;
    const own = (told ?? story)?.broken ?? [];
    if (own.length > 0) broken.push(`seed ${seed}${name}: ${own.join("; ")}`);
    if (told !== undefined) note(played, told);
    if (story === undefined) return;
    totals.stories += 1;
    for (const key of ["answered", "failed", "cancelled", "faults"] as const) totals[key] += story[key];
    if (totals.stories % 1_000 === 0) console.log(`${totals.stories} stories of ${count} seeds`);
  });
  for (const line of broken) console.error(line);
  for (const [name, { seeds, broken, possible, answered }] of played)
    console.log(`${name.padEnd(50)} ${seeds} seeds, ${broken} broken, ${percent(answered / possible)} answered`);
  const seconds = Math.round(10 * (process.uptime() - startS)) / 10;
  const { stories, answered, failed, cancelled, faults } = totals;
  report({ from, ...totals, broken: broken.length, failures: broken, seconds, worlds: Object.fromEntries(played) });
  console.log(
    `${stories} stories, ${faults} faults: ${answered} answered, ${failed} failed with a typed error, ${cancelled} cancelled; ${broken.length} broken; ${seconds} s`,
  );
  process.exit(broken.length === 0 && isWhole ? 0 : 1);
}

function note(played: Map<string, Record<"seeds" | "broken" | "possible" | "answered", number>>, told: Told): void {
  const sum = played.get(told.world);
  if (sum === undefined) return;
  sum.seeds += 1;
  sum.broken += Number(told.broken.length > 0);
  sum.possible += told.possible;
  sum.answered += told.answered;
}

function judgeOne(seed: number): void {
  for (const family of families) console.log(family.name, judge(family, seed));
}

/** Judges the scheduler on every family and prints a line each. */
async function judgeAll(): Promise<void> {
  const verdicts = new Map(families.map(({ name }) => [name, [] as GoodputResult[]]));
  const isWhole = await spread({ from, count }, ["--bound", "--world", values.world ?? ""], (message) => {
    const { name, verdict } = message as { name: string; verdict: GoodputResult };
    verdicts.get(name)?.push(verdict);
  });
  const summaries = [...verdicts].map(([name, own]) => summarise(name, own));
  for (const line of summaries) console.log(lineOf(line));
  report({ from, seeds: count, summaries });
  const missed = summaries.filter((x) => !reaches(x)).length;
  console.log(`${summaries.length - missed} of ${summaries.length} reach the goals`);
  process.exit(missed === 0 && isWhole ? 0 : 1);
}

function lineOf(summary: Summary): string {
  const { name, mean, least, leastSeed, ofUpper, answered } = summary;
  return `${reaches(summary) ? "reached" : "MISSED "} ${name.padEnd(36)} of the best policy ${percent(mean)}, least ${percent(least)} (seed ${leastSeed}); of the upper bound ${percent(ofUpper)}; answered ${percent(answered)}`;
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`.padStart(7);
}

function report(totals: object): void {
  if (values.report !== undefined) writeFileSync(values.report, JSON.stringify(totals));
}
