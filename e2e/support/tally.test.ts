import { describe, expect, test } from "vitest";
import { addCounts, playwrightCounts, playwrightMeasured, settled, vitestCounts } from "./tally.ts";

describe("counts", () => {
  test("a vitest test that was skipped or left to do has failed", () => {
    const report = { numTotalTests: 10, numPassedTests: 7, testResults: [] };
    expect(vitestCounts(report)).toEqual({ passed: 7, failed: 3 });
  });

  test("a vitest file that broke before its first test has failed", () => {
    const testResults = [{ status: "failed", assertionResults: [] }];
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
  const specs = [{ title: "reads", tests: [{ projectName: "firefox", results: [{ attachments }] }] }];
  const stats = { expected: 1, unexpected: 0, skipped: 0, flaky: 0 };
  const report = { stats, errors: [], suites: [{ suites: [{ specs }] }] };
  expect(playwrightMeasured(report)).toEqual([{ test: "reads", browser: "firefox", rate: 0.98 }]);
});
