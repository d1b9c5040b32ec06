// The documentation and the templates of `selvedge init` keep to the field's terms, as code does: ESLint's rule
// selvedge/plain-words reads neither Markdown nor HTML, and no template.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Linter } from "eslint";
import type { ESLint } from "eslint";
import { expect, test } from "vitest";

const { retiredIn, plainWordsPlugin } = (await import(join(process.cwd(), ".ci/plain-words.js"))) as {
  retiredIn(text: string): string[];
  plainWordsPlugin: ESLint.Plugin;
};

/** Sentences that were in the code, a line each, with a word that a reader of the field does not search for. */
const RETIRED = readFileSync("lib/test-support/retired-sentences.txt", "utf8").trimEnd().split("\n");

const PAGES = [
  "README.md",
  "CONTRIBUTING.md",
  "CHANGELOG.md",
  "llms.txt",
  "lib/README.md",
  "e2e/README.md",
  "models/README.md",
];

function filesIn(folder: string, ends: RegExp): string[] {
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .map((x) => join(folder, x))
    .filter((x) => ends.test(x));
}

/** Returns the paragraphs, items and cells of a page, without headings, code and marks. */
function textsOf(path: string): string[] {
  const page = readFileSync(path, "utf8");
  if (path.endsWith(".html"))
    return page
      .replaceAll(/<(script|style)\b.*?<\/\1>/gs, "")
      .split(/<[^>]+>/)
      .map((x) => x.replaceAll(/\s+/g, " ").trim());
  const prose = page.replaceAll(/^( *)```.*?^\1```$/gms, "").replaceAll(/`[^`\n]*`/g, "x");
  return prose
    .split("\n")
    .filter((line) => !line.startsWith("#"))
    .flatMap((line) => line.split("|"))
    .map((text) =>
      text
        .replaceAll("**", "")
        .replace(/^\s*(?:[-*]|\d+\.)\s+/, "")
        .trim(),
    );
}

/** Returns the comments, texts and strings of a script, with the code between them. */
function textsIn(path: string): string[] {
  return readFileSync(path, "utf8")
    .split(/\n|\/\*+|\*\/|\/\/|["'`<>{}]/)
    .map((x) => x.trim());
}

test("no page of the documentation or the demo uses a retired word", () => {
  const pages = [...PAGES.filter((x) => existsSync(x)), ...filesIn("docs", /\.md$/), ...filesIn("demo", /\.html$/)];
  expect(pages.length).toBeGreaterThan(40);
  expect(
    pages.flatMap((page) =>
      textsOf(page)
        .flatMap(retiredIn)
        .map((x) => `${page}: ${x}`),
    ),
  ).toEqual([]);
});

test("no template of selvedge init uses a retired word", () => {
  const templates = filesIn("lib/cli/templates", /\.(js|jsx|html)$/);
  expect(templates.length).toBeGreaterThan(10);
  expect(
    templates.flatMap((path) => [...textsOf(path), ...textsIn(path)].flatMap(retiredIn).map((x) => `${path}: ${x}`)),
  ).toEqual([]);
});

test("a retired word is found at the beginning of a sentence, and within one", () => {
  const retired = ["broke", "off"].join(" ");
  expect(retiredIn("A size is open. What a caller passes is kept.")).toHaveLength(1);
  expect(retiredIn(`The connection ${retired}.`)).toEqual([`"${retired}" is retired: connection closed`]);
  expect(retiredIn("The connection closed after 3 bytes. What now?")).toEqual([]);
});

test.each(RETIRED)("a retired word is found in: %s", (text) => {
  expect(retiredIn(text)).not.toEqual([]);
});

test("a retired word is found across the parts of a template and of a concatenation", () => {
  const code = [
    "const a = `was ${x} silent`;",
    "const b = `through in ${ms} ms there`;",
    'const c = "the connection broke " + "off";',
    'const d = `${n} requests wait ` + "already";',
    'const e = "a connection " + "closed";',
  ];
  const config = [{ plugins: { selvedge: plainWordsPlugin }, rules: { "selvedge/plain-words": "error" } }] as const;
  const found = new Linter().verify(code.join("\n"), [...config]).map(({ line }) => line);
  expect(found).toEqual([2, 3, 4]);
});
