// Every pair of code and reason that the code can throw has its section in the errors' pages (pages.test.ts).
import { join } from "node:path";
import { expect, test } from "vitest";
import { ERROR_REASONS } from "../core/error-reasons.ts";
import { ROOT } from "../test-support/read-program.ts";
import { thrownPairs } from "../test-support/thrown-pairs.ts";

const LISTED = ERROR_REASONS.map(({ code, reason }) => `${code} ${reason}`);

/** Places that pass on the reason of another error, and why that is in the list. */
const PASSED_ON: readonly string[] = [
  "lib/cache/bare-download.ts #anew", // download-failed, as the error before it
];

/** Code that throws what the list has not; the second test shows that it is found. */
const OTHER = `
import { SelvedgeError } from "./core/errors.ts";
import { sniff } from "./core/sniff.ts";
export function json(bytes: Uint8Array): void {
  const { reason } = sniff(bytes) ?? { reason: "not-json" as const };
  throw new SelvedgeError("bundle-invalid", "it is another file", { reason });
}
export function worker(isRetried: boolean): SelvedgeError {
  const fail = (reason: string, code: "setup-failed" | "worker-crashed" = "setup-failed") =>
    new SelvedgeError(code, "it failed", { url: "", reason });
  return isRetried ? fail("stalled", "worker-crashed") : fail("stalled");
}`;

const path = join(ROOT, "lib/other.ts");
const thrown = thrownPairs(join(ROOT, "lib"), path, OTHER);

test("each pair of code and reason that the code throws is in the list", () => {
  const unknown = thrown.filter(({ pair, at }) => !LISTED.includes(pair) && !PASSED_ON.includes(at));
  expect(unknown.filter(({ at }) => !at.startsWith("lib/other.ts"))).toEqual([]);
});

test("each pair of the list is thrown", () => {
  const pairs = new Set(thrown.map(({ pair }) => pair));
  expect(LISTED.filter((x) => !pairs.has(x))).toEqual([]);
});

test("a reason that is passed through variables and functions is found, with its code", () => {
  const found = thrown.filter(({ at }) => at.startsWith("lib/other.ts")).map(({ pair }) => pair);
  expect(found).toEqual(
    expect.arrayContaining([
      "bundle-invalid picture",
      "bundle-invalid zip",
      "bundle-invalid not-json",
      "worker-crashed stalled",
      "setup-failed stalled",
    ]),
  );
});
