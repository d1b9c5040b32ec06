// The page /models/: the models stored on this device, with actions on them. It runs them only to check their answers. With the service worker
// that "Go offline" registers it starts without a network.
import { createEngine } from "selvedge";
import type { Availability, Engine, Progress } from "selvedge";
import { openCache } from "selvedge/cache";
import type { ModelCache, StoreContents, StoredBundle } from "selvedge/cache";
import { find, Status } from "../status.ts";
import { checkAnswers } from "./answers.ts";
import { ageOf, bytesOf, secondsOf } from "./words.ts";

/** The bundles that the other pages use, by their folders. */
const NAMES = ["ocr-det", "ocr-rec", "ocr-cls", "face", "vad", "spam", "fashion-cnn", "fashion-mlp"];
const STATES: Readonly<Record<Availability["state"], string>> = {
  unavailable: "not available now",
  downloadable: "not stored",
  downloading: "being fetched",
  available: "stored",
};

/** A row of the table: a bundle of this site, or one that was stored from elsewhere. */
interface Row {
  readonly name: string;
  readonly url: string;
  readonly look: Availability | null;
  readonly stored: StoredBundle | null;
}

/** An action on a row. */
interface Action {
  readonly label: string;
  readonly isPressed?: boolean;
  readonly run: (row: Row) => Promise<string>;
}

const status = new Status(find("status"), find("progress", HTMLProgressElement));
const cancelButton = find("cancel", HTMLButtonElement);
const commands = ["offline", "persist", "check", "clear"].map((id) => find(id, HTMLButtonElement));
let fetching: AbortController | null = null;

function actionsOf({ look, stored }: Row, engine: Engine, cache: ModelCache): Action[] {
  const isWhole = (stored?.variants.length ?? 0) > 0;
  const actions: Action[] = [];
  if (look?.state !== "unavailable" || isWhole)
    actions.push({ label: isWhole ? "Update" : "Download", run: (row) => fetchModel(engine, row) });
  if (stored !== null) {
    const { isPinned } = stored;
    actions.push({
      label: "Pin",
      isPressed: isPinned,
      run: async ({ name, stored: at }) => {
        await cache.pin(at?.identity ?? "", !isPinned);
        return isPinned ? `${name} may be evicted to free space.` : `${name} is pinned and will not be evicted.`;
      },
    });
    if (isWhole) actions.push({ label: "Save", run: (row) => save(cache, row) });
    actions.push({
      label: "Evict",
      run: async ({ name, stored: at }) => `${name} was evicted: ${bytesOf(await cache.delete(at?.identity))} freed.`,
    });
  }
  return actions;
}

/** Stores the newest version; a stopped download resumes the next time. */
async function fetchModel(engine: Engine, { name, url }: Row): Promise<string> {
  const mine = (fetching = new AbortController());
  cancelButton.disabled = false;
  try {
    const { isNew, fetchedBytes } = await engine.update(url, {
      signal: mine.signal,
      onProgress: showProgress,
    });
    if (!isNew && fetchedBytes === 0) return `${name} is up to date; nothing was downloaded.`;
    return `${name} is stored: ${bytesOf(fetchedBytes)} downloaded.`;
  } catch (error) {
    if (mine.signal.aborted) return `Stopped. The next download of ${name} resumes here.`;
    throw error;
  } finally {
    fetching = null;
    cancelButton.disabled = true;
    find("rate").textContent = "";
  }
}

function showProgress({ loadedBytes, totalBytes, cachedBytes, bytesPerSecond, secondsLeft }: Progress): void {
  if (totalBytes !== null) status.progress(loadedBytes / Math.max(1, totalBytes));
  const parts = [`${bytesOf(loadedBytes)} of ${totalBytes === null ? "?" : bytesOf(totalBytes)}`];
  if (cachedBytes > 0) parts.push(`${bytesOf(cachedBytes)} of it already stored`);
  if (bytesPerSecond !== null) parts.push(`${bytesOf(bytesPerSecond)}/s`);
  if (secondsLeft !== null) parts.push(`${secondsOf(secondsLeft)} left`);
  find("rate").textContent = `${parts.join(", ")}.`;
}

async function save(cache: ModelCache, { name, stored }: Row): Promise<string> {
  const files = await cache.export(stored?.identity ?? "");
  for (const { path, data } of files) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(data);
    link.download = `${name}-${path.replaceAll("/", "-")}`;
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => {
      URL.revokeObjectURL(link.href);
    }, 60_000);
  }
  return `${name}: ${files.length === 1 ? "its file is" : `its ${files.length} files are`} saved.`;
}

async function read(engine: Engine, { bundles }: StoreContents): Promise<Row[]> {
  const known = NAMES.map((name) => ({ name, url: new URL(`./${name}/bundle.json`, location.href).href }));
  const ours = await Promise.all(
    known.map(async ({ name, url }) => ({
      name,
      url,
      look: await engine.availability(url),
      stored: bundles.find((x) => x.urls.includes(url)) ?? null,
    })),
  );
  const others = bundles.filter((x) => !ours.some((y) => y.stored === x));
  // A version without a known URL can only be inspected, exported and evicted.
  return [...ours, ...others.map((stored) => ({ name: stored.name, url: stored.urls[0] ?? "", look: null, stored }))];
}

