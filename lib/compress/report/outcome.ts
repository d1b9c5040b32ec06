// The first line of a report where a wanted target got no form: it must not look done.
import type { Target } from "../forms/forms.ts";
import type { CompressReport } from "./report.ts";

/** Returns a sentence that says what is not done; null where every target got a form that passed its check there. */
export function notDone(report: CompressReport): string | null {
  const left = report.targets.filter((x) => (report.defaults[x] ?? null) === null);
  if (left.length === 0 && report.bundle !== null) return null;
  const done = report.targets.filter((x) => !left.includes(x));
  const reasons = [...new Set(left.map((x) => reasonOf(x, report)))].join("; ");
  if (report.bundle === null)
    return `Not done: no bundle was written${reasons === "" ? "" : `, since ${listed(left)} got no form that passed (${reasons})`}.`;
  return `Not done for ${listed(left)}: ${reasons}. The bundle runs on ${listed(done)} only; on ${listed(left)} a load refuses it.`;
}

function reasonOf(target: Target, { forms }: CompressReport): string {
  const checks = forms.flatMap((x) => x.checks.filter((y) => y.target === target));
  const unchecked = checks.find((x) => x.verdict === "unchecked");
  if (checks.length === 0) return `nothing was made for ${target}`;
  if (unchecked !== undefined && checks.every((x) => x.verdict !== "passed"))
    return `not checked, ${unchecked.why ?? ""}`;
  return `no form passed the check within its budget on ${target}`;
}

function listed(targets: readonly Target[]): string {
  return targets.join(" and ");
}
