// Answers of Python's transformers, torchvision and Pillow to the same inputs: test-support/processing has them, and the
// script that writes them.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { BundleInput, DecodeSpec } from "../../core/bundle.ts";
import type { Tensor } from "../../core/tensor.ts";
import type { WirePixels } from "../../rpc/messages.ts";
import { PROCESSOR_CLASSES } from "../../source/processor-classes.ts";
import { readProcessor } from "../../source/processor.ts";
import { readVocabulary } from "../../source/vocabulary.ts";
import { createDecoder } from "./decode.ts";
import type { DecodeRun } from "./decode-run.ts";
import { imageToTensor } from "./image.ts";
import { logMel } from "./log-mel.ts";
import { planImage } from "./plan-image.ts";
import { soundToTensor } from "./sound.ts";
import { createTextReaders } from "./text.ts";

const FOLDER = join(import.meta.dirname, "..", "..", "test-support", "processing");
const read = (name: string): unknown => JSON.parse(readFileSync(join(FOLDER, name), "utf8"));

/** Every `step`-th value of a tensor of these dims. */
interface Sampled {
  readonly dims: readonly number[];
  readonly step: number;
  readonly values: readonly number[];
}

/** Formulas of the script: a picture, and numbers of −4 to 4. */
function picture(width: number, height: number): WirePixels {
  const data = new Uint8ClampedArray(width * height * 4).fill(255);
  for (let y = 0; y < height; y += 1)
    for (let x = 0; x < width; x += 1)
      for (let c = 0; c < 3; c += 1) {
        const noise = (x * x * 7 + y * 13 + x * y * 5 + c * 67) % 251;
        const blocks = (((x >> 3) + (y >> 2) + c) * 53) % 256;
        data[(y * width + x) * 4 + c] = x * 2 < width ? noise : blocks;
      }
  return { width, height, data };
}

function numbers(count: number, seed = 0): Float32Array<ArrayBuffer> {
  return Float32Array.from({ length: count }, (_, index) => {
    const i = index + seed * 31_337;
    return (((i * i * 48_271 + i * 7_919 + 104_729) % 65_537) / 65_537) * 8 - 4;
  });
}

const floats = (dims: readonly number[], data: Float32Array<ArrayBuffer>): Tensor => ({ dtype: "float32", dims, data });
const lines = (count: number): string => Array.from({ length: count }, (_, i) => `class ${i}\n`).join("");

/** A request with a picture that was stretched to a tensor of the same proportions. */
function requestOf(outputs: Readonly<Record<string, Tensor>>, width = 200, height = 150): DecodeRun {
  const plan = planImage(width, height, { mode: "exact", width: 64, height: 64 });
  return {
    ...{ input: () => undefined, output: (name) => outputs[name], tokens: () => null },
    picture: () => ({ width, height, plan }),
  };
}

interface ImageCase extends Sampled {
  readonly config: Readonly<Record<string, unknown>>;
  readonly width: number;
  readonly height: number;
}

describe("images as the processors of transformers", () => {
  const cases = read("images.json") as readonly ImageCase[];
  test("each class is there with Pillow and with torchvision", () => {
    const names = new Set(cases.map((x) => String(x.config["image_processor_type"])));
    expect([...names].filter((x) => x.endsWith("Fast")).length).toBeGreaterThanOrEqual(15);
    expect([...names].filter((x) => !x.endsWith("Fast")).length).toBeGreaterThanOrEqual(20);
  });

  test.each(
    cases.map((x, i) => [`${String(x.config["image_processor_type"])} ${i}: ${x.width} × ${x.height}`, x] as const),
  )("%s is within 1 of 255, with torchvision the same", (name, { config, width, height, dims, step, values }) => {
    const { image, unsupported } = readProcessor(config);
    expect(unsupported).toBe(null);
    if (image === null) return;
    const found = imageToTensor(picture(width, height), image, "float32");
    expect(found.dims).toEqual(dims);
    const plane = (dims[2] ?? 1) * (dims[3] ?? 1);
    const scale = image.scale ?? 1 / 255;
    for (const [i, value] of values.entries()) {
      const std = image.std?.[Math.floor((i * step) / plane) % 3] ?? 1;
      const off = Math.abs(Number(found.data[i * step]) - value) / Math.abs(scale / std);
      expect(off, `value ${i * step}`).toBeLessThan(/Fast /.test(name) ? 0.05 : 1.01);
    }
  });
});

