// Conversion of sounds to tensors, as a bundle declares it.

/**
 * Log-mel spectrogram of a sound of one channel, with Whisper's arithmetic: bands of 0 to 8000 Hz. The tensor is
 * [1, bands, frames].
 */
export interface SoundSpec {
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
