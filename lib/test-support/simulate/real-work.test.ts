// No module is loaded while the simulated clock runs: on a busy machine the requests that wait for it would be late.
import { readdirSync, readFileSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import { expect, test } from "vitest";

const LIB = resolve(import.meta.dirname, "../..");

test("every module that an engine imports on demand is imported before one is made", () => {
  const onDemand = ["engine", "remote"].flatMap((folder) =>
    readdirSync(join(LIB, folder))
      .filter((name) => name.endsWith(".ts") && !name.endsWith(".test.ts"))
      .flatMap((name) =>
        [...readFileSync(join(LIB, folder, name), "utf8").matchAll(/\bimport\("([^"]+)"\)/g)].map(([, path = ""]) =>
          relative(LIB, resolve(LIB, folder, path)),
        ),
      ),
  );
  const text = readFileSync(join(import.meta.dirname, "real-work.ts"), "utf8");
  const imported = [...text.matchAll(/from "\.\.\/\.\.\/([^"]+)"/g)].map(([, path]) => path);
  expect(onDemand).toContain("engine/result-cache.ts");
  expect([...new Set(onDemand)].filter((path) => !imported.includes(path))).toEqual([]);
});
