// The report as a single-file page: its plots are SVG generated here, so that it needs no script, no network and no
// policy that allows either. Every plot has its numbers as a table, for those who do not see it.
import { escapeHtml } from "./escape-html.ts";
import type { CompressReport } from "./report.ts";
import { frontierPlot, frontierRows } from "./search-report.ts";
import { cells, heads, number, reasons, summary } from "./markdown.ts";
import { amount, closing, nextSteps } from "./closing.ts";
import { notDone } from "./outcome.ts";
import { placeLabels } from "./place-labels.ts";

const STYLE = `
:root{color-scheme:light dark;--ink:#1c2329;--soft:#5b6670;--line:#cfd6dc;--paper:#fff;--mark:#0b62a8;--other:#b34a00}
@media(prefers-color-scheme:dark){:root{--ink:#e6eaee;--soft:#9aa6b1;--line:#39434c;--paper:#14191e;--mark:#6fb7f2;--other:#ff9d5c}}
body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:80rem;padding:0 1rem;color:var(--ink);background:var(--paper)}
h1{overflow-wrap:anywhere}.scroll{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums}
th,td{padding:.25rem .6rem;border-bottom:1px solid var(--line);text-align:right;vertical-align:top}
th:first-child,td:first-child{text-align:left;white-space:nowrap}caption{text-align:left;color:var(--soft);padding:.25rem 0}
svg{width:100%;height:auto}svg text{fill:var(--ink);font-size:12px}svg .soft{fill:var(--soft)}
svg{min-width:36rem;max-width:56rem;display:block}@media(max-width:60rem){th,td{white-space:nowrap}}th[scope=row]{position:sticky;left:0;background:var(--paper)}svg .lead{stroke:var(--soft);fill:none}svg .axis{stroke:var(--line);fill:none}svg .mark{fill:var(--mark)}svg .other{fill:var(--other)}svg .budget{stroke:var(--other);stroke-dasharray:4 4}
details{margin:.5rem 0}summary{cursor:pointer}`;

/** Renders the report as a single-file page. */
export function htmlReport(report: CompressReport): string {
  const list = reasons(report);
  const open = notDone(report);
  const gained = closing(report);
  const next = nextSteps(report);
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(report.model)}: compressed</title>
<style>${STYLE}</style>
</head>
<body>
<main>
<h1>${escapeHtml(report.model)}</h1>
${open === null ? "" : `<p><strong>${escapeHtml(open)}</strong></p>\n`}${gained === null ? "" : `<p><strong>${escapeHtml(gained)}</strong></p>\n`}<p>${summary(report).map(escapeHtml).join("<br>\n")}</p>
<div class="scroll" tabindex="0" role="region" aria-label="Forms">${table(
    "Forms",
    heads(report),
    report.forms.map((x) => cells(x, report)),
  )}</div>
${list.length === 0 ? "" : `<h2>Unused forms, and why</h2><ul>${list.map((x) => `<li>${escapeHtml(x)}</li>`).join("")}</ul>`}
${next.length === 0 ? "" : `<p>${next.map(escapeHtml).join("<br>\n")}</p>`}
<h2>Size against accuracy</h2>
${scatter(report)}
${search(report)}<h2>Sensitivity of each weight</h2>
${sensitivity(report.sensitivity)}
<h2>Bytes per tensor</h2>
${bars(
  "Bytes of the largest tensors",
  report.tensors.map((x) => ({ name: x.node ?? x.name, value: x.bytes, text: amount(x.bytes) })),
)}
${numbers(
  "Bytes per tensor",
  ["tensor", "bytes"],
  report.tensors.map((x) => [x.node ?? x.name, amount(x.bytes)]),
)}
</main>
</body>
</html>
`;
}

/** Renders the search, if there was one. */
function search({ search: outcome }: CompressReport): string {
  if (outcome === undefined) return "";
  const [head = [], ...rows] = frontierRows(outcome);
  return `<h2>What the search tried</h2>
