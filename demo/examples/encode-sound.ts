// Encodes a recording by Whisper's encoder: `?repo=owner/name`, and `&host=` for another hub. Its hidden states are what
// a decoder, or a small classifier of one's own, reads.
import { createEngine } from "selvedge";

/** The rate of Whisper; another one is refused. */
const SAMPLE_RATE = 16_000;
const asked = new URL(location.href).searchParams;
const repo = asked.get("repo") ?? "onnx-community/whisper-base";
const host = asked.get("host") ?? undefined;

document.body.innerHTML = `
  <label>Recording <input type="file" accept="audio/*" disabled /></label>
  <output></output> <ol></ol>`;
const [input, status, list] = ["input", "output", "ol"].map((x) => document.querySelector(x)) as [
  HTMLInputElement,
  HTMLOutputElement,
  HTMLOListElement,
];

const engine = await createEngine();
const model = await engine.load({ repo, host, file: "encoder_model" });
status.textContent = `${model.name}, ${model.variant} on ${model.backend}`;
input.disabled = false;

input.addEventListener("change", () => {
  encode().catch((error: unknown) => {
    status.textContent = String(error);
  });
});

async function encode(): Promise<void> {
  const [file] = input.files ?? [];
  if (file === undefined) return;
  // A context decodes to its own rate.
  const context = new OfflineAudioContext(1, 1, SAMPLE_RATE);
  const sound = await context.decodeAudioData(await file.arrayBuffer());
  const samples = new Float32Array(sound.length);
  for (let channel = 0; channel < sound.numberOfChannels; channel += 1)
    for (const [i, x] of sound.getChannelData(channel).entries())
      samples[i] = (samples[i] ?? 0) + x / sound.numberOfChannels;
  const { outputs } = await model.run({ input_features: { samples, sampleRate: sound.sampleRate } });
  list.replaceChildren(
    ...Object.entries(outputs).map(([name, { dims, data }]) => {
      const item = document.createElement("li");
      const first = Array.from(data as Float32Array, (x) => x.toFixed(3)).slice(0, 5);
      item.textContent = `${name} [${dims.join(", ")}] ${first.join(" ")} …`;
      return item;
    }),
  );
}
