import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { writeReference } from "./reference.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

function pagesIn(folder: string): Record<string, string> {
  const files = readdirSync(folder, { recursive: true, encoding: "utf8" }).sort();
  const texts = files.filter((x) => statSync(join(folder, x)).isFile());
  return Object.fromEntries(texts.map((x) => [x, readFileSync(join(folder, x), "utf8")]));
}

test("every exported symbol is documented, and docs/reference is as the docblocks: npm run docs writes it", async () => {
  const folder = mkdtempSync(join(tmpdir(), "selvedge-reference-"));
  try {
    await writeReference(ROOT, folder);
    expect(pagesIn(folder)).toEqual(pagesIn(join(ROOT, "docs/reference")));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
