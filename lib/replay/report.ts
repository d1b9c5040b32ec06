// Report of a replay: a table for people, the same numbers as JSON for programs.
import { quantile } from "../core/quantile.ts";
import { Spans } from "../observe/spans.ts";
import type { BatchSpan, RequestSpan } from "../observe/spans.ts";
import type { RepeatResult } from "./repeat-decisions.ts";
import type { TraceFile } from "./file.ts";

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

/** Results of the record. */
export interface RecordReport {
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
export interface ReplayReport {
  readonly seconds: number;
  readonly isCut: boolean;
  readonly again: RepeatResult;
  readonly recorded: RecordReport;
  /** Caveats. */
  readonly notes: readonly string[];
}

const PRIORITIES = ["interactive", "normal", "background"];
/** With more distinct deadlines, classes are distinguished by priority alone. */
const DEADLINES_MAX = 6;

/** Aggregates the settled requests of a trace, and all batches; counts those still open at its end. */
export function reportOf({ saved, told, startMs, endMs }: TraceFile): {
  readonly recorded: RecordReport;
  readonly open: number;
} {
  const all: RequestSpan[] = [];
  const batches: BatchSpan[] = [];
  const spans = new Spans(saved, startMs, {
    batch: (span) => void batches.push(span),
    request: (span) => void all.push(span),
  });
  for (const { event, now, decisions } of told) spans.note(event, now, decisions);
  spans.finish(endMs);
  const requests = all.filter(({ outcome }) => outcome !== "open");
  const deadlines = new Set(requests.map(deadlineOf));
  const nameOf = (request: RequestSpan): string => {
    const priority = PRIORITIES[request.step.priority] ?? "";
    const deadline = deadlineOf(request);
    return deadlines.size > DEADLINES_MAX || deadline === Infinity ? priority : `${priority}, ${deadline} ms`;
  };
  const names = [...new Set(requests.map(nameOf))];
  const rank = (name: string): number => PRIORITIES.findIndex((x) => name.startsWith(x));
  names.sort((a, b) => rank(a) - rank(b) || a.localeCompare(b, "en", { numeric: true }));
  const through = batches.filter((x) => x.state === "ran");
  const run = through.reduce((sum, x) => sum + x.ids.length, 0);
  const busyMs = batches.reduce((sum, x) => sum + x.endMs - x.startMs, 0);
  const lanes = (told[0]?.lanes ?? []).length;
  const recorded = {
    classes: names.map((name) =>
      classOf(
        name,
        requests.filter((x) => nameOf(x) === name),
      ),
    ),
    executions: through.length,
    requests: run,
    meanBatchSize: through.length === 0 ? 0 : run / through.length,
    utilisation: endMs > startMs ? busyMs / (endMs - startMs) / Math.max(1, lanes) : 0,
    lanes,
  };
  return { recorded, open: all.length - requests.length };
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
export function toText(path: string, trace: TraceFile, report: ReplayReport): string {
  const { again, recorded } = report;
  const asked = recorded.classes.reduce((sum, x) => sum + x.asked, 0);
  const lines = [
    `${path}: ${report.seconds.toFixed(1)} s, ${asked} requests, ${recorded.lanes} lanes, ${trace.models.size} models`,
    againText(again),
    "",
  ];
  const rows: string[][] = [];
  for (const { name, asked, cancelled, onTime, refused, p50Ms, p99Ms } of recorded.classes) {
    rows.push(
      [`${name} (${asked})`, "on time", percent(onTime, asked - cancelled)],
      ["", "p50", ms(p50Ms)],
      ["", "p99", ms(p99Ms)],
    );
    if (refused > 0) rows.push(["", "refused", String(refused)]);
  }
  rows.push(
    ["batches", "count", String(recorded.executions)],
    ["", "mean size", recorded.meanBatchSize.toFixed(2)],
    ["lanes", "busy", percent(recorded.utilisation, 1)],
  );
  const widths = rows[0]?.map((_, i) => Math.max(...rows.map((row) => row[i]?.length ?? 0))) ?? [];
  for (const row of rows) {
    const cells = row.map((text, i) => (i < 2 ? text.padEnd(widths[i] ?? 0) : text.padStart(widths[i] ?? 0)));
    lines.push(cells.join("  ").trimEnd());
  }
  if (report.notes.length > 0) lines.push("", ...report.notes);
  return lines.join("\n");
}

function againText({ events, decisions, difference }: RepeatResult): string {
  if (difference === null) return `replayed: ${events} events, ${decisions} decisions, all the same`;
  const { index, type, atMs, recorded, again } = difference;
  const short = (text: string): string => (text.length > 400 ? `${text.slice(0, 400)} …` : text);
  return [
    `different decision: event ${index} ("${type}", after ${atMs.toFixed(1)} ms)`,
    `  recorded: ${short(recorded)}`,
    `  replayed: ${short(again)}`,
  ].join("\n");
}

function percent(part: number, of: number): string {
  return of === 0 ? "–" : `${((100 * part) / of).toFixed(1)} %`;
}

function ms(value: number | null): string {
  return value === null ? "–" : `${value.toFixed(value < 10 ? 2 : 1)} ms`;
}
