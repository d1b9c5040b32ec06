import { transform } from "esbuild";
import { expect, test } from "vitest";
import { pages, snippetsOf } from "./snippets.ts";

const SNIPPETS = pages().flatMap(snippetsOf);

test("every piece of JSON in the documentation parses", () => {
  const pieces = SNIPPETS.filter(({ language }) => language === "json");
  expect(pieces.length).toBeGreaterThan(2);
  for (const { name, code } of pieces) expect(() => JSON.parse(code) as unknown, name).not.toThrow();
});

test("every piece of JavaScript in the documentation parses", async () => {
  const pieces = SNIPPETS.filter(({ language }) => ["js", "jsx"].includes(language));
  expect(pieces.length).toBeGreaterThan(3);
  for (const { name, language, code } of pieces) {
    const { warnings } = await transform(code, { loader: language === "jsx" ? "jsx" : "js" });
    expect(warnings, name).toEqual([]);
  }
});
