import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { readResults } from "./results.ts";
import type { AppResult } from "./results.ts";
import { ROWS } from "./rows.ts";
import { GROUPS, PAGE, withTables } from "./table.ts";

test("the tables are those of the committed results: npm run apps:table writes them", () => {
  const page = readFileSync(PAGE, "utf8");
  expect(page).toBe(withTables(page, ROWS, readResults()));
});

test("each row belongs to one group of the short table, which has 15 lines at most", () => {
  for (const { id } of ROWS)
    expect(
      GROUPS.filter(([, ids]) => ids.test(id)),
      id,
    ).toHaveLength(1);
  expect(GROUPS.length).toBeLessThanOrEqual(15);
});

test("each row has an id of its own, exact versions, and a result only for a browser that it names", () => {
  expect(new Set(ROWS.map(({ id }) => id)).size).toBe(ROWS.length);
  for (const { packages } of ROWS)
    for (const version of Object.values(packages)) expect(version).toMatch(/^\d+\.\d+\.\d+$/);
  for (const { row, browser } of readResults())
    expect(ROWS.find(({ id }) => id === row)?.browsers ?? ["chromium"], row).toContain(browser);
});

test("a row that fails says so in the table, and one without a result is not called good", () => {
  const [first, second] = ROWS;
  const page = withTables(readFileSync(PAGE, "utf8"), ROWS, [
    { row: first!.id, browser: "chromium", result: "failed: a | b", date: "2026-01-02T03:04:05Z" } as AppResult,
  ]);
  const line = (title: string): string => page.split("\n").find((x) => x.startsWith(`| ${title} |`)) ?? "";
  expect(line(first!.title)).toContain("**fails**: failed: a \\| b (2026-01-02)");
  expect(line(second!.title)).toContain("| not run |");
});

test("the short table counts a row that fails, and one without a result, apart from those that work", () => {
  const results = [
    ...readResults().filter(({ row }) => !row.startsWith("esbuild-")),
    { row: "esbuild-esm", browser: "chromium", result: "failed: a", date: "2026-01-02T03:04:05Z" } as AppResult,
  ];
  const page = withTables(readFileSync(PAGE, "utf8"), ROWS, results);
  expect(page).toMatch(/^\| esbuild \|.*\| \*\*1 fails\*\*, 1 not run \| – \|$/m);
});