interface Tasks {
  readonly classification: readonly {
    readonly problem: string | null;
    readonly classes: number;
    readonly labels: readonly { readonly label: string; readonly score: number }[];
  }[];
  readonly boxes: readonly {
    readonly name: string;
    readonly queries: number;
    readonly classes: number;
    readonly boxes: Boxes;
  }[];
  readonly anchors: readonly { readonly count: number; readonly classes: number; readonly boxes: Boxes }[];
  readonly maps: {
    readonly segment: readonly number[];
    readonly depth: readonly number[];
    readonly mask: readonly number[];
  };
  readonly speech: readonly (Sampled & {
    readonly bands: number;
    readonly seconds: number;
    readonly samples: number;
  })[];
}

/** Score, label and corners of each box. */
type Boxes = readonly (readonly [number, number, readonly number[]])[];

const tasks = read("tasks.json") as Tasks;

describe("classification", () => {
  test.each(tasks.classification)("of problem type $problem has the pipeline's labels and scores", (x) => {
    const logits = x.problem === "multi_label_classification" ? "sigmoid" : true;
    const decode = createDecoder("y", { op: "labels", asset: "l", top: 3, logits }, { l: lines(x.classes) });
    const [answer] = decode(floats([1, x.classes], numbers(x.classes, x.classes)));
    const labels = answer?.kind === "labels" ? answer.labels : [];
    expect(labels.map((each) => each.label)).toEqual(x.labels.map((each) => each.label));
    for (const [i, { score }] of x.labels.entries()) expect(labels[i]?.score).toBeCloseTo(score, 5);
  });
});

function expectBoxes(spec: DecodeSpec, classes: number, output: Tensor, run: DecodeRun, wanted: Boxes): void {
  const [answer] = createDecoder("y", spec, { l: lines(classes) })(output, run);
  const boxes = answer?.kind === "boxes" ? answer.boxes : [];
  expect(wanted.length).toBeGreaterThan(2);
  expect(boxes.map((x) => [x.index, x.label])).toEqual(wanted.map(([, label]) => [label, `class ${label}`]));
  for (const [i, [score, , corners]] of wanted.entries()) {
    const { score: own = 0, box } = boxes[i] ?? {};
    expect(own).toBeCloseTo(score, 4);
    for (const [at, x] of [box?.xmin, box?.ymin, box?.xmax, box?.ymax].entries())
      expect(x).toBeCloseTo(corners[at] ?? 0, 2);
  }
}

describe("boxes", () => {
  test.each(tasks.boxes)("of $name's head are those of its processor, in pixels of the picture", (x) => {
    const logits = floats([1, x.queries, x.classes], numbers(x.queries * x.classes, 3));
    const places = floats(
      [1, x.queries, 4],
      numbers(x.queries * 4, 4).map((each) => (each + 4) / 10),
    );
    const top = PROCESSOR_CLASSES[x.name]?.boxes;
    const spec = { op: "detect", form: "queries", boxes: "b", asset: "l", image: "x", threshold: 0.4, top } as const;
    const hasNone = ["Detr", "Yolos"].includes(x.name);
    expectBoxes(spec, hasNone ? x.classes - 1 : x.classes, logits, requestOf({ b: places }), x.boxes);
  });

  test.each(tasks.anchors)("of YOLO's head, in rows or columns, are those of torchvision's batched_nms", (x) => {
    const places = numbers(x.count * 4, 5).map((each, i) => (each + 4) * ([60, 40, 20, 20][i % 4] ?? 0));
    const scores = numbers(x.count * x.classes, 6).map((each) => (each + 4) / 8);
    const width = 4 + x.classes;
    const at = (anchor: number, i: number): number =>
      (i < 4 ? places[anchor * 4 + i] : scores[anchor * x.classes + i - 4]) ?? 0;
    const rows = Float32Array.from({ length: x.count * width }, (_, i) => at(Math.floor(i / width), i % width));
    const columns = Float32Array.from({ length: x.count * width }, (_, i) => at(i % x.count, Math.floor(i / x.count)));
    const spec = { op: "detect", form: "anchors", asset: "l", image: "x", threshold: 0.3, iou: 0.3 } as const;
    const run: DecodeRun = {
      ...requestOf({}),
      picture: () => null,
      input: () => floats([1, 3, 400, 500], new Float32Array()),
    };
    expectBoxes(spec, x.classes, floats([1, x.count, width], rows), run, x.boxes);
    expectBoxes(spec, x.classes, floats([1, width, x.count], columns), run, x.boxes);
  });
});

