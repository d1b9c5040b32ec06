// Reads a JSON file of a repository by the path of one of its models: the file lies beside the model or one folder up. Its
// content is read by lib/source.
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { parseJson } from "../../source/json.ts";

/**
 * Reads a JSON file beside a model or one folder up; null where there is none.
 * @throws SelvedgeError `bundle-invalid` that names a file that is no JSON
 */
export function readBeside(path: string, name: string): unknown {
  const found = [dirname(path), dirname(dirname(path))].map((x) => join(x, name)).find((x) => existsSync(x));
  return found === undefined ? null : parseJson(found, readFileSync(found, "utf8"));
}
