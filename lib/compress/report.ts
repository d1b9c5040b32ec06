// One report, three faces: terminal, Markdown for a pull request, and an HTML page of one file. All are made from
// report.json's contents alone; the page's plots are drawn here as SVG, so that it needs no script.
import type { Check } from "./check.ts";
import type { CompressReport, FormReport } from "./outcome.ts";

/** Writes the report for a pull request. */
export function markdownReport(report: CompressReport): string {
  const head = ["form", "bytes", "of the source", "brotli", report.metric.name, "SQNR dB", ...report.targets];
  const rows = report.forms.map((x) => cells(x, report));
  const line = (x: readonly string[]): string => `| ${x.join(" | ")} |`;
  return [
    `# ${report.model}`,
    "",
    ...summary(report),
    "",
    line(head),
    line(head.map(() => "---")),
    ...rows.map(line),
    "",
    ...reasons(report).map((x) => `- ${x}`),
    "",
  ].join("\n");
}

/** Writes the report for a terminal. */
export function terminalReport(report: CompressReport): string {
  const head = ["form", "bytes", "ratio", "brotli", report.metric.name, "SQNR dB", ...report.targets];
  const rows = [head, ...report.forms.map((x) => cells(x, report))];
  const widths = head.map((_, i) => Math.max(...rows.map((x) => x[i]?.length ?? 0)));
  const table = rows.map((row) =>
    row
      .map((x, i) => x.padEnd(widths[i] ?? 0))
      .join("  ")
      .trimEnd(),
  );
  return [...table, "", ...summary(report), ...reasons(report)].join("\n");
}

/** Writes the report as a page of one file. */
export function htmlReport(report: CompressReport): string {
  const head = ["form", "bytes", "of the source", "brotli", report.metric.name, "SQNR dB", ...report.targets];
  const row = (tag: string, list: readonly string[]): string =>
    `<tr>${list.map((x) => `<${tag}>${escape(x)}</${tag}>`).join("")}</tr>`;
  return `<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>${escape(report.model)}</title>
<style>body{font:16px/1.5 system-ui;margin:2rem auto;max-width:60rem;padding:0 1rem}table{border-collapse:collapse}
td,th{padding:.25rem .75rem;text-align:left;border-bottom:1px solid #ccc}svg{width:100%;height:auto}</style>
<h1>${escape(report.model)}</h1>
<p>${summary(report).map(escape).join("<br>")}</p>
<table>${row("th", head)}${report.forms.map((x) => row("td", cells(x, report))).join("")}</table>
<ul>${reasons(report)
    .map((x) => `<li>${escape(x)}</li>`)
    .join("")}</ul>
<h2>Size against accuracy</h2>${plot(report)}
<h2>Bytes per tensor</h2>${bars(report)}
</html>
`;
}

function summary(report: CompressReport): string[] {
  const { metric, samples, defaults } = report;
  const chosen = Object.entries(defaults).map(([target, id]) => `${target} gets ${id ?? "nothing"}`);
  const from = samples.isMadeUp ? "made-up inputs" : "samples";
  const budget = `${metric.name}: float32 ${number(metric.reference)}, budget ${metric.budget}, over ${samples.n} ${from}.`;
  return [
    budget,
    `${chosen.join("; ")}.`,
    ...report.notes,
    ...(report.isStopped ? ["Stopped before the last form."] : []),
  ];
}

/** Says of each form why it is not used where it is not. */
function reasons(report: CompressReport): string[] {
  return report.forms.flatMap((form) => [
    ...(form.isWithinBudget ? [] : [`${form.id} missed its budget: ${report.metric.name} ${number(form.score)}.`]),
    ...form.checks.flatMap((x) => {
      if (x.verdict !== "passed") return [`${form.id} on ${x.target} ${x.verdict}: ${x.why ?? ""}.`];
      return (x.speed ?? 1) > 1.05
        ? [`${form.id} on ${x.target} takes ${number(x.speed ?? 1)} times as long as float32.`]
        : [];
    }),
  ]);
}

function cells(form: FormReport, report: CompressReport): string[] {
  const share = (form.bytes / report.sourceBytes).toFixed(3);
  const checks = report.targets.map((target) => cell(form.checks.find((x) => x.target === target)));
  return [
    form.id,
    String(form.bytes),
    share,
    String(form.brotliBytes),
    number(form.score),
    number(form.sqnrDb),
    ...checks,
  ];
}

function cell(check: Check | undefined): string {
  if (check === undefined) return "–";
  return check.speed === undefined ? check.verdict : `${check.verdict}, ${number(check.speed)} × the time`;
}

function plot({ forms, sourceBytes }: CompressReport): string {
  const points = forms.map((x) => {
    const [left, top] = [60 + (x.bytes / sourceBytes) * 500, 280 - (Math.max(0, Math.min(100, x.sqnrDb)) / 100) * 240];
    return `<circle cx="${left.toFixed(1)}" cy="${top.toFixed(1)}" r="5"/><text x="${(left + 8).toFixed(1)}" y="${(top + 4).toFixed(1)}">${escape(x.id)}</text>`;
  });
  return `<svg viewBox="0 0 700 320" role="img" aria-label="SQNR in dB against bytes" font-size="12">
<path d="M60 20V280H660" fill="none" stroke="#888"/><text x="10" y="30">100 dB</text><text x="10" y="284">0 dB</text>
<text x="540" y="305">${sourceBytes} bytes</text>${points.join("")}</svg>`;
}

function bars({ tensors }: CompressReport): string {
  const most = Math.max(1, ...tensors.map((x) => x.bytes));
  const lines = tensors.map(
    (x, i) =>
      `<rect x="300" y="${i * 20 + 4}" width="${((x.bytes / most) * 300).toFixed(1)}" height="12" fill="#58a"/><text x="290" y="${i * 20 + 14}" text-anchor="end">${escape(x.name.slice(-40))}</text><text x="${(306 + (x.bytes / most) * 300).toFixed(1)}" y="${i * 20 + 14}">${x.bytes}</text>`,
  );
  return `<svg viewBox="0 0 700 ${tensors.length * 20 + 10}" role="img" aria-label="Bytes per tensor" font-size="11">${lines.join("")}</svg>`;
}

function number(value: number): string {
  return Number.isInteger(value) ? String(value) : value.toFixed(Math.abs(value) < 10 ? 3 : 1);
}

function escape(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll('"', "&quot;");
}
