// Draws boxes around the objects of a picture: `?repo=owner/name` of a detector, and `&host=` for another hub.
import { createEngine } from "selvedge";

const asked = new URL(location.href).searchParams;
const repo = asked.get("repo") ?? "Xenova/detr-resnet-50";
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
  detect().catch((error: unknown) => {
    status.textContent = String(error);
  });
});

async function detect(): Promise<void> {
  const [file] = input.files ?? [];
  const context = canvas.getContext("2d");
  if (file === undefined || context === null) return;
  const [{ decoded }, picture] = await Promise.all([model.run({ pixel_values: file }), createImageBitmap(file)]);
  const [answer] = decoded["logits"] ?? [];
  if (answer?.kind !== "boxes") throw new Error(`${repo} is no detector`);
  [canvas.width, canvas.height] = [picture.width, picture.height];
  context.drawImage(picture, 0, 0);
  context.strokeStyle = "red";
  context.lineWidth = Math.max(2, picture.width / 200);
  // Boxes are in pixels of the picture.
  for (const { box } of answer.boxes) context.strokeRect(box.xmin, box.ymin, box.xmax - box.xmin, box.ymax - box.ymin);
  list.replaceChildren(
    ...answer.boxes.map(({ label, score, box }) => {
      const item = document.createElement("li");
      item.textContent = `${label} ${score.toFixed(2)} at ${Math.round(box.xmin)}, ${Math.round(box.ymin)}`;
      return item;
    }),
  );
}
