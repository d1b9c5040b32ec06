// generation_config.json of a repository: ids and lengths with which an app generates text. A bundle describes one graph
// and has no place for them, so the file is copied beside it.
import { existsSync, readFileSync, realpathSync } from "node:fs";
import { join } from "node:path";
import { writeWhole } from "../onnx/model-file.ts";

const NAME = "generation_config.json";

/** Copies a repository's generation_config.json to a folder; returns the note that says so, null where there is none. */
export async function keepGeneration(repository: string, to: string): Promise<string | null> {
  const [from, path] = [join(repository, NAME), join(to, NAME)];
  if (!existsSync(from)) return null;
  const isThere = existsSync(path) && realpathSync(path) === realpathSync(from);
  if (!isThere) await writeWhole(path, [readFileSync(from)]);
  return `${NAME} is no part of the bundle: the app that generates reads it from ${path}`;
}
