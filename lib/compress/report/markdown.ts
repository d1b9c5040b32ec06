// The report as text, generated from report.json's contents alone: for the terminal and for a pull request. The page is
// in html.ts.
import type { CheckResult } from "../check/check.ts";
import { SLOWER } from "../check/check.ts";
import type { CompressReport, FormReport } from "./report.ts";
import { amount, closing, nextSteps } from "./closing.ts";
import { notDone } from "./outcome.ts";
import { frontierRows } from "./search-report.ts";

/** Renders the report for a pull request. */
export function markdownReport(report: CompressReport): string {
  const head = heads(report);
  const line = (x: readonly string[]): string => `| ${x.map(cellText).join(" | ")} |`;
  const sensitive = report.sensitivity.slice(0, 10);
  const open = notDone(report);
  const gained = closing(report);
  return [
    `# ${report.model}`,
    "",
    ...(open === null ? [] : [`**${open}**`, ""]),
    ...(gained === null ? [] : [gained, ""]),
    ...summary(report),
    "",
    line(head),
    line(head.map((_, i) => (i === 0 ? "---" : "---:"))),
    ...report.forms.map((x) => line(cells(x, report))),
    "",
    ...reasons(report).map((x) => `- ${x}`),
    ...nextSteps(report),
    ...(sensitive.length === 0
      ? []
      : [
          "",
          "The most sensitive weights: SQNR of the outputs where one weight alone is rounded.",
          "",
          line(["weight", "operator", "bytes", "int8 dB", "int4 dB"]),
          line(["---", "---", "---:", "---:", "---:"]),
          ...sensitive.map((x) =>
            line([x.node ?? x.name, x.operator, amount(x.bytes), number(x.int8Db), number(x.int4Db)]),
          ),
        ]),
    ...(report.search === undefined
      ? []
      : ["", "The frontier of the search:", "", ...table(frontierRows(report.search))]),
    "",
  ].join("\n");
}

function table([head = [], ...rows]: readonly (readonly string[])[]): string[] {
  const line = (x: readonly string[]): string => `| ${x.map(cellText).join(" | ")} |`;
  return [line(head), line(head.map((_, i) => (i === 0 ? "---" : "---:"))), ...rows.map(line)];
}

/** Renders the report for a terminal. */
export function terminalReport(report: CompressReport): string {
  const rows = [heads(report), ...report.forms.map((x) => cells(x, report))];
  const widths = heads(report).map((_, i) => Math.max(...rows.map((x) => x[i]?.length ?? 0)));
  const table = rows.map((row) =>
    row
      .map((x, i) => (i === 0 ? x.padEnd(widths[i] ?? 0) : x.padStart(widths[i] ?? 0)))
      .join("  ")
      .trimEnd(),
  );
  const open = notDone(report);
  const last = closing(report);
  return [
    ...(open === null ? [] : [open, ""]),
    ...table,
    "",
    ...summary(report),
    ...reasons(report),
    ...nextSteps(report),
    ...(last === null ? [] : ["", last]),
  ].join("\n");
}

/** Returns the column heads of the table of forms. */
export function heads(report: CompressReport): string[] {
  const gpu = hasGpu(report) ? ["GPU bytes"] : [];
  return ["form", "bytes", "of source", "over the wire", ...gpu, report.metric.name, "SQNR dB", ...report.targets];
}

/** Returns a form's cells in that table. */
export function cells(form: FormReport, report: CompressReport): string[] {
  const checks = report.targets.map((target) => cell(form.checks.find((x) => x.target === target)));
  const gpu = hasGpu(report) ? [form.deviceBytes === null ? "–" : amount(form.deviceBytes)] : [];
  if (form.bytes === 0) return [form.id, "not made", "–", "–", ...gpu, "–", "–", ...checks];
  return [
    form.id,
    amount(form.bytes),
    (form.bytes / report.sourceBytes).toFixed(3),
    amount(form.brotliBytes),
    ...gpu,
    scoreCell(form),
    number(form.sqnrDb),
    ...checks,
  ];
}

function scoreCell({ score, interval }: FormReport): string {
  if (score === null || interval == null) return number(score);
  const half = (interval.high - interval.low) / 2;
  return `${number(score)} ± ${half.toFixed(Math.abs(score) < 10 ? 3 : 1)}`;
}

