// The page /offload/: requests to a model on this device, on a server, or on either, and the engine's own counters of
// where they were answered.
//
//   ?server=http://127.0.0.1:8000   connects at once      ?backend=wasm   the backend of this device
import { createEngine } from "selvedge";
import type { Engine, Model, Placement } from "selvedge";
import { offloadCsv } from "selvedge/offload";
import type { OffloadPrice, OffloadStats } from "selvedge/offload";
import { connectRemote } from "selvedge/remote";
import { backendIn, find, Status } from "../status.ts";
import { drawChart, drawFacts, drawRows, drawUnsure } from "./report.ts";

const NAME = "fashion-mlp";
const LARGER = "fashion-cnn";
const SIDE = 28;
const DRAW_MS = 250;

const query = new URLSearchParams(location.search);
const status = new Status(find("status"), find("progress", HTMLProgressElement));
const address = find("server", HTMLInputElement);
const fieldset = find("run", HTMLFieldSetElement);
const startButton = find("start", HTMLButtonElement);
const stopButton = find("stop", HTMLButtonElement);
const csvButton = find("csv", HTMLButtonElement);
const EMPTY: OffloadStats = {
  local: { requests: 0, latencyMs: null },
  remote: { requests: 0, latencyMs: null },
  cached: 0,
  localShare: null,
  server: { calls: 0, sentBytes: 0, receivedBytes: 0, seconds: 0 },
  hedges: { sent: 0, won: 0, seconds: 0 },
  cascade: { unsure: 0, sent: 0, answered: 0 },
  saved: null,
};

let engine: Engine | null = null;
let model: Model | null = null;
let isStopped = false;
/** Number of requests so far, so that each has a picture of its own. */
let asked = 0;

async function connect(url: string): Promise<void> {
  const escalateBelow = numberIn("below");
  isStopped = true;
  fieldset.disabled = true;
  status.show("loading", `Connecting to ${url} …`);
  await engine?.close();
  engine = model = null;
  draw();
  const client = connectRemote({ endpoints: [url], attempts: 1 });
  try {
    for (const name of escalateBelow > 0 ? [NAME, LARGER] : [NAME]) {
      const [state] = await client.health(name, { timeoutMs: 5_000 });
      if (state?.isReady === true) continue;
      find("how").hidden = false;
      const what = state?.isLive === true ? `has no model “${name}” that is ready` : "does not answer this page";
      throw new Error(`${url} ${what}. The command starts a server that does.`);
    }
  } finally {
    client.close();
  }
  const backend = backendIn(query);
  engine = await createEngine({
    placement: "auto",
    remote: {
      endpoints: [url],
      ...(escalateBelow > 0 && { models: { [NAME]: { cascade: { bundle: bundleOf(LARGER), escalateBelow } } } }),
    },
    ...(backend === undefined ? {} : { backends: [backend] }),
  });
  model = await engine.load(bundleOf(NAME), {
    onProgress: ({ loadedBytes, totalBytes }) => {
      if (totalBytes !== null) status.progress(loadedBytes / totalBytes);
    },
  });
  // A request of this device alone, and one of the server: from here on either can answer.
  await send(model, "local");
  await send(model, "remote");
  find("how").hidden = true;
  fieldset.disabled = false;
  csvButton.disabled = false;
  draw();
  status.show("ready", `Connected to ${url}. One request was answered on each side.`);
}

function bundleOf(name: string): string {
  return new URL(`../models/${name}/bundle.json`, document.baseURI).href;
}

async function run(): Promise<void> {
  const current = model;
  if (current === null) return;
  const placement = (document.querySelector<HTMLInputElement>("input[name=placement]:checked")?.value ??
    "auto") as Placement;
  const [count, atOnce] = [numberIn("count"), numberIn("at-once")];
  isStopped = false;
  startButton.disabled = true;
  stopButton.disabled = false;
  status.show("running", `Sending ${count} requests …`);
  let [next, answered, failed] = [0, 0, ""];
  const timer = setInterval(draw, DRAW_MS);
  const work = async (): Promise<void> => {
    while (next < count && !isStopped) {
      next += 1;
      await send(current, placement).then(
        () => (answered += 1),
        (error: unknown) => (failed = messageOf(error)),
      );
    }
  };
  await Promise.all(Array.from({ length: atOnce }, work));
  clearInterval(timer);
  draw();
  stopButton.disabled = true;
  startButton.disabled = false;
  const missing = failed === "" ? "" : ` ${next - answered} failed, the last one: ${failed}`;
  status.show(failed === "" ? "done" : "error", `${answered} of ${count} requests answered.${missing}`);
}

async function send(to: Model, placement: Placement): Promise<void> {
  const seed = ++asked;
  const data = Float32Array.from({ length: SIDE * SIDE }, (_, at) => Math.abs(Math.sin(at * 0.1 + seed)));
  const { info } = await to.run({ image: { dtype: "float32", dims: [1, 1, SIDE, SIDE], data } }, { placement });
  find("why").textContent = `The last answer: ${info.why.text}.`;
}

function draw(): void {
  const stats = engine?.stats().offload ?? EMPTY;
  const error = find("price-error");
  try {
    const cost = drawFacts(find("facts"), stats, price());
    drawRows(find("rows"), stats, cost);
    error.textContent = "";
  } catch (wrong) {
    error.textContent = messageOf(wrong);
  }
  for (const id of ["price", "per-server"]) find(id).setAttribute("aria-invalid", String(error.textContent !== ""));
  csvButton.disabled = engine === null || error.textContent !== "";
  drawChart(find("chart"), stats);
  drawUnsure(find("unsure"), stats);
}

/** @throws Error for an input that is no number in its range */
function price(): OffloadPrice {
  return { pricePerServerHour: numberIn("price"), requestsAtOnce: numberIn("per-server") };
}

function numberIn(id: string): number {
  const input = find(id, HTMLInputElement);
  const { valueAsNumber, min, max } = input;
  const isRight = valueAsNumber >= Number(min) && !(max !== "" && valueAsNumber > Number(max));
  if (isRight) return valueAsNumber;
  throw new RangeError(`“${labelOf(input)}” takes a number from ${min} ${max === "" ? "on" : `to ${max}`}.`);
}

function labelOf(input: HTMLInputElement): string {
  return input.labels?.[0]?.textContent.trim() ?? input.id;
}

function saveCsv(): void {
  const stats = engine?.stats().offload ?? null;
  if (stats === null) return;
  const blob = new Blob([offloadCsv(stats, price())], { type: "text/csv" });
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = "offload.csv";
  link.click();
  // The browser holds its own reference once the download has begun.
  setTimeout(() => {
    URL.revokeObjectURL(link.href);
  }, 60_000);
  status.say("Saved offload.csv.");
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function fail(error: unknown): void {
  startButton.disabled = model === null;
  stopButton.disabled = true;
  status.show("error", messageOf(error));
}

find("command").textContent =
  `npx selvedge serve models/dist/${NAME} models/dist/${LARGER} --origin ${location.origin}`;
find("connect", HTMLFormElement).addEventListener("submit", (event) => {
  event.preventDefault();
  void connect(address.value.trim()).catch(fail);
});
startButton.addEventListener("click", () => void run().catch(fail));
stopButton.addEventListener("click", () => {
  isStopped = true;
});
csvButton.addEventListener("click", saveCsv);
for (const id of ["price", "per-server"]) find(id).addEventListener("input", draw);
draw();
const first = query.get("server");
if (first !== null) {
  address.value = first;
  await connect(first).catch(fail);
}
