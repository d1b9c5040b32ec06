// Findings from errors that the engine reported.
import { expect, test } from "vitest";
import { ERROR_REASONS } from "../../core/error-reasons.ts";
import type { EngineError, Evidence } from "../evidence.ts";
import { engineErrors } from "./engine.ts";

const PAGE = "https://site.test/shop/";
const FILES = [{ url: `${PAGE}e/ort-wasm.wasm`, answer: { headers: { "content-encoding": "gzip" } } }];
const find = (...given: readonly Partial<EngineError>[]): ReturnType<typeof engineErrors> => {
  const errors = given.map(({ code = "internal", ...rest }) => ({
    ...{
      code,
      reason: null,
      url: null,
      message: "no",
      help: `npx selvedge explain ${code}`,
      isHandled: false,
      ...rest,
    },
  }));
  return engineErrors({ url: PAGE, files: FILES, browser: { errors } } as unknown as Evidence);
};

test("an error whose reason has a line for each host brings that line", () => {
  const [finding] = find({ code: "download-failed", reason: "cors", url: "https://cdn.test/a/labels.txt" });
  expect(finding?.changes).toMatchObject([
    { kind: "header", name: "Access-Control-Allow-Origin", path: "https://cdn.test/*" },
  ]);
  expect(finding?.evidence).toContain("SelvedgeError code download-failed, reason cors");
});

test("a binary that a policy keeps from being fetched, or from compiling, gets the line of that directive", () => {
  const error = { code: "setup-failed", reason: "wasm-csp" };
  const message = "could not be fetched: allow `connect-src https://cdn.example` in the Content-Security-Policy";
  expect(find({ ...error, message })[0]?.changes).toEqual([
    { kind: "csp", path: "/shop/", directive: "connect-src", sources: ["https://cdn.example"] },
  ]);
  expect(find(error)[0]?.changes).toMatchObject([{ kind: "csp", directive: "script-src" }]);
});

test("a change has the address of the file that the error is about", () => {
  const changes = (code: string, reason: string, path: string) =>
    find({ code, reason, url: new URL(path, PAGE).href })[0]?.changes;
  expect(changes("download-failed", "not-found", "data/labels.txt")).toEqual([
    { kind: "copy", files: ["/shop/data/labels.txt"], to: "/shop/data/" },
  ]);
  expect(changes("model-invalid", "html", "data/labels.txt")).toEqual([
    { kind: "no-fallback", paths: ["/shop/data/labels.txt"] },
  ]);
  expect(changes("setup-failed", "wasm-missing", "e/brotli.wasm")).toMatchObject([{ kind: "copy", to: "/shop/e/" }]);
  expect(changes("setup-failed", "wasm-encoding", "e/ort-wasm.wasm")).toMatchObject([
    { kind: "no-header", path: "/shop/e/ort-wasm.wasm", value: "gzip" },
  ]);
  expect(changes("download-failed", "csp", "https://cdn.test/m.onnx")).toMatchObject([
    { kind: "csp", path: "/shop/", sources: ["https://cdn.test"] },
  ]);
  expect(changes("download-failed", "mixed-content", "http://cdn.test/m.onnx")).toEqual([
    { kind: "https", url: "http://cdn.test/m.onnx" },
  ]);
});

test("no change has an address of the table's examples, with the file's address or without", () => {
  const example = /\/models\/|models\.example|the file|ort-\*/;
  for (const { code, reason } of ERROR_REASONS)
    for (const url of [null, `${PAGE}e/x.bin`])
      expect(JSON.stringify(find({ code, reason, url })[0]?.changes)).not.toMatch(example);
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
