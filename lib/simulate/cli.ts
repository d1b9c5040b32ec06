/* eslint-disable no-console -- a command line talks */
// `npm run simulate -- --seeds N [--from S]` simulates N seeds, over all cores, and exits 1 with each seed that broke an
// invariant; `--seed S` simulates one with its log; `--bound` judges the scheduler by the bound.
import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { judge, reaches, summarise } from "./judge.ts";
import type { Summary, Verdict } from "./judge.ts";
import { spread } from "./shares.ts";
import { simulate } from "./simulate.ts";
import type { Story } from "./simulate.ts";
import { FAMILIES } from "./workloads.ts";

const HELP = `Simulates pool and engine with faults, from a seed.

  npm run simulate -- --seeds 10000           simulates so many seeds, over all cores
  npm run simulate -- --seed 42               simulates one, with every event
  npm run simulate -- --bound --seeds 1000    goodput of the scheduler beside the best policy that knows the true costs

  --seeds N   how many seeds (default 1,000), of each family of workloads with --bound
  --from S    the first seed (default 1)
  --seed S    one seed, with its log; with --bound its verdicts
  --bound     judges the scheduler; prints each family's mean and least share of the best policy, and of the upper bound
  --world W   with --bound: only families of workloads whose name contains W
  --report F  writes the totals to a file, as JSON
  --help      this text

Exits 1 where an invariant did not hold, or a goal of the bound was missed, and names the seed.`;

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "1000" },
    from: { type: "string", default: "1" },
    seed: { type: "string" },
    bound: { type: "boolean", default: false },
    world: { type: "string", default: "" },
    report: { type: "string" },
    share: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});

const families = FAMILIES.filter(({ name }) => name.includes(values.world));
const from = whole("--from", values.from);
const count = whole("--seeds", values.seeds);
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

async function replay(seed: number): Promise<void> {
  const story = await simulate({ seed, log: console.log });
  console.log(story);
  process.exit(story.broken.length === 0 ? 0 : 1);
}

/** Simulates seeds one after the other, in a process of its own. */
async function simulateShare(): Promise<void> {
  for (let seed = from; seed < from + count; seed += 1)
    if (values.bound)
      for (const family of families) process.send?.({ name: family.name, verdict: judge(family, seed) });
    else process.send?.({ seed, story: await simulate({ seed }) });
  process.disconnect();
}

async function simulateAll(): Promise<void> {
  const startS = process.uptime();
  const totals = { stories: 0, answered: 0, failed: 0, cancelled: 0, faults: 0 };
  const broken: string[] = [];
  const isWhole = await spread({ from, count }, [], (message) => {
    const { seed, story } = message as { seed: number; story: Story };
    totals.stories += 1;
    for (const key of ["answered", "failed", "cancelled", "faults"] as const) totals[key] += story[key];
    if (story.broken.length > 0) broken.push(`seed ${seed}: ${story.broken.join("; ")}`);
    if (totals.stories % 1_000 === 0) console.log(`${totals.stories} of ${count} stories`);
  });
  for (const line of broken) console.error(line);
  const seconds = Math.round(10 * (process.uptime() - startS)) / 10;
  const { stories, answered, failed, cancelled, faults } = totals;
  report({ from, ...totals, broken: broken.length, seconds });
  console.log(
    `${stories} stories, ${faults} faults: ${answered} answered, ${failed} failed with a typed error, ${cancelled} cancelled; ${broken.length} broken; ${seconds} s`,
  );
  process.exit(broken.length === 0 && stories === count && isWhole ? 0 : 1);
}

function judgeOne(seed: number): void {
  for (const family of families) console.log(family.name, judge(family, seed));
}

/** Judges the scheduler on every family and prints a line each. */
async function judgeAll(): Promise<void> {
  if (families.length === 0) {
    console.error(`--world: no family of workloads has "${values.world}" in its name`);
    process.exit(2);
  }
  const verdicts = new Map(families.map(({ name }) => [name, [] as Verdict[]]));
  const isWhole = await spread({ from, count }, ["--bound", "--world", values.world], (message) => {
    const { name, verdict } = message as { name: string; verdict: Verdict };
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
  const percent = (share: number): string => `${(100 * share).toFixed(1)} %`.padStart(7);
  return `${reaches(summary) ? "reached" : "MISSED "} ${name.padEnd(36)} of the best policy ${percent(mean)}, least ${percent(least)} (seed ${leastSeed}); of the upper bound ${percent(ofUpper)}; answered ${percent(answered)}`;
}

function report(totals: object): void {
  if (values.report !== undefined) writeFileSync(values.report, JSON.stringify(totals));
}
