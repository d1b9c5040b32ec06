import { expect, test } from "vitest";
import { bundleJsonSchema } from "./json-schema.ts";

type Json = Readonly<Record<string, unknown>>;

/** Lists every object schema inside. */
function objects(value: unknown): Json[] {
  if (typeof value !== "object" || value === null) return [];
  const inner = Object.values(value).flatMap(objects);
  return "properties" in value ? [value, ...inner] : inner;
}

test("the published schema allows fields that it does not know, and steps by any other word", () => {
  const schema = bundleJsonSchema();
  const all = objects(schema);
  expect(all.length).toBeGreaterThan(15);
  for (const each of all) expect(each["additionalProperties"]).toBeUndefined();
  expect(JSON.stringify(schema)).toContain("^(?!(?:image|text)$)");
  expect(schema["required"]).toEqual(["schema", "model", "variants"]);
});

test("sizes are whole numbers there, and names that objects have are refused as by the reader", () => {
  const text = JSON.stringify(bundleJsonSchema());
  expect(text).toContain('"bytes":{"type":"integer","minimum":1');
  expect(text).toContain("__proto__");
});
