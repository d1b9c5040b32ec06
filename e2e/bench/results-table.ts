// `npm run bench:table`: writes the tables of figures in README.md and docs/benchmarks.md from the rows in e2e/results/,
// so that no figure can be of another run than the one that is committed. Each cell is the newest row of its case. Also the
// list of goals that newest rows miss, so that none is left out.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { ROOT } from "../support/prepare.ts";
import { checkRow, SCENARIOS } from "./kernel/row.ts";
import type { Row } from "./kernel/row.ts";

/** A subject of a case, and the name that the table gives it. */
type Peer = readonly [name: string, subject: string];

/** A line of the table. */
export interface Line {
  readonly title: string;
  readonly scenario: string;
  readonly case: string;
  readonly peers: readonly Peer[];
  /** Subject of the two last columns. */
  readonly subject: string;
  /** Peer of the ratio; the first one by default, "" for none. */
  readonly ratioTo?: string;
  /** Whether README has the line too. */
  readonly isShort?: boolean;
}

const TFJS = ["transformers.js with float32", "transformers.js, f32"] as const;
const RAW = ["ONNX Runtime Web in a hand-written worker", "raw worker"] as const;
const PAIR = ["two hand-written workers", "raw two workers"] as const;
const BY_HAND = [
  ["ONNX Runtime Web in a hand-written worker", "onnxruntime-web"],
  ["transformers.js in one", "transformers.js"],
] as const;
const LOADERS = [
  ["ONNX Runtime Web by URL", "onnxruntime-web by url"],
  ["transformers.js", "transformers.js"],
] as const;
const PAGE = ["onnxruntime-web, default import", "onnxruntime-web, default import"] as const;
const [delivery, scheduling, overhead, faults, compress, memory] = [
  "delivery",
  "scheduling",
  "overhead",
  "faults",
  "compress",
  "memory",
].map((scenario) => ({ scenario, subject: "selvedge" })) as [Made, Made, Made, Made, Made, Made];
type Made = Pick<Line, "scenario" | "subject">;
const shipped = { ...delivery, subject: "selvedge, as shipped" };
const FASHION = "fashion-mlp-pruned: one run, variant chosen by the engine, wasm";

/** The tables' lines. */
export const LINES: readonly Line[] = [
  // Of a model that the profile of ONNX Runtime's binary does not know.
  {
    ...{ scenario: "models", subject: "selvedge, our bundle" },
    title: "first result of all-MiniLM-L6-v2, new profile, 20 Mbit/s, 40 ms",
    case: "first result of a repository, new profile",
    peers: [["transformers.js with its 8 bits", "transformers.js"]],
    isShort: true,
  },
  {
    ...shipped,
    title: "first result of a text recognizer as shipped, new profile, 20 Mbit/s, 40 ms",
    case: "first result, new profile",
    peers: [TFJS],
  },
  { ...shipped, title: "the same, been here before", case: "first result, been here before", peers: [TFJS] },
  {
    ...scheduling,
    title: "a text recognizer, many requests at once, requests a second",
    case: "Offline, ocr-rec",
    subject: "selvedge, shipped variant",
    peers: [["transformers.js with float32", "transformers.js"], PAIR],
    isShort: true,
  },
  { ...scheduling, title: "… as float32", case: "Offline, ocr-rec", peers: [["transformers.js", "transformers.js"]] },
  {
    ...scheduling,
    title: "one run of it after the other, float32, isolated page",
    case: "SingleStream, ocr-rec",
    peers: [RAW, ["with a thread a core", "raw worker, threads"]],
  },
  { ...overhead, title: "one run of it, one thread", case: "one run of ocr-rec", peers: [RAW] },
  {
    ...overhead,
    title: "one run of a tiny model: what Selvedge adds",
    case: "one run of a tiny model",
    subject: "selvedge minus raw worker",
    peers: [RAW],
    ratioTo: "",
  },
  {
    ...scheduling,
    title: "a perceptron of 5.8 million weights, many at once, float32, requests a second",
    case: "Offline, fashion-mlp",
    peers: [["transformers.js", "transformers.js"], PAIR],
  },
  {
    ...scheduling,
    title: "… in dynamic int8",
    case: "Offline, fashion-mlp",
    subject: "selvedge, int8-dynamic",
    peers: [["transformers.js, float32", "transformers.js"]],
  },
  {
    ...compress,
    title: "one run of that perceptron after `compress --prune 27%`",
    case: FASHION,
    subject: "chosen",
    peers: [["float32", "float32"]],
  },
  {
    ...overhead,
    title: "longest stall of the main thread while 100 lines are read",
    case: "longest stall of the main thread, 100 lines",
    peers: [["ONNX Runtime Web on the main thread", "raw main thread"]],
    ratioTo: "",
  },
  {
    ...overhead,
    title: "code sent until the first result, uncompressed",
    case: "code sent until the first result",
    peers: [PAGE],
  },
  { ...overhead, title: "first result of ocr-rec, empty cache", case: "first result, empty cache", peers: [PAGE] },
  { ...overhead, title: "… filled cache", case: "first result, filled cache", peers: [PAGE] },
  ...["20 Mbit/s", "fast line"].map((line) => ({
    ...{ scenario: "split", subject: "split" },
    title: `first result of a model outside the binary's profile, new profile, ${line}: the wasm build in two parts`,
    case: `first result, new profile, dinov2 as exported, build wasm, ${line}`,
    peers: [["in one part, brotli too", "whole"]] as const,
  })),
  {
    ...overhead,
    title: "a 1280 × 720 frame to a tensor, main thread",
    case: "frame-to-tensor",
    subject: "handed over",
    peers: [["getImageData and JavaScript", "getImageData and JavaScript"]],
  },
  {
    ...delivery,
    title: "bytes of an update of ocr-rec, float32, a layer inserted, share of the file",
    case: "update of ocr-rec f32, a layer inserted",
    subject: "selvedge, at tensor borders",
    peers: [["a cache of whole files", "a cache of whole files"]],
    ratioTo: "",
  },
  {
    ...faults,
    title: "the watchdog of a call, a tiny model",
    case: "a call with the watchdog and without",
    subject: "watchdog minus no watchdog",
    peers: [["a call without", "no watchdog"]],
    ratioTo: "",
  },
  {
    ...faults,
    title: "checkpoints of a state, per step of a speech model",
    case: "a step with checkpoints and without",
    subject: "checkpoints minus no checkpoints",
    peers: [["a step without", "no checkpoints"]],
    ratioTo: "",
  },
  ...["f32 of 200 MB, wasm", "f32 of 200 MB, webgpu", "int8 of 200 MB, wasm", "int4 of 200 MB, wasm"].map((name) => ({
    ...memory,
    title: `most memory while a bare model is loaded: ${name}`,
    case: `${name}: peak`,
    peers: LOADERS,
  })),
  ...[
    ["20 requests, their worker ended from outside", "a worker ended from outside", true] as const,
    ["20 requests, one call never returns", "a call that never returns", false] as const,
    ["20 requests, wasm out of memory in one", "wasm out of memory", false] as const,
    ["20 requests, their GPU device destroyed", "a GPU device destroyed during a run", false] as const,
  ].map(([title, name, isShort]) => ({ ...faults, title, case: name, peers: BY_HAND, isShort })),
];

