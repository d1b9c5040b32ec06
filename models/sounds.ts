// Test sounds for speech detection: speech is synthesised by espeak-ng in several voices, speeds and pitches, so it is
// cleaner than people's; noises are computed. All from a seed, at 16 kHz, mono. Real voices are a harder test.
//
//   npx tsx models/sounds.ts demo/vad/sample.wav     writes the sample of the page /vad/
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { Random } from "../lib/test-support/random.ts";

/** Samples per second. */
export const RATE = 16_000;

const VOICES = ["en-us", "en-gb", "en-gb-scotland", "de", "fr-fr", "es", "it", "pl", "pt-br", "nl", "sv", "ru"];
const SENTENCES = [
  "The quick brown fox jumps over the lazy dog.",
  "Please leave your message after the tone.",
  "Every morning the baker opens his shop at six.",
  "Two hundred people waited for the last train.",
  "It will rain in the north and stay dry elsewhere.",
  "Would you like some more coffee before we go?",
];

/** A clip with its label. */
export interface Clip {
  readonly name: string;
  readonly isSpeech: boolean;
  readonly samples: Float32Array<ArrayBuffer>;
}

/** Synthesises a sentence with espeak-ng. */
export function speak(text: string, voice: string, wordsPerMinute: number, pitch: number): Float32Array<ArrayBuffer> {
  const args = ["--stdout", "-v", voice, "-s", String(wordsPerMinute), "-p", String(pitch), text];
  const wav = execFileSync("/usr/bin/espeak-ng", args, { maxBuffer: 2 ** 26 });
  const rate = wav.readUInt32LE(24);
  const data = wav.subarray(44); // espeak-ng writes the plain 44-byte header, and does not know the length yet
  const source = Float32Array.from({ length: data.length >> 1 }, (_, i) => data.readInt16LE(2 * i) / 32_768);
  return resample(source, rate);
}

/** Resamples to 16 kHz: each new sample is the mean of the old ones that it covers, or between two of them. */
function resample(source: Float32Array, rate: number): Float32Array<ArrayBuffer> {
  const step = rate / RATE;
  return Float32Array.from({ length: Math.floor(source.length / step) }, (_, i) => {
    const at = i * step;
    const low = Math.floor(at);
    const first = source[low] ?? 0;
    return first + (at - low) * ((source[low + 1] ?? first) - first);
  });
}

type Noise = (random: Random) => (i: number) => number;

/** Noises by name: a sample at a time. */
const NOISES: Readonly<Record<string, Noise>> = {
  white: (random) => () => random.next() - 0.5,
  brown: (random) => {
    let level = 0;
    return () => (level = 0.98 * level + 0.1 * (random.next() - 0.5));
  },
  hum: (random) => {
    const hertz = 50 + random.upTo(150);
    return (i) => 0.3 * Math.sin((i * hertz * 2 * Math.PI) / RATE) + 0.02 * (random.next() - 0.5);
  },
  clicks: (random) => {
    let left = 0;
    return () => {
      if (random.chance(6 / RATE)) left = 1;
      left *= 0.97;
      return left * (random.next() - 0.5);
    };
  },
  sweep: (random) => {
    const from = 200 + random.upTo(800);
    return (i) => 0.3 * Math.sin((i / RATE) * 2 * Math.PI * (from + (i / RATE) * 400));
  },
  rain: (random) => {
    let level = 0;
    return () => {
      level = 0.6 * level + (random.chance(0.02) ? random.next() - 0.5 : 0);
      return level + 0.02 * (random.next() - 0.5);
    };
  },
  silence: (random) => () => 0.001 * (random.next() - 0.5),
};

/** Renders clips, half of them speech over a little noise, half only noise. */
export function clips(count: number): Clip[] {
  const random = new Random(7);
  const names = Object.keys(NOISES);
  return Array.from({ length: count }, (_, i) => {
    const isSpeech = i % 2 === 0;
    if (!isSpeech) {
      const kind = names[(i >> 1) % names.length] ?? "white";
      const gain = 0.2 + random.upTo(0.8);
      const next = NOISES[kind]?.(random) ?? (() => 0);
      const samples = Float32Array.from({ length: 2 * RATE }, (_, at) => gain * next(at));
      return { name: `${kind} ${i}`, isSpeech, samples };
    }
    const voice = VOICES[(i >> 1) % VOICES.length] ?? "en-us";
    const text = SENTENCES[random.below(SENTENCES.length)] ?? "";
    const speed = 120 + random.below(120);
    const samples = speak(text, voice, speed, 20 + random.below(60));
    const gain = 0.3 + random.upTo(0.7);
    for (const [at, sample] of samples.entries()) samples[at] = gain * sample + 0.01 * (random.next() - 0.5);
    return { name: `${voice} at ${speed} ${i}`, isSpeech, samples };
  });
}

/** Joins clips to one sound. */
export function join(parts: readonly Float32Array[]): Float32Array<ArrayBuffer> {
  const whole = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** Writes samples as a WAV file: 16 kHz, mono, 16 bits. */
function wavOf(samples: Float32Array): Uint8Array {
  const wav = Buffer.alloc(44 + 2 * samples.length);
  wav.write("RIFF", 0);
  wav.writeUInt32LE(36 + 2 * samples.length, 4);
  wav.write("WAVEfmt ", 8);
  wav.writeUInt32LE(16, 16);
  wav.writeUInt16LE(1, 20); // PCM
  wav.writeUInt16LE(1, 22); // mono
  wav.writeUInt32LE(RATE, 24);
  wav.writeUInt32LE(2 * RATE, 28);
  wav.writeUInt16LE(2, 32);
  wav.writeUInt16LE(16, 34);
  wav.write("data", 36);
  wav.writeUInt32LE(2 * samples.length, 40);
  for (const [i, x] of samples.entries())
    wav.writeInt16LE(Math.round(Math.max(-1, Math.min(1, x)) * 32_767), 44 + 2 * i);
  return wav;
}

/** Speech twice, with pauses, in light rain. */
function sample(): Float32Array {
  const random = new Random(3);
  const pause = (seconds: number): Float32Array => new Float32Array(seconds * RATE);
  const first = speak("Good morning.", "en-gb", 150, 45);
  const second = speak("Is anybody there?", "en-us", 150, 60);
  const whole = join([pause(0.6), first, pause(0.7), second, pause(0.6)]);
  const rain = NOISES["rain"]?.(random) ?? (() => 0);
  return whole.map((x, i) => 0.8 * x + 0.05 * rain(i));
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const wav = wavOf(sample());
  writeFileSync(process.argv[2] ?? "sample.wav", wav);
  console.log(`${wav.length} bytes`);
}
