// Provenance of a result: machine, commit, versions. Every row and every soak report carries it.
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { cpus, totalmem } from "node:os";
import { join } from "node:path";
import { ROOT } from "./prepare.ts";

/** Describes this machine: processor, cores, memory. */
export function machine(): string {
  const cores = cpus();
  return `${cores[0]?.model.trim() ?? "unknown"}, ${cores.length} cores, ${Math.round(totalmem() / 2 ** 30)} GiB`;
}

/** Returns the commit that is checked out, with `+` if files differ from it. */
export function commit(): string {
  const git = (...args: string[]): string => execFileSync("git", args, { cwd: ROOT, encoding: "utf8" }).trim();
  try {
    const changed = git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!e2e/results") !== "";
    return git("rev-parse", "--short", "HEAD") + (changed ? "+" : "");
  } catch {
    return "unknown"; // a copy of the files without the repository
  }
}

/** Returns the versions of the measured software and of the tools. */
export function versions(): Record<string, string> {
  const read = (path: string): string =>
    (JSON.parse(readFileSync(join(ROOT, path), "utf8")) as { version: string }).version;
  return {
    selvedge: read("package.json"),
    "onnxruntime-web": read("node_modules/onnxruntime-web/package.json"),
    "onnxruntime-node": read("node_modules/onnxruntime-node/package.json"),
    "@huggingface/transformers": read("node_modules/@huggingface/transformers/package.json"),
    playwright: read("node_modules/@playwright/test/package.json"),
    node: process.versions.node,
  };
}
