// Links between the pages of the documentation: files and anchors that exist. Addresses on the network are not asked.
// README's length too.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { expect, test } from "vitest";
import { anchorsOf } from "./anchors.ts";

const ROOT = process.cwd();

function pages(): string[] {
  const docs = readdirSync("docs", { recursive: true, encoding: "utf8" }).map((x) => join("docs", x));
  return ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "llms.txt", "lib/README.md", "e2e/README.md", ...docs].filter(
    (x) => /\.(md|txt)$/.test(x) && existsSync(x),
  );
}

/** Text without code: brackets in code are no links. */
function proseOf(path: string): string {
  return readFileSync(path, "utf8")
    .replaceAll(/^( *)```.*?^\1```$/gms, "")
    .replaceAll(/`[^`\n]*`(?!\])/g, "");
}

/** Returns what is wrong with a link; null where it is right. */
function faultOf(page: string, link: string): string | null {
  if (/^[a-z]+:/.test(link)) return null;
  const [path = "", anchor] = link.split("#");
  const file = path === "" ? page : relative(ROOT, resolve(dirname(page), decodeURIComponent(path)));
  if (!existsSync(file)) return `${page}: ${link}: no such file`;
  if (anchor === undefined || anchor === "" || !file.endsWith(".md")) return null;
  return anchorsOf(readFileSync(file, "utf8")).has(anchor) ? null : `${page}: ${link}: no such heading`;
}

test("every link in the documentation leads to a file and a heading that exist", () => {
  const links = pages().flatMap((page) =>
    [...proseOf(page).matchAll(/\]\(([^)\s]+)(?: "[^"]*")?\)/g)].map(([, link = ""]) => ({ page, link })),
  );
  expect(links.length).toBeGreaterThan(60);
  expect(links.map(({ page, link }) => faultOf(page, link)).filter((x) => x !== null)).toEqual([]);
});

test("every file of the repository that the documentation names exists", () => {
  const FILE = /`((?:lib|e2e|models|demo|\.ci)\/[\w./-]+\.(?:tsx?|js|jsonl?|py))`/g;
  const named = pages()
    .filter((page) => page !== "CHANGELOG.md")
    .flatMap((page) => [...readFileSync(page, "utf8").matchAll(FILE)].map(([, path = ""]) => ({ page, path })));
  expect(named.length).toBeGreaterThan(60);
  expect(named.filter(({ path }) => !existsSync(path))).toEqual([]);
});

test("every file in the pictures of lib/README.md exists", () => {
  const lines =
    readFileSync("lib/README.md", "utf8")
      .match(/^```.*?^```$/gms)
      ?.flatMap((x) => x.split("\n")) ?? [];
  const named = lines.flatMap((line) => {
    // A name without a folder is of the folder before it on the line, or of lib/ itself.
    let folder = "";
    return [...line.matchAll(/[\w-]+(?:\/[\w-]+)*\.ts\b/g)].map(([name]) => {
      if (name.includes("/")) folder = dirname(name);
      return [name, join(folder, name)].map((x) => join("lib", x));
    });
  });
  expect(named.length).toBeGreaterThan(80);
  expect(named.filter((paths) => !paths.some((path) => existsSync(path)))).toEqual([]);
});

test("every page of docs/ is in its index", () => {
  const index = readFileSync("docs/README.md", "utf8");
  const missing = readdirSync("docs").filter(
    (x) => x.endsWith(".md") && x !== "README.md" && !index.includes(`](${x})`),
  );
  expect(missing).toEqual([]);
});

test("README has 200 lines at most: details belong into docs/", () => {
  expect(readFileSync("README.md", "utf8").trimEnd().split("\n").length).toBeLessThanOrEqual(200);
});
