// Runs on the audio thread: passes the microphone's samples on as they arrive.
declare class AudioWorkletProcessor {
  readonly port: MessagePort;
}
declare function registerProcessor(name: string, processor: new () => AudioWorkletProcessor): void;

class Capture extends AudioWorkletProcessor {
  process([input]: readonly (readonly Float32Array[])[]): boolean {
    const samples = input?.[0]?.slice();
    if (samples !== undefined) this.port.postMessage(samples, [samples.buffer]);
    return true;
  }
}

registerProcessor("capture", Capture);
