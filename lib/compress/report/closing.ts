// The last line of a report, which says what was gained, and the sentences that say what to try where nothing was.
import type { CompressReport, FormReport } from "./report.ts";
import { SCORED_LEAST } from "../run/split.ts";

/** Names of metrics in a sentence. */
const WORDS: Readonly<Record<string, string>> = {
  top1: "accuracy",
  sqnr: "SQNR",
  "negative-kl": "negative divergence",
};

/** Describes what was gained, by the form that each target gets; null where nothing was packed. */
export function closing(report: CompressReport): string | null {
  const whole = report.forms.find((x) => x.id === "f32");
  if (whole === undefined || report.bundle === null) return null;
  const byForm = new Map<string, string[]>();
  for (const target of report.targets) {
    const id = report.defaults[target] ?? null;
    if (id !== null) byForm.set(id, [...(byForm.get(id) ?? []), target]);
  }
  const parts = [...byForm].map(([id, targets]) => {
    const form = report.forms.find((x) => x.id === id);
    const gain =
      form === undefined || id === "f32" ? "float32, nothing was gained" : gainOf(form, whole, report, targets);
    return byForm.size === 1 && id !== "f32"
      ? `${id}: ${gain}`
      : `${targets.join(" and ")}: ${id === "f32" ? gain : `${id}, ${gain}`}`;
  });
  return parts.length === 0 ? null : `${parts.join("; ")}.`;
}

/** Describes the gain of a form on the targets that get it; only their time counts. */
function gainOf(form: FormReport, whole: FormReport, report: CompressReport, targets: readonly string[]): string {
  const ratio = whole.brotliBytes / Math.max(1, form.brotliBytes);
  const size = ratio >= 1 ? `${ratio.toFixed(1)} × smaller` : `${(1 / ratio).toFixed(1)} × larger`;
  const bytes = `(${amount(whole.brotliBytes)} → ${amount(form.brotliBytes)} bytes over the wire)`;
  const speeds = form.checks.flatMap((x) => (targets.includes(x.target) ? (x.speed ?? []) : []));
  const [speed] = speeds;
  const time = speed === undefined || speed === 1 ? [] : [`${speed.toFixed(2)} × the time`];
  return [`${size} ${bytes}`, scoreText(form, report), ...time].join(", ");
}

function scoreText({ score, lossError }: FormReport, { metric, samples }: CompressReport): string {
  const word = WORDS[metric.name] ?? metric.name;
  if (score === null) return `${word} not measured`;
  const digits = metric.name === "sqnr" ? 1 : 3;
  const error = lossError == null ? "" : ` ± ${lossError.toFixed(digits)}`;
  const where = samples.isSynthetic ? " on synthetic inputs" : "";
  if (metric.name === "sqnr") return `${word} ${score.toFixed(1)}${error} dB${where}`;
  const before = metric.reference === null ? "" : `${metric.reference.toFixed(digits)} → `;
  return `${word} ${before}${score.toFixed(digits)}${error}${where}`;
}

/** Lists what to try where a target gets float32 or nothing, or too few samples decide nothing. */
export function nextSteps(report: CompressReport): string[] {
  const { forms, metric, samples, search } = report;
  const others = forms.filter((x) => x.id !== "f32");
  if (others.some((x) => x.isTooFewToTell === true))
    return [
      `Try next: give at least ${2 * SCORED_LEAST} samples (there are ${samples.n}); half of them score what the other half was fitted to.`,
    ];
  const isBare = report.targets.some((x) => ["f32", null].includes(report.defaults[x] ?? null));
  const missed = others.filter((x) => !x.isWithinBudget && x.score !== null && x.why === undefined);
  if (!isBare || missed.length === 0 || report.isStopped) return [];
  const best = Math.floor(Math.max(...missed.map((x) => x.score ?? -Infinity)));
  const lower = metric.name !== "sqnr" ? ["a larger --max-drop"] : best > 0 ? [`--max-drop ${best}dB`] : [];
  return [
    "Try next:",
    ...(samples.isSynthetic
      ? ["- --samples with real inputs: forms are fitted to them, and synthetic ones show no accuracy"]
      : []),
    ...(metric.name === "sqnr" && !samples.isSynthetic
      ? ["- --metric agreement, kl or cosine, or --labels: they measure the model's use instead of every output"]
      : []),
    ...(search === undefined ? ["- --search, which stores each weight in as few bits as the budget allows"] : []),
    // Below 1 dB the error is as large as the outputs, which no application can bear.
    ...lower.map((x) => `- ${x}, if the application can bear it`),
  ];
}

/** Formats an amount with separators. */
export function amount(value: number): string {
  return value.toLocaleString("en");
}