function hasGpu({ targets }: CompressReport): boolean {
  return targets.some((x) => x !== "wasm");
}

/** Summarizes the result in sentences. */
export function summary(report: CompressReport): string[] {
  const { metric, samples, defaults, bundle } = report;
  const chosen = Object.entries(defaults).map(([target, id]) => `${target} gets ${id ?? "nothing"}`);
  const from = samples.isSynthetic ? "synthetic inputs" : "held-out samples";
  const others = samples.n === 1 ? "the same one" : `${samples.fitted} other${samples.fitted === 1 ? "" : "s"}`;
  const fitted = samples.isSynthetic ? "" : `; the forms were fitted to ${others}`;
  const packed =
    bundle === null
      ? []
      : [
          `bundle/ holds ${bundle.variants.join(", ")}: ${amount(bundle.bytes)} bytes, ${amount(bundle.wireBytes)} over the wire.`,
        ];
  return [
    `${metric.name}: float32 ${number(metric.reference)}, budget ${metric.budget}, over ${samples.scored} ${from}${fitted}.`,
    ...intervals(report),
    ...(chosen.length > 0 ? [`${chosen.join("; ")}.`] : []),
    ...packed,
    ...report.notes,
    ...(report.isStopped ? ["Stopped before the last form."] : []),
    `Total time ${report.seconds} s, peak memory ${Math.round(report.peakBytes / 2 ** 20)} MiB.`,
  ];
}

/** Describes where the intervals come from, and how wide the weights are stored. */
function intervals({ forms }: CompressReport): string[] {
  const methods = [...new Set(forms.flatMap((x) => x.interval?.method ?? []))];
  const names = methods.map((x) => (x === "wilson" ? "binomial (Wilson)" : "bootstrap over samples")).join(", ");
  const widths = forms.flatMap(({ id, widths: its }) => {
    if (its === undefined || id === "f32") return [];
    const parts = ([4, 8, 16, 32] as const).filter((x) => its[x] >= 0.005);
    return [`${id} ${parts.map((x) => `${(its[x] * 100).toFixed(0)} % in ${x} bits`).join(", ")}`];
  });
  return [
    ...(names === "" ? [] : [`± is the 95 % interval for another set of as many samples: ${names}.`]),
    ...(widths.length === 0 ? [] : [`Weights: ${widths.join("; ")}.`]),
  ];
}

/** Explains for each unused form why it is not used. */
export function reasons(report: CompressReport): string[] {
  return report.forms.flatMap((form) => [
    ...(form.why === undefined ? [] : [`${form.id}: ${form.why}.`]),
    ...verdictOn(form, report),
    ...form.checks.flatMap((x) => {
      const on = `${form.id} on ${x.target}`;
      if (x.verdict !== "passed") return [`${on} ${x.verdict}: ${x.why ?? ""}.`];
      return [
        ...((x.speed ?? 1) > SLOWER ? [`${on} takes ${number(x.speed ?? 1)} times as long as float32.`] : []),
        ...(x.speedNote === undefined ? [] : [`${on}: its time is ${x.speedNote}; it decides nothing.`]),
        ...(x.rowsNote === undefined
          ? []
          : [`${on}: a batch of two samples did not run and was not compared: ${x.rowsNote}.`]),
      ];
    }),
  ]);
}

function verdictOn(form: FormReport, { metric, samples }: CompressReport): string[] {
  if (form.isWithinBudget || form.score === null) return [];
  const score = `${metric.name} ${scoreCell(form)}`;
  if (form.isTooFewToTell === true)
    return [`${form.id}: too few to tell: ${score} over ${samples.scored} held-out samples.`];
  return form.why === undefined ? [`${form.id} missed its budget: ${score}, ${metric.budget}.`] : [];
}

/** Formats a number short enough for a table. */
export function number(value: number | null): string {
  if (value === null) return "–";
  return Number.isInteger(value) ? String(value) : value.toFixed(Math.abs(value) < 10 ? 3 : 1);
}

function cell(check: CheckResult | undefined): string {
  if (check === undefined) return "–";
  if (check.speedNote !== undefined) return `${check.verdict}, time not known here`;
  return check.speed === undefined ? check.verdict : `${check.verdict}, ${number(check.speed)} × the time`;
}

function cellText(text: string): string {
  return text.replaceAll("|", "\\|").replaceAll("\n", " ");
}
