// The entries of the package, read from `exports` of package.json. A new entry is one line there and its source, whose
// place follows from that line: `"./x": { "types": "./dist/x.d.ts", "default": "./dist/y.js" }` is built from lib/y.ts
// or lib/y/index.ts. With "default", tsc writes it for the page; with "node" instead, esbuild bundles it for Node. The
// declarations of entry ./x are always dist/x.d.ts, where `typesVersions` finds them for TypeScript's node10 resolution.
// Parcel reads `alias` instead of `exports` unless it is configured, so an entry of the page has a line there too.
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** An entry of the package. */
export interface BuildEntry {
  /** The name after the package's: "" for `selvedge`, "cache" for `selvedge/cache`. */
  readonly name: string;
  /** Name of its declarations, `index` for the first. */
  readonly types: string;
  /** Path of its source in lib/, without an ending. */
  readonly source: string;
  /** Path of its code in dist/, without an ending. */
  readonly code: string;
  /** Whether it runs in Node alone, bundled with its dependencies. */
  readonly isNode: boolean;
}

/**
 * Reads the entries from package.json.
 * @throws Error for an entry that breaks the rule above
 */
export function readEntries(root: string): BuildEntry[] {
  const { exports, alias } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
    exports: Readonly<Record<string, string | Readonly<Record<string, string>>>>;
    alias: Readonly<Record<string, string>>;
  };
  return Object.entries(exports).flatMap(([key, targets]) => {
    // The main entry in one file, which the build makes of the others.
    if (typeof targets === "string" || key === "./min") return [];
    const name = key.slice("./".length);
    const types = name === "" ? "index" : name;
    const isNode = targets["node"] !== undefined;
    const [, code] = /^\.\/dist\/(.+)\.js$/.exec(targets["node"] ?? targets["default"] ?? "") ?? [];
    const source = [code ?? "", `${code}/index`].find((x) => existsSync(join(root, "lib", `${x}.ts`)));
    if (code === undefined || source === undefined || targets["types"] !== `./dist/${types}.d.ts`)
      throw new Error(`package.json: exports["${key}"] must be as lib/build/entries.ts says`);
    if (key !== "." && !isNode && alias[key] !== targets["default"])
      throw new Error(`package.json: alias["${key}"] must be "${targets["default"]}", for Parcel`);
    return [{ name, types, source, code, isNode }];
  });
}
