import { build } from "esbuild";
import { join } from "node:path";
import { expect, test } from "vitest";

test("a test page can import the models: nothing of Node is read before a file is", async () => {
  const { outputFiles } = await build({
    entryPoints: [join(import.meta.dirname, "backend-models.ts")],
    ...{ bundle: true, write: false, format: "esm", platform: "browser", external: ["node:*"] },
  });
  // A dev server replaces modules of Node by empty ones; a member that is imported by its name is read at once.
  const imports = outputFiles[0]?.text.match(/^import .* from "node:.*$/gm) ?? [];
  expect(imports.filter((line) => !/^import \* as /.test(line))).toEqual([]);
});
