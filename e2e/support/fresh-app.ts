// An app in a folder of its own outside the repository, with the packed package installed: as a user has it.
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { ROOT } from "./prepare.ts";

/** A folder with an app in it. */
export interface FreshApp {
  readonly folder: string;
  /** Removes the folder. */
  remove(): void;
}

/** Contents of an app. */
export interface AppContents {
  /** Its files by path. */
  readonly files: Readonly<Record<string, string | Uint8Array>>;
  /** Packages by name, each linked to a folder of this repository. */
  readonly links?: Readonly<Record<string, string>>;
}

/** Makes an app: packs the package, installs it, links what else it needs, and writes its files. */
export function freshApp({ files, links = {} }: AppContents): FreshApp {
  const folder = mkdtempSync(join(tmpdir(), "selvedge-app-"));
  const npm = (...words: string[]): string =>
    execFileSync("npm", [...words, "--loglevel=error", "--no-audit", "--no-fund"], { cwd: folder, encoding: "utf8" });
  const [{ filename }] = JSON.parse(npm("pack", ROOT, "--json", "--ignore-scripts")) as [{ filename: string }];
  writeFileSync(join(folder, "package.json"), JSON.stringify({ name: "app", private: true, type: "module" }));
  npm("install", `./${filename}`, "--prefer-offline", "--omit=peer");
  rmSync(join(folder, filename));
  for (const [name, target] of Object.entries(links)) {
    const path = join(folder, "node_modules", name);
    mkdirSync(dirname(path), { recursive: true });
    symlinkSync(join(ROOT, target), path);
  }
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), content);
  }
  return {
    folder,
    remove: () => {
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
