import { describe, expect, test } from "vitest";
import { addCounts, playwrightCounts, playwrightFailures, playwrightMeasured, settled } from "./tally.ts";
import { vitestCounts, vitestFailures } from "./tally.ts";

describe("counts", () => {
  test("a vitest test that was skipped or left to do has failed", () => {
    const report = { numTotalTests: 10, numPassedTests: 7, testResults: [] };
    expect(vitestCounts(report)).toEqual({ passed: 7, failed: 3 });
  });

  test("a vitest file that broke before its first test has failed", () => {
    const testResults = [{ name: "a.test.ts", status: "failed", message: "no such file", assertionResults: [] }];
    const report = { numTotalTests: 2, numPassedTests: 2, testResults };
    expect(vitestCounts(report)).toEqual({ passed: 2, failed: 1 });
  });

  test("a browser test that was skipped or flaky has failed, and so has an error outside of tests", () => {
    const stats = { expected: 5, unexpected: 1, skipped: 2, flaky: 1 };
    expect(playwrightCounts({ stats, errors: [{}], suites: [] })).toEqual({ passed: 5, failed: 5 });
  });

  test("a runner that broke without a failed test counts as one failure", () => {
    expect(settled({ passed: 3, failed: 0 }, 1)).toEqual({ passed: 3, failed: 1 });
    expect(settled({ passed: 3, failed: 2 }, 1)).toEqual({ passed: 3, failed: 2 });
    expect(settled({ passed: 3, failed: 0 }, null)).toEqual({ passed: 3, failed: 1 });
    expect(settled({ passed: 3, failed: 0 }, 0)).toEqual({ passed: 3, failed: 0 });
  });

  test("a runner that ran nothing counts as one failure", () => {
    expect(settled({ passed: 0, failed: 0 }, 0)).toEqual({ passed: 0, failed: 1 });
  });

  test("suites add up", () => {
    expect(addCounts({ passed: 1, failed: 2 }, { passed: 3, failed: 4 })).toEqual({ passed: 4, failed: 6 });
  });
});

test("measurements are found in nested suites, with its title and browser", () => {
  const body = Buffer.from(JSON.stringify({ rate: 0.98 })).toString("base64");
  const attachments = [{ name: "measured", body }, { name: "trace" }];
  const tests = [{ projectName: "firefox", status: "expected", results: [{ attachments, errors: [] }] }];
  const specs = [{ title: "reads", file: "a.spec.ts", line: 7, tests }];
  const stats = { expected: 1, unexpected: 0, skipped: 0, flaky: 0 };
  const report = { stats, errors: [], suites: [{ suites: [{ specs }] }] };
  expect(playwrightMeasured(report)).toEqual([{ test: "reads", browser: "firefox", rate: 0.98 }]);
});

describe("failed tests", () => {
  test("of vitest are listed with the beginning of their errors, files that broke too", () => {
    const assertionResults = [
      { status: "passed", fullName: "adds", failureMessages: [] },
      { status: "failed", fullName: "divides", failureMessages: [`Error: by zero\n${"  at line\n".repeat(100)}`] },
      { status: "skipped", fullName: "multiplies", failureMessages: [] },
    ];
    const testResults = [
      { name: "a.test.ts", status: "failed", message: "", assertionResults },
      { name: "b.test.ts", status: "failed", message: "no such file", assertionResults: [] },
    ];
    const failures = vitestFailures({ numTotalTests: 3, numPassedTests: 1, testResults });
    expect(failures.map((x) => x.split("\n").slice(0, 2))).toEqual([
      ["a.test.ts › divides (failed)", "    Error: by zero"],
      ["a.test.ts › multiplies (skipped)"],
      ["b.test.ts", "    no such file"],
    ]);
    expect(failures[0]?.split("\n")).toHaveLength(13);
  });

  test("of Playwright are listed with browser and place, flaky ones and errors outside of tests too", () => {
    const result = (message: string): { attachments: []; errors: { message: string }[] } => ({
      attachments: [],
      errors: [{ message }],
    });
    const tests = [
      { projectName: "chromium", status: "expected", results: [] },
      { projectName: "firefox", status: "unexpected", results: [result("\u001B[31mInfinity\u001B[39m")] },
      { projectName: "webkit", status: "flaky", results: [result("slow")] },
      { projectName: "webkit", status: "skipped", results: [] },
    ];
    const skipped = { title: "ends", file: "a.spec.ts", line: 9, tests: tests.slice(-1) };
    const suites = [{ suites: [{ specs: [{ title: "resumes", file: "a.spec.ts", line: 7, tests }, skipped] }] }];
    const stats = { expected: 1, unexpected: 1, skipped: 2, flaky: 1 };
    expect(playwrightFailures({ stats, errors: [{ message: "no server" }], suites })).toEqual([
      "outside of tests\n    no server",
      "[firefox] a.spec.ts:7 › resumes (unexpected)\n    Infinity",
      "[webkit] a.spec.ts:7 › resumes (flaky)\n    slow",
      "[webkit] 2 not run: a.spec.ts:7 › resumes, a.spec.ts:9 › ends",
    ]);
  });
});
