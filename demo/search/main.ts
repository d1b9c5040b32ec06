// The page: texts come in by file, by paste or as the example; a worker indexes them, the engine computes their vectors,
// and both answer the query. Without the model, words alone are compared.
import * as Comlink from "comlink";
import { backendIn, find, Status } from "../status.ts";
import { takeFiles } from "../take-files.ts";
import { Embedder } from "./embedder.ts";
import type { IndexWorker } from "./index-worker.ts";
import type { Mode } from "./search-index.ts";
import type { Document } from "./serve.ts";
import { hitElement, sourceRow } from "./view.ts";

const SHOWN = 10;
const TYPING_PAUSE_MS = 200;
const NAME_MAX = 40;

const status = new Status(find("status"), find("progress", HTMLProgressElement));
const query = find("query", HTMLInputElement);
const form = find("form", HTMLFormElement);
const textBox = find("text", HTMLTextAreaElement);
const [stop, resume] = [find("stop", HTMLButtonElement), find("continue", HTMLButtonElement)];
const index = Comlink.wrap<IndexWorker>(new Worker(new URL("./index-worker.ts", import.meta.url), { type: "module" }));
const embedder = new Embedder(index, backendIn(new URLSearchParams(location.search)), (share) => {
  if (share === 0) status.show("loading", "Loading the model, all-MiniLM-L6-v2 …");
  if (share !== null) status.progress(share);
});
let hasModel = false;
let filling: AbortController | null = null;
let searching: AbortController | null = null;

function modeNow(): Mode {
  return hasModel ? (new FormData(form).get("mode") as Mode) : "words";
}

async function search(): Promise<void> {
  searching?.abort();
  const { signal } = (searching = new AbortController());
  const text = query.value.trim();
  const mode = modeNow();
  const startMs = performance.now();
  const isEmpty = text === "" || (await index.state()).sources.length === 0;
  const vector = isEmpty || mode === "words" ? null : await embedder.query(text, signal);
  const hits = isEmpty ? [] : await index.search(text, vector, mode, SHOWN);
  if (signal.aborted) return;
  find("hits").replaceChildren(...hits.map(hitElement));
  find("found").textContent = isEmpty
    ? "None yet."
    : `${hits.length === 0 ? "Nothing" : `The best ${hits.length}`} for “${text}”, in ${(performance.now() - startMs).toFixed(0)} ms.`;
  find("found").dataset["query"] = `${mode}: ${text}`;
}

/** Shows the sources; returns the number of passages, and of those without a vector. */
async function showSources(): Promise<{ passages: number; missing: number }> {
  const { sources, persists } = await index.state();
  const focused = document.activeElement?.getAttribute("aria-label");
  const rows = sources.map((source) => sourceRow(source, () => void change(() => index.setText(source.name, ""))));
  find("sources").replaceChildren(...rows);
  // The rows are new; the focus stays on the same button, or goes to what adds texts.
  if (focused?.startsWith("Remove ") === true)
    (rows.map((x) => x.querySelector("button")).find((x) => x?.ariaLabel === focused) ?? textBox).focus();
  find("stored").hidden = sources.length === 0;
  find("paraphrases").hidden = !hasModel || !sources.some((x) => x.name.startsWith("docs/"));
  find("texts-heading").textContent = persists ? "Texts" : "Texts (this browser keeps them until you leave)";
  const sum = (of: "passages" | "missing"): number => sources.reduce((all, x) => all + x[of], 0);
  return { passages: sum("passages"), missing: sum("missing") };
}

/** Changes texts, then indexes what is new. */
async function change(work: () => Promise<unknown>): Promise<void> {
  await attempt(async () => {
    status.show("busy", "Reading …");
    try {
      await work();
    } finally {
      await showSources();
    }
    void attempt(search);
    await fill();
  });
}

/** Computes the missing vectors, with progress, until all are there or it is stopped. */
async function fill(): Promise<void> {
  filling?.abort();
  const mine = (filling = new AbortController());
  const before = await showSources();
  if (hasModel && before.missing > 0) {
    [stop.hidden, resume.hidden] = [false, true];
    try {
      await embedder.load();
      const { missing } = await showSources();
      mine.signal.throwIfAborted();
      status.show("busy", `Indexing ${missing} passages by meaning; search what is there already.`);
      status.progress(0);
      await embedder.fill(mine.signal, async () => status.progress(1 - (await showSources()).missing / missing));
    } catch (error) {
      if (filling === mine) [stop.hidden, resume.hidden] = [true, false];
      throw error;
    }
  }
  if (filling !== mine) return;
  if ([stop, resume].some((x) => x === document.activeElement)) query.focus();
  [stop.hidden, resume.hidden] = [true, true];
  showReady((await showSources()).passages);
  await search();
}

function showReady(passages: number): void {
  const texts = passages === 0 ? "The index is empty: add texts." : `${passages} passages are in the index.`;
  const how =
    "The model is not here, so only words are compared: run “npm run minilm” in the project, and load this page again.";
  status.show("ready", hasModel ? texts : `${texts} ${how}`);
}

/** Runs what a person asked for; a failure is shown, and an abort is none. */
async function attempt(work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") return;
    status.show("error", error instanceof Error ? error.message : String(error));
  }
}

async function addFiles(files: readonly File[]): Promise<void> {
  await change(async () => {
    for (const file of files) await index.setFile(file);
  });
}

async function addExample(): Promise<void> {
  const response = await fetch("./documentation.json");
  for (const { name, text } of (await response.json()) as Document[]) await index.setText(name, text);
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  void attempt(search);
});
let typing = 0;
form.addEventListener("input", () => {
  clearTimeout(typing);
  typing = window.setTimeout(() => void attempt(search), TYPING_PAUSE_MS);
});
for (const button of find("paraphrases").querySelectorAll("button"))
  button.addEventListener("click", () => {
    query.value = button.textContent;
    void attempt(search);
  });
takeFiles(find("files", HTMLInputElement), (files) => void addFiles(files));
find("add").addEventListener("click", () => {
  const text = textBox.value.trim();
  if (text === "") return;
  textBox.value = "";
  void change(() => index.setText(text.slice(0, NAME_MAX).replaceAll(/\s+/g, " "), text));
});
find("example").addEventListener("click", () => void change(addExample));
find("clear").addEventListener("click", () => {
  void change(async () => {
    for (const { name } of (await index.state()).sources) await index.setText(name, "");
  });
  textBox.focus();
});
stop.addEventListener("click", () => {
  filling?.abort();
  [stop.hidden, resume.hidden] = [true, false];
  status.show("ready", "Stopped. Passages that are not indexed yet are found by their words.");
  resume.focus();
});
resume.addEventListener("click", () => {
  stop.hidden = false;
  stop.focus();
  void attempt(fill);
});

await attempt(async () => {
  hasModel = await Embedder.isThere();
  for (const input of find("modes").querySelectorAll("input")) {
    input.disabled = !hasModel;
    if (!hasModel) input.checked = input.value === "words";
  }
  // The model is loaded for texts alone; a first visit has none.
  if ((await showSources()).passages > 0 && hasModel) await embedder.load();
  await fill();
});
