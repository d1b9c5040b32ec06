// Runs before `npm pack` and `npm publish` (`prepack`): a package of half a build would install, and fail where it is used.
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** File in dist/ that the build makes first and removes last. */
export const UNFINISHED = ".unfinished";

/**
 * Checks that a package is whole.
 * @throws Error where its build is not at its end, or a file is missing that `exports` of package.json names
 */
export function checkPack(root: string): void {
  if (existsSync(join(root, "dist", UNFINISHED)))
    throw new Error("dist/ is half a package: a build is running, or has failed. Wait for it, or run `npm run build`.");
  const { exports } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { exports: unknown };
  const missing = filesOf(exports).filter((path) => !existsSync(join(root, path)));
  if (missing.length > 0)
    throw new Error(`the package lacks ${missing.slice(0, 5).join(", ")}, which package.json exports: npm run build`);
}

/** Returns the paths in a tree of export conditions. */
function filesOf(target: unknown): string[] {
  return typeof target === "string" ? [target] : Object.values(target as object).flatMap(filesOf);
}

if (process.argv[1] === fileURLToPath(import.meta.url))
  try {
    checkPack(fileURLToPath(new URL("../..", import.meta.url)));
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n`);
    process.exitCode = 1;
  }
