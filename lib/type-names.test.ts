// An exported type's name stands for one thing: a search for it finds one definition, in the code or in the platform.
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { createRequire } from "node:module";
import { expect, test } from "vitest";

/** Names with two definitions, and why. */
const EXCEPTIONS: ReadonlySet<string> = new Set([
  // selvedge/wasm states the main entry's class again, so that its code isn't imported from two places.
  "SelvedgeError",
  // The field's word for it; the platform's object of this name (`scheduler`) is not used here.
  "Scheduler",
]);

const TYPE = /^(export )?(?:declare )?(?:abstract )?(?:interface|type|class) (\w+)\b(?!\()/gm;
const PLATFORM = /^(?:declare )?(?:interface|var|type|class) (\w+)\b(?!\()/gm;

/** Names of types that JavaScript and browsers define, by TypeScript's declarations of them. */
function platformNames(): Set<string> {
  const folder = dirname(createRequire(import.meta.url).resolve("typescript/lib/lib.dom.d.ts"));
  const files = readdirSync(folder).filter((name) => /^lib\..*\.d\.ts$/.test(name));
  return new Set(
    files.flatMap((x) => [...readFileSync(join(folder, x), "utf8").matchAll(PLATFORM)].map((m) => m[1] ?? "")),
  );
}

/** Returns the names that two of the files define and one exports, or that the platform has too, with the files' paths. */
function definedTwice(files: Readonly<Record<string, string>>, platform: ReadonlySet<string> = new Set()): string[] {
  const paths = new Map<string, string[]>();
  const exported = new Set<string>();
  for (const [path, text] of Object.entries(files))
    for (const [, isExported, name = ""] of text.matchAll(TYPE)) {
      paths.set(name, [...(paths.get(name) ?? []), path]);
      if (isExported !== undefined) exported.add(name);
    }
  return [...paths]
    .filter(([name, found]) => platform.has(name) || (found.length > 1 && exported.has(name)))
    .map(([name, found]) => `${name}: ${found.join(", ")}`);
}

test("no exported type's name is that of another type, and none is the platform's", () => {
  const found = readdirSync(import.meta.dirname, { recursive: true, encoding: "utf8" })
    .filter((path) => /\.tsx?$/.test(path) && !/templates\/|\.test\./.test(path))
    .map((path) => [path, readFileSync(join(import.meta.dirname, path), "utf8")] as const);
  expect(found.length).toBeGreaterThan(450);
  const platform = platformNames();
  expect([platform.size > 1_500, platform.has("Range"), platform.has("Map")]).toEqual([true, true, true]);
  const names = definedTwice(Object.fromEntries(found), platform);
  expect(names.filter((x) => !EXCEPTIONS.has(x.split(":")[0] ?? ""))).toEqual([]);
});

test("a second definition is found", () => {
  const files = {
    "a.ts": "export interface World {}\ninterface Local {}\ninterface Own {}\ntype Range = 1;",
    "b.ts": "export abstract class World {}\nexport type Local = 1;",
    "c.ts": "interface Own {}",
  };
  expect(definedTwice(files, new Set(["Range"]))).toEqual(["World: a.ts, b.ts", "Local: a.ts, b.ts", "Range: a.ts"]);
});
