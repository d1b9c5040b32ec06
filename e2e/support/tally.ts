// Counts passed and failed tests from the reports of the two runners. A test that did not run did not pass: skipped and
// to-do tests count as failed, flaky ones too.

/** Numbers of passed and failed tests. */
export interface Counts {
  readonly passed: number;
  readonly failed: number;
}

/** Part of vitest's JSON report that is read. */
export interface VitestReport {
  readonly numTotalTests: number;
  readonly numPassedTests: number;
  readonly testResults: readonly { readonly status: string; readonly assertionResults: readonly unknown[] }[];
}

/** Part of Playwright's JSON report that is read. */
export interface PlaywrightReport {
  readonly stats: {
    readonly expected: number;
    readonly unexpected: number;
    readonly skipped: number;
    readonly flaky: number;
  };
  readonly errors: readonly unknown[];
  readonly suites: readonly Suite[];
}

interface Suite {
  readonly suites?: readonly Suite[];
  readonly specs?: readonly {
    readonly title: string;
    readonly tests: readonly {
      readonly projectName: string;
      readonly results: readonly {
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
export function playwrightMeasured(report: PlaywrightReport): Record<string, unknown>[] {
  const found: Record<string, unknown>[] = [];
  const visit = ({ suites = [], specs = [] }: Suite): void => {
    for (const { title, tests } of specs) {
      for (const { projectName, results } of tests) {
        for (const { name, body } of results.flatMap(({ attachments }) => attachments)) {
          if (name !== "measured" || body === undefined) continue;
          const measured = JSON.parse(Buffer.from(body, "base64").toString("utf8")) as Record<string, unknown>;
          found.push({ test: title, browser: projectName, ...measured });
        }
      }
    }
    suites.forEach(visit);
  };
  report.suites.forEach(visit);
  return found;
}
