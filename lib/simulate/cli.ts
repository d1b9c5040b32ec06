/* eslint-disable no-console -- a command line talks */
// `npm run simulate -- --seeds N [--from S]` tells N stories, over all cores, and exits 1 with the first seed that broke
// an invariant; `--seed S` tells one with its log.
import { fork } from "node:child_process";
import { writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { build } from "esbuild";
import { simulate } from "./simulate.ts";

const HELP = `Simulates pool and engine with faults, from a seed.

  npm run simulate -- --seeds 10000     tells so many stories, over all cores
  npm run simulate -- --seed 42         tells one, with every event

  --seeds N   how many stories (default 1,000)
  --from S    the first seed (default 1)
  --seed S    one story, with its log
  --report F  writes the totals to a file, as JSON
  --help      this text

Exits 1 where an invariant did not hold, and names the seed.`;

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "1000" },
    from: { type: "string", default: "1" },
    seed: { type: "string" },
    report: { type: "string" },
    share: { type: "string" },
    help: { type: "boolean", default: false },
  },
});

if (values.help) console.log(HELP);
else if (values.seed !== undefined) await replay(whole("--seed", values.seed));
else if (values.share !== undefined) await tell(whole("--from", values.from), whole("--seeds", values.seeds));
else await tellAll(whole("--from", values.from), whole("--seeds", values.seeds));

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

/** Tells stories one after the other, in a process of its own. */
async function tell(from: number, seeds: number): Promise<void> {
  for (let seed = from; seed < from + seeds; seed += 1) {
    const story = await simulate({ seed });
    process.send?.({ seed, story });
  }
  process.disconnect();
}

/** Makes one plain file of this: as it is run from TypeScript, each function is given its name as it is made. */
async function bundle(): Promise<string> {
  const outfile = join(import.meta.dirname, "../../node_modules/.cache/selvedge/simulate.mjs");
  const entryPoints = [process.argv[1] ?? ""];
  await build({ entryPoints, outfile, bundle: true, platform: "node", format: "esm", packages: "external" });
  return outfile;
}

async function tellAll(from: number, seeds: number): Promise<void> {
  const startS = process.uptime();
  const shares = Math.min(seeds, availableParallelism());
  const script = await bundle();
  const totals = { stories: 0, answered: 0, failed: 0, cancelled: 0, faults: 0 };
  const broken: string[] = [];
  const exits = Array.from({ length: shares }, async (_, i) => {
    const first = from + Math.floor((i * seeds) / shares);
    const count = from + Math.floor(((i + 1) * seeds) / shares) - first;
    const args = ["--share", "1", "--from", String(first), "--seeds", String(count)];
    // A story is short-lived objects and errors that nobody looks at, and every core has a story of its own: a fifth of
    // the time goes with Node's usual settings.
    const execArgv = ["--max-semi-space-size=64", "--stack-trace-limit=0", "--single-threaded"];
    const child = fork(script, args, { execArgv });
    child.on("message", ({ seed, story }: { seed: number; story: Awaited<ReturnType<typeof simulate>> }) => {
      totals.stories += 1;
      for (const key of ["answered", "failed", "cancelled", "faults"] as const) totals[key] += story[key];
      if (story.broken.length > 0) broken.push(`seed ${seed}: ${story.broken.join("; ")}`);
      if (totals.stories % 1_000 === 0) console.log(`${totals.stories} of ${seeds} stories`);
    });
    return new Promise<number | null>((resolve) => child.once("exit", resolve));
  });
  const codes = await Promise.all(exits);
  for (const line of broken) console.error(line);
  const seconds = Math.round(10 * (process.uptime() - startS)) / 10;
  const { stories, answered, failed, cancelled, faults } = totals;
  if (values.report !== undefined)
    writeFileSync(values.report, JSON.stringify({ from, ...totals, broken: broken.length, seconds }));
  console.log(
    `${stories} stories, ${faults} faults: ${answered} answered, ${failed} failed with a typed error, ${cancelled} cancelled; ${broken.length} broken; ${seconds} s`,
  );
  process.exit(broken.length === 0 && stories === seeds && codes.every((code) => code === 0) ? 0 : 1);
}
