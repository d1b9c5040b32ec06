import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { readEntries } from "./entries.ts";

/** A repository with these exports and the sources of two entries. */
function repository(exports: object, alias: object = {}): string {
  const root = mkdtempSync(join(tmpdir(), "selvedge-entries-"));
  mkdirSync(join(root, "lib/tools"), { recursive: true });
  writeFileSync(join(root, "lib/page.ts"), "");
  writeFileSync(join(root, "lib/tools/index.ts"), "");
  writeFileSync(join(root, "package.json"), JSON.stringify({ exports, alias }));
  return root;
}

const PAGE = { types: "./dist/page.d.ts", default: "./dist/page.js" };
const TOOLS = { types: "./dist/tools.d.ts", node: "./dist/tools.js" };

test("an entry's source follows from its code, a file or a folder", () => {
  const root = repository({ "./page": PAGE, "./tools": TOOLS, "./x.json": "./x.json" }, { "./page": PAGE.default });
  expect(readEntries(root)).toEqual([
    { name: "page", types: "page", source: "page", code: "page", isNode: false },
    { name: "tools", types: "tools", source: "tools/index", code: "tools", isNode: true },
  ]);
});

test("an entry without a source, with other declarations or unknown to Parcel is refused by name", () => {
  expect(() => readEntries(repository({ "./gone": { ...PAGE, default: "./dist/gone.js" } }))).toThrow('["./gone"]');
  expect(() => readEntries(repository({ "./tools": { ...TOOLS, types: "./dist/y.d.ts" } }))).toThrow('["./tools"]');
  expect(() => readEntries(repository({ "./page": PAGE }))).toThrow('alias["./page"] must be "./dist/page.js"');
});
