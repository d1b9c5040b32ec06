import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { checkPack, UNFINISHED } from "./check-pack.ts";

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "selvedge-pack-"));
  mkdirSync(join(root, "dist"));
  const exports = {
    ".": { types: "./dist/a.d.ts", require: { default: "./dist/a.cjs" } },
    "./x.json": "./dist/x.json",
  };
  writeFileSync(join(root, "package.json"), JSON.stringify({ exports }));
  for (const file of ["a.d.ts", "a.cjs", "x.json"]) writeFileSync(join(root, "dist", file), "");
});
afterEach(() => {
  rmSync(root, { recursive: true });
});

test("a whole package is packed", () => {
  expect(() => {
    checkPack(root);
  }).not.toThrow();
});

test("a package without an exported file is refused by its name, whatever its condition", () => {
  rmSync(join(root, "dist/a.cjs"));
  rmSync(join(root, "dist/x.json"));
  expect(() => {
    checkPack(root);
  }).toThrow(/^the package lacks \.\/dist\/a\.cjs, \.\/dist\/x\.json, .*npm run build$/);
});

test("a package is refused while its build runs", () => {
  writeFileSync(join(root, "dist", UNFINISHED), "");
  expect(() => {
    checkPack(root);
  }).toThrow(/a build is running, or has failed/);
});
