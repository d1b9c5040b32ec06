// `npm run apps:table`: writes the table of bundlers and hosts in docs/browsers.md from e2e/results/apps.json.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { ROOT } from "../support/prepare.ts";
import { readResults } from "./results.ts";
import type { AppResult } from "./results.ts";
import { ROWS } from "./rows.ts";
import type { AppBrowser, Row } from "./row.ts";

/** Path of the page with the table. */
export const PAGE: string = join(ROOT, "docs/browsers.md");
const BEGIN = "<!-- table of apps: npm run apps:table -->";
const END = "<!-- end of the table of apps -->";

/** Returns the page's text with the table of these results. */
export function withTable(page: string, rows: readonly Row[], results: readonly AppResult[]): string {
  const [before, rest] = page.split(BEGIN);
  const [, after] = rest?.split(END) ?? [];
  if (before === undefined || after === undefined) throw new Error(`${PAGE} lacks the lines ${BEGIN} and ${END}`);
  return `${before}${BEGIN}\n\n${tableOf(rows, results)}\n\n${END}${after}`;
}

function tableOf(rows: readonly Row[], results: readonly AppResult[]): string {
  const lines = rows.map((row) => {
    const versions = Object.entries(row.packages).map(([name, version]) => `${name} ${version}`);
    const cells = [row.title, row.needed, state(row, "chromium", results), state(row, "firefox", results)];
    return `| ${[...cells, versions.join(", ") || "–"].join(" | ")} |`;
  });
  return ["| app | needed | Chromium | Firefox | tested with |", "| --- | --- | --- | --- | --- |", ...lines].join(
    "\n",
  );
}

/** Returns what a row came to in a browser, with the date. */
function state({ id, browsers = ["chromium"] }: Row, browser: AppBrowser, results: readonly AppResult[]): string {
  if (!browsers.includes(browser)) return "–";
  const result = results.find((x) => x.row === id && x.browser === browser);
  if (result === undefined) return "not run";
  const text = result.result === "passed" ? "works" : `**fails**: ${result.result.replaceAll("|", "\\|")}`;
  return `${text} (${result.date.slice(0, 10)})`;
}

if (process.argv[1] === fileURLToPath(import.meta.url))
  writeFileSync(PAGE, withTable(readFileSync(PAGE, "utf8"), ROWS, readResults()));
