// Validators of answers: which file one is of, until when it is fresh, and whether a part goes on where another ended.
import { describe, expect, test } from "vitest";
import { canTell, continues, freshUntilOf, isSame, strong, validatorOf } from "./validator.ts";

const DATE = "Wed, 02 Dec 2026 00:00:00 GMT";
const headers = (more: Readonly<Record<string, string>>): Headers => new Headers(more);

test("the size is that of the whole file, unknown where the length is that of compressed bytes, or is not stated", () => {
  const whole = { etag: '"1"', "last-modified": DATE, "content-length": "70" };
  expect(validatorOf(headers(whole))).toEqual({ etag: '"1"', lastModified: DATE, bytes: 70 });
  expect(validatorOf(headers({}))).toEqual({ etag: null, lastModified: null, bytes: null });
  expect(validatorOf(headers({ ...whole, "content-encoding": "gzip" })).bytes).toBeNull();
  const sizes = ["bytes 0-69/700", "bytes 0-69/*", "bytes 0-69/700 or so"].map((range) =>
    [true, undefined].map((isRange) => validatorOf(headers({ ...whole, "content-range": range }), isRange).bytes),
  );
  expect(sizes).toEqual([
    [700, 70],
    [null, 70],
    [null, 70],
  ]);
  expect(validatorOf(headers(whole), true).bytes).toBeNull();
});

describe("an answer is fresh", () => {
  const NOW = Date.parse(DATE);
  const seconds = (more: Readonly<Record<string, string>>): number => (freshUntilOf(headers(more), NOW) - NOW) / 1_000;

  test("for its max-age less its age, whatever else it states", () => {
    expect(seconds({ "cache-control": "public, max-age=600" })).toBe(600);
    expect(seconds({ "cache-control": "MAX-AGE=600", age: "100", expires: DATE })).toBe(500);
    expect(seconds({ "cache-control": "max-age=600", age: "700" })).toBe(0);
    expect(seconds({ "cache-control": "xmax-age=600" })).toBe(0);
  });

  test("until it expires, where it has no max-age", () => {
    expect(seconds({ expires: "Wed, 02 Dec 2026 00:01:00 GMT" })).toBe(60);
    expect(seconds({ expires: "Tue, 01 Dec 2026 00:00:00 GMT" })).toBe(0);
    expect([seconds({ expires: "0" }) <= 0, seconds({ expires: "soon" }), seconds({})]).toEqual([true, 0, 0]);
  });

  test.each(["no-cache", "no-store", "No-Store, max-age=600"])("never with %s", (control) => {
    expect(seconds({ "cache-control": control, expires: "Wed, 02 Dec 2026 00:01:00 GMT" })).toBe(0);
  });
});

test("a weak ETag alone does not tell versions of a file apart", () => {
  expect([strong('"1"'), strong('W/"1"'), strong(null)]).toEqual(['"1"', null, null]);
  const tells = (etag: string | null, lastModified: string | null): boolean =>
    canTell({ etag, lastModified, bytes: 5 });
  expect([tells('"1"', null), tells('W/"1"', null), tells(null, null)]).toEqual([true, false, false]);
  expect([tells('W/"1"', DATE), tells(null, DATE)]).toEqual([true, true]);
});

test("two answers are of one file where they have the same validators and size, and the validators tell", () => {
  const one = { etag: '"1"', lastModified: DATE, bytes: 5 };
  expect(isSame(one, { ...one })).toBe(true);
  for (const other of [null, { ...one, etag: '"2"' }, { ...one, lastModified: null }, { ...one, bytes: 6 }])
    expect(isSame(one, other)).toBe(false);
  const blind = { etag: null, lastModified: null, bytes: 5 };
  expect(isSame(blind, { ...blind })).toBe(false);
});

test("a part goes on where it begins and ends as requested, and is of the same file", () => {
  const file = { etag: '"1"', lastModified: null, bytes: 700 };
  const goesOn = (range: string | null, etag = '"1"'): boolean =>
    continues(headers({ etag, ...(range !== null && { "content-range": range }) }), 70, 139, file);
  expect(goesOn("bytes 70-139/700")).toBe(true);
  for (const range of [
    ...["bytes 71-139/700", "bytes 70-138/700", "bytes 70-139/701", "bytes 70-139/*", "x bytes 70-139/700"],
    ...["bytes 70-139/700 x", "bytes 0-699/700", null],
  ])
    expect(goesOn(range), String(range)).toBe(false);
  expect(goesOn("bytes 70-139/700", '"2"')).toBe(false);
  expect(continues(headers({ "content-range": "bytes 70-139/700" }), 70, 139, file, file), "by what is known").toBe(
    true,
  );
});
