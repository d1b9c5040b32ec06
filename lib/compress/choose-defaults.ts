// Chooses the default form of each target, the forms that go into the bundle, and the backends on which a form must not
// be chosen automatically.
import type { LocalBackend } from "../rpc/backend.ts";
import { fastOrSmall } from "../core/choose-variant.ts";
import { SLOWER } from "./check/check.ts";
import type { Target } from "./forms/forms.ts";
import type { CompressReport, FormReport } from "./report/report.ts";

/** Chooses a target's form as the engine does: among those within budget, checked and not slower. */
export function defaultFor(target: Target, reports: readonly FormReport[]): string | null {
  const able = reports.filter((x) => x.isWithinBudget && isGood(x, target));
  const time = (x: FormReport): number => x.checks.find((y) => y.target === target)?.speed ?? 1;
  const bytes = (x: FormReport): number => x.brotliBytes;
  return (
    fastOrSmall(able, { time, bytes, needs: (x) => x.needs.length, score: (x) => x.score ?? undefined })?.id ?? null
  );
}

/**
 * Whether a form goes into the bundle: it met its budget, passed on some target, failed on none and saves bytes over the
 * wire, or is some target's default. Float32 goes in if it passed on some target.
 */
export function isKept(
  report: FormReport,
  defaults: CompressReport["defaults"],
  reports: readonly FormReport[],
): boolean {
  if (report.bytes === 0 || report.why !== undefined) return false;
  if (Object.values(defaults).includes(report.id)) return true;
  if (report.checks.every((x) => x.verdict !== "passed")) return false;
  if (report.id === "f32") return true;
  const isSlow = report.checks.some((x) => (x.speed ?? 1) > SLOWER);
  const whole = reports.find((x) => x.id === "f32")?.brotliBytes ?? Infinity;
  return (
    report.isWithinBudget && !isSlow && report.brotliBytes < whole && report.checks.every((x) => x.verdict !== "failed")
  );
}

/** Lists the backends on which a form was not checked, or did not pass: it is never the default there. */
export function uncheckedOn(report: FormReport, needs: readonly string[]): LocalBackend[] {
  const backends: readonly { name: LocalBackend; other: LocalBackend; targets: readonly Target[] }[] = [
    { name: "webgpu", other: "wasm", targets: ["webgpu-f16", "webgpu"] },
    { name: "wasm", other: "webgpu", targets: ["wasm"] },
  ];
  return backends
    .filter((x) => !needs.includes(x.other) && !x.targets.some((target) => isGood(report, target)))
    .map((x) => x.name);
}

function isGood(report: FormReport, target: Target): boolean {
  const check = report.checks.find((x) => x.target === target);
  return check?.verdict === "passed" && (check.speed ?? 1) <= SLOWER;
}
