import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { bundleJsonSchema } from "./json-schema.ts";
import { parseBundle } from "../../core/bundle-schema.ts";

type Json = Readonly<Record<string, unknown>>;

/** Returns every nested object schema. */
function objects(value: unknown): Json[] {
  if (typeof value !== "object" || value === null) return [];
  const inner = Object.values(value).flatMap(objects);
  return "properties" in value ? [value, ...inner] : inner;
}

test("the published schema allows unknown fields, and steps of unknown kinds", () => {
  const schema = bundleJsonSchema();
  const all = objects(schema);
  expect(all.length).toBeGreaterThan(15);
  for (const each of all) expect(each["additionalProperties"]).toBeUndefined();
  expect(JSON.stringify(schema)).toContain("^(?!(?:image|text|log-mel|fbank|samples)$)");
  expect(schema["required"]).toEqual(["schema", "model", "variants"]);
});

test("sizes are integers there, and names of Object's properties are refused as by the reader", () => {
  const text = JSON.stringify(bundleJsonSchema());
  expect(text).toContain('"bytes":{"type":"integer","minimum":1');
  expect(text).toContain("__proto__");
});

test("docs/bundle.md names every field, and its example is a bundle", () => {
  const text = readFileSync(new URL("../../../docs/bundle.md", import.meta.url), "utf8");
  const fields = new Set(objects(bundleJsonSchema()).flatMap((x) => Object.keys(x["properties"] as Json)));
  expect([...fields].filter((x) => !text.includes(`"${x}"`) && !text.includes(`\`${x}\``))).toEqual([]);
  const [, example = ""] = /```json\n(.*?)```/s.exec(text) ?? [];
  expect(parseBundle(JSON.parse(example))).toMatchObject({ format: 2, variants: [{ id: "int8", needs: ["wasm"] }] });
});
