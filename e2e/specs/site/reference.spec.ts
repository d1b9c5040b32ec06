// The API reference in docs/reference/, against the docblocks in lib/.
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "@playwright/test";
import { writeReference } from "../../../lib/build/reference.ts";
import { ROOT } from "../../support/prepare.ts";

function pagesIn(folder: string): Record<string, string> {
  const files = readdirSync(folder, { recursive: true, encoding: "utf8" }).sort();
  const texts = files.filter((x) => statSync(join(folder, x)).isFile());
  return Object.fromEntries(texts.map((x) => [x, readFileSync(join(folder, x), "utf8")]));
}

test(
  "every exported symbol is documented, and docs/reference is as the docblocks: npm run docs writes it",
  { tag: "@chromium" },
  async () => {
    const folder = mkdtempSync(join(tmpdir(), "selvedge-reference-"));
    try {
      await writeReference(ROOT, folder);
      expect(pagesIn(folder)).toEqual(pagesIn(join(ROOT, "docs/reference")));
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
);
