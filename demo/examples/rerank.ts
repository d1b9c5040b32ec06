// Sorts answers to a question by a cross-encoder, which reads both texts at once: `?repo=owner/name`, `&host=`.
import { createEngine } from "selvedge";
import { rerankingModel } from "selvedge/ai-sdk";

const asked = new URL(location.href).searchParams;
const repo = asked.get("repo") ?? "cross-encoder/ms-marco-MiniLM-L6-v2";
const host = asked.get("host") ?? undefined;

document.body.innerHTML = `
  <label>Question <input name="query" /></label>
  <label>Answers, one a line <textarea name="texts" rows="6"></textarea></label>
  <button disabled>Sort</button> <output></output> <ol></ol>`;
const [query, texts, button, status, list] = ["input", "textarea", "button", "output", "ol"].map((x) =>
  document.querySelector(x),
) as [HTMLInputElement, HTMLTextAreaElement, HTMLButtonElement, HTMLOutputElement, HTMLOListElement];

const engine = await createEngine();
const model = await engine.load({ repo, host });
// `rerank` of the package `ai` takes it too; without that package its method is called.
const ranker = rerankingModel(model);
status.textContent = `${model.name}, ${model.variant} on ${model.backend}`;
button.disabled = false;

button.addEventListener("click", () => {
  sort().catch((error: unknown) => {
    status.textContent = String(error);
  });
});

async function sort(): Promise<void> {
  const values = texts.value.split("\n").filter((x) => x.trim() !== "");
  const { ranking } = await ranker.doRerank({ query: query.value, documents: { values } });
  list.replaceChildren(
    ...ranking.map(({ index, relevanceScore }) => {
      const item = document.createElement("li");
      item.textContent = `${relevanceScore.toFixed(3)} ${values[index] ?? ""}`;
      return item;
    }),
  );
}
