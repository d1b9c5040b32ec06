// `npm run fleet`: how many servers growing uses need, with and without devices that answer for themselves. Each class of
// devices is sampled, each sampled device's day is played through the real scheduler, and the mean device is scaled.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Command, InvalidArgumentError, Option } from "commander";
import { ROOT } from "../support/prepare.ts";
import { Random } from "../../lib/test-support/random.ts";
import { spread } from "../../lib/test-support/simulate/shares.ts";
import { assume, FLEET, readSetting } from "./assumptions.ts";
import type { Fleet, Growth } from "./assumptions.ts";
import { playDay } from "./device-day.ts";
import { factsOf, loadTime, rateLine, readCalibration, runTime } from "./measured.ts";
import type { Calibration, ModelFacts, Rate } from "./measured.ts";
import { addDay, addStratum, emptyStratum, estimate } from "./sample.ts";
import type { Stratum } from "./sample.ts";
import { formatTable, rowsOf } from "./table.ts";

const EXAMPLES = `
Examples:
  npm run fleet                                     the table, on all cores
  npm run fleet -- --growth chat                    one growth
  npm run fleet -- --set classes.desktop.share=0.5  another value
  npm run fleet -- --assume fleet.json              the same from a file: { "newShare": 0.3, "growths": { "chat": { … } } }
  npm run fleet -- --calibrate                      measures \`selvedge serve\` on this machine, and writes the rates`;

interface Values {
  readonly devices: number;
  readonly seed: string;
  readonly growth?: readonly string[];
  readonly assume?: string;
  readonly set: readonly string[];
  readonly engine: string;
  readonly json: boolean;
  readonly write: boolean;
  readonly calibrate: boolean;
  readonly triton: boolean;
  readonly model?: string;
  readonly share: boolean;
  readonly from: number;
  readonly seeds: number;
  readonly plan?: string;
}

const values = new Command("npm run fleet --")
  .description(
    "Servers that a fleet of devices needs, with and without devices that answer for themselves, and how many answers are late.",
  )
  .helpOption("-h, --help", "print this help")
  .addOption(new Option("--devices <n>", "devices of each class").argParser(countOf).default(10_000))
  .option("--seed <seed>", "another sample; equal seeds give equal tables", "1")
  .addOption(new Option("--growth <name>", "only this growth; may be given again").argParser(more))
  .option("--assume <file>", "replaces values; a class, growth or curve of another name is added, null leaves one out")
  .addOption(
    new Option("--set <path=value>", "replaces one value, after --assume; may be given again")
      .argParser(more)
      .default([], "none"),
  )
  .addOption(
    new Option("--engine <name>", "server whose measured rate is used")
      .choices(["selvedge serve", "triton"])
      .default("selvedge serve"),
  )
  .option("--json", "everything as JSON", false)
  .option("--write", "writes the table into docs/fleet.md", false)
  .option("--calibrate", "measures servers in place of the table", false)
  .option("--triton", "measures Triton too", false)
  .option("--model <name>", "only this model is measured")
  // A process of several: devices from `from` on, of a plan in JSON.
  .addOption(new Option("--share").default(false).hideHelp())
  .addOption(new Option("--from <n>").argParser(Number).default(0).hideHelp())
  .addOption(new Option("--seeds <n>").argParser(Number).default(0).hideHelp())
  .addOption(new Option("--plan <json>").hideHelp())
  .addHelpText("after", EXAMPLES)
  .showSuggestionAfterError()
  .showHelpAfterError("(--help lists the options)")
  .allowExcessArguments(false)
  .parse()
  .opts<Values>();

function more(text: string, before: readonly string[] = []): readonly string[] {
  return [...before, text];
}

function countOf(text: string): number {
  if (/^\d{1,9}$/.test(text) && Number(text) >= 2) return Number(text);
  throw new InvalidArgumentError(`Expected a whole number from 2, got "${text}".`);
}

