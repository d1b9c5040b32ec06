// The page /spam/: converts a mail to its text and the text to a probability, then leaves out each of its words in turn
// to weigh it. Typing cancels the current run.
import { createEngine, isSelvedgeError } from "selvedge";
import type { Engine, Model, RunOptions } from "selvedge";
import { backendIn, find, Status } from "../status.ts";
import { EXAMPLES } from "./examples.ts";
import { FILE_MAX, readMailFile, textOfSource } from "./mail.ts";
import { distinctWords, heaviest, runs, without, WORDS_MAX } from "./words.ts";
import type { WeighedWord } from "./words.ts";

const BUNDLE = new URL("../models/spam/bundle.json", location.href);
/**
 * Maximum batch of mails with a word left out: smaller for long ones, whose attention takes the square of their length.
 */
const TOGETHER = 16;
const LONG = 1_500;
const SHOWN_WORDS = 12;
/** From this weight on a word is shown as decisive. */
const STRONG = 0.5;
const TYPING_PAUSE_MS = 300;

const status = new Status(find("status"), find("progress", HTMLProgressElement));
const mailBox = find("mail", HTMLTextAreaElement);
const fileInput = find("file", HTMLInputElement);
const fileNote = find("file-note");
const compareButton = find("compare", HTMLButtonElement);
const backend = backendIn(new URLSearchParams(location.search));
let judging: AbortController | null = null;

/** Facts of a bundle's variants that the page shows. */
interface BundleFacts {
  readonly variants: readonly {
    readonly id: string;
    readonly files: readonly { readonly bytes: number }[];
    readonly score?: { readonly value: number; readonly n: number };
  }[];
}

/** Returns the log odds of spam of each text. */
async function odds(model: Model, texts: readonly string[], options: RunOptions): Promise<number[]> {
  const { outputs } = await model.run({ text: texts }, options);
  const logits = outputs["logits"]?.data as Float32Array;
  return texts.map((_, i) => (logits[2 * i + 1] ?? 0) - (logits[2 * i] ?? 0));
}

function probability(logOdds: number): number {
  return 1 / (1 + Math.exp(-logOdds));
}

function percent(share: number): string {
  if (share > 0.9999) return "over 99.99 %";
  return `${(100 * share).toFixed(share > 0.001 && share < 0.999 ? 1 : 2)} %`;
}

/** The text of the mail in the box, or "". */
function textInBox(): string {
  return textOfSource(mailBox.value);
}

async function judge(model: Model): Promise<void> {
  judging?.abort();
  const mine = (judging = new AbortController());
  const options = { signal: mine.signal };
  const text = textInBox();
  const isEmpty = text === "";
  for (const id of ["answer", "read"]) find(id).hidden = isEmpty;
  if (isEmpty) {
    status.show("ready", "Paste a mail, or open one.");
    return;
  }
  status.show("busy", "Judging …");
  const startMs = performance.now();
  const [base = 0] = await odds(model, [text], options);
  showVerdict(base, performance.now() - startMs);
  showText(text, new Map());
  const words: WeighedWord[] = [];
  const all = distinctWords(text);
  // The memory of a run grows with the square of a mail's length.
  const together = Math.max(1, Math.min(TOGETHER, Math.floor(TOGETHER * (LONG / text.length) ** 2)));
  for (let at = 0; at < all.length; at += together) {
    const some = all.slice(at, at + together);
    const rest = await odds(
      model,
      some.map((word) => without(text, word)),
      options,
    );
    words.push(...some.map((word, i) => ({ word, weight: base - (rest[i] ?? 0) })));
    status.say(`Done. Leaving out words, one by one: ${words.length} of ${all.length} …`);
  }
  showWords(words, all.length);
  showText(text, new Map(words.map((x) => [x.word, x.weight])));
  status.show("done", "Judged.");
}

function showVerdict(logOdds: number, ms: number): void {
  const share = probability(logOdds);
  const verdict = find("verdict");
  verdict.textContent = share > 0.5 ? `Spam: ${percent(share)}` : `Not spam: ${percent(1 - share)} sure`;
  verdict.parentElement?.setAttribute("data-verdict", share > 0.5 ? "spam" : "ham");
  find("score", HTMLMeterElement).value = share;
  const timing = find("timing");
  timing.textContent = `Answered in ${ms.toFixed(0)} ms.`;
  Object.assign(timing.dataset, { ms: String(ms), probability: String(share) });
}

function showWords(words: readonly WeighedWord[], tried: number): void {
  const body = find("words", HTMLTableElement).tBodies[0];
  const more = tried === WORDS_MAX ? ` Only the first ${WORDS_MAX} different words were tried.` : "";
  find("words-note").textContent =
    `Change of the log odds of spam without the word; near 0 it makes no difference.${more}`;
  const rows = heaviest(words, SHOWN_WORDS).map(({ word, weight }) =>
    row([word, weight > 0 ? "spam" : "ham", weight.toFixed(2).replace("-", "−")], 2),
  );
  body?.replaceChildren(...rows);
}

