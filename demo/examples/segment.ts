// Colours the classes of a picture's pixels: `?repo=owner/name` of a segmentation model, and `&host=` for another hub.
import { createEngine } from "selvedge";

const asked = new URL(location.href).searchParams;
const repo = asked.get("repo") ?? "Xenova/segformer-b0-finetuned-ade-512-512";
const host = asked.get("host") ?? undefined;

document.body.innerHTML = `
  <label>Picture <input type="file" accept="image/*" disabled /></label>
  <output></output> <ol></ol> <canvas></canvas>`;
const [input, status, list, canvas] = ["input", "output", "ol", "canvas"].map((x) => document.querySelector(x)) as [
  HTMLInputElement,
  HTMLOutputElement,
  HTMLOListElement,
  HTMLCanvasElement,
];

const engine = await createEngine();
const model = await engine.load({ repo, host });
status.textContent = `${model.name}, ${model.variant} on ${model.backend}`;
input.disabled = false;

input.addEventListener("change", () => {
  segment().catch((error: unknown) => {
    status.textContent = String(error);
  });
});

async function segment(): Promise<void> {
  const [file] = input.files ?? [];
  const context = canvas.getContext("2d");
  if (file === undefined || context === null) return;
  const { decoded } = await model.run({ pixel_values: file });
  const [answer] = decoded["logits"] ?? [];
  if (answer?.kind !== "segments") throw new Error(`${repo} does not segment`);
  [canvas.width, canvas.height] = [answer.width, answer.height];
  const pixels = context.createImageData(answer.width, answer.height);
  // Neighbouring classes get unlike colours: steps of the golden ratio.
  for (const [i, label] of answer.classes.entries())
    pixels.data.set([(label * 158) % 256, (label * 95 + 80) % 256, (label * 61 + 160) % 256, 255], 4 * i);
  context.putImageData(pixels, 0, 0);
  list.replaceChildren(
    ...answer.labels.map(({ label, share }) => {
      const item = document.createElement("li");
      item.textContent = `${label} ${(100 * share).toFixed(0)} %`;
      return item;
    }),
  );
}
