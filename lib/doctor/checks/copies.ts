// Copies of the package on one page: two engines know nothing of each other and load everything twice.
import type { DoctorCheck } from "../evidence.ts";
import { textOf } from "../http.ts";
import { bare, nameOf } from "../urls.ts";
import { filesOf, isServed } from "./facts.ts";
import { isPrebundle } from "./reachable.ts";

/** Finds a second copy, and one that Vite's dev server has pre-bundled. */
export const copies: DoctorCheck = (evidence) => {
  const { browser } = evidence;
  const own = new Set((browser?.resources ?? []).map(bare));
  const workers = new Set((browser?.workers ?? []).map((x) => bare(x.url)));
  const holders = filesOf(evidence, "script").filter(
    (x) =>
      isServed(x) &&
      (browser === null || own.has(bare(x.url))) &&
      !workers.has(bare(x.url)) &&
      // core/errors.ts is in each copy once.
      /Symbol\.for\(["'`]selvedge\.error["'`]\)/.test(textOf(x.answer)) &&
      /retryable/.test(textOf(x.answer)),
  );
  if (browser === null || holders.length < 2) return [];
  const isVite = isPrebundle(evidence);
  return [
    {
      id: "two-copies",
      severity: "warning",
      message: `The page has ${holders.length} copies of selvedge (${holders.map((x) => nameOf(x.url)).join(", ")}): each has engines, workers and memory of its own.`,
      evidence: holders.map((x) => `${x.url}: has core/errors of selvedge`),
      changes: [isVite ? { kind: "exclude-prebundle" } : { kind: "one-copy" }],
    },
  ];
};
