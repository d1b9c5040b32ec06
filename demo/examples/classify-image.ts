// Labels a picture from a file: `?repo=owner/name` of an image classifier, and `&host=` for another hub.
import { createEngine } from "selvedge";

const asked = new URL(location.href).searchParams;
const repo = asked.get("repo") ?? "Xenova/vit-base-patch16-224";
const host = asked.get("host") ?? undefined;

document.body.innerHTML = `
  <label>Picture <input type="file" accept="image/*" disabled /></label>
  <output></output> <ol></ol>`;
const [input, status, list] = ["input", "output", "ol"].map((x) => document.querySelector(x)) as [
  HTMLInputElement,
  HTMLOutputElement,
  HTMLOListElement,
];

const engine = await createEngine();
const model = await engine.load({ repo, host });
status.textContent = `${model.name}, ${model.variant} on ${model.backend}`;
input.disabled = false;

input.addEventListener("change", () => {
  classify().catch((error: unknown) => {
    status.textContent = String(error);
  });
});

async function classify(): Promise<void> {
  const [file] = input.files ?? [];
  if (file === undefined) return;
  // The worker decodes the file, and scales it as the repository's image processor does.
  const { decoded } = await model.run({ pixel_values: file });
  const [answer] = decoded["logits"] ?? [];
  if (answer?.kind !== "labels") throw new Error(`${repo} names no labels`);
  list.replaceChildren(
    ...answer.labels.map(({ label, score }) => {
      const item = document.createElement("li");
      item.textContent = `${label} ${(100 * score).toFixed(1)} %`;
      return item;
    }),
  );
}
