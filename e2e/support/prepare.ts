// Builds the parts for the browser tests and the benchmark: the package and the bundles. Browsers: browsers.ts.
import { execFileSync } from "node:child_process";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

/** The repository's root folder. */
export const ROOT: string = join(dirname(fileURLToPath(import.meta.url)), "../..");

/** The folder of the package's build that is tested: `npm test -- whole` names another than dist/. */
export const DIST: string = resolve(ROOT, process.env["SELVEDGE_DIST"] ?? "dist");

/** Builds the package and the bundles; the bundles only if their sources have changed. */
export function prepare(): void {
  for (const script of ["build", "models"]) {
    execFileSync("npm", ["run", "--silent", script], { cwd: ROOT, stdio: ["ignore", "inherit", "inherit"] });
  }
}
