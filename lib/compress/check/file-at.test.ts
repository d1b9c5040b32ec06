import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { fileAt } from "./file-at.ts";

let root: string;
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), "selvedge-at-"));
  for (const folder of ["dist", "dist/inner", "dist-old"]) mkdirSync(join(root, folder));
  for (const file of ["dist/a b.json", "dist-old/x", "x"]) writeFileSync(join(root, file), "");
});
afterAll(() => {
  rmSync(root, { recursive: true });
});

test("names a file inside the folder", () => {
  expect(fileAt(join(root, "dist"), "/a%20b.json")).toBe(join(root, "dist", "a b.json"));
  expect(fileAt(join(root, "dist"), "/inner/../a%20b.json")).toBe(join(root, "dist", "a b.json"));
});

test.each(["/..%2fdist-old/x", "/../dist-old/x", "/..%2fx", "/%2e%2e/x", "/inner", "/", "", "/none", "/a%00b"])(
  "returns null outside the folder, for a folder, and for a missing file: %s (store-C18)",
  (path) => {
    expect(fileAt(join(root, "dist"), path)).toBeNull();
  },
);

test.each(["/%", "/%E0%A4%A", "/%zz"])("is not broken by a bad encoding: %s (store-C19)", (path) => {
  expect(fileAt(join(root, "dist"), path)).toBeNull();
});
