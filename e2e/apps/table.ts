// `npm run apps:table`: writes the two tables of bundlers and hosts in docs/browsers.md, with a line for each tool and with
// one for each set-up, from e2e/results/apps.json.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { ROOT } from "../support/prepare.ts";
import { readResults } from "./results.ts";
import type { AppResult } from "./results.ts";
import { ROWS } from "./rows.ts";
import type { AppBrowser, Row } from "./row.ts";

/** Path of the page with the tables. */
export const PAGE: string = join(ROOT, "docs/browsers.md");

/** The groups of the short table, by the ids of their rows; the first row of each is the usual set-up. */
export const GROUPS: readonly (readonly [title: string, ids: RegExp])[] = [
  ["Vite 5 to 8", /^(vite-\d-(?!pwa)|serve-single)/],
  ["React 19 with Vite 8", /^react/],
  ["webpack 5, Rspack 2", /^(webpack|rspack)-/],
  ["Rollup 4", /^rollup-/],
  ["esbuild", /^esbuild-/],
  ["Parcel 2", /^parcel-/],
  ["Next 15 and 16", /^next-/],
  ["SvelteKit 2", /^sveltekit-/],
  ["Nuxt 4, Astro 5", /^(nuxt|astro)-/],
  ["Angular 20", /^angular-/],
  ["import map, no bundler", /^(import-map|other-origin)$/],
  ["extension, Manifest V3", /^mv3-/],
  ["PWA: `vite-plugin-pwa`", /^vite-8-pwa$/],
  ["pnpm 10, yarn 1, yarn 4 PnP", /^(pnpm|yarn)/],
];

/** Returns the page's text with the tables of these results. */
export function withTables(page: string, rows: readonly Row[], results: readonly AppResult[]): string {
  const short = between(page, "short table of apps", shortTableOf(rows, results));
  return between(short, "table of apps", tableOf(rows, results));
}

function between(page: string, name: string, table: string): string {
  const [begin, end] = [`<!-- ${name}: npm run apps:table -->`, `<!-- end of the ${name} -->`];
  const [before, rest] = page.split(begin);
  const [, after] = rest?.split(end) ?? [];
  if (before === undefined || after === undefined) throw new Error(`the page lacks the lines ${begin} and ${end}`);
  return `${before}${begin}\n\n${table}\n\n${end}${after}`;
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

function shortTableOf(rows: readonly Row[], results: readonly AppResult[]): string {
  const lines = GROUPS.map(([title, ids]) => {
    const [usual, ...others] = rows.filter(({ id }) => ids.test(id));
    if (usual === undefined) throw new Error(`no row belongs to the group ${title}`);
    const all = [usual, ...others];
    const unlike = others.filter(({ needed }) => ![usual.needed, "nothing", "the same"].includes(needed)).length;
    const note = unlike === 0 ? "" : ` (differs in ${unlike} of ${all.length} set-ups)`;
    return `| ${[title, usual.needed + note, counts(all, "chromium", results), counts(all, "firefox", results)].join(" | ")} |`;
  });
  return ["| with | needed | Chromium | Firefox |", "| --- | --- | --- | --- |", ...lines].join("\n");
}

/** Returns how many of these rows work, fail and were not run in a browser. */
function counts(rows: readonly Row[], browser: AppBrowser, results: readonly AppResult[]): string {
  const states = rows.map((row) => state(row, browser, results));
  const count = (start: string): number => states.filter((x) => x.startsWith(start)).length;
  const [works, fails, notRun] = [count("works"), count("**fails**"), count("not run")];
  const parts = [
    ...(works > 0 ? [`${works} ${works === 1 ? "works" : "work"}`] : []),
    ...(fails > 0 ? [`**${fails} ${fails === 1 ? "fails" : "fail"}**`] : []),
    ...(notRun > 0 ? [`${notRun} not run`] : []),
  ];
  return parts.join(", ") || "–";
}

/** Returns what a row came to in a browser, with the date. */
function state({ id, browsers = ["chromium"] }: Row, browser: AppBrowser, results: readonly AppResult[]): string {
  if (!browsers.includes(browser)) return "–";
  const result = results.find((x) => x.row === id && x.browser === browser);
  if (result === undefined) return "not run";
  const text = result.result === "passed" ? "works" : `**fails**: ${result.result.replaceAll("|", "\\|")}`;
  return `${text} (${result.date.slice(0, 10)})`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  writeFileSync(PAGE, withTables(readFileSync(PAGE, "utf8"), ROWS, readResults()));
}
