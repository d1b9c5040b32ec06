// JSON of requests: what would take seconds to parse is refused before that.
import { expect, test } from "vitest";
import { readJson } from "./read-json.ts";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const nested = (levels: number): string => `{"a":${"[".repeat(levels)}${"]".repeat(levels)}}`;

test("a request of 8 MB of brackets is refused before it is parsed", () => {
  const parser = (): never => {
    throw new Error("parsed");
  };
  const deep = [nested(4_000_000), "[".repeat(8_000_000), `{"a":`.repeat(1_600_000)];
  for (const text of deep) expect(() => readJson(bytes(text), parser)).toThrow("more than 32 levels deep");
  for (const item of ["[]", "{}"]) {
    const wide = `{"a":[${new Array(2_700_000).fill(item).join()}]}`;
    expect(() => readJson(bytes(wide), parser)).toThrow("more than 131072 arrays, objects and names");
  }
});

test("a request of 8 MB of names is refused before it is parsed", () => {
  const names = Array.from({ length: 700_000 }, (_, i) => `"${i}":1`).join();
  expect(() => readJson(bytes(`{${names}}`))).toThrow("more than 131072 arrays, objects and names");
  expect(() => readJson(bytes(`{"a":"${":".repeat(400_000)}"}`))).not.toThrow();
});

test("brackets in texts count for nothing, nor do levels that are closed again", () => {
  const text = `${"[{".repeat(200_000)}\\"\\\\`;
  expect(readJson(bytes(`{"a":"${text}"}`))["a"]).toHaveLength(400_002);
  expect(readJson(bytes(nested(31)))).toHaveProperty("a");
  const flat = `{"a":[${new Array(100_000).fill("[1,2]").join()}]}`;
  expect(readJson(bytes(flat))["a"]).toHaveLength(100_000);
});

test("anything but an object is refused", () => {
  for (const text of ["", "{", "]]]]", '"', '"\\']) expect(() => readJson(bytes(text))).toThrow("is not JSON");
  for (const text of ["[]", "1", "null"]) expect(() => readJson(bytes(text))).toThrow("is not a JSON object");
});
