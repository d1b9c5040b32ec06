// Records of what an address led to: read as they were written, and as none where they are damaged.
import { expect, test } from "vitest";
import { isSource, isValidator, readJson } from "./source.ts";
import { MemoryStore } from "./stores/memory.ts";

const VALIDATOR = { etag: '"1"', lastModified: "Wed, 02 Dec 2026 00:00:00 GMT", bytes: 5 };
const SOURCE = { url: "https://app.test/m.onnx", identity: "0".repeat(64), validator: VALIDATOR, signature: null };

test("a record is one with validators, with unknown ones, or with none", () => {
  for (const validator of [VALIDATOR, { etag: null, lastModified: null, bytes: null }, null])
    expect(isSource({ ...SOURCE, validator }), JSON.stringify(validator)).toBe(true);
});

test.each<[string, unknown]>([
  ["nothing", null],
  ["a text", "text"],
  ["no address", { ...SOURCE, url: null }],
  ["an identity that is too long", { ...SOURCE, identity: "0".repeat(65) }],
  ["an identity in a text", { ...SOURCE, identity: `a ${"0".repeat(64)}` }],
  ["validators in a text", { ...SOURCE, validator: "text" }],
  ["a size in a text", { ...SOURCE, validator: { ...VALIDATOR, bytes: "5" } }],
  ["an ETag that is a number", { ...SOURCE, validator: { ...VALIDATOR, etag: 5 } }],
  ["a date that is a number", { ...SOURCE, validator: { ...VALIDATOR, lastModified: 5 } }],
])("a record with %s is none", (_, value) => {
  expect(isSource(value)).toBe(false);
});

test("validators without a size that is known or unknown are none", () => {
  expect([isValidator(VALIDATOR), isValidator({ etag: null, lastModified: null })]).toEqual([true, false]);
});

test("an entry that is not stored, or is no JSON, is read as no record", async () => {
  const store = new MemoryStore();
  await store.write("right", new TextEncoder().encode(JSON.stringify(SOURCE)));
  await store.write("damaged", new TextEncoder().encode('{"url":'));
  expect(await readJson(store, "right")).toEqual(SOURCE);
  for (const name of ["damaged", "missing"]) expect(isSource(await readJson(store, name)), name).toBe(false);
});
