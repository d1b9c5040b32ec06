// Sources of sound: the microphone, live, or a file, as fast as it can be read.
import captureUrl from "./capture.ts?worker&url";
import { RATE } from "./chunks.ts";

/** An open microphone. */
export interface Microphone {
  /** Samples per second. */
  readonly rate: number;
  close(): void;
}

/** Opens the microphone; the browser asks the visitor. */
export async function openMicrophone(onSamples: (samples: Float32Array) => void): Promise<Microphone> {
  const stream = await askForMicrophone();
  const context = new AudioContext();
  const close = (): void => {
    for (const track of stream.getTracks()) track.stop();
    void context.close();
  };
  try {
    await context.audioWorklet.addModule(captureUrl);
    const capture = new AudioWorkletNode(context, "capture", { numberOfOutputs: 0 });
    capture.port.onmessage = ({ data }: MessageEvent<Float32Array>) => {
      onSamples(data);
    };
    context.createMediaStreamSource(stream).connect(capture);
    return { rate: context.sampleRate, close };
  } catch (error) {
    close();
    throw error;
  }
}

/** Requests the microphone; if it is denied, the error says what to do. */
async function askForMicrophone(): Promise<MediaStream> {
  try {
    return await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1 } });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new Error(
      `No microphone, or no permission to use it (${reason}). The sample and sound files work without one.`,
      { cause: error },
    );
  }
}

/** Decodes a sound file to the first channel's samples at 16 kHz. */
export async function decodeFile(file: Blob): Promise<Float32Array> {
  const context = new OfflineAudioContext(1, 1, RATE);
  try {
    return (await context.decodeAudioData(await file.arrayBuffer())).getChannelData(0);
  } catch (error) {
    throw new Error("This file can't be read as sound.", { cause: error });
  }
}
