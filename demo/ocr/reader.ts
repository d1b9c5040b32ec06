// Reads pages: detection, boxes, crops, recognition of all lines at once, reading order. This is the part of the demo
// that a user of Selvedge would write; the page around it is main.ts and view.ts.
//
// A third model (ocr-cls) detects lines that are upside down. It is loaded and run only when a page reads so badly that
// it may be upside down: an upright page never pays for it.
import * as Comlink from "comlink";
import { createEngine } from "selvedge";
import type { BackendName, Engine, Model, Progress } from "selvedge";
import { quantile } from "../quantile.ts";
import { flipBox } from "./boxes.ts";
import type { Box, ProbabilityMap } from "./boxes.ts";
import type { Pixels } from "./crops.ts";
import { readingOrder } from "./order.ts";
import type { PageWorker } from "./page-worker.ts";
import { narrowPunctuation } from "./punctuation.ts";

/** A recognised line. */
export interface ReadLine {
  readonly box: Box;
  readonly text: string;
  /** Mean probability of its characters, 0…1. */
  readonly confidence: number;
}

/** Duration of one stage, and where it ran. */
export interface Stage {
  readonly name: string;
  readonly ranOn: string;
  readonly ms: number;
}

/** A page's lines in reading order. */
export interface Reading {
  readonly width: number;
  readonly height: number;
  readonly lines: readonly ReadLine[];
  readonly stages: readonly Stage[];
}

/** Options of a reader. */
export interface ReaderOptions {
  /** Pins every model's backend. Default: the fastest here. */
  readonly backend?: BackendName | undefined;
  /** Pins the recogniser's variant. Default: the fastest here. */
  readonly variant?: string | undefined;
  /** Logs where ONNX Runtime runs operators. Default false. */
  readonly verbose?: boolean | undefined;
  /** Called as models load, with the share loaded, 0…1. */
  readonly onProgress?: ((share: number) => void) | undefined;
}

/** Lines below this confidence are specks and ornaments. */
const MIN_CONFIDENCE = 0.5;
/** A page whose lines read worse than this may be upside down. */
const DOUBTFUL = 0.8;

/** Loads the models, then reads pages one at a time. */
export async function createReader(options: ReaderOptions = {}): Promise<Reader> {
  const { backend, variant, verbose, onProgress } = options;
  const engine = await createEngine({ verbose, backends: backend === undefined ? undefined : [backend] });
  const shares = [0, 0];
  const progress =
    (index: number) =>
    ({ loadedBytes, totalBytes }: Progress) => {
      shares[index] = totalBytes === null ? 0 : loadedBytes / totalBytes;
      onProgress?.(shares.reduce((sum, share) => sum + share / shares.length, 0));
    };
  const [detector, recogniser] = await Promise.all([
    engine.load(bundleUrl("ocr-det"), { backend, onProgress: progress(0) }),
    engine.load(bundleUrl("ocr-rec"), { backend, variant, onProgress: progress(1) }),
  ]);
  return new Reader(engine, detector, recogniser);
}

function bundleUrl(name: string): string {
  return new URL(`../models/${name}/bundle.json`, document.baseURI).href;
}