${scrolled("Plot of the frontier", frontierPlot(outcome))}
<div class="scroll" tabindex="0" role="region" aria-label="Frontier">${table("The frontier", head, rows)}</div>
`;
}

/** Plots each form's share of the source's bytes against its ratio of signal to error. */
function scatter({ forms, sourceBytes }: CompressReport): string {
  const measured = forms.filter((x) => x.sqnrDb !== null);
  if (measured.length === 0) return "<p>No form was measured.</p>";
  const [left, right, top, bottom] = [56, 640, 16, 280];
  const widest = Math.max(1, ...measured.map((x) => x.bytes / sourceBytes));
  const decibels = measured.map((x) => Math.max(0, Math.min(100, x.sqnrDb ?? 0)));
  const x = (share: number): number => left + (share / widest) * (right - left - 90);
  const y = (db: number): number => bottom - (db / 100) * (bottom - top);
  const grid = [0, 20, 40, 60, 80, 100].map(
    (db) =>
      `<path class="axis" d="M${left} ${y(db)}H${right}"/><text class="soft" x="${left - 6}" y="${y(db) + 4}" text-anchor="end">${db}</text>`,
  );
  const ticks = [0, 0.25, 0.5, 0.75, 1].map(
    (share) =>
      `<text class="soft" x="${x(share * widest).toFixed(1)}" y="${bottom + 18}" text-anchor="middle">${(share * widest * 100).toFixed(0)} %</text>`,
  );
  const labels = placeLabels(
    measured.map((form, i) => ({
      x: x(form.bytes / sourceBytes),
      y: y(decibels[i] ?? 0),
      text: `${form.id}${form.isWithinBudget ? "" : " (missed)"}`,
    })),
    { left, right: 700, top, bottom },
  );
  const points = labels.map(({ point, x: at, y: baseline, anchor, lead }, i) => {
    const kind = measured[i]?.isWithinBudget === true ? "mark" : "other";
    const line = lead
      ? `<path class="lead" d="M${point.x.toFixed(1)} ${point.y.toFixed(1)}L${at.toFixed(1)} ${(baseline - 4).toFixed(1)}"/>`
      : "";
    return `${line}<circle class="${kind}" cx="${point.x.toFixed(1)}" cy="${point.y.toFixed(1)}" r="5"/><text x="${at.toFixed(1)}" y="${baseline.toFixed(1)}" text-anchor="${anchor}">${escapeHtml(point.text)}</text>`;
  });
  const label = measured.map(
    (form) => `${form.id} ${((form.bytes / sourceBytes) * 100).toFixed(0)} % of the bytes, ${number(form.sqnrDb)} dB`,
  );
  return scrolled(
    "Plot of size against accuracy",
    `<svg viewBox="0 0 700 320" role="img" aria-label="${escapeHtml(`SQNR of the outputs against size: ${label.join("; ")}`)}">
${grid.join("")}${ticks.join("")}<text class="soft" x="${left}" y="312">x: share of the source's bytes; y: SQNR in dB, clipped at 100</text>${points.join("")}</svg>`,
  );
}

function sensitivity(rows: CompressReport["sensitivity"]): string {
  if (rows.length === 0) return "<p>It was not measured.</p>";
  const shown = rows.slice(0, 30);
  const height = shown.length * 20 + 30;
  const [left, width] = [300, 340];
  const most = 80;
  const at = (db: number): string => (left + (Math.max(0, Math.min(most, db)) / most) * width).toFixed(1);
  const lines = shown.map((row, i) => {
    const y = i * 20 + 24;
    return `<text x="${left - 10}" y="${y + 4}" text-anchor="end">${escapeHtml((row.node ?? row.name).slice(-40))}</text><path class="axis" d="M${left} ${y}H${left + width}"/><circle class="other" cx="${at(row.int4Db)}" cy="${y}" r="4"/><circle class="mark" cx="${at(row.int8Db)}" cy="${y}" r="4"/>`;
  });
  const told = rows.map((x) => [x.node ?? x.name, x.operator, amount(x.bytes), number(x.int8Db), number(x.int4Db)]);
  return `<p>SQNR of the outputs where one weight alone is rounded to 8 bits (blue) or to 4 (orange): the further left, the more sensitive the outputs are to it.</p>
${scrolled(
  "Plot of the sensitivity",
  `<svg viewBox="0 0 700 ${height}" role="img" aria-label="SQNR of the outputs per weight; the numbers are in the table below">
<text class="soft" x="${left}" y="12">0 dB</text><text class="soft" x="${left + width}" y="12" text-anchor="end">${most} dB</text>${lines.join("")}</svg>`,
)}
${numbers("Sensitivity of each weight", ["weight", "operator", "bytes", "int8 dB", "int4 dB"], told)}`;
}

function bars(label: string, rows: readonly { name: string; value: number; text: string }[]): string {
  const most = Math.max(1, ...rows.map((x) => x.value));
  const lines = rows.map(({ name, value, text }, i) => {
    const [y, width] = [i * 20 + 4, (value / most) * 300];
    return `<rect class="mark" x="300" y="${y}" width="${width.toFixed(1)}" height="12"/><text x="290" y="${y + 10}" text-anchor="end">${escapeHtml(name.slice(-40))}</text><text x="${(306 + width).toFixed(1)}" y="${y + 10}">${escapeHtml(text)}</text>`;
  });
  return scrolled(
    label,
    `<svg viewBox="0 0 700 ${rows.length * 20 + 10}" role="img" aria-label="${escapeHtml(label)}; the numbers are in the table below">${lines.join("")}</svg>`,
  );
}

/** Wraps what is wider than a narrow page, which then scrolls by itself. */
function scrolled(label: string, content: string): string {
  return `<div class="scroll" tabindex="0" role="region" aria-label="${escapeHtml(label)}">${content}</div>`;
}

function numbers(caption: string, head: readonly string[], rows: readonly (readonly string[])[]): string {
  return `<details><summary>${escapeHtml(caption)} as a table</summary><div class="scroll" tabindex="0" role="region" aria-label="${escapeHtml(caption)}">${table(caption, head, rows)}</div></details>`;
}

function table(caption: string, head: readonly string[], rows: readonly (readonly string[])[]): string {
  const top = head.map((x) => `<th scope="col">${escapeHtml(x)}</th>`).join("");
  const row = ([first = "", ...rest]: readonly string[]): string =>
    `<tr><th scope="row">${escapeHtml(first)}</th>${rest.map((x) => `<td>${escapeHtml(x)}</td>`).join("")}</tr>`;
  return `<table><caption>${escapeHtml(caption)}</caption><thead><tr>${top}</tr></thead><tbody>${rows.map(row).join("")}</tbody></table>`;
}
