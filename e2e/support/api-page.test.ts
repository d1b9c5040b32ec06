// docs/api.md is the page of "all options and results" (README): it names what the types have.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { ROOT } from "./prepare.ts";

const PAGE = readFileSync(join(ROOT, "docs/api.md"), "utf8");
const TYPES = readFileSync(join(ROOT, "docs/api/selvedge.api.md"), "utf8");

/** Returns the members of a type's declaration in the API report. */
function membersOf(type: string): string[] {
  const declared = new RegExp(`^export (?:class|interface) ${type}\\b[^{]*\\{\\r?\\n(.*?)^\\}`, "ms").exec(TYPES);
  return [...(declared?.[1] ?? "").matchAll(/^ {4}(?:readonly |get )?(\w+)(?:\?:|:|\(|<)/gm)].map(
    ([, name = ""]) => name,
  );
}

// `effects` is for tests; `constructor` is not the user's.
test.each([
  ["Engine", "constructor"],
  ["EngineOptions", "effects"],
  ["LoadOptions", ""],
  ["BatchingOptions", ""],
  ["ImageOption", ""],
  ["ResultsOptions", ""],
  ["Model", ""],
  ["RunOptions", ""],
  ["MapOptions", ""],
  ["RunResult", ""],
  ["RunInfo", ""],
  ["Stateful", ""],
  ["StatefulOptions", ""],
])("docs/api.md names each member of %s", (type, left) => {
  const members = membersOf(type).filter((x) => x !== left);
  expect(members.length).toBeGreaterThan(1);
  expect(members.filter((name) => !new RegExp(`\\b${name}\\b`).test(PAGE))).toEqual([]);
});

test("docs/api.md names each kind of answer, and its fields", () => {
  const answers = /^export type Decoded = \{(.*?)^\};/ms.exec(TYPES)?.[1] ?? "";
  const kinds = [...answers.matchAll(/kind: "(\w+)";\s+readonly (\w+)/g)];
  expect(kinds.length).toBeGreaterThan(5);
  for (const [, kind = "", field = ""] of kinds)
    expect(PAGE).toMatch(new RegExp(`^\\| \`"${kind}"\` \\|.*\`${field}\``, "m"));
});
