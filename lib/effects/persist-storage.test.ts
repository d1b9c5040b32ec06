// Conditions under which persistent storage is requested without asking the user.
import { afterEach, expect, test, vi } from "vitest";
import { keepQuietly } from "./persist-storage.ts";

afterEach(() => {
  vi.unstubAllGlobals();
});

function browser(vendor: string, state: string | null, isPersisted = false): { asked: number } {
  const seen = { asked: 0 };
  vi.stubGlobal("navigator", {
    vendor,
    permissions: {
      query: () => (state === null ? Promise.reject(new TypeError("unknown name")) : Promise.resolve({ state })),
    },
    storage: {
      persisted: () => Promise.resolve(isPersisted),
      persist: () => {
        seen.asked += 1;
        return Promise.resolve(true);
      },
    },
  });
  return seen;
}

test.each<[string, string, string | null, number]>([
  ["Chromium, which decides by itself", "Google Inc.", "prompt", 1],
  ["WebKit, which knows no such permission", "Apple Computer, Inc.", null, 1],
  ["Firefox, which would ask the user", "", "prompt", 0],
  ["Firefox, whose user said no", "", "denied", 0],
  ["Firefox, whose user said yes", "", "granted", 1],
])("%s", async (_, vendor, state, times) => {
  const seen = browser(vendor, state);
  await keepQuietly();
  expect(seen.asked).toBe(times);
});

test("persistence that was granted is not requested again, and a page without storage is not an error", async () => {
  const seen = browser("Google Inc.", "granted", true);
  await keepQuietly();
  expect(seen.asked).toBe(0);
  vi.stubGlobal("navigator", {});
  await keepQuietly();
});
