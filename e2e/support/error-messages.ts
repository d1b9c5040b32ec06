// The messages that failing pages show, as lib/explain/messages.json has them for the errors' pages. In Chromium each
// message must be there word for word; addresses, builds and hashes are replaced by examples. After a change of a message:
//
//     SELVEDGE_SOAK=1 SELVEDGE_RECORD_MESSAGES=1 npx playwright test specs/browsers/setup specs/browsers/error-messages \
//       specs/engine/golden --project=chromium --workers=1
//     npm run docs
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "@playwright/test";
import type { Page } from "@playwright/test";
import { ROOT } from "./prepare.ts";

const PATH = join(ROOT, "lib/explain/messages.json");

/** An error as a page saw it; `reason` is "undefined" where it has none. */
export interface SeenError {
  readonly code: string;
  readonly reason: string;
  readonly message: string;
}

/** Compares an error's message with the recorded ones of its code and reason, or records it. */
export function compareMessage(page: Page, { code, reason, message }: SeenError): void {
  if (code === "") return;
  if (page.context().browser()?.browserType().name() !== "chromium") return;
  const key = reason === "undefined" ? code : `${code} ${reason}`;
  const text = withExamples(message, new URL(page.url()).origin);
  const all = JSON.parse(readFileSync(PATH, "utf8")) as Record<string, readonly string[]>;
  const known = all[key] ?? [];
  if (process.env["SELVEDGE_RECORD_MESSAGES"] === undefined) {
    expect(
      known,
      `messages of ${key} in lib/explain/messages.json; error-messages.ts says how to record them`,
    ).toContain(text);
    return;
  }
  if (known.includes(text)) return;
  const entries = Object.entries({ ...all, [key]: [...known, text] }).sort(([a], [b]) => a.localeCompare(b));
  writeFileSync(PATH, `${JSON.stringify(Object.fromEntries(entries), null, 2)}\n`);
}

/** Replaces what differs from run to run. */
function withExamples(message: string, own: string): string {
  return message
    .replaceAll(own, "https://app.example")
    .replaceAll(/http:\/\/\d+\.\d+\.\d+\.\d+(:\d+)?/g, "https://cdn.example")
    .replaceAll(/blob:https:\/\/[\w./-]+/g, "blob:https://app.example/…")
    .replaceAll(/\+[0-9a-f]{8}\b/g, "+1a2b3c4d")
    .replaceAll(/\b[0-9a-f]{64}\b/g, "ab12…")
    .replaceAll(/ of this GPU is [\d.]+ GB/g, " of this GPU is 4.3 GB")
    .replaceAll(/\b\d+(\.\d+)? ms\b/g, "12 ms")
    .replaceAll(/\bafter \d+ bytes\b/g, "after 64 bytes")
    .replaceAll(/\berror [\d.e+]+ above/g, "error 0.12 above");
}
