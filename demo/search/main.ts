// The page: texts come in by file, by paste or as the example; a worker indexes them, the engine computes their vectors,
// and both answer the query. Without the model, words alone are compared.
import * as Comlink from "comlink";
import { backendIn, find, Status } from "../status.ts";
import { takeFiles } from "../take-files.ts";
import { Embedder } from "./embedder.ts";
import type { IndexWorker } from "./index-worker.ts";
import type { Mode } from "./search-index.ts";
import type { Document } from "./serve.ts";
import { hitElement, SourceTable } from "./view.ts";

const SHOWN = 10;
const TYPING_PAUSE_MS = 200;
/** Changes of another tab are shown together. */
const OTHER_TAB_PAUSE_MS = 100;
const NAME_MAX = 40;
/** Failures that are shown of many files. */
const FAILURES_SHOWN = 3;

const status = new Status(find("status"), find("progress", HTMLProgressElement));
const query = find("query", HTMLInputElement);
const form = find("form", HTMLFormElement);
const textBox = find("text", HTMLTextAreaElement);
const [stop, resume] = [find("stop", HTMLButtonElement), find("continue", HTMLButtonElement)];
const worker = new Worker(new URL("./index-worker.ts", import.meta.url), { type: "module" });
worker.addEventListener("error", () => status.show("error", "The index’s worker failed: load this page again."));
const index = Comlink.wrap<IndexWorker>(worker);
const embedder = new Embedder(index, backendIn(new URLSearchParams(location.search)), (share) => {
  if (share === 0) status.show("loading", "Loading the model, all-MiniLM-L6-v2 …");
  if (share !== null) status.progress(share);
});
const table = new SourceTable(find("sources"), (name) => {
  void change(() => index.setText(name, ""));
});
let hasModel = false;
let filling: AbortController | null = null;
let searching: AbortController | null = null;
/** Passages that had no vector when the indexing began. */
let toFill = 0;
/** Whether a person stopped the indexing. */
let isStopped = false;
/** Failure of the last change, or of a part of it. */
let failure = "";

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
  const vector = isEmpty || mode === "words" ? null : await vectorOf(text, mode, signal);
  const hits = isEmpty ? [] : await index.search(text, vector, mode, SHOWN);
  if (signal.aborted) return;
  find("hits").replaceChildren(...hits.map(hitElement));
  find("found").textContent = isEmpty
    ? "None yet."
    : `${hits.length === 0 ? "Nothing" : `The best ${hits.length}`} for “${text}”, in ${(performance.now() - startMs).toFixed(0)} ms.`;
  find("found").dataset["query"] = `${mode}: ${text}`;
}

/** Returns the query's vector; null where words can answer without it. */
async function vectorOf(text: string, mode: Mode, signal: AbortSignal): Promise<Float32Array | null> {
  try {
    return await embedder.query(text, signal);
  } catch (error) {
    if (signal.aborted || mode === "meaning") throw error;
    return null;
  }
}

/** Shows the sources; returns the number of passages, and of those without a vector. */
async function showSources(): Promise<{ passages: number; missing: number }> {
  const { sources, persists } = await index.state();
  const focused = document.activeElement;
  table.show(sources);
  // A removed button loses the focus; it goes to what adds texts.
  if (focused?.isConnected === false) textBox.focus();
  find("stored").hidden = sources.length === 0;
  find("paraphrases").hidden = !hasModel || !sources.some((x) => x.name.startsWith("docs/"));
  find("texts-heading").textContent = persists ? "Texts" : "Texts (this browser keeps them until you leave)";
  const sum = (of: "passages" | "missing"): number => sources.reduce((all, x) => all + x[of], 0);
  return { passages: sum("passages"), missing: sum("missing") };
}

/** Changes texts, then indexes what is new, even if a part failed. */
async function change(work: () => Promise<unknown>): Promise<void> {
  status.show("busy", "Reading …");
  failure = "";
  await work().catch((error: unknown) => {
    failure = messageOf(error);
  });
  await attempt(async () => {
    await showSources();
    void attempt(search);
    await fill();
  });
}

