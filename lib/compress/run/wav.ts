// Reads WAV files: RIFF with integer PCM of 8 to 32 bits or floats, any number of channels, which are averaged. A file of
// another kind is refused with the command that converts it.
import { readFileSync } from "node:fs";

/** A sound of one channel. */
export interface Sound {
  /** Samples a second. */
  readonly rate: number;
  /** Values from -1 to 1. */
  readonly samples: Float32Array;
}

const PCM = 1;
const FLOAT = 3;
/** Format whose first two bytes of a longer field say which it is. */
const EXTENSIBLE = 0xfffe;
const SUB_FORMAT_AT = 24;

interface Format {
  readonly kind: number;
  readonly channels: number;
  readonly rate: number;
  readonly bits: number;
}

/**
 * Reads a file.
 * @throws TypeError that names the file and what is wrong with it
 */
export function readWav(path: string): Sound {
  const file = readFileSync(path);
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const word = (at: number): string => file.toString("latin1", at, at + 4);
  if (file.length < 12 || word(0) !== "RIFF" || word(8) !== "WAVE")
    throw new TypeError(`samples: ${path} is no WAV file: convert it with ffmpeg -i ${path} -c:a pcm_s16le OUT.wav`);
  let format: Format | null = null;
  for (let at = 12; at + 8 <= file.length;) {
    const [start, length] = [at + 8, view.getUint32(at + 4, true)];
    // A writer to a pipe does not know the length, and states the largest one.
    const end = Math.min(start + length, file.length);
    if (word(at) === "fmt " && end - start >= 16) format = formatOf(view, start, end);
    if (word(at) === "data") {
      if (format === null) break;
      return {
        rate: format.rate,
        samples: averaged(new DataView(view.buffer, view.byteOffset + start, end - start), format, path),
      };
    }
    at = start + length + (length % 2);
  }
  throw new TypeError(`samples: ${path} has no samples: it is cut short`);
}

function formatOf(view: DataView, start: number, end: number): Format {
  const stated = view.getUint16(start, true);
  const isLong = stated === EXTENSIBLE && end - start >= SUB_FORMAT_AT + 2;
  return {
    kind: isLong ? view.getUint16(start + SUB_FORMAT_AT, true) : stated,
    channels: view.getUint16(start + 2, true),
    rate: view.getUint32(start + 4, true),
    bits: view.getUint16(start + 14, true),
  };
}

/** Returns the mean of the channels. */
function averaged(data: DataView, { kind, channels, bits }: Format, path: string): Float32Array {
  const read = readerOf(data, kind, bits);
  if (read === null || channels === 0)
    throw new TypeError(
      `samples: ${path} has the WAV encoding ${kind} of ${bits} bits: convert it with ffmpeg -i ${path} -c:a pcm_s16le OUT.wav`,
    );
  const bytes = bits / 8;
  const samples = new Float32Array(Math.floor(data.byteLength / (bytes * channels)));
  for (let i = 0; i < samples.length; i += 1) {
    let sum = 0;
    for (let channel = 0; channel < channels; channel += 1) sum += read((i * channels + channel) * bytes);
    samples[i] = sum / channels;
  }
  return samples;
}

/** Returns a reader of a value at an offset; null for an encoding that is not read. */
function readerOf(data: DataView, kind: number, bits: number): ((at: number) => number) | null {
  const readers: Readonly<Record<string, (at: number) => number>> = {
    [`${PCM} 8`]: (at) => (data.getUint8(at) - 128) / 2 ** 7,
    [`${PCM} 16`]: (at) => data.getInt16(at, true) / 2 ** 15,
    [`${PCM} 24`]: (at) => (data.getUint16(at, true) + data.getInt8(at + 2) * 2 ** 16) / 2 ** 23,
    [`${PCM} 32`]: (at) => data.getInt32(at, true) / 2 ** 31,
    [`${FLOAT} 32`]: (at) => data.getFloat32(at, true),
    [`${FLOAT} 64`]: (at) => data.getFloat64(at, true),
  };
  return readers[`${kind} ${bits}`] ?? null;
}
