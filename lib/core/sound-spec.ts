// Conversion of sounds of one channel to tensors, as a bundle declares it.

/** Conversion of a sound to a tensor: a spectrogram, or the samples themselves. */
export type SoundSpec = LogMelSpec | FbankSpec | SamplesSpec;

/** Log-mel spectrogram with Whisper's arithmetic: bands of 0 to 8000 Hz. The tensor is [1, bands, frames]. */
export interface LogMelSpec {
  /** The kind of conversion. */
  readonly op: "log-mel";
  /** Samples a second; a sound of another rate is refused. */
  readonly sampleRate: number;
  /** Number of mel bands. */
  readonly bands: number;
  /** Samples of a Fourier transform. Default 400. */
  readonly fftLength?: number | undefined;
  /** Samples from one frame to the next. Default 160. */
  readonly hopLength?: number | undefined;
  /** Length in seconds to which a sound is cut, or padded with silence. Default: its own. */
  readonly seconds?: number | undefined;
}

/**
 * Kaldi's filter bank: frames of 25 ms every 10 ms, without their mean, with preemphasis of 0.97 and a Hann window; the
 * logarithms of mel bands from 20 Hz to half of the rate. The tensor is [1, frames, bands]; frames beyond `frames` are
 * cut off, and missing ones are zeros. Last, each value becomes (value − mean) / std.
 */
export interface FbankSpec {
  /** The kind of conversion. */
  readonly op: "fbank";
  /** Samples a second, at least 1000; a sound of another rate is refused. */
  readonly sampleRate: number;
  /** Number of mel bands. */
  readonly bands: number;
  /** Number of frames. */
  readonly frames: number;
  /** Number that is subtracted. Default 0. */
  readonly mean?: number | undefined;
  /** Number that is divided by. Default 1. */
  readonly std?: number | undefined;
}

/** The samples. The tensor is [1, samples]. */
export interface SamplesSpec {
  /** The kind of conversion. */
  readonly op: "samples";
  /** Samples a second; a sound of another rate is refused. */
  readonly sampleRate: number;
  /** Whether samples are scaled to a mean of 0 and a variance of 1, over the whole sound. Default false. */
  readonly normalize?: boolean | undefined;
  /**
   * Name of an input that is filled with a 1 for each sample: [batch, length] of int64, int32, uint8, bool or float32.
   * Default: none.
   */
  readonly mask?: string | undefined;
}