/** Returns the newest row of each case, subject and browser of a scenario. */
export function newestRows(scenario: string): ReadonlyMap<string, Row> {
  const path = join(ROOT, `e2e/results/${scenario}.jsonl`);
  const lines = existsSync(path) ? readFileSync(path, "utf8").split("\n") : [];
  return new Map(
    lines
      .filter((line) => line !== "")
      .map((line) => checkRow(JSON.parse(line)))
      .sort((a, b) => a.date.localeCompare(b.date))
      .map((row) => [keyOf(row.case, row.subject, row.browser.split(" ")[0] ?? ""), row]),
  );
}

/** Returns a page's text with the table of these lines in place of its own. */
export function withFigures(page: string, lines: readonly Line[], rowsOf = newestRows): string {
  const body = lines.map((line) => lineOf(line, rowsOf(line.scenario)));
  return replaced(page, "figures", ["| | peer | Chromium | Firefox |", "| --- | --- | --- | --- |", ...body]);
}

/** Returns a page's text with the list of the goals that newest rows miss in place of its own. */
export function withGoals(page: string, rowsOf = newestRows): string {
  const judged = [...SCENARIOS].sort().flatMap((x) => [...rowsOf(x).values()].filter((row) => row.pass !== undefined));
  const missed = judged.filter((row) => row.pass === false);
  return replaced(page, "goals", [
    `Of ${judged.length} goals of the newest rows, ${judged.length - missed.length} are met. Those missed:`,
    "",
    "| scenario: case | subject, browser | value | beside | ratio, 95 % | goal | n, day |",
    "| --- | --- | --- | --- | --- | --- | --- |",
    ...missed.map(missedOf),
  ]);
}

function missedOf(row: Row): string {
  const ends = row.interval === undefined ? "" : ` (${row.interval.map(short).join(" to ")})`;
  return `| ${[
    `${row.scenario}: ${row.case}`,
    `${row.subject}, ${row.browser.split(" ")[0] ?? ""}`,
    valueText(row),
    row.of ?? "",
    row.ratio === undefined ? "" : `${short(row.ratio)}${ends}`,
    row.goal ?? "",
    `${row.n}, ${row.date.slice(0, 10)}`,
  ]
    .map((x) => x.replaceAll("|", "\\|"))
    .join(" | ")} |`;
}

