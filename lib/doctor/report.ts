// A report as text for a terminal, and as JSON.
import type { Severity } from "./evidence.ts";
import type { DoctorReport } from "./doctor.ts";

/** Adds colour to a text; returns it as it is where there is no terminal. */
export type Paint = (text: string, colour: "red" | "yellow" | "blue" | "dim" | "bold") => string;

const CODES = { red: 31, yellow: 33, blue: 34, dim: 2, bold: 1 } as const;
const COLOURS: Readonly<Record<Severity, "red" | "yellow" | "blue">> = {
  error: "red",
  warning: "yellow",
  hint: "blue",
};

/** Returns a function that colours, or one that does not. */
export function painter(isTerminal: boolean): Paint {
  return isTerminal ? (text, colour) => `\u001b[${CODES[colour]}m${text}\u001b[0m` : (text) => text;
}

/** Writes a report as lines; `safe` escapes what a terminal would interpret. */
export function writeText(report: DoctorReport, paint: Paint, safe: (text: string) => string): string {
  const { url, browser, stack, findings, notes } = report;
  const by = [browser ?? "no browser", stack.bundler ?? "unknown bundler", stack.host ?? "unknown host"];
  const lines = [safe(`${url} (${by.join(", ")})`)];
  for (const text of notes) lines.push(paint(safe(`note: ${text}`), "dim"));
  for (const { id, severity, message, evidence, fixes } of findings) {
    lines.push("", `${paint(severity, COLOURS[severity])} ${paint(id, "bold")}`, `  ${safe(message)}`);
    for (const fact of evidence) lines.push(paint(`  evidence: ${safe(fact)}`, "dim"));
    // Several responses may have their header by one line of the host.
    const shown = fixes.map((x) => `  fix: ${safe(x.where)}\n       ${safe(x.line).replaceAll("\n", "\n       ")}`);
    lines.push(...new Set(shown));
  }
  lines.push("", summary(report));
  return lines.join("\n");
}

function summary({ browser, findings, hasSelvedge, notes }: DoctorReport): string {
  if (!hasSelvedge && findings.length === 0)
    return browser === null
      ? "No trace of selvedge in the scripts that the page names. A browser sees more."
      : "No trace of selvedge on this page.";
  if (findings.length === 0)
    return notes.length === 0 ? "Nothing found." : "Nothing found. The notes above say what was not seen.";
  const count = (severity: Severity): string => {
    const n = findings.filter((x) => x.severity === severity).length;
    return n === 0 ? "" : `${n} ${severity}${n === 1 ? "" : "s"}`;
  };
  return ["error", "warning", "hint"]
    .map((x) => count(x as Severity))
    .filter((x) => x !== "")
    .join(", ");
}
