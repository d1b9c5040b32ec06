import { expect, test } from "vitest";
import { otherBuild } from "./build-id.ts";

test("a build takes the workers of the same build alone", () => {
  expect(otherBuild({ selvedge: "ready", build: "1+a" }, "1+a")).toBeNull();
  expect(otherBuild({ selvedge: "ready", build: "0+b" }, "1+a")).toBe("0+b");
  expect(otherBuild({}, "1+a")).toBe("unknown"); // an answer of a release that sends no such message
});

test("code that runs from its source takes every worker, and its workers are taken", () => {
  expect(otherBuild({ selvedge: "ready", build: "1+a" })).toBeNull();
  expect(otherBuild({})).toBeNull();
  expect(otherBuild({ selvedge: "ready", build: "@selvedge-build@" }, "1+a")).toBeNull();
});
