import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { parseBundle } from "../../core/bundle-schema.ts";
import { smallModel } from "../../test-support/compress/fixtures.ts";
import { logMel } from "../../worker/processing/log-mel.ts";
import { compress } from "../compress.ts";
import { readWav } from "./wav.ts";
import { firstFeeds, openSamples } from "./samples.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "selvedge-wav-"));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

interface Made {
  readonly kind?: number;
  readonly bits?: number;
  readonly channels?: number;
  readonly rate?: number;
  /** Length that the head of the data states. */
  readonly stated?: number;
}

/** Writes a WAV file of values from -1 to 1, with a chunk of odd length before the data. */
function write(name: string, values: readonly number[], made: Made = {}): string {
  const { kind = 1, bits = 16, channels = 1, rate = 16_000 } = made;
  const bytes = bits / 8;
  const data = Buffer.alloc(values.length * bytes);
  for (const [i, x] of values.entries()) {
    const whole = Math.round(x * 2 ** (bits - 1));
    if (kind === 3 && bits === 32) data.writeFloatLE(x, i * bytes);
    else if (kind === 3) data.writeDoubleLE(x, i * bytes);
    else if (bits === 8) data.writeUInt8(whole + 128, i);
    else data.writeIntLE(whole, i * bytes, bytes);
  }
  const head = Buffer.alloc(16);
  head.writeUInt16LE(kind, 0);
  head.writeUInt16LE(channels, 2);
  head.writeUInt32LE(rate, 4);
  head.writeUInt16LE(bits, 14);
  const chunk = (id: string, body: Buffer, stated = body.length): Buffer => {
    const start = Buffer.alloc(8);
    start.write(id, "latin1");
    start.writeUInt32LE(stated, 4);
    return Buffer.concat([start, body, Buffer.alloc(body.length % 2)]);
  };
  const chunks = [chunk("fmt ", head), chunk("LIST", Buffer.from("abc")), chunk("data", data, made.stated)];
  const path = join(folder, name);
  writeFileSync(path, Buffer.concat([Buffer.from("RIFF\0\0\0\0WAVE", "latin1"), ...chunks]));
  return path;
}

const VALUES = [0, 0.5, -0.5, 0.25, -1, 0.75];

describe("readWav", () => {
  test.each([
    [1, 8],
    [1, 16],
    [1, 24],
    [1, 32],
    [3, 32],
    [3, 64],
  ])("reads encoding %i of %i bits", (kind, bits) => {
    const { rate, samples } = readWav(write("a.wav", VALUES, { kind, bits, rate: 8_000 }));
    expect([rate, ...samples]).toEqual([8_000, ...VALUES]);
  });

  test("averages channels, and takes what is there where the length was not known", () => {
    const stereo = readWav(write("a.wav", VALUES, { channels: 2, stated: 0xffffffff }));
    expect([...stereo.samples]).toEqual([0.25, -0.125, -0.125]);
  });

  test("refuses other files with the command that converts them", () => {
    const path = write("a.wav", VALUES, { kind: 6, bits: 8 });
    expect(() => readWav(path)).toThrow(/the WAV encoding 6 of 8 bits: convert it with ffmpeg -i .*a\.wav/);
    writeFileSync(path, "ID3 what an MP3 begins with");
    expect(() => readWav(path)).toThrow(/is no WAV file: convert it with ffmpeg/);
    writeFileSync(path, readFileSync(write("b.wav", VALUES)).subarray(0, 40));
    expect(() => readWav(path)).toThrow(/has no samples: it is cut short/);
  });
});

const SOUND = { op: "log-mel", sampleRate: 16_000, bands: 80, fftLength: 400, hopLength: 160, seconds: 1 } as const;
const INPUT = { name: "input_features", dtype: "float32", dims: ["batch", 80, "frames"], batchAxis: 0 } as const;
const tone = (hertz: number): number[] =>
  Array.from({ length: 8_000 }, (_, i) => 0.4 * Math.sin((2 * Math.PI * hertz * i) / 16_000));

test("sounds of a folder are samples as a page would make them; one of another rate is refused", async () => {
  mkdirSync(join(folder, "more"));
  write("more/a.wav", tone(440), { kind: 3, bits: 32 });
  write("more/b.wav", tone(880));
  const samples = await openSamples(join(folder, "more"), [{ ...INPUT, sound: SOUND }], 10);
  const [first] = await firstFeeds(samples, 2);
  expect(samples.n).toBe(2);
  expect(first?.["input_features"]).toEqual(logMel(Float32Array.from(tone(440)), SOUND));
  const other = await openSamples(write("c.wav", tone(440), { rate: 44_100 }), [{ ...INPUT, sound: SOUND }], 10);
  await expect(firstFeeds(other, 1)).rejects.toThrow(
    /has 44100 samples a second, .* takes 16000: .*ffmpeg .* -ar 16000/,
  );
  await expect(openSamples(join(folder, "more"), [INPUT], 10)).rejects.toThrow(/nothing says how sounds become/);
});

test("an encoder's folder is compressed by sounds, and its bundle takes sounds", { timeout: 60_000 }, async () => {
  const sounds = join(folder, "sounds");
  mkdirSync(sounds);
  for (let i = 0; i < 32; i += 1) write(`sounds/${i}.wav`, tone(200 + 50 * i));
  const model = join(folder, "model");
  mkdirSync(model);
  const extractor = { feature_extractor_type: "WhisperFeatureExtractor", feature_size: 80, chunk_length: 1 };
  writeFileSync(join(model, "preprocessor_config.json"), JSON.stringify(extractor));
  const graph = smallModel({
    opset: 17,
    inputs: { input_features: ["batch_size", 80, "encoder_sequence_length"] },
    outputs: ["last_hidden_state"],
    nodes: [{ opType: "Tanh", input: ["input_features"], output: ["last_hidden_state"] }],
  });
  writeFileSync(join(model, "model.onnx"), graph.write());
  const out = join(folder, "out");
  const report = await compress(model, { out, samples: sounds, targets: ["wasm"], forms: ["f32"], sensitivityMs: 0 });
  expect(report.samples).toEqual({ n: 32, fitted: 16, scored: 16, isSynthetic: false });
  const bundle = parseBundle(JSON.parse(readFileSync(join(out, "bundle", "bundle.json"), "utf8")));
  expect(bundle.model.inputs[0]?.sound).toMatchObject({ sampleRate: 16_000, bands: 80, seconds: 1 });
});
