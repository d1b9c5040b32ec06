// Findings from errors that the engine reported.
import { expect, test } from "vitest";
import { ERROR_REASONS } from "../../core/error-reasons.ts";
import type { EngineError, Evidence } from "../evidence.ts";
import { engineErrors } from "./engine.ts";

const find = (...given: readonly Partial<EngineError>[]): ReturnType<typeof engineErrors> => {
  const errors = given.map(({ code = "internal", ...rest }) => ({
    ...{ code, reason: null, message: "no", help: `npx selvedge explain ${code}`, isHandled: false, ...rest },
  }));
  return engineErrors({ browser: { errors } } as unknown as Evidence);
};

test("an error whose reason has a line for each host brings that line", () => {
  const [finding] = find({ code: "download-failed", reason: "cors" });
  expect(finding?.changes).toMatchObject([{ kind: "header", name: "Access-Control-Allow-Origin" }]);
  expect(finding?.evidence).toContain("SelvedgeError code download-failed, reason cors");
});

test("a binary that a policy keeps from being fetched, or from compiling, gets the line of that directive", () => {
  const error = { code: "setup-failed", reason: "wasm-csp" };
  const message = "could not be fetched: allow `connect-src https://cdn.example` in the Content-Security-Policy";
  expect(find({ ...error, message })[0]?.changes).toEqual([
    { kind: "csp", path: "/", directive: "connect-src", sources: ["https://cdn.example"] },
  ]);
  expect(find(error)[0]?.changes).toMatchObject([{ kind: "csp", directive: "script-src" }]);
});

test("each error names the fix of its reason, and the command that explains it", () => {
  for (const { code, reason, fix } of ERROR_REASONS) {
    const evidence = find({ code, reason })[0]?.evidence;
    expect(evidence).toContain(fix);
    expect(evidence?.at(-1)).toBe(`more: npx selvedge explain ${code}`);
  }
  expect(find({ code: "internal" })[0]?.changes).toEqual([]);
});

test("a handled error is a finding too, save what a page that works handles every day", () => {
  const handled = (code: string): string[] => find({ code, isHandled: true }).map((x) => `${x.severity} ${x.message}`);
  expect(handled("model-invalid")).toEqual(["error The engine reports model-invalid, which the page handles: no"]);
  expect(handled("no-backend")).toEqual(["warning The engine reports no-backend, which the page handles: no"]);
  for (const code of ["closed", "overloaded", "deadline-exceeded"]) expect(handled(code)).toEqual([]);
  expect(find({ code: "closed" })).toHaveLength(1);
});

test("an error that nobody handles stands for the others of its code", () => {
  const [finding, ...others] = find(
    { code: "no-backend", message: "first" },
    { code: "no-backend", message: "second", isHandled: true },
  );
  expect(others).toEqual([]);
  expect(finding).toMatchObject({ severity: "error", message: "The engine reports no-backend: first" });
});

test("a mistake of the app in a call is named by its kind, without a code that could be explained", () => {
  const [finding] = find({ code: "TypeError", message: 'there is no input "z"', help: null, isHandled: true });
  expect(finding?.message).toBe('The engine reports TypeError, which the page handles: there is no input "z"');
  expect(finding?.evidence).toEqual(["the engine threw a TypeError"]);
});