async function draw(engine: Engine, cache: ModelCache): Promise<void> {
  const contents = await cache.list();
  const rows = await read(engine, contents);
  find("stored").textContent = bytesOf(contents.bytes);
  find("free").textContent = contents.freeBytes === null ? "unknown" : bytesOf(contents.freeBytes);
  find("kind").textContent = contents.kind;
  find("network").textContent = navigator.onLine ? "there" : "away";
  const focused = document.activeElement?.getAttribute("data-key") ?? null;
  const lines = rows.map((row) => line(row, engine, cache));
  find("models", HTMLTableElement).tBodies[0]?.replaceChildren(...lines);
  if (focused !== null) focus(focused);
}

/** Restores the focus to the element that had it before the table was redrawn, or to its neighbour. */
function focus(key: string): void {
  const buttons = [...document.querySelectorAll<HTMLButtonElement>("button[data-key]")];
  const [name] = key.split("/");
  const next = buttons.find((x) => x.dataset["key"] === key) ?? buttons.find((x) => x.dataset["name"] === name);
  next?.focus();
}

function line(row: Row, engine: Engine, cache: ModelCache): HTMLTableRowElement {
  const { name, look, stored } = row;
  const element = document.createElement("tr");
  element.dataset["model"] = name;
  const head = document.createElement("th");
  head.scope = "row";
  head.textContent = stored === null ? name : `${name} ${stored.version}`;
  element.append(head);
  const isPart = stored !== null && stored.variants.length === 0;
  const state = isPart ? "partly stored" : look === null ? "an older version" : STATES[look.state];
  const toFetch = look?.bytesToFetch ?? 0;
  const isKnown = stored !== null || look?.state !== "unavailable";
  const size = isKnown ? (stored?.bytes ?? look?.bytes) : null;
  const cells = [
    toFetch > 0 && stored !== null ? `${state}; ${bytesOf(toFetch)} to download` : state,
    stored?.variants.join(", ") ?? "–",
    size === undefined || size === null ? "–" : bytesOf(size),
    stored === null ? "–" : ageOf(Date.now() - stored.usedMs),
  ];
  for (const [i, text] of cells.entries()) {
    const cell = element.insertCell();
    cell.textContent = text;
    if (i === 2) cell.className = "number";
  }
  const actions = document.createElement("div");
  actions.className = "actions";
  actions.append(...actionsOf(row, engine, cache).map((action) => button(row, action, engine, cache)));
  element.insertCell().append(actions);
  return element;
}

function button(row: Row, { label, isPressed, run }: Action, engine: Engine, cache: ModelCache): HTMLButtonElement {
  const element = document.createElement("button");
  element.type = "button";
  element.className = "button small";
  element.textContent = label;
  element.setAttribute("aria-label", `${label} ${row.name}`);
  if (isPressed !== undefined) element.setAttribute("aria-pressed", String(isPressed));
  Object.assign(element.dataset, { key: `${row.name}/${label}`, name: row.name });
  element.addEventListener("click", () => {
    void act(engine, cache, `${label}: ${row.name} …`, () => run(row));
  });
  return element;
}

/** Performs one action at a time, reports its result, and redraws the table. */
async function act(engine: Engine, cache: ModelCache, doing: string, run: () => Promise<string>): Promise<void> {
  // Not disabled, which would take the focus away.
  if (document.body.ariaBusy === "true") return;
  document.body.ariaBusy = "true";
  status.show("busy", doing);
  try {
    const said = await run();
    await draw(engine, cache);
    status.show("done", said);
  } catch (error) {
    await draw(engine, cache).catch(() => undefined); // the first failure is the one reported
    fail(error);
  } finally {
    document.body.ariaBusy = "false";
  }
}

async function goOffline(cache: ModelCache): Promise<string> {
  const page = await cache.keepPage(new URL("../service-worker.js", location.href));
  if (page === null) return "Service workers are not available here, so this page needs the network.";
  const { kept, failed } = page;
  if (failed.length > 0) throw new Error(`${failed.length} files of this page could not be stored: ${failed[0] ?? ""}`);
  return `This page now works offline: ${kept.length} files are stored.`;
}

async function checkAll(engine: Engine, cache: ModelCache): Promise<string> {
  const { bundles } = await cache.list();
  const stored = bundles.flatMap(({ name, urls: [url], variants }) =>
    url === undefined || variants.length === 0 ? [] : [{ name, url }],
  );
  find("answers").hidden = stored.length === 0;
  return checkAnswers(engine, stored, find("checks", HTMLTableSectionElement), (doing) => {
    status.show("busy", doing);
  });
}

function fail(error: unknown): void {
  status.show("error", error instanceof Error ? error.message : String(error));
}

try {
  const engine = await createEngine();
  const cache = openCache();
  const works: Readonly<Record<string, () => Promise<string>>> = {
    offline: () => goOffline(cache),
    persist: async () =>
      (await cache.persist()) ? "Storage is persistent." : "The browser may clear the storage to free space.",
    check: () => checkAll(engine, cache),
    clear: async () => `All models were evicted: ${bytesOf(await cache.delete())} freed.`,
  };
  for (const command of commands) {
    command.disabled = false;
    command.addEventListener("click", () => {
      const work = works[command.id];
      if (work !== undefined) void act(engine, cache, `${command.textContent.trim()} …`, work);
    });
  }
  cancelButton.addEventListener("click", () => {
    fetching?.abort();
  });
  for (const event of ["online", "offline"])
    addEventListener(event, () => {
      draw(engine, cache).catch(fail);
    });
  await draw(engine, cache);
  status.show("ready", "Download a model, or manage the stored ones.");
} catch (error) {
  fail(error);
}
