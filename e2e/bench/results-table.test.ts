import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import type { Row } from "./kernel/row.ts";
import { LINES, newestRows, PAGES, withFigures, withGoals } from "./results-table.ts";

test.each(PAGES)("%s has the figures of the committed rows: npm run bench:table writes them", (path, write) => {
  const page = readFileSync(path, "utf8");
  expect(page).toBe(write(page));
});

test("each goal that a newest row misses is listed, and those met are counted", () => {
  const row = (subject: string, pass?: boolean): [string, Row] => [
    subject,
    {
      ...{ scenario: "split", case: "first | visit", subject, unit: "ms", statistic: "median", value: 12.34, n: 5 },
      ...{ browser: "firefox 152.0", date: "2026-01-02T03:04:05Z", ratio: 0.5, of: "whole", interval: [0.4, 0.62] },
      ...(pass !== undefined && { goal: "ratio <= 0.4", pass }),
    } as Row,
  ];
  const rows = new Map([row("good", true), row("bad", false), row("peer")]);
  const none = new Map<string, Row>();
  const page = withGoals("a <!-- goals: npm run bench:table --> <!-- end of the goals --> b", (x) =>
    x === "split" ? rows : none,
  );
  expect(page).toContain("Of 2 goals of the newest rows, 1 are met.");
  expect(page).toContain(
    String.raw`| split: first \| visit | bad, firefox | 12.3 ms | whole | 0.50 (0.40 to 0.62) | ratio <= 0.4 | 5, 2026-01-02 |`,
  );
  expect(page).not.toContain("good");
});

test("each line has rows of its subject and of each of its peers", () => {
  for (const { scenario, case: name, peers, subject } of LINES) {
    const rows = [...newestRows(scenario).values()].filter((row) => row.case.startsWith(name));
    for (const wanted of [subject, ...peers.map(([, peer]) => peer)])
      expect(
        rows.map((row) => row.subject),
        `${scenario}: ${name}`,
      ).toContain(wanted);
  }
});

test("requests that hang or are lost are called so, whatever the time until the others are settled", () => {
  const line = LINES.find(({ case: name }) => name === "a call that never returns")!;
  const row = (what: string, unit: string, value: number): [string, Row] => [
    [`${line.case}: ${what}`, line.subject, "chromium"].join("\n"),
    { unit, value, statistic: "mean", subject: line.subject, date: "2026-01-02T03:04:05Z", n: 3 } as Row,
  ];
  const rows = new Map([
    row("until 20 requests are settled", "ms", 8_000),
    row("requests that hang, of 20", "requests", 18),
    row("wrong answers, of 20", "requests", 2),
    row("later requests that work, of 5", "requests", 0),
  ]);
  const page = withFigures("<!-- figures: npm run bench:table --><!-- end of the figures -->", [line], () => rows);
  expect(page).toContain("| 18 hang, 2 wrong, and later ones fail | – |");
  expect(page).toContain("(n = 3; `bench -- faults`; 2026-01-02)");
});
