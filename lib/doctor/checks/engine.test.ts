// Findings from errors that the engine reported.
import { expect, test } from "vitest";
import { ERROR_REASONS } from "../../core/error-reasons.ts";
import type { Evidence } from "../evidence.ts";
import { engineErrors } from "./engine.ts";

const found = (code: string, reason: string | null): ReturnType<typeof engineErrors> =>
  engineErrors({ browser: { errors: [{ code, reason, message: "no" }] } } as unknown as Evidence);

test("an error whose reason has a line for each host brings that line", () => {
  const [finding] = found("download-failed", "cors");
  expect(finding?.changes).toMatchObject([{ kind: "header", name: "Access-Control-Allow-Origin" }]);
  expect(finding?.evidence).toContain("SelvedgeError code download-failed, reason cors");
});

test("each error names the fix of its reason, and the command that explains it", () => {
  for (const { code, reason, fix } of ERROR_REASONS) {
    const evidence = found(code, reason)[0]?.evidence;
    expect(evidence).toContain(fix);
    expect(evidence?.at(-1)).toBe(`more: npx selvedge explain ${code}`);
  }
  expect(found("internal", null)[0]?.changes).toEqual([]);
});