/** Returns a page's text with these lines between its marks. */
function replaced(page: string, name: string, lines: readonly string[]): string {
  const [begin, end] = [`<!-- ${name}: npm run bench:table -->`, `<!-- end of the ${name} -->`];
  const [before, rest] = page.split(begin);
  const [, after] = rest?.split(end) ?? [];
  if (before === undefined || after === undefined) throw new Error(`The page lacks the lines ${begin} and ${end}`);
  return `${before}${begin}\n\n${lines.join("\n")}\n\n${end}${after}`;
}

const BROWSERS = ["chromium", "firefox"] as const;

function keyOf(name: string, subject: string, browser: string): string {
  return [name, subject, browser].join("\n");
}

function lineOf(line: Line, rows: ReadonlyMap<string, Row>): string {
  const isFault = line.scenario === "faults" && !line.case.includes(" with");
  const name = isFault ? `${line.case}: until 20 requests are settled` : line.case;
  const row = (subject: string, browser: string): Row | undefined => rows.get(keyOf(name, subject, browser));
  const text = (subject: string, browser: string): string => {
    const found = row(subject, browser);
    if (found === undefined) return "–";
    return isFault ? faultText(line.case, found, rows, browser) : valueText(found);
  };
  const peers = new Map<string, string[]>();
  for (const [shown, subject] of line.peers) {
    const both = [...new Set(BROWSERS.map((browser) => text(subject, browser)))].join(" and ");
    peers.set(both, [...(peers.get(both) ?? []), shown]);
  }
  const beside = [...peers].map(([value, names]) => `${names.join(", ")}: ${value}`);
  const ratioTo = line.ratioTo ?? line.peers[0]?.[1] ?? "";
  const own = BROWSERS.map((browser) => {
    const [value, peer] = [row(line.subject, browser), row(ratioTo, browser)];
    const ratio =
      isFault || value === undefined || peer === undefined ? "" : `, ratio ${short(value.value / peer.value)}`;
    return text(line.subject, browser) + ratio;
  });
  const newest = BROWSERS.flatMap((browser) => row(line.subject, browser) ?? []);
  // One for both browsers where they have the same.
  const each = (fact: (row: Row) => string): string => [...new Set(newest.map(fact))].join(" and ");
  const [n, day] = [each((x) => String(x.n)), each((x) => x.date.slice(0, 10))];
  const facts = [`n = ${n || 0}`, `\`bench -- ${line.scenario}\``, day || "not run"];
  return `| ${[`${line.title} (${facts.join("; ")})`, beside.join("; "), ...own].join(" | ")} |`;
}

/** Returns what became of 20 requests: the means over the rounds, and the time until all were settled. */
function faultText(name: string, settled: Row, rows: ReadonlyMap<string, Row>, browser: string): string {
  const count = (what: string): number => rows.get(keyOf(`${name}: ${what}`, settled.subject, browser))?.value ?? 0;
  const [hung, lost] = [count("requests that hang, of 20"), count("requests lost to an error, of 20")];
  const wrong = count("wrong answers, of 20");
  const later = count("later requests that work, of 5");
  const parts = [
    ...(hung > 0 ? [`${short(hung)} hang`] : []),
    ...(lost > 0 ? [`${short(lost)} lost`] : []),
    ...(wrong > 0 ? [`${short(wrong)} wrong`] : []),
  ];
  if (parts.length === 0) parts.push(`all right after ${valueText(settled)}`);
  return later >= 5 ? parts.join(", ") : `${parts.join(", ")}, and later ones fail`;
}

function valueText({ value, unit, statistic: kind }: Row): string {
  const most = kind === "max" ? "at most " : "";
  if (unit === "ms" && Math.abs(value) >= 1_000) return `${most}${short(value / 1_000)} s`;
  if (unit.startsWith("share")) return `${most}${short(value * 100)} %`;
  return `${most}${short(value)}${unit.includes("requests/s") ? "" : ` ${unit}`}`;
}

/** Returns a number with three digits that count; two decimals below 1. */
function short(value: number): string {
  if (Number.isInteger(value)) return value.toLocaleString("en-US");
  if (Math.abs(value) < 10) return value.toFixed(2);
  if (Math.abs(value) < 100) return value.toFixed(1);
  return Math.round(value).toLocaleString("en-US");
}

/** Writes what a page has of the rows. */
type Write = (page: string) => string;

/** The pages with figures. */
export const PAGES: readonly (readonly [path: string, write: Write])[] = [
  [
    join(ROOT, "README.md"),
    (page) =>
      withFigures(
        page,
        LINES.filter(({ isShort }) => isShort === true),
      ),
  ],
  [join(ROOT, "docs/benchmarks.md"), (page) => withGoals(withFigures(page, LINES))],
];

if (process.argv[1] === fileURLToPath(import.meta.url))
  for (const [path, write] of PAGES) writeFileSync(path, write(readFileSync(path, "utf8")));
