// Makes the pages of scenarios that time a visit: bundled, with the files that they load beside them.
import { copyFileSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { build } from "esbuild";
import { ROOT } from "../../support/prepare.ts";

/** Files of the package that a page loads at run time. */
const PACKAGE_FILES = [
  "worker-jspi.js",
  "worker-wasm.js",
  "worker-cache.js",
  "ort-jspi.wasm",
  "ort-jspi-rest.wasm",
  "ort-wasm.wasm",
  "ort-wasm-rest.wasm",
  "brotli.wasm",
] as const;

/** Writes index.html and its bundled script into a folder, which it makes. */
export async function buildPage(folder: string, code: string): Promise<void> {
  mkdirSync(folder, { recursive: true });
  await build({
    stdin: { contents: code, resolveDir: ROOT, loader: "js" },
    outfile: join(folder, "main.js"),
    bundle: true,
    minify: true,
    format: "esm",
    target: "es2022",
    external: ["node:*"],
    conditions: ["browser", "import"],
    logLevel: "error",
  });
  const html = `<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><script type="module" src="main.js"></script>`;
  writeFileSync(join(folder, "index.html"), html);
}

/** Copies the package's workers and wasm beside a page. */
export function copyPackage(folder: string): void {
  for (const file of PACKAGE_FILES) copyFileSync(join(ROOT, "dist", file), join(folder, file));
}

/** Copies ONNX Runtime Web as bundled with transformers.js into a folder, which it makes. */
export function copyTransformersOrt(folder: string): void {
  mkdirSync(folder, { recursive: true });
  const theirs = join(ROOT, "node_modules/@huggingface/transformers/node_modules/onnxruntime-web/dist");
  for (const file of readdirSync(theirs).filter((x) => /^ort-wasm-simd-threaded.*\.(wasm|mjs)$/.test(x)))
    copyFileSync(join(theirs, file), join(folder, file));
}
