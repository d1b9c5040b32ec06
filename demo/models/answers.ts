// The check of all stored models: each runs its bundle's known inputs on each backend of this device, and the error of each
// output is drawn on a log scale beside its bound.
import { isSelvedgeError } from "selvedge";
import type { BackendName, Engine, ModelCheck, OutputCheck } from "selvedge";
import { errorText, scaleOf } from "./words.ts";

const SVG = "http://www.w3.org/2000/svg";
/** Width and height of a drawing, in its own units. */
const [WIDTH, HEIGHT] = [100, 10];

/** A stored model. */
export interface Checkable {
  readonly name: string;
  readonly url: string;
}

/** The check of a stored model on one backend, or why it was not made. */
interface Found {
  readonly name: string;
  readonly check: Pick<ModelCheck, "backend" | "outputs"> & Partial<ModelCheck>;
}

/** Checks models on each backend of this device, one after the other, and draws each as it ends. Returns a sentence. */
export async function checkAnswers(
  engine: Engine,
  models: readonly Checkable[],
  place: HTMLTableSectionElement,
  say: (doing: string) => void,
): Promise<string> {
  const backends: BackendName[] = engine.device.gpu === null ? ["wasm"] : ["wasm", "webgpu"];
  place.replaceChildren();
  let [checked, failed] = [0, 0];
  for (const { name, url } of models)
    for (const backend of backends) {
      say(`Checking ${name} on ${backend} …`);
      const check = await checkOne(engine, url, backend);
      place.append(...rowsOf({ name, check }));
      if (check.verdict === "passed" || check.verdict === "failed") checked += 1;
      if (check.verdict === "failed") failed += 1;
    }
  if (models.length === 0) return "No model is stored: download one first.";
  return failed === 0
    ? `All of ${checked} checks passed: every output is within its bound.`
    : `${failed} of ${checked} checks failed.`;
}

async function checkOne(engine: Engine, url: string, backend: BackendName): Promise<Found["check"]> {
  try {
    const model = await engine.load(url, { backend, update: "never" });
    try {
      return await model.check();
    } finally {
      model.unload();
    }
  } catch (error) {
    const isWrong = isSelvedgeError(error) && error.code === "wrong-result";
    const why = error instanceof Error ? error.message : String(error);
    return { backend, verdict: isWrong ? "failed" : "unchecked", why, outputs: [] };
  }
}

function rowsOf({ name, check }: Found): HTMLTableRowElement[] {
  const { backend, variant, verdict, why, outputs } = check;
  const where = variant === undefined ? backend : `${variant} on ${backend}`;
  if (outputs.length > 0)
    return outputs.map((output) => row([`${name}: ${output.name}`, where], drawn(output), verdictOf(output)));
  return [row([name, where], document.createTextNode(why ?? ""), verdict ?? "")];
}

function row([head, where]: readonly [string, string], middle: Node, verdict: string): HTMLTableRowElement {
  const element = document.createElement("tr");
  const title = document.createElement("th");
  title.scope = "row";
  const ran = document.createElement("span");
  ran.className = "ran";
  ran.textContent = where;
  title.append(head, " ", ran);
  element.append(title);
  element.insertCell().append(middle);
  const last = element.insertCell();
  last.textContent = verdict;
  last.className = verdict === "failed" ? "wrong" : "";
  return element;
}

function verdictOf({ fault }: OutputCheck): string {
  return fault === null ? "passed" : "failed";
}

/** Draws an error and its bound; the number is beside it. */
function drawn({ error, tolerance, fault }: OutputCheck): HTMLElement {
  const element = document.createElement("div");
  element.className = "error";
  const text = document.createElement("span");
  text.textContent = error === null ? (fault ?? "equal") : errorText(error);
  const isNumber = error !== null;
  const picture = make("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" });
  const bound = `bound ${tolerance}`;
  picture.setAttribute("aria-label", isNumber ? `error ${errorText(error)}, ${bound}` : (fault ?? "equal"));
  const at = WIDTH * scaleOf(isNumber ? error : 0);
  const kind = fault === null ? "bar" : "bar wrong";
  if (isNumber) picture.append(make("rect", { class: kind, x: "0", y: "2", width: at.toFixed(2), height: "6" }));
  const x = (WIDTH * scaleOf(tolerance)).toFixed(2);
  picture.append(make("line", { class: "bound", x1: x, x2: x, y1: "0", y2: String(HEIGHT) }));
  element.append(picture, text);
  return element;
}

function make(name: string, attributes: Readonly<Record<string, string>>): SVGElement {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}
