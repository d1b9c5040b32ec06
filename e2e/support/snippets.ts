// Pieces of code in README.md, llms.txt and docs/, to be compiled as they stand. Names that a piece uses and does not
// declare are those of snippet-globals.ts, which stand for the reader's own.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "./prepare.ts";

/** A piece of code. */
export interface Snippet {
  /** Page and number, such as "docs-api-3". */
  readonly name: string;
  readonly language: string;
  readonly code: string;
}

/** Lists the pages that people write, relative to the repository. */
export function pages(): string[] {
  const docs = readdirSync(join(ROOT, "docs")).filter((x) => x.endsWith(".md"));
  return ["README.md", "llms.txt", ...docs.map((x) => `docs/${x}`)];
}

/** Returns the pieces of code of a page. */
export function snippetsOf(page: string): Snippet[] {
  const text = readFileSync(join(ROOT, page), "utf8");
  const name = page.replaceAll(/\W/g, "-").replace(/-(md|txt)$/, "");
  return [...text.matchAll(/^```(\w+)\n(.*?)^```$/gms)].map(([, language = "", code = ""], i) => ({
    ...{ name: `${name}-${i + 1}`, language, code },
  }));
}

/** Returns what stands for the reader's own names in the pieces. */
export function snippetGlobals(): string {
  return readFileSync(join(import.meta.dirname, "snippet-globals.ts"), "utf8");
}
