// Subjects of the compression scenario: four models, each with calibration samples and other samples for the
// measurement; and files of each form, made by the toolchain and by the reference, once per run.
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { brotliCompressSync, constants } from "node:zlib";
import { zipSync } from "fflate";
import sharp from "sharp";
import type { Feed } from "../../../lib/compress/run/feeds.ts";
import { sqnrTally } from "../../../lib/compress/run/metric.ts";
import type { Outputs } from "../../../lib/compress/run/metric.ts";
import { raiseOpset } from "../../../lib/compress/simplify/raise-opset.ts";
import { openModel } from "../../../lib/compress/run/session.ts";
import { readModel } from "../../../lib/compress/onnx/model.ts";
import type { OnnxModel } from "../../../lib/compress/onnx/model.ts";
import { createDecoder } from "../../../lib/worker/processing/decode.ts";
import { imageToTensor } from "../../../lib/worker/processing/image.ts";
import { buildCnn } from "../../../models/fashion-cnn.ts";
import { buildMlp } from "../../../models/fashion-mlp.ts";
import { testPictures, trainingPictures } from "../../../models/fashion/pictures.ts";
import type { Pictures } from "../../../models/fashion/pictures.ts";
import { ocrRec } from "../../../models/ocr-rec.ts";
import { lines } from "../../../models/corpus/render.ts";
import { isExact } from "../../../models/corpus/score.ts";
import { ROOT } from "../../support/prepare.ts";
import { byteLm, POSITIONS } from "./byte-lm.ts";

/** Folder of files and bundles; served to the pages under /corpus/bench-compress/. */
export const FOLDER: string = join(ROOT, "e2e/.cache/bench-compress");
const CALIBRATION = 64;
/** Samples for the signal-to-noise ratio. */
const RATIO_SAMPLES = 100;

/** One model with its samples. */
export interface Work {
  readonly name: string;
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Calibration samples. */
  readonly calibration: readonly Feed[];
  /** Samples to measure on, none of them a calibration sample. */
  feeds(count: number): Promise<readonly Feed[]>;
  /**
   * Scores the outputs for those feeds, each on its own: 1 for right. For a language model, the negative
   * log-likelihood.
   */
  score(outputs: Outputs, index: number): number;
  readonly unit: "share exact" | "share right" | "nats";
  /**
   * Tolerated loss of the bundle's variants; other cases measure the loss of the metric. Default that of `compress`.
   */
  readonly maxDrop?: string;
  /** Number of samples for the metric. */
  readonly samples: number;
  /** Pruning options as for `compress`, with the classes of the calibration samples that it scores by. */
  readonly pruned?: { readonly share: number; readonly classes: Uint8Array };
}

/** Whether a case whose name contains this text may belong to a model: a case's name begins with its model's. */
export function isAsked(only: string, model: string): boolean {
  return only.startsWith(model) || !/^(fashion-|byte-|ocr-|spam|all-)/.test(only);
}

/** Models by name, each with its preparation. */
export const WORKS: Readonly<Record<string, (count: (usual: number) => number) => Promise<Work>>> = {
  "fashion-cnn": async () => clothing("fashion-cnn", buildCnn()),
  "fashion-mlp": async () => clothing("fashion-mlp", buildMlp()),
  "fashion-mlp-64": async () => clothing("fashion-mlp-64", buildMlp(), 64),
  "fashion-mlp-pruned": async () => prunedClothing("fashion-mlp-pruned", buildMlp(), 0.27),
  "byte-lm": async () => languageModel(),
  "ocr-rec": async (count) => recogniser(count(2_000)),
};

/** Prepares a Fashion-MNIST model, for batches of this many pictures. */
function clothing(name: string, model: OnnxModel, together = 1): Work {
  const { pixels, classes } = testPictures();
  const size = together * 784;
  const feed = (i: number): Feed => ({
    image: { dtype: "float32", dims: [together, 1, 28, 28], data: pixels.slice(i * size, (i + 1) * size) },
  });
  const first = (from: number, n: number): Feed[] => Array.from({ length: n }, (_, i) => feed(from + i));
  return {
    name,
    bytes: model.write(),
    calibration: first(0, CALIBRATION),
    feeds: async (n) => first(CALIBRATION, n),
    score: (outputs, i) => (winner(outputs) === classes[CALIBRATION + i] ? 1 : 0),
    unit: "share right",
    samples: 5_000,
  };
}

/** Training pictures of which `compress` fits the remaining weights to half, and validates on all. */
const TRAINING = 12_000;