function showText(text: string, weights: ReadonlyMap<string, number>): void {
  const largest = new Set(
    heaviest(
      [...weights].map(([word, weight]) => ({ word, weight })),
      SHOWN_WORDS,
    ).map((x) => x.word),
  );
  const nodes = runs(text, largest).map(({ text: part, word }) => {
    const weight = weights.get(word ?? "") ?? 0;
    if (word === null) return part;
    const mark = document.createElement("mark");
    mark.className = weight > 0 ? "spam" : "ham";
    mark.classList.toggle("strong", Math.abs(weight) >= STRONG);
    mark.textContent = part;
    return mark;
  });
  find("marked").replaceChildren(...nodes);
}

/** Creates a row of a table; cells from `numbersFrom` on are numbers. */
function row(cells: readonly string[], numbersFrom: number): HTMLTableRowElement {
  const line = document.createElement("tr");
  for (const [i, text] of cells.entries()) {
    const cell = line.insertCell();
    cell.textContent = text;
    if (i >= numbersFrom) cell.className = "number";
  }
  return line;
}

/** Shows the variants, and how each classifies the current mail, if any. */
async function compare(engine: Engine, { variants }: BundleFacts, text: string | null): Promise<void> {
  const body = find("variants", HTMLTableElement).tBodies[0];
  const rows: HTMLTableRowElement[] = [];
  for (const { id, files, score } of variants) {
    const size = `${(files.reduce((sum, x) => sum + x.bytes, 0) / 1e6).toFixed(2)} MB`;
    const right = score === undefined ? "–" : `${(100 * score.value).toFixed(2)} % of ${score.n}`;
    const [place, answer, ms] = text === null ? ["–", "–", "–"] : await tryVariant(engine, id, text);
    rows.push(row([id, place, size, right, answer, ms], 2));
  }
  // The box may hold another mail by now.
  if (text === null || text === textInBox()) body?.replaceChildren(...rows);
}

async function tryVariant(engine: Engine, variant: string, text: string): Promise<[string, string, string]> {
  try {
    const model = await engine.load(BUNDLE, { variant, backend });
    try {
      await odds(model, [text], {}); // the first run warms up
      const startMs = performance.now();
      const [logOdds = 0] = await odds(model, [text], {});
      const ms = performance.now() - startMs;
      return [model.backend, percent(probability(logOdds)), `${ms.toFixed(1)} ms`];
    } finally {
      model.unload();
    }
  } catch (error) {
    if (isSelvedgeError(error) && error.code === "no-backend") return ["not on this device", "–", "–"];
    return [error instanceof Error ? error.message : String(error), "–", "–"];
  }
}

function fail(error: unknown): void {
  if (error instanceof DOMException && error.name === "AbortError") return;
  status.show("error", error instanceof Error ? error.message : String(error));
}

try {
  const engine = await createEngine();
  const model = await engine.load(BUNDLE, {
    backend,
    onProgress: ({ loadedBytes, totalBytes }) => {
      if (totalBytes !== null) status.progress(loadedBytes / totalBytes);
    },
  });
  await odds(model, ["Warming up, so that the first answer is as fast as the others."], {});
  status.set({ backend: model.backend, variant: model.variant });
  // Without a network a mail is classified all the same; only the comparison is missing.
  const facts = await fetch(BUNDLE).then(
    (response) => response.json() as Promise<BundleFacts>,
    (): BundleFacts => ({ variants: [] }),
  );
  await compare(engine, facts, null);
  const examples = document.querySelectorAll<HTMLButtonElement>("[data-example]");
  for (const control of [mailBox, fileInput, compareButton, ...examples]) control.disabled = false;
  const judgeAnew = (): void => {
    compare(engine, facts, null).catch(fail); // the numbers there belong to the previous mail
    judge(model).catch(fail);
  };
  const show = (source: string): void => {
    mailBox.value = source;
    judgeAnew();
  };
  for (const button of examples)
    button.addEventListener("click", () => {
      fileNote.textContent = "";
      show(EXAMPLES[button.dataset["example"] ?? ""] ?? "");
    });
  fileInput.addEventListener("change", () => {
    const file = fileInput.files?.[0];
    fileInput.value = ""; // so that the same file can be chosen again
    if (file === undefined) return;
    readMailFile(file)
      .then(({ source, isCut }) => {
        fileNote.textContent = isCut ? `Only the first ${FILE_MAX / 1_024} kB of this file are read.` : "";
        show(source);
      })
      .catch(fail);
  });
  let typing = 0;
  mailBox.addEventListener("input", () => {
    judging?.abort();
    fileNote.textContent = "";
    clearTimeout(typing);
    typing = window.setTimeout(judgeAnew, TYPING_PAUSE_MS);
  });
  compareButton.addEventListener("click", () => {
    const text = textInBox();
    if (text === "") {
      status.show("ready", "Paste a mail first, or open one.");
      return;
    }
    compareButton.disabled = true;
    compare(engine, facts, text)
      .catch(fail)
      .finally(() => {
        compareButton.disabled = false;
      });
  });
  status.show("ready", "Paste a mail, or open one.");
} catch (error) {
  fail(error);
}
