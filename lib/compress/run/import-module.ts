// Imports a module of the user: samples, or a metric.
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

/**
 * Imports a module by its path.
 * @throws TypeError naming the option where this version of Node does not load it
 */
export async function importModule(path: string, option: "samples" | "metric"): Promise<Record<string, unknown>> {
  try {
    return (await import(pathToFileURL(resolve(path)).href)) as Record<string, unknown>;
  } catch (error) {
    if (!(error instanceof Error && "code" in error)) throw error;
    if (error.code === "ERR_UNKNOWN_FILE_EXTENSION")
      throw new TypeError(
        `${option}: Node ${process.versions.node} does not load ${path}: write it in JavaScript (.mjs), or use Node 22.18 or newer`,
        { cause: error },
      );
    throw error;
  }
}
