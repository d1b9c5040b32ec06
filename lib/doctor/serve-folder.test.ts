// The base path of a built folder, from its markup.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import { basePathOf } from "./serve-folder.ts";

function baseOf(html: string, ...files: readonly string[]): string {
  const folder = mkdtempSync(join(tmpdir(), "selvedge-base-"));
  try {
    for (const [path, text] of [["index.html", html], ...files.map((x) => [x, ""])] as const) {
      mkdirSync(dirname(join(folder, path)), { recursive: true });
      writeFileSync(join(folder, path), text);
    }
    return basePathOf(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const VITE = `<script type="module" crossorigin src="/sub/assets/index-a.js"></script><link rel="stylesheet" href="/sub/assets/index-b.css">`;

test.each([
  ["Vite's base", VITE, ["assets/index-a.js", "assets/index-b.css"], "/sub/"],
  ["a base of two parts", VITE.replaceAll("/sub/", "/me/shop/"), ["assets/index-a.js"], "/me/shop/"],
  ["Angular's base tag", `<base href="/app/"><script src="main-A.js" type="module"></script>`, ["main-A.js"], "/app/"],
  ["an import map", `<script type="importmap">{"imports":{"selvedge":"/x/s.js"}}</script>`, ["s.js"], "/x/"],
  ["no base", VITE, ["sub/assets/index-a.js"], "/"],
  ["relative addresses", `<script type="module" src="./assets/a.js"></script>`, ["assets/a.js"], "/"],
  ["another host", `<script src="https://cdn.example/sub/a.js"></script>`, ["a.js"], "/"],
  ["a file that is missing", VITE, [], "/"],
  [
    "an icon that is missing beside files that are there",
    `${VITE}<link href="/y/b.js">`,
    ["sub/assets/index-a.js", "sub/assets/index-b.css", "b.js"],
    "/",
  ],
])("a folder with %s", (_, html, files, base) => {
  expect(baseOf(html, ...files)).toBe(base);
});

test("a folder without a page has no base", () => {
  expect(basePathOf(tmpdir())).toBe("/");
});
