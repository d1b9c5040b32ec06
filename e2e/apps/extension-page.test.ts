import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { ROWS } from "./rows.ts";

test("the manifest in extensions.md is that of the template, and its two scripts those that a row of the apps runs", () => {
  const page = readFileSync("docs/extensions.md", "utf8");
  const blocks = (language: string): string[] =>
    [...page.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\`$`, "gms"))].map(([, code = ""]) => code);
  const manifest = readFileSync("lib/cli/templates/extension/manifest.json", "utf8");
  expect(blocks("json").map((x) => JSON.parse(x) as unknown)).toEqual([JSON.parse(manifest)]);
  const files = ROWS.find(({ id }) => id === "mv3-offscreen")?.files;
  expect(blocks("js")).toEqual([files?.["background.js"], files?.["offscreen.js"]]);
});
