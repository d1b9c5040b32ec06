// Log-mel spectrogram of a sound with the parameters and the arithmetic of Whisper: reflected ends, a periodic Hann window,
// powers, Slaney's mel bands with areas of 1, log10 with a floor of 1e-10, at most 8 below the largest, (x + 4) / 4.
import type { LogMelSpec } from "../../core/sound-spec.ts";
import type { TensorOf } from "../../core/tensor.ts";
import { createPowerSpectrum } from "./fourier.ts";
import { applyBand, triangles } from "./mel-bands.ts";
import type { Band } from "./mel-bands.ts";

const FLOOR = 1e-10;
const RANGE = 8;
/** Upper end of the highest band, at any rate. */
const HIGHEST_HERTZ = 8_000;

/** Converts samples to [1, bands, frames]; a sound is cut or padded with silence to `seconds`. */
export function logMel(samples: Float32Array, spec: LogMelSpec): TensorOf<"float32"> {
  const { sampleRate, bands, fftLength = 400, hopLength = 160, seconds } = spec;
  const length = seconds === undefined ? samples.length : Math.round(seconds * sampleRate);
  const at = reflected(samples, length);
  const frames = Math.floor(length / hopLength);
  const window = Float64Array.from({ length: fftLength }, (_, i) => (1 - Math.cos((2 * Math.PI * i) / fftLength)) / 2);
  const spectrum = createPowerSpectrum(fftLength);
  const powers = new Float64Array(1 + Math.floor(fftLength / 2));
  const filters = melBands(sampleRate, bands, powers.length);
  const block = new Float64Array(fftLength);
  const logs = new Float64Array(bands * frames);
  let largest = -Infinity;
  for (let frame = 0; frame < frames; frame += 1) {
    const from = frame * hopLength - Math.floor(fftLength / 2);
    let isSilent = true;
    for (let i = 0; i < fftLength; i += 1) {
      const sample = at(from + i);
      isSilent &&= sample === 0;
      block[i] = sample * (window[i] as number);
    }
    // Most of a short sound is silence that was added.
    if (isSilent) powers.fill(0);
    else spectrum(block, powers);
    for (const [band, filter] of filters.entries()) {
      const log = Math.log10(Math.max(FLOOR, applyBand(filter, powers)));
      logs[band * frames + frame] = log;
      largest = Math.max(largest, log);
    }
  }
  const data = Float32Array.from(logs, (x) => (Math.max(x, largest - RANGE) + 4) / 4);
  return { dtype: "float32", dims: [1, bands, frames], data };
}

/** Returns a sample by its place, of a sound that is cut or padded to a length and reflected at its ends. */
function reflected(samples: Float32Array, length: number): (place: number) => number {
  const last = Math.max(1, length - 1);
  return (place) => {
    const turned = Math.abs(place) % (2 * last);
    const index = turned > last ? 2 * last - turned : turned;
    return index < length ? (samples[index] ?? 0) : 0;
  };
}

/** Triangles between bands that are even in mel, each with an area of 1 (Slaney's Auditory Toolbox, 1998). */
function melBands(sampleRate: number, bands: number, frequencies: number): Band[] {
  const highest = toMel(HIGHEST_HERTZ);
  const edges = Array.from({ length: bands + 2 }, (_, i) => toHertz((highest * i) / (bands + 1)));
  const hertz = Float64Array.from({ length: frequencies }, (_, k) => (k * sampleRate) / 2 / (frequencies - 1));
  return triangles(edges, hertz).map(({ first, weights }, band) => {
    const area = ((edges[band + 2] as number) - (edges[band] as number)) / 2;
    return { first, weights: weights.map((x) => x / area) };
  });
}

/** Slaney's scale: linear below 1000 Hz, logarithmic above. */
const LINEAR = 200 / 3;
const LOG_STEP = Math.log(6.4) / 27;

function toMel(hertz: number): number {
  return hertz < 1000 ? hertz / LINEAR : 15 + Math.log(hertz / 1000) / LOG_STEP;
}

function toHertz(mel: number): number {
  return mel < 15 ? mel * LINEAR : 1000 * Math.exp((mel - 15) * LOG_STEP);
}
