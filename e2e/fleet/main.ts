// `npm run fleet`: how many servers growing uses need, with and without devices that answer for themselves. Each class of
// devices is sampled, each sampled device's day is played through the real scheduler, and the mean device is scaled.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
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

const HELP = `Servers that a fleet of devices needs, with and without devices that answer for themselves.

  npm run fleet                                     the table, on all cores
  npm run fleet -- --growth chat                    one growth; may be given again
  npm run fleet -- --set classes.desktop.share=0.5  another value; may be given again
  npm run fleet -- --assume fleet.json              the same from a file: { "newShare": 0.3, "growths": { "chat": { … } } }
  npm run fleet -- --calibrate                      measures \`selvedge serve\` on this machine, and writes the rates

  --devices N     devices of each class (default 10,000)
  --seed S        another sample (default 1); equal seeds give equal tables
  --growth NAME   only this growth
  --assume FILE   replaces values; a class, growth or curve of another name is added, one that is null is left out
  --set PATH=VALUE  replaces one value, after --assume
  --engine NAME   server whose measured rate is used: "selvedge serve" (default) or "triton"
  --json          everything as JSON
  --write         writes the table into docs/fleet.md
  --calibrate     measures servers in place of the table; --triton measures Triton too; --model NAME only this model
  --help          this text`;

const { values } = parseArgs({
  options: {
    devices: { type: "string", default: "10000" },
    seed: { type: "string", default: "1" },
    growth: { type: "string", multiple: true },
    assume: { type: "string" },
    set: { type: "string", multiple: true, default: [] },
    engine: { type: "string", default: "selvedge serve" },
    json: { type: "boolean", default: false },
    write: { type: "boolean", default: false },
    calibrate: { type: "boolean", default: false },
    triton: { type: "boolean", default: false },
    model: { type: "string" },
    help: { type: "boolean", default: false },
    // A process of several: devices from `from` on, of a plan in JSON.
    share: { type: "boolean", default: false },
    from: { type: "string", default: "0" },
    seeds: { type: "string", default: "0" },
    plan: { type: "string" },
  },
});

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

if (values.help) console.log(HELP);
else if (values.share) playShare(JSON.parse(values.plan ?? "") as Plan);
else
  try {
    await start();
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    process.exit(2);
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
    await calibrate(values.model === undefined ? models : [values.model], values.triton);
    return;
  }
  const calibration = readCalibration();
  const facts = Object.fromEntries(models.map((x) => [x, factsOf(x, values.engine, calibration)]));
  const devices = Number(values.devices);
  if (!Number.isSafeInteger(devices) || devices < 2)
    throw new TypeError(`--devices: expected a whole number from 2, got "${values.devices}"`);
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
  const [from, count] = [Number(values.from), Number(values.seeds)];
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