/** Reads pages; created by `createReader`. */
export class Reader {
  readonly engine: Engine;
  readonly detector: Model;
  readonly recogniser: Model;
  readonly #page: Comlink.Remote<PageWorker> = Comlink.wrap<PageWorker>(
    new Worker(new URL("./page-worker.ts", import.meta.url), { type: "module" }),
  );
  #classifier: Model | null = null;

  /** Internal: use `createReader`. */
  constructor(engine: Engine, detector: Model, recogniser: Model) {
    this.engine = engine;
    this.detector = detector;
    this.recogniser = recogniser;
  }

  /**
   * Reads a page. Calls must not overlap: abort the signal and await the end of one before the next.
   * @throws Error if the file is no picture that this browser can show; the signal's reason for a cancel
   */
  async read(file: Blob, signal: AbortSignal): Promise<Reading> {
    const watch = new Stopwatch(signal);
    const size = await this.#page.open(file).catch((error: unknown) => {
      throw new Error("This file is not a picture that the browser can show.", { cause: error });
    });
    watch.lap("Decode", "worker");

    const { outputs, info } = await this.detector.run({ [inputOf(this.detector)]: file }, { signal });
    watch.lap("Detect", `${info.variant} on ${info.backend}`);

    const map = toMap(outputs[outputOf(this.detector)]);
    const boxes = await this.#page.findLines(Comlink.transfer(map, [map.data.buffer]));
    const crops = await this.#page.crop(boxes);
    watch.lap(`Find and crop ${count(boxes.length, "line")}`, "worker");

    let lines = await this.#recognise(boxes, crops, signal);
    watch.lap(`Recognise ${count(lines.length, "line")}`, `${this.recogniser.variant} on ${this.recogniser.backend}`);

    if (
      (quantile(
        lines.map((line) => line.confidence),
        0.5,
      ) ?? 1) < DOUBTFUL
    ) {
      const isTurned = await this.#isUpsideDown(crops, signal);
      if (isTurned) {
        const flipped = boxes.map(flipBox);
        lines = await this.#recognise(flipped, await this.#page.crop(flipped), signal);
      }
      watch.lap(isTurned ? "Turn the page and recognise again" : "Detect the orientation", "ocr-cls");
    }

    const order = readingOrder(lines.map((line) => line.box));
    const read = order.flatMap((index) => lines[index] ?? []).filter(isText);
    watch.lap("Order", "main thread");
    return { ...size, lines: read, stages: watch.stages };
  }

  /** Recognises all lines at once; the engine spreads them over its lanes. */
  #recognise(boxes: readonly Box[], crops: readonly Pixels[], signal: AbortSignal): Promise<ReadLine[]> {
    return Promise.all(
      boxes.map(async (box, index) => {
        const crop = toImage(crops[index]);
        const { decoded } = await this.recogniser.run({ [inputOf(this.recogniser)]: crop }, { signal });
        const answer = decoded[outputOf(this.recogniser)]?.[0];
        if (answer?.kind !== "text") throw new Error("The recogniser's bundle does not decode to text.");
        return { box, text: narrowPunctuation(answer.text), confidence: answer.confidence };
      }),
    );
  }

  /** Runs the classifier of line directions; the majority of the lines decides for the page. */
  async #isUpsideDown(crops: readonly Pixels[], signal: AbortSignal): Promise<boolean> {
    this.#classifier ??= await this.engine.load(bundleUrl("ocr-cls"), { backend: this.recogniser.backend });
    const classifier = this.#classifier;
    const votes = await Promise.all(
      crops.map(async (crop) => {
        const { outputs } = await classifier.run({ [inputOf(classifier)]: toImage(crop) }, { signal });
        const [upright = 0, turned = 0] = outputs[outputOf(classifier)]?.data ?? [];
        return turned > upright ? 1 : 0;
      }),
    );
    return votes.reduce<number>((sum, vote) => sum + vote, 0) > votes.length / 2;
  }
}

/** Times consecutive stages, and stops at the first one that ends after a cancel. */
class Stopwatch {
  readonly stages: Stage[] = [];
  readonly #signal: AbortSignal;
  #startMs = performance.now();

  constructor(signal: AbortSignal) {
    this.#signal = signal;
  }

  lap(name: string, ranOn: string): void {
    this.#signal.throwIfAborted();
    const nowMs = performance.now();
    this.stages.push({ name, ranOn, ms: nowMs - this.#startMs });
    this.#startMs = nowMs;
  }
}

function isText(line: ReadLine): boolean {
  return line.confidence >= MIN_CONFIDENCE && line.text.trim() !== "";
}

function inputOf(model: Model): string {
  return model.inputs[0]?.name ?? "";
}

function outputOf(model: Model): string {
  return model.outputs[0]?.name ?? "";
}

function toMap(tensor: { dims: readonly number[]; data: unknown } | undefined): ProbabilityMap {
  const [height = 0, width = 0] = tensor?.dims.slice(-2) ?? [];
  if (!(tensor?.data instanceof Float32Array)) throw new Error("The detector returned no probability map.");
  return { width, height, data: tensor.data };
}

function toImage(crop: Pixels | undefined): ImageData {
  if (crop === undefined) throw new Error("A line was not cropped.");
  return new ImageData(crop.data, crop.width, crop.height);
}

function count(n: number, noun: string): string {
  return `${n} ${noun}${n === 1 ? "" : "s"}`;
}
