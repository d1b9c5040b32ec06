// Makes all-MiniLM-L6-v2 in float32, int8 and int4 with `compress`, as one bundle: `npx tsx models/minilm-forms.ts`. Its
// samples are the project's own documentation. It takes minutes, so it is made anew only if the toolchain has changed.
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { compressRepository } from "../lib/compress/compress.ts";
import { canonicalJson } from "../lib/core/bundle.ts";
import { makeMiniLm } from "./minilm.ts";

const HERE = dirname(fileURLToPath(import.meta.url));
const ROOT = join(HERE, "..");
/** Folder of the bundle; git ignores it. */
export const MINILM_FORMS: string = join(ROOT, "e2e/.cache/minilm-forms");
const SAMPLES = 64;
/** Variants of the bundle; the first is the reference. */
export const FORMS = ["f32", "int8", "int4"] as const;

/** Makes the bundle where it is not there yet; returns its folder. */
export async function makeMiniLmForms(onProgress?: (line: string) => void): Promise<string> {
  const bundle = join(MINILM_FORMS, "bundle");
  const mark = join(MINILM_FORMS, "from");
  const from = fingerprint();
  if (existsSync(mark) && readFileSync(mark, "utf8") === from) return bundle;
  const source = await makeMiniLm();
  await rm(MINILM_FORMS, { recursive: true, force: true });
  await mkdir(MINILM_FORMS, { recursive: true });
  const samples = join(MINILM_FORMS, "samples.txt");
  await writeFile(samples, `${sampleTexts().join("\n")}\n`);
  await compressRepository(source, {
    out: MINILM_FORMS,
    targets: ["webgpu", "wasm"],
    forms: ["int8", "int4"],
    samples,
    // The cosine that int4 has with all of its weights in 4 and 8 bits.
    maxDrop: "1%",
    sensitivityMs: 0,
    onProgress,
  });
  await placeAnywhere(join(bundle, "bundle.json"));
  await writeFile(mark, from);
  return bundle;
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
  console.log(await makeMiniLmForms((line) => process.stderr.write(`${line}\n`)));