describe("maps", () => {
  const run = requestOf({}, 13, 17);

  test("classes are resized to the picture before the best is taken", () => {
    const decode = createDecoder("y", { op: "segment", asset: "l", image: "x" }, { l: lines(4) });
    const [answer] = decode(floats([1, 4, 6, 5], numbers(120, 7)), run);
    expect(answer).toMatchObject({ kind: "segments", width: 13, height: 17 });
    const classes = answer?.kind === "segments" ? [...answer.classes] : [];
    expect(classes).toEqual(tasks.maps.segment);
    const shares = answer?.kind === "segments" ? answer.labels : [];
    expect(shares.reduce((sum, x) => sum + x.share, 0)).toBeCloseTo(1);
    expect(shares[0]?.share).toBe(classes.filter((x) => x === shares[0]?.index).length / classes.length);
  });

  test.each(["depth", "mask"] as const)("%s is resized to the picture as torch does it", (op) => {
    const [answer] = createDecoder("y", { op, image: "x" }, {})(floats([1, 6, 5], numbers(30, 8)), run);
    const values = answer?.kind === "map" ? answer.values : new Float32Array();
    expect(values).toHaveLength(tasks.maps[op].length);
    for (const [i, x] of tasks.maps[op].entries()) expect(values[i]).toBeCloseTo(x, 4);
  });
});

interface TokenCase {
  readonly name: string;
  readonly tokenizer: unknown;
  readonly labels: readonly string[];
  readonly rows: readonly {
    readonly text: string;
    readonly seed: number;
    readonly ids: readonly number[];
    readonly entities: Readonly<Record<string, readonly (readonly [string, number, string, number, number])[]>>;
  }[];
}

/** Places by code points, as Python has them, to those of UTF-16. */
const utf16 = (text: string, at: number): number => [...text].slice(0, at).join("").length;

describe("token classification", () => {
  const cases = (read("tokens.json") as readonly TokenCase[]).flatMap((x) =>
    x.rows.flatMap((row) => Object.keys(row.entities).map((how) => [x.name, how, row.text, x, row] as const)),
  );
  test.each(cases)("%s, %s: %s", (_name, how, text, { tokenizer, labels }, { seed, ids, entities }) => {
    const port: BundleInput = { name: "ids", dtype: "int64", dims: ["batch", "length"], batchAxis: 0 };
    const input: BundleInput = { ...port, text: { tokenizer: "t", maxLength: 512 } };
    const reader = createTextReaders([input], { t: JSON.stringify(tokenizer) })["ids"];
    expect(Array.from(reader?.read([text])["ids"]?.data as BigInt64Array, Number)).toEqual(ids);
    const spec = { op: "tokens", asset: "l", text: "ids", aggregate: how as "none" } as const;
    const logits = floats([1, ids.length, labels.length], numbers(ids.length * labels.length, seed));
    const run: DecodeRun = { ...requestOf({}), tokens: () => reader?.tokens(text) ?? null };
    const [answer] = createDecoder("y", spec, { l: labels.join("\n") })(logits, run);
    const found = answer?.kind === "entities" ? answer.entities : [];
    const wanted = entities[how] ?? [];
    const isWhole = how !== "none" && how !== "simple";
    // The pipeline joins words twice, and loses spaces (SentencePiece) and split characters (bytes) by that.
    const plain = (word: string): string => (isWhole ? word.replace(/[^!-~]/g, "") : word);
    expect(found.map((x) => [x.label, plain(x.word), x.start, x.end])).toEqual(
      wanted.map(([label, , word, start, end]) => [label, plain(word), utf16(text, start), utf16(text, end)]),
    );
    for (const [i, [, score]] of wanted.entries()) expect(found[i]?.score).toBeCloseTo(score, 4);
  });
});

