// The unit tests that automatic mutants of one area are tried on (auto.ts); a mutant that none of them notices
// survives.
import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";
import { testsOf } from "./areas.ts";

export default defineConfig({
  root: fileURLToPath(new URL("../..", import.meta.url)),
  test: { include: [...testsOf(process.env["SELVEDGE_AREA"] ?? "")], environment: "node", testTimeout: 60_000 },
});
