import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { ERROR_CODES } from "../core/errors.ts";
import { ERROR_REASONS } from "../core/error-reasons.ts";
import type { ExplainedError } from "../explain/explain.ts";
import { main } from "./cli.ts";
import { captureOutput } from "../test-support/capture-output.ts";

let said: string;
beforeEach(() => {
  said = "";
  captureOutput((text) => {
    said += text;
  });
});
afterEach(() => {
  vi.restoreAllMocks();
});

test("explain lists all codes without an argument", async () => {
  expect(await main(["explain"])).toBe(0);
  for (const code of ERROR_CODES) expect(said).toContain(`${code} `);
});

test("explain prints every cause of a code, with fix", async () => {
  expect(await main(["explain", "download-failed"])).toBe(0);
  for (const { cause, fix } of ERROR_REASONS.filter((x) => x.code === "download-failed"))
    expect(said).toMatch(new RegExp(`${escaped(cause)}[^]*${escaped(fix)}`));
});

test("explain prints a reason alone, of each code that has it", async () => {
  expect(await main(["explain", "offline"])).toBe(0);
  expect(said).toContain("download-failed:");
  expect(said).toContain("worker-crashed:");
  expect(said).not.toContain("stalled:");
});

test("explain takes a code and its reason as an error shows them", async () => {
  for (const words of [["setup-failed:", "worker-missing"], ["setup-failed: worker-missing"], ["worker-missing"]])
    expect(await main(["explain", ...words])).toBe(0);
  said = "";
  expect(await main(["explain", "worker-crashed:", "offline."])).toBe(0);
  expect(said).toMatch(/^worker-crashed: [^]*\n\noffline: /);
  expect(said).not.toContain("download-failed:");
});

test("explain takes no word that is unknown, and no reason of another code", async () => {
  expect(await main(["explain", "nonsense:", "worker-missing"])).toBe(1);
  expect(said).toContain('"nonsense" is no code and no reason of an error');
  said = "";
  expect(await main(["explain", "no-backend:", "git-lfs"])).toBe(1);
  expect(said).toBe('selvedge: no error has all of "no-backend", "git-lfs"\n');
});

test("explain tells a finding of the doctor from an error", async () => {
  expect(await main(["explain", "vite-prebundled"])).toBe(1);
  expect(said).toContain("a finding of `selvedge doctor`");
});

test("explain suggests the word that was meant", async () => {
  expect(await main(["explain", "wasm-mising"])).toBe(1);
  expect(said).toBe('selvedge: "wasm-mising" is no code and no reason of an error; did you mean wasm-missing?\n');
  said = "";
  expect(await main(["explain", "Setup-Failed"])).toBe(1);
  expect(said).toContain("did you mean setup-failed?");
  said = "";
  expect(await main(["explain", "rhubarb"])).toBe(1);
  expect(said).toContain("choose from setup-failed, no-backend");
});

test("explain prints JSON", async () => {
  expect(await main(["explain", "git-lfs", "--json"])).toBe(0);
  const found = JSON.parse(said) as ExplainedError[];
  expect(found.map((x) => [x.code, x.reasons.map((y) => y.reason), x.reasons[0]?.lines[0]?.line])).toEqual([
    ["download-failed", ["git-lfs"], "git lfs pull  (then deploy the file again)"],
    ["bundle-invalid", ["git-lfs"], "git lfs pull  (then deploy the file again)"],
    ["model-invalid", ["git-lfs"], "git lfs pull  (then deploy the file again)"],
  ]);
});

function escaped(text: string): string {
  return text.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`);
}