/** Samples of the script: a tone, one that rises, and noise. */
function recording(count: number): Float32Array {
  const noise = numbers(count);
  return Float32Array.from({ length: count }, (_, i) => {
    const t = i / 16_000;
    return 0.5 * Math.sin(2 * Math.PI * 440 * t) + 0.3 * Math.sin(2 * Math.PI * 3000 * t * t) + 0.01 * (noise[i] ?? 0);
  });
}

interface Sounds {
  readonly sounds: readonly (Sampled & {
    readonly config: { readonly feature_extractor_type: string };
    readonly samples: number;
  })[];
  readonly ctc: readonly {
    readonly vocabulary: Readonly<Record<string, number>>;
    readonly tokenizer: object;
    readonly seed: number;
    readonly steps: number;
    readonly classes: number;
    readonly text: string;
  }[];
}

const { sounds, ctc } = read("sounds.json") as Sounds;

describe("sounds", () => {
  test.each(sounds)("$samples samples are as by $config", (x) => {
    const spec = readProcessor(x.config).sound;
    if (spec === null) expect.fail("refused");
    const { dims, data } = soundToTensor(recording(x.samples), spec);
    expect(dims).toEqual(x.dims);
    for (const [i, value] of x.values.entries())
      expect(Math.abs(Number(data[i * x.step]) - value), `value ${i * x.step}`).toBeLessThan(2e-4);
  });
});

describe("texts by CTC", () => {
  test.each(ctc)("of $vocabulary are Wav2Vec2CTCTokenizer's", (x) => {
    const facts = readVocabulary(x.vocabulary, x.tokenizer, { vocab_size: x.classes });
    if (facts === null) expect.fail("refused");
    const assets = { l: `${facts.lines.join("\n")}\n` };
    const decode = createDecoder("y", { op: "ctc", asset: "l", blank: facts.blank, logits: true }, assets);
    const values = numbers((x.steps / 2) * x.classes, x.seed);
    const twice = Float32Array.from({ length: x.steps * x.classes }, (_, i) => {
      const row = Math.floor(i / x.classes / 2);
      return values[row * x.classes + (i % x.classes)] ?? 0;
    });
    const logits = floats([1, x.steps, x.classes], twice);
    const [answer] = decode(logits);
    expect(answer?.kind === "text" && answer.text).toBe(x.text);
    expect(answer?.kind === "text" && answer.confidence).toBeLessThanOrEqual(1);
  });
});

describe("log-mel spectrogram", () => {
  test.each(tasks.speech)("of $bands bands in $seconds s is WhisperFeatureExtractor's", (x) => {
    const samples = recording(x.samples);
    const found = logMel(samples, { op: "log-mel", sampleRate: 16_000, bands: x.bands, seconds: x.seconds });
    expect(found.dims).toEqual([1, x.bands, x.seconds * 100]);
    const [, , frames = 1] = x.dims;
    for (const [i, value] of x.values.entries()) {
      const at = i * x.step;
      const own = found.data[Math.floor(at / frames) * x.seconds * 100 + (at % frames)];
      expect(Math.abs(Number(own) - value), `value ${at}`).toBeLessThan(1e-4);
    }
  });
});