/** Prepares such a model also for pruning: on training pictures, measured on the test pictures. */
function prunedClothing(name: string, model: OnnxModel, share: number): Work {
  const [training, test] = [trainingPictures(), testPictures()];
  const feeds = ({ pixels }: Pictures, n: number): Feed[] =>
    Array.from({ length: n }, (_, i) => ({
      image: { dtype: "float32", dims: [1, 1, 28, 28], data: pixels.slice(i * 784, (i + 1) * 784) },
    }));
  return {
    name,
    bytes: model.write(),
    calibration: feeds(training, TRAINING),
    feeds: async (n) => feeds(test, n),
    score: (outputs, i) => (winner(outputs) === test.classes[i] ? 1 : 0),
    unit: "share right",
    samples: test.count,
    pruned: { share, classes: training.classes.subarray(0, TRAINING) },
  };
}

/** Prepares the byte language model. */
export async function languageModel(): Promise<Work> {
  // The project's own texts; calibration and measurement use different ones.
  const text = ["README.md", "CONTRIBUTING.md", "lib/README.md"].map((x) => readFileSync(join(ROOT, x)));
  const bytes = Buffer.concat(text);
  const feed = (i: number): Feed => ({
    bytes: {
      dtype: "int32",
      dims: [1, POSITIONS],
      data: Int32Array.from(bytes.subarray(i * POSITIONS, (i + 1) * POSITIONS)),
    },
  });
  const rest = Math.floor((bytes.length - 1) / POSITIONS) - CALIBRATION;
  const model = byteLm().write();
  const feeds = (n: number): Feed[] => Array.from({ length: Math.min(n, rest) }, (_, i) => feed(CALIBRATION + i));
  // Untrained, so float32 is the reference: the cross entropy with its probabilities, minimal at its own.
  const whole = await openModel(model, "cpu");
  const right: Float64Array[][] = [];
  for (const each of feeds(rest)) right.push(sharesOf(await whole.run(each)));
  await whole.release();
  return {
    name: "byte-lm",
    bytes: model,
    calibration: Array.from({ length: CALIBRATION }, (_, i) => feed(i)),
    feeds: async (n) => feeds(n),
    score: (outputs, i) => {
      const now = sharesOf(outputs);
      const rows = (right[i] ?? []).map((shares, at) =>
        shares.reduce((sum, share, c) => sum - share * Math.log(Math.max(now[at]?.[c] ?? 0, 1e-30)), 0),
      );
      return rows.reduce((a, b) => a + b, 0) / rows.length;
    },
    unit: "nats",
    samples: rest,
  };
}

/** Returns the probabilities of the classes at each position. */
function sharesOf({ logits }: Outputs): Float64Array[] {
  const data = logits?.data ?? [];
  return Array.from({ length: POSITIONS }, (_, at) => {
    const row = Float64Array.from({ length: 256 }, (_, c) => data[at * 256 + c] ?? 0);
    const peak = row.reduce((a, b) => Math.max(a, b), -Infinity);
    const powers = row.map((x) => Math.exp(x - peak));
    const sum = powers.reduce((a, b) => a + b, 0);
    return powers.map((x) => x / sum);
  });
}

async function recogniser(count: number): Promise<Work> {
  const recipe = await ocrRec.build();
  const [port] = recipe.model.inputs;
  const [output] = recipe.model.outputs;
  if (port?.image === undefined || output?.decode === undefined) throw new Error("ocr-rec reads no images");
  const { image } = port;
  const assets = (recipe.assets ?? []).map((x) => [x.path, new TextDecoder().decode(x.bytes)] as const);
  const decode = createDecoder(output.name, output.decode, Object.fromEntries(assets));
  const corpus = await lines(count + CALIBRATION);
  const feed = async ({ file }: (typeof corpus)[number]): Promise<Feed> => {
    const { data, info } = await sharp(file).ensureAlpha().raw().toBuffer({ resolveWithObject: true });
    const pixels = { width: info.width, height: info.height, data: new Uint8ClampedArray(data) };
    return { [port.name]: imageToTensor(pixels, image, port.dtype) };
  };
  const feeds = async (list: typeof corpus): Promise<Feed[]> => {
    const made: Feed[] = [];
    for (const line of list) made.push(await feed(line));
    return made;
  };
  const source = readFileSync(ocrRec.sources[0] ?? "");
  return {
    name: "ocr-rec",
    // The reference writes operators of set 11 over a graph of set 9, which then fails: both get the raised model.
    bytes: readModel(new Uint8Array(source)).transform(raiseOpset(13)).write(),
    calibration: await feeds(corpus.slice(0, CALIBRATION)),
    feeds: (n) => feeds(corpus.slice(CALIBRATION, CALIBRATION + n)),
    score: (outputs, i) => {
      const result = outputs[output.name];
      const data = Float32Array.from(result?.data ?? []);
      const [answer] = decode({ dtype: "float32", dims: result?.dims ?? [], data });
      return answer?.kind === "text" && isExact(corpus[CALIBRATION + i]?.text ?? "", answer.text) ? 1 : 0;
    },
    unit: "share exact",
    // Probabilities of 6,625 characters: those with 24 dB read as many lines.
    maxDrop: "20dB",
    samples: count,
  };
}