/** Arguments of the processes. */
interface Plan {
  readonly fleet: Fleet;
  readonly seed: string;
  readonly names: readonly string[];
  readonly facts: Readonly<Record<string, ModelFacts>>;
}

const PAGE = join(ROOT, "docs/fleet.md");
const [BEGIN, END] = ["<!-- figures: npm run fleet -- --write -->", "<!-- end of the figures -->"];

/** Devices between two messages of a process. */
const REPORT_EVERY = 250;

interface Part {
  readonly from: number;
  readonly devices: number;
  /** With the last message: sums by growth and class. */
  readonly strata?: Readonly<Record<string, Readonly<Record<string, Stratum>>>>;
}

if (values.share) playShare(JSON.parse(values.plan ?? "") as Plan);
else
  try {
    await start();
  } catch (error) {
    console.error(`error: ${error instanceof Error ? error.message : String(error)}`);
    process.exit(1);
  }

async function start(): Promise<void> {
  const fleet = read();
  const names = values.growth ?? Object.keys(fleet.growths);
  for (const name of names)
    if (fleet.growths[name] === undefined)
      throw new TypeError(`--growth: "${name}" is none of ${Object.keys(fleet.growths).join(", ")}`);
  const models = [...new Set(names.map((name) => fleet.growths[name]?.model ?? ""))];
  if (values.calibrate) {
    const { calibrate } = await import("./calibrate.ts");
    const { model } = values;
    const all = new Set(Object.values(FLEET.growths).map((x) => x.model));
    if (model !== undefined && !all.has(model))
      throw new TypeError(`--model: "${model}" is none of ${[...all].join(", ")}`);
    await calibrate(model === undefined ? models : [model], values.triton);
    return;
  }
  const calibration = readCalibration();
  const facts = Object.fromEntries(models.map((x) => [x, factsOf(x, values.engine, calibration)]));
  const { devices } = values;
  const strata = await sample({ fleet, seed: values.seed, names, facts }, devices);
  const rows = names.flatMap((name) => {
    const own = Object.entries(fleet.classes).map(([key, { share }]) => {
      return { share, stratum: strata[name]?.[key] ?? emptyStratum() };
    });
    return rowsOf(fleet, name, estimate(own), facts[fleet.growths[name]?.model ?? ""] as ModelFacts);
  });
  const rates = calibration.rates.filter((x) => x.engine === values.engine && models.includes(x.model));
  if (values.json) {
    console.log(
      JSON.stringify({ devices, seed: values.seed, assumptions: fleet, models: facts, rates, rows }, null, 1),
    );
    return;
  }
  const text = [
    `${devices.toLocaleString("en")} devices of each class, seed ${values.seed}.`,
    "Measured:",
    [...measuredOf(models, calibration, rates)].map((x) => `- ${x}`).join("\n"),
    "Assumed, not measured; each is changed by `--set` or `--assume`:",
    [...assumedOf(fleet, names)].map((x) => `- ${x}`).join("\n"),
    formatTable(rows),
  ].join("\n\n");
  console.log(text);
  if (values.write) write(text);
}

/** Yields a line for each measured fact. */
function* measuredOf(models: readonly string[], calibration: Calibration, rates: readonly Rate[]): Generator<string> {
  for (const name of models) {
    const { value, source } = runTime(name);
    const own = calibration.models[name];
    const megabytes = ((own?.wireBytes ?? 0) / 1e6).toFixed(2);
    yield `${name}: ${value.toFixed(2)} ms a run on one thread, float32 (${source}); ${megabytes} MB as sent (${own?.variant}); ${own?.inputBytes} bytes a request`;
  }
  const { value, source } = loadTime();
  yield `first answer with a stored model: ${value.toFixed(0)} ms after the page's start (${source})`;
  for (const rate of rates) yield rateLine(rate);
}

