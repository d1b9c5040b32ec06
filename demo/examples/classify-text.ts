// Labels a text while it is typed: `?repo=owner/name` of a text classifier, and `&host=` for another hub.
import { createEngine } from "selvedge";

const asked = new URL(location.href).searchParams;
const repo = asked.get("repo") ?? "Xenova/distilbert-base-uncased-finetuned-sst-2-english";
const host = asked.get("host") ?? undefined;

document.body.innerHTML = `
  <label>Text <textarea name="text" rows="4"></textarea></label>
  <output></output> <ol></ol>`;
const [text, status, list] = ["textarea", "output", "ol"].map((x) => document.querySelector(x)) as [
  HTMLTextAreaElement,
  HTMLOutputElement,
  HTMLOListElement,
];

const engine = await createEngine();
const model = await engine.load({ repo, host });
status.textContent = `${model.name}, ${model.variant} on ${model.backend}`;

let typing = new AbortController();
text.addEventListener("input", () => {
  // The answer to an older text is no longer wanted.
  typing.abort();
  typing = new AbortController();
  const { signal } = typing;
  classify(signal).catch((error: unknown) => {
    if (!signal.aborted) status.textContent = String(error);
  });
});

async function classify(signal: AbortSignal): Promise<void> {
  const { decoded } = await model.run({ input_ids: text.value }, { signal });
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
