// Kaldi's filter bank of a sound (torchaudio.compliance.kaldi.fbank without dither), as the feature extractor of the Audio
// Spectrogram Transformer computes it.
import type { FbankSpec } from "../../core/sound-spec.ts";
import type { TensorOf } from "../../core/tensor.ts";
import { createPowerSpectrum } from "./fourier.ts";
import { applyBand, triangles } from "./mel-bands.ts";

const FRAME_SECONDS = 0.025;
const HOP_SECONDS = 0.01;
const PREEMPHASIS = 0.97;
const LOWEST_HERTZ = 20;
/** The least float32 above 1, less 1. */
const FLOOR = 2 ** -23;

/** Converts samples to [1, frames, bands]; to no values where they are less than one frame. */
export function fbank(samples: Float32Array, spec: FbankSpec): TensorOf<"float32"> {
  const { sampleRate, bands, frames, mean = 0, std = 1 } = spec;
  const frameLength = Math.floor(sampleRate * FRAME_SECONDS);
  const hopLength = Math.floor(sampleRate * HOP_SECONDS);
  if (samples.length < frameLength) return { dtype: "float32", dims: [1, 0, bands], data: new Float32Array() };
  const count = Math.min(frames, 1 + Math.floor((samples.length - frameLength) / hopLength));
  const fftLength = 2 ** Math.ceil(Math.log2(frameLength));
  const window = Float64Array.from(
    { length: frameLength },
    (_, i) => (1 - Math.cos((2 * Math.PI * i) / (frameLength - 1))) / 2,
  );
  const spectrum = createPowerSpectrum(fftLength);
  const powers = new Float64Array(fftLength / 2 + 1);
  const filters = melBands(sampleRate, bands, powers.length);
  const block = new Float64Array(fftLength);
  const data = new Float32Array(frames * bands).fill(-mean / std);
  for (let frame = 0; frame < count; frame += 1) {
    const from = frame * hopLength;
    let sum = 0;
    for (let i = 0; i < frameLength; i += 1) sum += samples[from + i] as number;
    const level = sum / frameLength;
    let before = (samples[from] as number) - level;
    for (let i = 0; i < frameLength; i += 1) {
      const sample = (samples[from + i] as number) - level;
      block[i] = (sample - PREEMPHASIS * before) * (window[i] as number);
      before = sample;
    }
    spectrum(block, powers);
    for (const [band, filter] of filters.entries())
      data[frame * bands + band] = (Math.log(Math.max(FLOOR, applyBand(filter, powers))) - mean) / std;
  }
  return { dtype: "float32", dims: [1, frames, bands], data };
}

/** Triangles of height 1 that are even in mel, and straight on its scale. */
function melBands(sampleRate: number, bands: number, frequencies: number): ReturnType<typeof triangles> {
  const [lowest, highest] = [toMel(LOWEST_HERTZ), toMel(sampleRate / 2)];
  const edges = Array.from({ length: bands + 2 }, (_, i) => lowest + ((highest - lowest) * i) / (bands + 1));
  const places = Float64Array.from({ length: frequencies }, (_, k) => toMel((k * sampleRate) / 2 / (frequencies - 1)));
  return triangles(edges, places);
}

/** Kaldi's scale. */
function toMel(hertz: number): number {
  return 1127 * Math.log1p(hertz / 700);
}
