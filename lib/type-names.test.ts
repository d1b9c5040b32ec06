// An exported type's name stands for one thing: a search for it finds one definition.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";

/** Names with two definitions, and why. */
const EXCEPTIONS: ReadonlySet<string> = new Set([
  // selvedge/wasm states the main entry's class again, so that its code isn't imported from two places.
  "SelvedgeError",
]);

const EXPORTED = /^export (?:declare )?(?:abstract )?(?:interface|type|class) (\w+)/gm;

/** Returns the names that two of the files define, with the files' paths. */
function definedTwice(files: Readonly<Record<string, string>>): string[] {
  const paths = new Map<string, string[]>();
  for (const [path, text] of Object.entries(files))
    for (const [, name = ""] of text.matchAll(EXPORTED)) paths.set(name, [...(paths.get(name) ?? []), path]);
  return [...paths].filter(([, found]) => found.length > 1).map(([name, found]) => `${name}: ${found.join(", ")}`);
}

test("no exported type has the name of another", () => {
  const found = readdirSync(import.meta.dirname, { recursive: true, encoding: "utf8" })
    .filter((path) => /\.tsx?$/.test(path) && !path.includes("templates/"))
    .map((path) => [path, readFileSync(join(import.meta.dirname, path), "utf8")] as const);
  expect(found.length).toBeGreaterThan(500);
  expect(definedTwice(Object.fromEntries(found)).filter((x) => !EXCEPTIONS.has(x.split(":")[0] ?? ""))).toEqual([]);
});

test("a second definition is found", () => {
  const files = {
    "a.ts": "export interface World {}\ninterface Local {}",
    "b.ts": "export abstract class World {}\nexport type Local = 1;",
  };
  expect(definedTwice(files)).toEqual(["World: a.ts, b.ts"]);
});
