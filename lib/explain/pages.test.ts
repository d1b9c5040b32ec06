// The errors' pages, `selvedge explain`'s data, and the list of reasons against what the code throws.
import { readdirSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { ERROR_REASONS } from "../core/error-reasons.ts";
import { ERROR_CODES } from "../core/errors.ts";
import { thrownReasons } from "../test-support/thrown-reasons.ts";
import { CHANGES } from "../doctor/changes.ts";
import { explain } from "./explain.ts";
import messages from "./messages.json" with { type: "json" };
import { fileOf, OVERVIEW, overview, pageOf, replaceBetween } from "./pages.ts";

const PAIRS = ERROR_REASONS.map(({ code, reason }) => `${code} ${reason}`);
const thrown = thrownReasons("lib");

test("each code has a page in docs/errors/, and no other file is there", () => {
  expect(readdirSync("docs/errors").sort()).toEqual(ERROR_CODES.map(fileOf).sort());
});

test.each(ERROR_CODES)("the page of %s is as its data: npm run docs writes it", (code) => {
  expect(readFileSync(`docs/errors/${fileOf(code)}`, "utf8")).toBe(pageOf(code));
});

test("the overview in docs/errors.md is as its data: npm run docs writes it", () => {
  const page = readFileSync("docs/errors.md", "utf8");
  expect(page).toBe(replaceBetween(page, OVERVIEW, overview()));
});

test.each(ERROR_REASONS)("the page of $code has a section on $reason, with cause and fix", ({ code, ...each }) => {
  const [, section = ""] = pageOf(code).split(`\n## \`${each.reason}\`\n`);
  expect(section).toContain(each.cause);
  expect(section).toContain(`**Fix.** ${each.fix}`);
});

test("each reason that the code throws is in the list, under its code", () => {
  const unknown = thrown.filter(({ reason, code }) =>
    code === null ? !ERROR_REASONS.some((x) => x.reason === reason) : !PAIRS.includes(`${code} ${reason}`),
  );
  expect(unknown).toEqual([]);
  expect(thrown.length).toBeGreaterThan(60);
});

test("each reason of the list is thrown", () => {
  expect(ERROR_REASONS.filter((x) => !thrown.some((y) => y.reason === x.reason))).toEqual([]);
});

test("changes and messages are those of reasons that exist", () => {
  expect(Object.keys(CHANGES).filter((x) => !PAIRS.includes(x))).toEqual([]);
  expect(Object.keys(messages).filter((x) => ![...PAIRS, ...ERROR_CODES].includes(x))).toEqual([]);
});

/** Causes whose message no test makes, and why. */
const UNSEEN: Readonly<Record<string, string>> = {
  "bundle-invalid newer": "the worker's own guard: a page refuses such a bundle before, as no-backend newer",
  "download-failed stalled": "takes four times 20 s",
  "download-failed unreadable": "a browser loses bytes where it runs out of room",
  "worker-crashed transient": "the engine starts such a worker again by itself",
};

test("each reason shows the message that its failing page or command gave, but for a few", () => {
  const without = PAIRS.filter((x) => !(x in messages));
  expect(without.sort()).toEqual(Object.keys(UNSEEN).sort());
});

test("each code shows a message that a failing page gave", () => {
  const without = ERROR_CODES.map(explain).filter(
    (x) => ![x, ...x.reasons].some(({ messages }) => messages.length > 0),
  );
  expect(without.map(({ code }) => code)).toEqual([]);
});

test("a fix that depends on the host has the line of each", () => {
  const type = explain("setup-failed").reasons.find((x) => x.reason === "worker-type");
  const of = (name: string): string | undefined => type?.lines.find((x) => x.stacks.includes(name))?.line;
  expect(of("nginx")).toBe("types { text/javascript js; }");
  expect(of("Apache")).toBe("AddType text/javascript .js");
  expect(of("IIS")).toContain("mimeMap");
});