/** Yields a line for each group of assumptions. */
function* assumedOf({ classes, growths, curves, ...others }: Fleet, names: readonly string[]): Generator<string> {
  const listed = (own: object): string =>
    Object.entries(own)
      .map(([name, value]) => `${name} ${value === null ? "none" : String(value)}`)
      .join(", ");
  for (const [name, own] of Object.entries(classes)) yield `classes.${name}: ${listed(own)}`;
  for (const name of names) {
    const { counts, model, activeShare, sessions, requests, firstAfterS, gapS, deadlineMs, curve } = growths[
      name
    ] as Growth;
    const own = { counts, model, activeShare, sessions, requests, firstAfterS, gapS, deadlineMs, curve };
    yield `growths.${name}: ${listed(own)}`;
  }
  for (const name of new Set(names.map((x) => growths[x]?.curve ?? "")))
    yield `curves.${name}: ${curves[name]?.join(" ")}`;
  yield listed(others);
}

/** Writes the text into the page of the documentation. */
function write(text: string): void {
  const page = readFileSync(PAGE, "utf8");
  const [from, to] = [page.indexOf(BEGIN), page.indexOf(END)];
  if (from < 0 || to < 0) throw new Error(`${PAGE} lacks its marks`);
  const narrow = text.replaceAll(/ +\|/g, " |").replaceAll(/-{4,}/g, "---");
  writeFileSync(PAGE, `${page.slice(0, from + BEGIN.length)}\n\n${narrow}\n\n${page.slice(to)}`);
}

function read(): Fleet {
  let fleet = FLEET;
  if (values.assume !== undefined) {
    let given: unknown;
    try {
      given = JSON.parse(readFileSync(values.assume, "utf8"));
    } catch (error) {
      throw new TypeError(`--assume ${values.assume}: ${error instanceof Error ? error.message : ""}`);
    }
    fleet = assume(fleet, given);
  }
  return values.set.reduce((own, text) => assume(own, readSetting(text)), fleet);
}

/** Plays devices in one process per core, and shows the progress. */
async function sample(plan: Plan, devices: number): Promise<NonNullable<Part["strata"]>> {
  const parts: Part[] = [];
  const done = new Map<number, number>();
  const isWhole = await spread(
    { from: 0, count: devices },
    ["--plan", JSON.stringify(plan)],
    (message) => {
      const part = message as Part;
      done.set(part.from, part.devices);
      if (part.strata !== undefined) parts.push(part);
      const played = [...done.values()].reduce((sum, x) => sum + x, 0);
      process.stderr.write(`\r${played} of ${devices} devices of each class, ${process.uptime().toFixed(0)} s`);
    },
    "fleet",
  );
  process.stderr.write("\n");
  if (!isWhole) throw new Error("a process of the sample failed");
  const total: Record<string, Record<string, Stratum>> = {};
  // In the order of the devices, whoever was first: sums of fractions depend on it.
  for (const { strata = {} } of parts.sort((a, b) => a.from - b.from))
    for (const [name, classes] of Object.entries(strata))
      for (const [key, stratum] of Object.entries(classes))
        addStratum(((total[name] ??= {})[key] ??= emptyStratum()), stratum);
  return total;
}

/** Plays a part of the devices of each class and growth. */
function playShare({ fleet, seed, names, facts }: Plan): void {
  const { from, seeds: count } = values;
  const strata: Record<string, Record<string, Stratum>> = {};
  for (let i = from; i < from + count; i += 1) {
    for (const name of names) {
      const growth = fleet.growths[name];
      if (growth === undefined) continue;
      for (const [key, own] of Object.entries(fleet.classes)) {
        const random = new Random(`${seed}/${name}/${key}/${i}`);
        const day = playDay(fleet, growth, own, facts[growth.model] as ModelFacts, random);
        addDay(((strata[name] ??= {})[key] ??= emptyStratum()), day);
      }
    }
    if ((i + 1 - from) % REPORT_EVERY === 0) process.send?.({ from, devices: i + 1 - from } satisfies Part);
  }
  process.send?.({ from, devices: count, strata } satisfies Part);
  process.disconnect();
}
