// Every browser suite must be in a part of the soak.
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { PARTS } from "./soak-parts.ts";

test("each spec file is run by a part of the soak", () => {
  const words = Object.values(PARTS).flat();
  const specs = readdirSync(join(import.meta.dirname, "../specs"), { recursive: true, encoding: "utf8" }).filter((x) =>
    x.endsWith(".spec.ts"),
  );
  const isRun = (spec: string): boolean =>
    spec.endsWith(".webkit.spec.ts") || words.some((word) => !word.startsWith("--") && spec.startsWith(word));
  expect(specs.filter((spec) => !isRun(spec))).toEqual([]);
  expect(specs.length).toBeGreaterThan(20);
});
