// Report of a replay: a table for people, the same numbers as JSON for programs.
import { quantile } from "../core/quantile.ts";
import type { RequestSpan } from "../observe/spans.ts";
import type { Again } from "./again.ts";
import type { Change } from "./change.ts";
import type { TraceFile } from "./file.ts";
import type { Played } from "./what-if.ts";

/** Results of one class of requests. */
export interface ClassReport {
  /** The priority; with few distinct deadlines also the deadline. */
  readonly name: string;
  readonly asked: number;
  readonly answered: number;
  /** Answered within the deadline; all answered ones if there is none. */
  readonly onTime: number;
  readonly refused: number;
  readonly cancelled: number;
  /** Latency from call to answer over answered requests; null without any. */
  readonly p50Ms: number | null;
  readonly p99Ms: number | null;
}

/** Results of the record or of a simulation. */
export interface PlayReport {
  readonly classes: readonly ClassReport[];
  readonly executions: number;
  readonly requests: number;
  /** Requests per execution. */
  readonly meanBatchSize: number;
  /** Mean share of time that a lane was busy. */
  readonly utilisation: number;
  readonly lanes: number;
}

/** The whole report of a replay. */
export interface Report {
  readonly seconds: number;
  readonly isCut: boolean;
  readonly again: Again;
  readonly change: Change | null;
  readonly recorded: PlayReport;
  /** Simulations with the same settings and with the changed ones; null without a change. */
  readonly simulated: PlayReport | null;
  readonly changed: PlayReport | null;
  /** Caveats. */
  readonly notes: readonly string[];
}

const PRIORITIES = ["interactive", "normal", "background"];
/** With more distinct deadlines, classes are distinguished by priority alone. */
const DEADLINES_MAX = 6;

/** Aggregates the requests in `ids` and all batches. */
export function reportOf(played: Played, ids: ReadonlySet<number>): PlayReport {
  const requests = played.requests.filter(({ step }) => ids.has(step.id));
  const deadlines = new Set(requests.map(deadlineOf));
  const nameOf = (request: RequestSpan): string => {
    const priority = PRIORITIES[request.step.priority] ?? "";
    const deadline = deadlineOf(request);
    return deadlines.size > DEADLINES_MAX || deadline === Infinity ? priority : `${priority}, ${deadline} ms`;
  };
  const names = [...new Set(requests.map(nameOf))];
  const rank = (name: string): number => PRIORITIES.findIndex((x) => name.startsWith(x));
  names.sort((a, b) => rank(a) - rank(b) || a.localeCompare(b, "en", { numeric: true }));
  const through = played.batches.filter((x) => x.state === "ran");
  const run = through.reduce((sum, x) => sum + x.ids.length, 0);
  const busyMs = played.batches.reduce((sum, x) => sum + x.endMs - x.startMs, 0);
  return {
    classes: names.map((name) =>
      classOf(
        name,
        requests.filter((x) => nameOf(x) === name),
      ),
    ),
    executions: through.length,
    requests: run,
    meanBatchSize: through.length === 0 ? 0 : run / through.length,
    utilisation: played.ms > 0 ? busyMs / played.ms / Math.max(1, played.lanes.length) : 0,
    lanes: played.lanes.length,
  };
}

function classOf(name: string, requests: readonly RequestSpan[]): ClassReport {
  const answered = requests.filter(({ outcome }) => outcome === "done" || outcome === "late");
  const times = answered.map((x) => x.endMs - x.startMs);
  const count = (of: RequestSpan["outcome"]): number => requests.filter(({ outcome }) => outcome === of).length;
  return {
    name,
    asked: requests.length,
    answered: answered.length,
    onTime: count("done"),
    refused: count("refused"),
    cancelled: count("cancelled"),
    p50Ms: quantile(times, 0.5) ?? null,
    p99Ms: quantile(times, 0.99) ?? null,
  };
}

function deadlineOf({ step }: RequestSpan): number {
  return Math.round(step.dueMs - step.arrivedMs);
}

/** Formats a report for people. */
export function toText(path: string, trace: TraceFile, report: Report): string {
  const { again, recorded, simulated, changed, change } = report;
  const asked = recorded.classes.reduce((sum, x) => sum + x.asked, 0);
  const lines = [
    `${path}: ${report.seconds.toFixed(1)} s, ${asked} requests, ${recorded.lanes} lanes, ${trace.models.size} models`,
    againText(again),
    "",
  ];
  const heads = ["recorded"];
  const plays = [recorded];
  if (simulated !== null && changed !== null) {
    heads.push("simulated", `with ${settingsText(change ?? {})}`);
    plays.push(simulated, changed);
  }
  const rows: string[][] = [["", "", ...heads]];
  for (const { name, asked } of recorded.classes) {
    const own = plays.map((play) => play.classes.find((x) => x.name === name));
    const row = (title: string, what: string, show: (x: ClassReport) => string): void => {
      rows.push([title, what, ...own.map((x) => (x === undefined ? "–" : show(x)))]);
    };
    row(`${name} (${asked})`, "on time", (x) => percent(x.onTime, x.asked - x.cancelled));
    row("", "p50", (x) => ms(x.p50Ms));
    row("", "p99", (x) => ms(x.p99Ms));
    if (own.some((x) => (x?.refused ?? 0) > 0)) row("", "refused", (x) => String(x.refused));
  }
  rows.push(
    ["batches", "count", ...plays.map((x) => String(x.executions))],
    ["", "mean size", ...plays.map((x) => x.meanBatchSize.toFixed(2))],
    ["lanes", "busy", ...plays.map((x) => percent(x.utilisation, 1))],
  );
  const widths = rows[0]?.map((_, i) => Math.max(...rows.map((row) => row[i]?.length ?? 0))) ?? [];
  for (const row of rows) {
    const cells = row.map((text, i) => (i < 2 ? text.padEnd(widths[i] ?? 0) : text.padStart(widths[i] ?? 0)));
    lines.push(cells.join("  ").trimEnd());
  }
  if (report.notes.length > 0) lines.push("", ...report.notes);
  return lines.join("\n");
}

function againText({ events, decisions, difference }: Again): string {
  if (difference === null) return `replayed: ${events} events, ${decisions} decisions, all the same`;
  const { index, type, atMs, recorded, again } = difference;
  const short = (text: string): string => (text.length > 400 ? `${text.slice(0, 400)} …` : text);
  return [
    `different decision: event ${index} ("${type}", after ${atMs.toFixed(1)} ms)`,
    `  recorded: ${short(recorded)}`,
    `  replayed: ${short(again)}`,
  ].join("\n");
}

function settingsText(change: Change): string {
  return Object.entries(change)
    .map(([name, value]) => `${name}=${String(value)}`)
    .join(" ");
}

function percent(part: number, of: number): string {
  return of === 0 ? "–" : `${((100 * part) / of).toFixed(1)} %`;
}

function ms(value: number | null): string {
  return value === null ? "–" : `${value.toFixed(value < 10 ? 2 : 1)} ms`;
}
