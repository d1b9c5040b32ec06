import { expect, test } from "vitest";
import { ageOf, bytesOf, errorText, scaleOf, secondsOf } from "./words.ts";

test("bytes are formatted in the unit with the shortest number", () => {
  expect([0, 999, 1_000, 999_499, 999_500, 4_194_304, 999_500_000].map(bytesOf)).toEqual([
    ...["0 B", "999 B", "1 kB", "999 kB", "1.0 MB", "4.2 MB", "1.0 GB"],
  ]);
});

test("a duration is formatted in seconds, a long one in minutes", () => {
  expect([0.2, 1.4, 89, 90, 600].map(secondsOf)).toEqual(["less than a second", "1 s", "89 s", "2 min", "10 min"]);
});

test("an age is formatted in its largest whole unit", () => {
  const ages = [-5, 59_999, 60_000, 7_200_000, 86_400_000, 3 * 86_400_000].map(ageOf);
  expect(ages).toEqual(["just now", "just now", "1 minute ago", "2 hours ago", "yesterday", "3 days ago"]);
});

test("an error has its place on a log scale, and is formatted in few digits", () => {
  expect([0, 1e-9, 1e-6, 1e-3, 1, 50].map((x) => Number(scaleOf(x).toFixed(3)))).toEqual([0, 0, 0.333, 0.667, 1, 1]);
  expect([0, 3.2e-7, 0.00101, 0.071, 1.5].map(errorText)).toEqual(["0", "3e−7", "0.001", "0.071", "1.5"]);
});
