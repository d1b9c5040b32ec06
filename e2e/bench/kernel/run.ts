// `npm run bench -- S`: runs scenario S in Chromium and Firefox, appends its rows to e2e/results/S.jsonl, prints them,
// and exits 1 on a missed goal or a void run. A scenario is a module in ../scenarios that yields its cases for a
// browser; it receives an open browser and the URL of the tests' pages.
import { appendFileSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { cpus, loadavg, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { chromium, firefox } from "@playwright/test";
import type { Browser, BrowserContext } from "@playwright/test";
import { chromiumAdapter, chromiumLaunch, ensureBrowsers, firefoxLaunch } from "../../support/browsers.ts";
import { Random } from "../../../lib/test-support/random.ts";
import { ensureLavapipe } from "../../support/lavapipe/lavapipe.ts";
import { commit, machine, versions } from "../../support/origin.ts";
import { prepare, ROOT } from "../../support/prepare.ts";
import { servePages } from "../../support/server.ts";
import { rowLine, runCase, voidReason } from "./kernel.ts";
import type { Case, Setting } from "./kernel.ts";
import { SCENARIOS } from "./row.ts";
import type { Row } from "./row.ts";

/** Context of a scenario. */
export interface Bench {
  readonly browserName: "chromium" | "firefox";
  readonly browser: Browser;
  /**
   * Opens a new profile, like a first-time visitor's; the caller closes it. In Chromium this is a browser of its own:
   * `browser.newContext()` is incognito, and does not cache machine code of a page's WebAssembly.
   */
  readonly newProfile: () => Promise<BrowserContext>;
  /** URL of the tests' pages, with a trailing slash. */
  readonly url: string;
  /** Text that names of cases must contain; empty for all. Parts that no such case needs may be skipped. */
  readonly only: string;
  /** Scales the number of rounds. */
  readonly rounds: (usual: number) => number;
}

/** A scenario's cases, each with its open resources; they run one after the other. */
export type Scenario = (bench: Bench) => AsyncIterable<Case>;

/** Idle time for a Chromium that was just started. */
const SETTLE_MS = 1_500;
const BROWSERS = ["chromium", "firefox"] as const;
const HELP = `Runs a benchmark scenario and appends its rows to e2e/results/<scenario>.jsonl.

  npm run bench -- <scenario> [--browser chromium|firefox] [--rounds 0.5] [--quick] [--case text] [--dry-run]

  scenarios   ${SCENARIOS.join(", ")}
  --browser   one browser only (default: both)
  --rounds    scales the rounds of every case (default 1)
  --quick     one round of every case, to see that it works; appends nothing
  --case      only cases whose name holds this text
  --dry-run   prints the rows and appends nothing

Exits 1 where a goal is missed, or where the run is void: a subject slowed by 20 % on purpose must show.`;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    browser: { type: "string" },
    rounds: { type: "string", default: "1" },
    case: { type: "string", default: "" },
    quick: { type: "boolean", default: false },
    "dry-run": { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});
const name = SCENARIOS.find((x) => x === positionals[0]);
const browsers = BROWSERS.filter((x) => values.browser === undefined || x === values.browser);
if (values.help || name === undefined || browsers.length === 0) {
  console.log(HELP);
  process.exit(values.help ? 0 : 2);
}
if (ensureBrowsers().length > 0) process.exit(1);
await ensureLavapipe();
// If the system divides its cores among sessions and not threads, two threads get no more of a busy machine than one.
const [load = 0] = loadavg();
if (load > cpus().length)
  console.error(`the machine is busy (load ${load.toFixed(1)}): gains from a second worker or thread will not show`);
prepare();

const { scenario } = (await import(`../scenarios/${name}.ts`)) as { scenario: Scenario };
const port = Number(process.env["SELVEDGE_PAGES_PORT"] ?? 43_119);
const server = await servePages({ port, isolated: true });
const rows: Row[] = [];
/** Removed at the end: a closed Chromium may write for some moments more. */
const profiles = mkdtempSync(join(tmpdir(), "selvedge-"));
try {
  for (const browserName of browsers) rows.push(...(await runIn(browserName)));
} finally {
  await server.close();
  rmSync(profiles, { recursive: true, force: true, maxRetries: 10, retryDelay: 200 });
}
const reason = voidReason(rows);
if (reason !== null) console.error(reason);
const missed = rows.filter((row) => row.pass === false).length;
console.log(`${rows.length} rows, ${missed} missed, ${(performance.now() / 60_000).toFixed(1)} minutes`);
process.exit(reason === null && missed === 0 ? 0 : 1);

async function runIn(browserName: (typeof BROWSERS)[number]): Promise<Row[]> {
  const browser =
    browserName === "chromium" ? await chromium.launch(chromiumLaunch()) : await firefox.launch(firefoxLaunch());
  const found: Row[] = [];
  try {
    const setting: Setting = {
      scenario: String(name),
      command: ["npm run bench --", ...process.argv.slice(2)].join(" "),
      commit: commit(),
      date: new Date().toISOString(),
      machine: machine(),
      browser: `${browserName} ${browser.version()}`,
      adapter: `${browserName === "chromium" ? chromiumAdapter() : "lavapipe"} (software)`,
      versions: versions(),
    };
    const rounds = (usual: number): number =>
      values.quick ? 1 : Math.max(3, Math.round(usual * Number(values.rounds)));
    const newProfile = (): Promise<BrowserContext> =>
      browserName === "chromium" ? newChromiumProfile() : browser.newContext();
    const url = `http://127.0.0.1:${port}/`;
    const bench: Bench = { browserName, browser, newProfile, url, only: values.case, rounds };
    for await (const item of scenario(bench)) {
      if (!item.name.includes(values.case)) continue;
      const rows = await runCase(item, setting, new Random(`${browserName} ${item.name}`));
      for (const row of rows) {
        console.log(rowLine(row));
        if (!values["dry-run"] && !values.quick) append(row);
      }
      found.push(...rows);
    }
  } finally {
    await browser.close();
  }
  return found;
}

/** Opens Chromium with a profile of its own, and lets it settle, since a starting browser is busy. */
async function newChromiumProfile(): Promise<BrowserContext> {
  const folder = mkdtempSync(join(profiles, "profile-"));
  const context = await chromium.launchPersistentContext(folder, chromiumLaunch());
  await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
  return context;
}

function append(row: Row): void {
  const path = join(ROOT, "e2e/results", `${row.scenario}.jsonl`);
  mkdirSync(dirname(path), { recursive: true });
  appendFileSync(path, `${JSON.stringify(row)}\n`);
}
