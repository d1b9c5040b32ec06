// The JSON schema of `bundle.json`, generated from the reader's own schema: dist/bundle.schema.json. It is weaker than
// the reader: that names and chunks match is checked by the reader only.
import { toJsonSchema } from "@valibot/to-json-schema";
import { bundle2 } from "../../core/bundle-shape.ts";

/** Returns the JSON schema (draft 7) of schema 2. */
export function bundleJsonSchema(): Readonly<Record<string, unknown>> {
  const schema = toJsonSchema(bundle2(true), {
    typeMode: "input",
    // JSON numbers are always finite.
    ignoreActions: ["finite"],
    overrideAction: ({ valibotAction, jsonSchema }) =>
      valibotAction.type === "safe_integer" ? { ...jsonSchema, type: "integer" } : undefined,
  });
  const description = "Each field, with an example: docs/bundle.md of the package selvedge.";
  return { ...schema, $id: "urn:selvedge:bundle:2", title: "Selvedge bundle, schema 2", description };
}
