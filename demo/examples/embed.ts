// Sorts texts by their meaning: `?repo=owner/name` of a sentence-transformers model, and `&host=` for another hub.
import { createEngine } from "selvedge";

const asked = new URL(location.href).searchParams;
const repo = asked.get("repo") ?? "sentence-transformers/all-MiniLM-L6-v2";
const host = asked.get("host") ?? undefined;

document.body.innerHTML = `
  <label>Texts, one a line <textarea name="texts" rows="6"></textarea></label>
  <label>Like <input name="query" /></label>
  <button disabled>Sort</button> <output></output> <ol></ol>`;
const [texts, query, button, status, list] = ["textarea", "input", "button", "output", "ol"].map((x) =>
  document.querySelector(x),
) as [HTMLTextAreaElement, HTMLInputElement, HTMLButtonElement, HTMLOutputElement, HTMLOListElement];

const engine = await createEngine();
const model = await engine.load(
  { repo, host },
  {
    onProgress: ({ loadedBytes }) => {
      status.textContent = `${(loadedBytes / 1e6).toFixed(1)} MB`;
    },
  },
);
status.textContent = `${model.name}, ${model.variant} on ${model.backend}`;
button.disabled = false;

button.addEventListener("click", () => {
  sort().catch((error: unknown) => {
    status.textContent = String(error);
  });
});

async function sort(): Promise<void> {
  const lines = texts.value.split("\n").filter((x) => x.trim() !== "");
  const [wanted, ...vectors] = await model.embed([query.value, ...lines], { normalize: true });
  if (wanted === undefined) return;
  // Of vectors of length 1 the product is the cosine.
  const cosine = (vector: Float32Array): number => vector.reduce((sum, x, i) => sum + x * (wanted[i] ?? 0), 0);
  const rows = lines.map((text, i) => ({ text, score: cosine(vectors[i] ?? new Float32Array()) }));
  rows.sort((a, b) => b.score - a.score);
  list.replaceChildren(
    ...rows.map(({ text, score }) => {
      const item = document.createElement("li");
      item.textContent = `${score.toFixed(3)} ${text}`;
      return item;
    }),
  );
}