function winner(outputs: Outputs): number {
  const data = Array.from(Object.values(outputs)[0]?.data ?? []);
  return data.indexOf(Math.max(...data));
}

/** A file of one form, with the time and memory of its making. */
export interface Made {
  readonly path: string;
  readonly bytes: number;
  readonly wireBytes: number;
  readonly seconds: number;
  readonly peakBytes: number;
  /** ONNX Runtime's session entries for its loads. Default none. */
  readonly session?: Readonly<Record<string, string>>;
}

/**
 * Writes a model and its calibration samples, for both quantizers. Each sample has an additional leading axis, so that
 * batches stay together and forms are timed on them.
 */
export function writeWork(work: Work): { folder: string; model: string; samples: string; labels?: string } {
  const folder = join(FOLDER, work.name);
  const samples = join(folder, "samples");
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(samples, { recursive: true });
  const model = join(folder, "model.onnx");
  writeFileSync(model, work.bytes);
  if (work.pruned !== undefined) {
    const labels = join(folder, "labels.txt");
    writeFileSync(labels, `${work.pruned.classes.join("\n")}\n`);
    const pixels = Float32Array.from(
      work.calibration.flatMap(({ image }) => [...((image?.data ?? []) as Float32Array)]),
    );
    const path = join(folder, "samples.npy");
    const dims = [work.calibration.length, 1, 28, 28];
    writeFileSync(path, npyOf({ dtype: "float32", dims, data: pixels }, []));
    return { folder, model, samples: path, labels };
  }
  for (const [i, feed] of work.calibration.entries()) {
    const arrays = Object.entries(feed).map(([name, x]) => [`${name}.npy`, npyOf(x)] as const);
    writeFileSync(
      join(samples, `${String(i).padStart(4, "0")}.npz`),
      zipSync(Object.fromEntries(arrays), { level: 0 }),
    );
  }
  return { folder, model, samples };
}

function npyOf({ dtype, dims, data }: Feed[string], front: readonly number[] = [1]): Uint8Array {
  if (!(data instanceof Float32Array) && !(data instanceof Int32Array)) throw new Error(`no sample is ${dtype}`);
  const shape = `(${[...front, ...dims].join(", ")},)`;
  const type = data instanceof Float32Array ? "<f4" : "<i4";
  const header = `{'descr': '${type}', 'fortran_order': False, 'shape': ${shape}, }`.padEnd(117) + "\n";
  const head = Uint8Array.from([0x93, ...new TextEncoder().encode("NUMPY"), 1, 0, header.length, 0]);
  return Buffer.concat([
    head,
    new TextEncoder().encode(header),
    new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
  ]);
}

/**
 * Makes a form with the toolchain or with the reference.
 * @throws Error that names what to install if Python or its packages are missing
 */
export function makeForm(by: "selvedge" | "reference", form: string, at: ReturnType<typeof writeWork>): Made {
  const path = join(at.folder, `${by}-${form}.onnx`);
  const words = [form, at.model, at.samples, path];
  const here = import.meta.dirname;
  const [command, args] =
    by === "selvedge"
      ? [process.execPath, [...process.execArgv, "--import", "tsx", join(here, "compress-make.ts"), ...words]]
      : ["/usr/bin/python3", [join(here, "compress-reference.py"), ...words]];
  let text: string;
  try {
    text = execFileSync(command, args, { cwd: ROOT, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
  } catch (error) {
    const reason = String((error as { stderr?: unknown }).stderr ?? error)
      .trim()
      .split("\n")
      .at(-1);
    const fix = by === "reference" ? "; apt-get install python3-onnxruntime python3-onnx" : "";
    throw new Error(`${by} did not make ${form} of ${at.folder}: ${reason ?? ""}${fix}`, { cause: error });
  }
  const told = JSON.parse(text.trim().split("\n").at(-1) ?? "") as Pick<Made, "seconds" | "peakBytes" | "session">;
  return { path, bytes: statSync(path).size, wireBytes: wireBytes(path), ...told };
}

/** Returns the size of a file on the wire: brotli's best quality, in one piece. */
function wireBytes(path: string): number {
  const bytes = readFileSync(path);
  const params = { [constants.BROTLI_PARAM_LGWIN]: 24, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length };
  return brotliCompressSync(bytes, { params }).length;
}

/** Measures the signal-to-noise ratio of a file's outputs against the model's, in dB. */
export async function ratioOf(work: Work, { path, session }: Made): Promise<number> {
  const [whole, form] = [await openModel(work.bytes, "cpu"), await openModel(path, "cpu", session)];
  const tally = sqnrTally();
  try {
    for (const feed of await work.feeds(RATIO_SAMPLES))
      tally.add({ reference: await whole.run(feed), outputs: await form.run(feed) });
    return tally.value();
  } finally {
    await whole.release();
    await form.release();
  }
}
