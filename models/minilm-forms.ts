// Makes all-MiniLM-L6-v2 in smaller forms with `compress`: `npx tsx models/minilm-forms.ts`. Its samples are the
// project's own documentation. It takes minutes, so it is made anew only if the toolchain has changed.
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { compressRepository } from "../lib/compress/compress.ts";
import type { CompressOptions } from "../lib/compress/compress-options.ts";
import { canonicalJson } from "../lib/core/bundle.ts";
import { makeMiniLm } from "./minilm.ts";

const HERE = dirname(fileURLToPath(import.meta.url));
const ROOT = join(HERE, "..");
/** Folder of the bundle of all forms; git ignores it. */
export const MINILM_FORMS: string = join(ROOT, "e2e/.cache/minilm-forms");
/** Folder of the forms and the bundle for wasm; git ignores it. */
export const MINILM_WASM: string = join(ROOT, "e2e/.cache/minilm-wasm");
const SAMPLES = 64;
/** Variants of the bundle of all forms; the first is the reference. */
export const FORMS = ["f32", "int8", "int4"] as const;

type Progress = CompressOptions["onProgress"];

/** Makes float32, int8 and int4 as one bundle where it is not there yet; returns its folder. */
export async function makeMiniLmForms(onProgress?: Progress): Promise<string> {
  const bundle = join(MINILM_FORMS, "bundle");
  const forms = { targets: ["webgpu", "wasm"], forms: ["int8", "int4"] } as const;
  // The cosine that int4 has with all of its weights in 4 and 8 bits.
  await makeIn(MINILM_FORMS, { ...forms, maxDrop: "1%", onProgress }, () => placeAnywhere(join(bundle, "bundle.json")));
  return bundle;
}

/** Makes what `compress --targets wasm` makes by itself, where it is not there yet; returns the folder of the bundle. */
export async function makeMiniLmWasm(onProgress?: Progress): Promise<string> {
  await makeIn(MINILM_WASM, { targets: ["wasm"], onProgress });
  return join(MINILM_WASM, "bundle");
}

/** Compresses into a folder, unless the same toolchain has done so. */
async function makeIn(
  folder: string,
  options: Omit<CompressOptions, "out">,
  finish: () => Promise<void> = () => Promise.resolve(),
): Promise<void> {
  const mark = join(folder, "from");
  const from = fingerprint();
  if (existsSync(mark) && readFileSync(mark, "utf8") === from) return;
  const source = await makeMiniLm();
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  const samples = join(folder, "samples.txt");
  await writeFile(samples, `${sampleTexts().join("\n")}\n`);
  await compressRepository(source, { ...options, out: folder, samples, sensitivityMs: 0 });
  await finish();
  await writeFile(mark, from);
}

/** Lets each variant run on wasm too: where int4 is slower than float32, and no load takes it, but the answers count. */
async function placeAnywhere(path: string): Promise<void> {
  const bundle = JSON.parse(readFileSync(path, "utf8")) as { variants: { needs: string[] }[] };
  for (const variant of bundle.variants) variant.needs = [];
  await writeFile(path, canonicalJson(bundle));
}

/** Returns paragraphs of the documentation, the same in every run. */
function sampleTexts(): string[] {
  const folder = join(ROOT, "docs");
  const pages = readdirSync(folder).filter((x) => x.endsWith(".md"));
  const paragraphs = pages.flatMap((page) => {
    const text = readFileSync(join(folder, page), "utf8").replaceAll(/^```[^]*?^```$|^\|.*$/gm, "");
    return text.split(/\n\s*\n/).map((x) => x.replaceAll(/\s+/g, " ").trim());
  });
  const sized = paragraphs.filter((x) => x.length > 80 && x.length < 900);
  return sized.sort((a, b) => (hashOf(a) < hashOf(b) ? -1 : 1)).slice(0, SAMPLES);
}

/** Fingerprint of the toolchain and of what makes the model. */
function fingerprint(): string {
  const folder = join(ROOT, "lib/compress");
  const code = readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((x) => /\.[jt]s$/.test(x) && !x.endsWith(".test.ts"))
    .sort()
    .map((x) => join(folder, x));
  const own = ["minilm.ts", "minilm-forms.ts"].map((x) => join(HERE, x));
  return hashOf([...code, ...own].map((path) => readFileSync(path, "utf8")).join("\0"));
}

function hashOf(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

if (process.argv[1] === fileURLToPath(import.meta.url))
  for (const make of [makeMiniLmForms, makeMiniLmWasm])
    console.log(await make((line) => process.stderr.write(`${line}\n`)));
