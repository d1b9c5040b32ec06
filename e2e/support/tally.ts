// Counts passed and failed tests from the reports of the two runners, and lists the failed ones. A test that did not run
// did not pass: skipped and to-do tests count as failed, flaky ones too.
import { stripVTControlCharacters } from "node:util";

/** Numbers of passed and failed tests. */
export interface Counts {
  readonly passed: number;
  readonly failed: number;
}

/** Part of vitest's JSON report that is read. */
export interface VitestReport {
  readonly numTotalTests: number;
  readonly numPassedTests: number;
  readonly testResults: readonly {
    readonly name: string;
    readonly status: string;
    readonly message: string;
    readonly assertionResults: readonly {
      readonly status: string;
      readonly fullName: string;
      readonly failureMessages: readonly string[];
    }[];
  }[];
}

/** Part of Playwright's JSON report that is read. */
export interface PlaywrightReport {
  readonly stats: {
    readonly expected: number;
    readonly unexpected: number;
    readonly skipped: number;
    readonly flaky: number;
  };
  readonly errors: readonly PlaywrightError[];
  readonly suites: readonly Suite[];
}

interface PlaywrightError {
  readonly message?: string;
}

interface Suite {
  readonly suites?: readonly Suite[];
  readonly specs?: readonly {
    readonly title: string;
    readonly file: string;
    readonly line: number;
    readonly tests: readonly {
      readonly projectName: string;
      readonly status: string;
      readonly results: readonly {
        readonly errors: readonly PlaywrightError[];
        readonly attachments: readonly { readonly name: string; readonly body?: string }[];
      }[];
    }[];
  }[];
}

/** Counts a vitest run; a file that failed before its first test is one failure. */
export function vitestCounts(report: VitestReport): Counts {
  const broken = report.testResults.filter(
    ({ status, assertionResults }) => status === "failed" && assertionResults.length === 0,
  ).length;
  return { passed: report.numPassedTests, failed: report.numTotalTests - report.numPassedTests + broken };
}

/** Counts a Playwright run; an error outside of any test is one failure. */
export function playwrightCounts({ stats, errors }: PlaywrightReport): Counts {
  return { passed: stats.expected, failed: stats.unexpected + stats.skipped + stats.flaky + errors.length };
}

/** Lists a vitest run's failed tests, each with the beginning of its error. */
export function vitestFailures({ testResults }: VitestReport): string[] {
  return testResults.flatMap(({ name, status, message, assertionResults }) =>
    status === "failed" && assertionResults.length === 0
      ? [told(name, message)]
      : assertionResults
          .filter((x) => x.status !== "passed")
          .map((x) => told(`${name} › ${x.fullName} (${x.status})`, x.failureMessages.join("\n"))),
  );
}

/** Lists a Playwright run's failed tests, each with the beginning of its error, and counts those that were not run. */
export function playwrightFailures({ suites, errors }: PlaywrightReport): string[] {
  const found = errors.map(({ message = "" }) => told("outside of tests", message));
  const notRun: Record<string, string[]> = {};
  for (const { title, file, line, tests } of specsIn(suites)) {
    for (const { projectName, status, results } of tests) {
      if (status === "expected") continue;
      if (status === "skipped") {
        (notRun[projectName] ??= []).push(`${file}:${line} › ${title}`);
        continue;
      }
      const messages = results.flatMap((x) => x.errors).map(({ message = "" }) => message);
      found.push(told(`[${projectName}] ${file}:${line} › ${title} (${status})`, messages.join("\n")));
    }
  }
  for (const [projectName, names] of Object.entries(notRun)) {
    const shown = names.slice(0, SHOWN.lines).join(", ");
    found.push(`[${projectName}] ${names.length} not run: ${shown}${names.length > SHOWN.lines ? ", …" : ""}`);
  }
  return found;
}

/** Lines of an error that are shown, and characters. */
const SHOWN = { lines: 12, characters: 1_000 };

function told(title: string, error: string): string {
  const lines = stripVTControlCharacters(error).slice(0, SHOWN.characters).split("\n").slice(0, SHOWN.lines);
  return [title, ...lines.filter((x) => x.trim() !== "").map((x) => `    ${x}`)].join("\n");
}

function specsIn(suites: readonly Suite[]): NonNullable<Suite["specs"]>[number][] {
  return suites.flatMap(({ suites = [], specs = [] }) => [...specs, ...specsIn(suites)]);
}

/** Adds counts. */
export function addCounts(...all: readonly Counts[]): Counts {
  return all.reduce((sum, { passed, failed }) => ({ passed: sum.passed + passed, failed: sum.failed + failed }), {
    passed: 0,
    failed: 0,
  });
}

/** Makes a runner that ended badly count as failed even if it counted no failure. */
export function settled(counts: Counts, exitStatus: number | null): Counts {
  const broke = exitStatus !== 0 || counts.passed + counts.failed === 0;
  return broke && counts.failed === 0 ? { ...counts, failed: 1 } : counts;
}

/** Returns the attachments "measured" of tests, with the test's title and browser. */
export function playwrightMeasured({ suites }: PlaywrightReport): Record<string, unknown>[] {
  const found: Record<string, unknown>[] = [];
  for (const { title, tests } of specsIn(suites)) {
    for (const { projectName, results } of tests) {
      for (const { name, body } of results.flatMap(({ attachments }) => attachments)) {
        if (name !== "measured" || body === undefined) continue;
        const measured = JSON.parse(Buffer.from(body, "base64").toString("utf8")) as Record<string, unknown>;
        found.push({ test: title, browser: projectName, ...measured });
      }
    }
  }
  return found;
}
