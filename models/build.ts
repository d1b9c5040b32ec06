// Builds the bundles of models/ into models/dist: `npm run models`, with `--force` even if nothing changed; names after
// `--` build those alone.
//
// A bundle is rebuilt if its sources, the recipes or the toolchain changed. The fingerprint of its sources is stored
// beside it, written last.
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { withGolden } from "../lib/compress/bundle/golden.ts";
import { writeBundle } from "../lib/compress/bundle/pack.ts";
import type { PackInput, PackVariant } from "../lib/compress/bundle/pack.ts";
import { addMeasurements, MEASURED_PATH, readMeasurements } from "./measured.ts";
import { RECIPES } from "./recipes.ts";
import type { Recipe } from "./recipe.ts";

/** Brotli's quality: 11 would save a percent, and take minutes. */
const QUALITY = { quality: 9 } as const;
const HERE = dirname(fileURLToPath(import.meta.url));

function codeIn(folder: string, { recursive = false } = {}): string[] {
  return readdirSync(folder, { recursive, encoding: "utf8" })
    .filter((x) => /\.[jt]s$/.test(x) && !x.endsWith(".test.ts"))
    .sort()
    .map((x) => join(folder, x));
}

/** Fingerprint of everything that a bundle's bytes depend on. */
function fingerprint(recipe: Recipe): string {
  const hash = createHash("sha256");
  const lib = join(HERE, "../lib");
  const code = [
    ...codeIn(HERE),
    ...codeIn(join(lib, "compress"), { recursive: true }),
    ...["core", "source", "worker"].flatMap((x) => codeIn(join(lib, x), { recursive: true })),
  ];
  const measured = existsSync(MEASURED_PATH) ? [MEASURED_PATH] : [];
  for (const path of [...recipe.sources, ...code, ...measured]) hash.update(readFileSync(path)).update("\0");
  return hash.digest("hex");
}

/** Adds to each variant a synthetic input and the variant's output for it. */
async function addGolden(input: PackInput, goldenDims: Recipe["goldenDims"]): Promise<PackInput> {
  const typical = { ...input.model.exampleDims, ...goldenDims };
  const variants: PackVariant[] = [];
  for (const variant of input.variants) variants.push(await withGolden(variant, input.model, typical));
  return { ...input, variants };
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { force: { type: "boolean", default: false } },
});
for (const recipe of RECIPES.filter(({ name }) => positionals.length === 0 || positionals.includes(name))) {
  const started = performance.now();
  const directory = join(HERE, "dist", recipe.name);
  const mark = join(HERE, "dist", `${recipe.name}.from`);
  const from = fingerprint(recipe);
  const isFresh = existsSync(join(directory, "bundle.json")) && existsSync(mark) && readFileSync(mark, "utf8") === from;
  if (isFresh && !values.force) {
    console.log(`${recipe.name}  up to date`);
    continue;
  }
  await mkdir(dirname(directory), { recursive: true });
  const { input, missing } = await addMeasurements(await recipe.build(), readMeasurements());
  const { bundle, identity } = await writeBundle(directory, await addGolden(input, recipe.goldenDims), QUALITY);
  await writeFile(mark, from);
  const sizes = bundle.variants.map(
    (x) => `${x.id} ${x.files.reduce((sum, file) => sum + file.bytes, 0)} bytes, ${x.wireBytes ?? 0} on the wire`,
  );
  if (missing.length > 0)
    console.log(`not measured as they are now: ${missing.join(", ")} (npx tsx models/measure.ts)`);
  console.log(
    `${recipe.name}  ${sizes.join(", ")}  ${identity.slice(0, 12)}  ${Math.round(performance.now() - started)} ms`,
  );
}
