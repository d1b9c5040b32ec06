// Writes the pages that are made of code (`npm run docs`): docs/errors/, the overview in docs/errors.md, and the
// reference in docs/reference/. They are committed; tests fail where they are stale.
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { ERROR_CODES } from "../core/errors.ts";
import { writeReference } from "./reference.ts";
import { fileOf, OVERVIEW, overview, pageOf, replaceBetween } from "../explain/pages.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const DOCS = fileURLToPath(new URL("../../docs", import.meta.url));

rmSync(join(DOCS, "errors"), { recursive: true, force: true });
mkdirSync(join(DOCS, "errors"), { recursive: true });
for (const code of ERROR_CODES) writeFileSync(join(DOCS, "errors", fileOf(code)), pageOf(code));
const path = join(DOCS, "errors.md");
writeFileSync(path, replaceBetween(readFileSync(path, "utf8"), OVERVIEW, overview()));
await writeReference(ROOT, join(DOCS, "reference"));
