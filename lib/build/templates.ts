// Copies the templates of `selvedge init` into the package, with the model that they load: the text recogniser of the
// demo, in the one variant that runs on every backend, and without its golden input. That is 2.4 MB of the package.
import { execFileSync } from "node:child_process";
import { copyFileSync, cpSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** Variant of models/ocr-rec.ts that is small and runs on wasm and WebGPU. */
const VARIANT = "int8";

/** The parts of bundle.json that a copy of one variant needs. */
interface TemplateBundle {
  readonly assets: readonly FileJson[];
  readonly variants: readonly { readonly id: string; readonly files: readonly FileJson[]; readonly golden?: unknown }[];
}
interface FileJson {
  readonly chunks: readonly { readonly sha256: string }[];
}

/** Copies the templates and the model into a folder; the model is built first where its sources have changed. */
export function copyTemplates(root: string, to: string): void {
  cpSync(join(root, "lib/cli/templates"), to, { recursive: true });
  execFileSync("npx", ["tsx", "models/build.ts", "ocr-rec"], { cwd: root, stdio: ["ignore", "ignore", "inherit"] });
  copyVariant(join(root, "models/dist/ocr-rec"), join(to, "models/ocr-rec"));
}

function copyVariant(from: string, to: string): void {
  const bundle = JSON.parse(readFileSync(join(from, "bundle.json"), "utf8")) as TemplateBundle;
  const variants = bundle.variants.filter(({ id }) => id === VARIANT).map(({ golden: _, ...rest }) => rest);
  if (variants.length === 0) throw new Error(`${from} has no variant ${VARIANT}`);
  mkdirSync(join(to, "chunks"), { recursive: true });
  writeFileSync(join(to, "bundle.json"), JSON.stringify({ ...bundle, variants }));
  for (const { chunks } of [...bundle.assets, ...variants.flatMap(({ files }) => files)])
    for (const { sha256 } of chunks)
      copyFileSync(join(from, "chunks", `${sha256}.bin`), join(to, "chunks", `${sha256}.bin`));
}
