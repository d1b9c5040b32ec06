// Renders the corpus with ground truth by construction, and caches it in e2e/.cache (not in the repository).
//
//   npx tsx models/corpus/render.ts --lines 2000 --pages 30
//
// fills the cache and prints its path: `<folder>/lines/000000.jpg|png …` with `lines.json`, and
// `<folder>/pages/000000.jpg …` with `pages.json`; both JSON files list { file, … } with the truth. From code: `await
// lines(n)`, `await pages(n)`. The folder's name is a hash of the sources that determine the pictures, so that a change
// of them renders anew.
import { build } from "esbuild";
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { chromium } from "@playwright/test";
import { writeWhole } from "../../lib/test-support/write-whole.ts";
import { FAMILIES, WEIGHTS, faceBase64 } from "./fonts.ts";
import { layLine, layPage, laySmallPage } from "./layout.ts";
import type { LaunchOptions, Page } from "@playwright/test";
import type { LineSpec, PageSpec, Picture } from "./draw.ts";

/** One line of text as a picture, with its truth. */
export interface Line {
  readonly file: string;
  readonly text: string;
  readonly family: string;
}

/** One page, with its lines in reading order. */
export interface CorpusPage {
  readonly file: string;
  readonly lines: readonly string[];
  /** The same lines across the columns: the truth for a reader that ignores columns. */
  readonly across: readonly string[];
  readonly columns: number;
  readonly degrees: number;
}

const HERE = dirname(fileURLToPath(import.meta.url));
const SOURCES = ["draw.ts", "layout.ts", "text.ts", "fonts.ts", "../../lib/test-support/random.ts"];
const GROUP = 50;

/** Returns the first `count` lines of the corpus, rendering those that are missing. */
export async function lines(count: number): Promise<Line[]> {
  const specs = Array.from({ length: count }, (_, index) => layLine(index));
  const pictures = await rendered("lines", specs, ({ quality }) => (quality === null ? "png" : "jpg"));
  return pictures.map(({ file, lines }, at) => ({
    file,
    text: lines[0] ?? "",
    family: specs[at]?.face.family ?? "",
  }));
}

/** Returns the first `count` pages of the corpus, rendering those that are missing. */
export function pages(count: number): Promise<CorpusPage[]> {
  return renderedPages(
    "pages",
    Array.from({ length: count }, (_, index) => layPage(index)),
  );
}

/** Returns the first `count` small pages: three short lines each. */
export function smallPages(count: number): Promise<CorpusPage[]> {
  return renderedPages(
    "small-pages",
    Array.from({ length: count }, (_, index) => laySmallPage(index)),
  );
}

async function renderedPages(kind: "pages" | "small-pages", specs: readonly PageSpec[]): Promise<CorpusPage[]> {
  const pictures = await rendered(kind, specs, () => "jpg");
  return pictures.map((picture, at) => ({
    ...picture,
    columns: specs[at]?.columns.length ?? 1,
    degrees: specs[at]?.degrees ?? 0,
  }));
}

/** Returns the folder of this version of the corpus. */
export async function corpusFolder(): Promise<string> {
  const hash = createHash("sha256");
  for (const name of SOURCES) hash.update(await readFile(join(HERE, name)));
  return join(HERE, "../../e2e/.cache", `corpus-${hash.digest("hex").slice(0, 12)}`);
}

type Kind = "lines" | "pages" | "small-pages";

interface Kept {
  readonly file: string;
  readonly lines: readonly string[];
  readonly across: readonly string[];
}

async function rendered<Spec extends LineSpec | PageSpec>(
  kind: Kind,
  specs: readonly Spec[],
  extension: (spec: Spec) => string,
): Promise<Kept[]> {
  const folder = await corpusFolder();
  const index = join(folder, `${kind}.json`);
  const kept: Kept[] = existsSync(index) ? (JSON.parse(await readFile(index, "utf8")) as Kept[]) : [];
  if (kept.length < specs.length) {
    await mkdir(join(folder, kind), { recursive: true });
    await withPage(async (page) => {
      while (kept.length < specs.length) {
        const start = kept.length;
        const group = specs.slice(start, start + GROUP);
        const pictures = await draw(page, kind, group);
        for (const [at, picture] of pictures.entries()) {
          const spec = group[at];
          if (spec === undefined) throw new Error("more pictures than specs");
          const file = join(kind, `${String(start + at).padStart(6, "0")}.${extension(spec)}`);
          writeWhole(join(folder, file), Buffer.from(picture.base64, "base64"));
          kept.push({ file, lines: picture.lines, across: picture.across });
        }
      }
    });
    writeWhole(index, JSON.stringify(kept));
  }
  return kept.slice(0, specs.length).map((one) => ({ ...one, file: join(folder, one.file) }));
}

function draw(page: Page, kind: Kind, specs: readonly (LineSpec | PageSpec)[]): Promise<Picture[]> {
  return page.evaluate(
    async ([kind, specs]) => {
      const { drawLine, drawPage } = (globalThis as unknown as { corpus: typeof import("./draw.ts") }).corpus;
      const pictures = [];
      for (const spec of specs) {
        pictures.push(await (kind === "lines" ? drawLine(spec as LineSpec) : drawPage(spec as PageSpec)));
      }
      return pictures;
    },
    [kind, specs] as const,
  );
}

/** Debian's Chromium where it is installed, else Playwright's. Pictures are drawn without the GPU. */
function launchOptions(): LaunchOptions {
  const path = "/usr/bin/chromium";
  return {
    ...(existsSync(path) ? { executablePath: path } : {}),
    headless: true,
    args: process.getuid?.() === 0 ? ["--no-sandbox"] : [],
  };
}

async function withPage(work: (page: Page) => Promise<void>): Promise<void> {
  const bundled = await build({
    entryPoints: [join(HERE, "draw.ts")],
    bundle: true,
    write: false,
    format: "iife",
    globalName: "corpus",
    target: "es2022",
  });
  const script = bundled.outputFiles[0]?.text ?? "";
  const browser = await chromium.launch(launchOptions());
  try {
    const page = await browser.newPage();
    await page.addScriptTag({ content: script });
    for (const family of FAMILIES) {
      for (const weight of WEIGHTS) {
        await page.evaluate(
          ([family, weight, base64]) =>
            (globalThis as unknown as { corpus: typeof import("./draw.ts") }).corpus.addFace(family, weight, base64),
          [family, weight, await faceBase64(family, weight)] as const,
        );
      }
    }
    await work(page);
  } finally {
    await browser.close();
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const { values } = parseArgs({ options: { lines: { type: "string" }, pages: { type: "string" } } });
  await lines(Number(values.lines ?? 0));
  await pages(Number(values.pages ?? 0));
  console.log(await corpusFolder());
}
