// The page /vad/: sound in chunks of 32 ms through a recurrent state of the speech model, with the probability of each
// drawn as it arrives. sample.wav is synthesised: `npx tsx models/sounds.ts demo/vad/sample.wav` makes it.
import { createEngine } from "selvedge";
import type { Model, Stateful } from "selvedge";
import { backendIn, find, Status } from "../status.ts";
import { quantile } from "../quantile.ts";
import { Chunks, RATE } from "./chunks.ts";
import { draw } from "./plot.ts";
import { decodeFile, openMicrophone } from "./sound.ts";
import type { Microphone } from "./sound.ts";

const THRESHOLD = 0.5;
/** Speech is over after this many chunks without: pauses between words do not count. */
const QUIET_CHUNKS = 12;
/** Maximum queued chunks before a live stream drops some, rather than fall behind for good. */
const WAITING_MAX = 32;

const status = new Status(find("status"), find("progress", HTMLProgressElement));
const microphoneButton = find("microphone", HTMLButtonElement);
const sampleButton = find("sample", HTMLButtonElement);
const fileInput = find("file", HTMLInputElement);
const canvas = find("plot", HTMLCanvasElement);
const probabilityLine = find("probability");
const heard = find("heard");

/** One sound, from its first chunk to its last. */
class Listening {
  readonly probabilities: number[] = [];
  readonly #state: Stateful;
  readonly #latencies: number[] = [];
  #waiting = 0;
  #left = 0;
  #quiet = QUIET_CHUNKS;

  constructor(model: Model) {
    this.#state = model.stateful();
    heard.textContent = "No speech";
  }

  /** Whether a live stream should drop this chunk. */
  get isBehind(): boolean {
    return this.#waiting >= WAITING_MAX;
  }

  /** Counts a dropped chunk. */
  leaveOut(): void {
    this.#left += 1;
  }

  async hear(data: Float32Array<ArrayBuffer>): Promise<void> {
    const startMs = performance.now();
    this.#waiting += 1;
    const { outputs } = await this.#state
      .run({ input: { dtype: "float32", dims: [1, data.length], data } })
      .finally(() => {
        this.#waiting -= 1;
      });
    this.#latencies.push(performance.now() - startMs);
    const [probability = 0] = outputs["output"]?.data as Float32Array;
    this.probabilities.push(probability);
    this.#quiet = probability > THRESHOLD ? 0 : this.#quiet + 1;
    this.#say();
  }

  close(): void {
    this.#state.close();
  }

  #say(): void {
    const text = this.#quiet < QUIET_CHUNKS ? "Speech" : "No speech";
    if (heard.textContent !== text) heard.textContent = text; // only a change is announced
    const { length: count } = this.probabilities;
    const sum = this.probabilities.reduce((total, value) => total + value, 0);
    const recent = this.#latencies.slice(-100);
    const medianMs = quantile(recent, 0.5) ?? 0;
    const left = this.#left === 0 ? "" : `, ${this.#left} dropped`;
    const last = this.probabilities.at(-1) ?? 0;
    probabilityLine.textContent = `Probability ${last.toFixed(2)} · ${medianMs.toFixed(1)} ms per chunk · ${count} chunks${left}`;
    Object.assign(probabilityLine.dataset, {
      count: String(count),
      mean: String(sum / count),
      max: String(Math.max(...this.probabilities.slice(-1_000))),
      medianMs: String(medianMs),
    });
  }
}

let listening: Listening | null = null;
let microphone: Microphone | null = null;

function begin(model: Model): Listening {
  stop();
  listening = new Listening(model);
  return listening;
}

function stop(): void {
  microphone?.close();
  microphone = null;
  microphoneButton.textContent = "Use the microphone";
  listening?.close();
}

async function readFile(model: Model, file: Blob): Promise<void> {
  const mine = begin(model);
  status.show("busy", "Listening …");
  const chunks: Float32Array<ArrayBuffer>[] = [];
  new Chunks(RATE, (chunk) => chunks.push(chunk)).push(await decodeFile(file));
  for (const chunk of chunks) {
    await mine.hear(chunk);
    if (listening !== mine) return;
  }
  const share = mine.probabilities.filter((x) => x > THRESHOLD).length / Math.max(1, chunks.length);
  status.show("done", `Heard ${(chunks.length * 0.032).toFixed(1)} s, ${Math.round(100 * share)} % of it speech.`);
}

async function listenLive(model: Model): Promise<void> {
  if (microphone !== null) {
    stop();
    status.show("done", "The microphone is off.");
    return;
  }
  const mine = begin(model);
  let chunks: Chunks | null = null;
  const opened = await openMicrophone((samples) => {
    chunks?.push(samples);
  });
  chunks = new Chunks(opened.rate, (chunk) => {
    if (listening !== mine || microphone !== opened) return;
    if (mine.isBehind) mine.leaveOut();
    else
      mine.hear(chunk).catch((error: unknown) => {
        if (microphone === opened) fail(error);
      });
  });
  microphone = opened;
  microphoneButton.textContent = "Stop the microphone";
  status.show("busy", "Listening to the microphone. The sound stays on this device.");
}

function fail(error: unknown): void {
  stop();
  status.show("error", error instanceof Error ? error.message : String(error));
}

/** Draws at most once a frame, and only what changed. */
function paint(drawn = -1): void {
  const count = listening?.probabilities.length ?? 0;
  const key = count * 1e5 + canvas.clientWidth;
  if (key !== drawn) draw(canvas, listening?.probabilities ?? [], THRESHOLD);
  requestAnimationFrame(() => {
    paint(key);
  });
}

try {
  const engine = await createEngine();
  const model = await engine.load(new URL("../models/vad/bundle.json", location.href), {
    backend: backendIn(new URLSearchParams(location.search)),
    onProgress: ({ loadedBytes, totalBytes }) => {
      if (totalBytes !== null) status.progress(loadedBytes / totalBytes);
    },
  });
  status.set({ backend: model.backend, variant: model.variant });
  for (const button of [microphoneButton, sampleButton]) button.disabled = false;
  fileInput.disabled = false;
  microphoneButton.addEventListener("click", () => void listenLive(model).catch(fail));
  sampleButton.addEventListener("click", () => {
    const sample = fetch(new URL("./sample.wav", import.meta.url)).then((response) => response.blob());
    sample.then((file) => readFile(model, file)).catch(fail);
  });
  fileInput.addEventListener("change", () => {
    const file = fileInput.files?.[0];
    fileInput.value = ""; // so that the same file can be chosen again
    if (file !== undefined) readFile(model, file).catch(fail);
  });
  paint();
  status.show("ready", "Ready.");
} catch (error) {
  fail(error);
}
