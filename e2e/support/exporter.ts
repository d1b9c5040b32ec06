// A Python with the exporter of models, and a hub with what its scripts write. It needs PyTorch, which is installed into a
// folder of the cache unless SELVEDGE_PYTHON names a Python that has the packages of architectures.txt.
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { HubServer } from "../../lib/test-support/hub-server.ts";
import type { RepoFiles } from "../../lib/test-support/hub-server.ts";
import { ROOT } from "./prepare.ts";

const CACHE = join(ROOT, "e2e/.cache");

/** Starts a hub with repositories that a script of this folder exports, unless it did; returns the cases that it wrote. */
export async function exportedHub(
  script: string,
  list: string,
  names: readonly string[],
): Promise<{ readonly hub: HubServer; readonly cases: unknown }> {
  const folder = join(CACHE, "architectures");
  const path = join(folder, list);
  if (!existsSync(path))
    execFileSync(python(), [join(ROOT, "e2e/support", script), folder], { stdio: ["ignore", "ignore", "inherit"] });
  const hub = await HubServer.start();
  for (const name of names) hub.commit(`owner/${name}`, filesIn(join(folder, name)));
  return { hub, cases: JSON.parse(readFileSync(path, "utf8")) as unknown };
}

function python(): string {
  const given = process.env["SELVEDGE_PYTHON"];
  if (given !== undefined) return given;
  const own = join(CACHE, "python");
  const path = join(own, "bin/python");
  if (existsSync(path)) return path;
  execFileSync("python3", ["-m", "venv", own]);
  const list = join(ROOT, "e2e/support/architectures.txt");
  execFileSync(path, ["-m", "pip", "install", "--quiet", "-r", list], { stdio: ["ignore", "ignore", "inherit"] });
  return path;
}

/** Returns the files of a repository in a folder. */
function filesIn(folder: string): RepoFiles {
  const found = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((x) => x.isFile());
  return Object.fromEntries(
    found.map(({ parentPath, name }) => {
      const path = join(parentPath, name);
      return [path.slice(folder.length + 1), new Uint8Array(readFileSync(path))];
    }),
  );
}
