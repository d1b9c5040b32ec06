import { expect, test } from "vitest";
import { isProgress } from "./messages.ts";

test("a notice of progress is recognised among all other messages, also those that are no objects", () => {
  expect(isProgress({ selvedge: "progress", ticket: 1 })).toBe(true);
  for (const other of [null, undefined, "progress", 3, {}, [], { ticket: 1 }, { selvedge: "ready" }])
    expect(isProgress(other)).toBe(false);
  expect(isProgress(Object.assign(() => undefined, { selvedge: "progress" }))).toBe(false);
});