/** Computes the missing vectors, with progress, until all are there or it is stopped. */
async function fill(): Promise<void> {
  filling?.abort();
  const mine = (filling = new AbortController());
  const before = await showSources();
  if (hasModel && before.missing > 0 && !isStopped) {
    [stop.hidden, resume.hidden] = [false, true];
    try {
      await embedder.load();
      toFill = (await showSources()).missing;
      mine.signal.throwIfAborted();
      status.show("busy", `${failure} Indexing ${toFill} passages by meaning; search what is there already.`.trim());
      status.progress(0);
      await embedder.fill(mine.signal, showProgress);
    } catch (error) {
      if (filling === mine) {
        filling = null;
        [stop.hidden, resume.hidden] = [true, false];
      }
      throw error;
    }
  }
  if (filling !== mine) return;
  filling = null;
  const { passages, missing } = await showSources();
  if (isStopped && missing > 0) {
    showStopped();
  } else {
    if ([stop, resume].some((x) => x === document.activeElement)) query.focus();
    [stop.hidden, resume.hidden] = [true, true];
    showReady(passages);
  }
  await search();
}

async function showProgress(): Promise<void> {
  const { missing } = await showSources();
  if (filling !== null && toFill > 0) status.progress(Math.max(0, 1 - missing / toFill));
}

function showReady(passages: number): void {
  const texts = passages === 0 ? "The index is empty: add texts." : `${passages} passages are in the index.`;
  const how =
    "The model is not here, so only words are compared: run “npm run minilm” in the project, and load this page again.";
  if (failure !== "") status.show("error", failure);
  else status.show("ready", hasModel ? texts : `${texts} ${how}`);
}

function showStopped(): void {
  const stopped = "Stopped. Passages that are not indexed yet are found by their words.";
  if (failure !== "") status.show("error", failure);
  else status.show("ready", stopped);
}

/** Shows what another tab changed; where that tab is closed before it has computed the vectors, this one does. */
async function follow(): Promise<void> {
  await showProgress();
  if (filling === null) await fill();
}

/** Runs what a person asked for; a failure is shown, and an abort is none. */
async function attempt(work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") return;
    status.show("error", messageOf(error));
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

async function addFiles(files: readonly File[]): Promise<void> {
  isStopped = false;
  await change(async () => {
    const failures: string[] = [];
    for (const file of files) await index.setFile(file).catch((error: unknown) => failures.push(messageOf(error)));
    const [more, shown] = [failures.length - FAILURES_SHOWN, failures.slice(0, FAILURES_SHOWN)];
    if (failures.length > 0) throw new Error([...shown, more > 0 ? `${more} more failed.` : ""].join(" ").trim());
  });
}

async function addExample(): Promise<void> {
  const response = await fetch("./documentation.json");
  for (const { name, text } of (await response.json()) as Document[]) await index.setText(name, text);
}

let typing = 0;
form.addEventListener("submit", (event) => {
  event.preventDefault();
  clearTimeout(typing);
  void attempt(search);
});
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
  isStopped = false;
  const name = [...text.slice(0, 2 * NAME_MAX)].slice(0, NAME_MAX).join("").replaceAll(/\s+/g, " ").trim();
  void change(async () => {
    await index.addText(name, text);
    // A text that could not be added, or was typed meanwhile, stays.
    if (textBox.value.trim() === text) textBox.value = "";
  });
});
find("example").addEventListener("click", () => {
  isStopped = false;
  void change(addExample);
});
find("clear").addEventListener("click", () => {
  void change(() => index.clear());
  textBox.focus();
});
stop.addEventListener("click", () => {
  isStopped = true;
  filling?.abort();
  [stop.hidden, resume.hidden] = [true, false];
  showStopped();
  resume.focus();
});
resume.addEventListener("click", () => {
  isStopped = false;
  stop.hidden = false;
  stop.focus();
  void attempt(fill);
});
let following = 0;
const followSoon = (): void => {
  clearTimeout(following);
  // A hidden page loads no model; it follows when it is seen.
  if (!document.hidden) following = window.setTimeout(() => void attempt(follow), OTHER_TAB_PAUSE_MS);
};

await attempt(async () => {
  hasModel = await Embedder.isThere();
  await index.onOtherTab(Comlink.proxy(followSoon));
  document.addEventListener("visibilitychange", followSoon);
  for (const input of find("modes").querySelectorAll("input")) {
    input.disabled = !hasModel;
    if (!hasModel) input.checked = input.value === "words";
  }
  // The model is loaded for texts alone; a first visit has none.
  if ((await showSources()).passages > 0 && hasModel) await embedder.load();
  await fill();
});
