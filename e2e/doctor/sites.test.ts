// Each finding of the doctor has a broken site, which e2e/specs/site/doctor opens, and a line in docs/doctor.md.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { FAILURE_KINDS, FILE_NAMES, OTHER_IDS } from "../../lib/doctor/evidence.ts";
import type { FindingId } from "../../lib/doctor/evidence.ts";
import { ROOT } from "../support/prepare.ts";
import { FILE_SITES } from "./file-sites.ts";
import { PAGE_SITES } from "./page-sites.ts";
import { PAGE_TWINS } from "./page-twins.ts";
import { SITES } from "./sites.ts";
import type { Broken } from "./sites.ts";
import { TWINS } from "./twins.ts";

const KINDS = FAILURE_KINDS.filter((x) => x !== "partial");
const IDS: readonly FindingId[] = [
  ...OTHER_IDS,
  ...FILE_NAMES.flatMap((name) => KINDS.map((kind): FindingId => `${name}-${kind}`)),
  // The other files are taken as parts, too.
  ...(["bundle-partial", "chunk-partial", "model-partial"] as const),
];
/** Findings without a site in the lists, and why. */
const ELSEWHERE: Readonly<Partial<Record<FindingId, string>>> = {
  "mixed-content": "of sites over https, which the spec itself makes",
};

test("each finding has a broken site, whose fix the spec proves", () => {
  const found = new Set([...SITES, ...PAGE_SITES, ...FILE_SITES, ...TWINS, ...PAGE_TWINS].map((x) => x.finding));
  expect(IDS.filter((id) => !found.has(id))).toEqual(Object.keys(ELSEWHERE));
  expect([...found].filter((id) => !IDS.includes(id))).toEqual([]);
});

test("each site has its twin: the same fault on another host, by another tool", () => {
  const findings = (sites: readonly Broken[]): string[] => sites.map((x) => x.finding);
  expect(findings(TWINS)).toEqual(findings(SITES));
  // A failure of a request has its twin with another kind of file.
  const faultOf = (id: FindingId): string => FAILURE_KINDS.find((x) => id.endsWith(`-${x}`)) ?? id;
  const twins = new Set([...TWINS, ...PAGE_TWINS].map((x) => faultOf(x.finding)));
  expect(PAGE_SITES.filter((x) => !twins.has(faultOf(x.finding))).map((x) => x.name)).toEqual([]);
  const all = [...SITES, ...PAGE_SITES, ...TWINS, ...PAGE_TWINS, ...FILE_SITES].map((x) => x.name);
  expect(all.filter((x, i) => all.indexOf(x) !== i)).toEqual([]);
});

test("each finding is in the table of the docs", () => {
  const page = readFileSync(join(ROOT, "docs/doctor.md"), "utf8");
  const isNamed = (id: FindingId): boolean =>
    page.includes(`\`${id}\``) ||
    KINDS.some((x) => id.endsWith(x) && page.includes(`\`…-${x}\``)) ||
    id.startsWith("file-");
  expect(IDS.filter((id) => !isNamed(id))).toEqual([]);
});
