// Draws the counters of `engine.stats().offload`: table, chart and costs.
import { offloadReport } from "selvedge/offload";
import type { OffloadPrice, OffloadStats } from "selvedge/offload";

const SVG = "http://www.w3.org/2000/svg";
const NAMES = { local: "This device", remote: "Server" } as const;
const PLACEMENTS = ["local", "remote"] as const;
type PlacementName = (typeof PLACEMENTS)[number];

/** Draws a row for each placement, with the numbers also as `data-…`. */
export function drawRows(body: HTMLElement, stats: OffloadStats, cost: number): void {
  body.replaceChildren(
    ...PLACEMENTS.map((placement) => {
      const { requests, latencyMs } = stats[placement];
      const { sentBytes, receivedBytes, seconds } = stats.server;
      const isRemote = placement === "remote";
      const row = document.createElement("tr");
      Object.assign(row.dataset, { testid: "row", placement, requests: String(requests) });
      const name = document.createElement("th");
      name.scope = "row";
      name.textContent = NAMES[placement];
      const texts = [
        String(requests),
        percent(shareOf(stats, placement)),
        latencyMs === null ? "–" : show(latencyMs.p50),
        latencyMs === null ? "–" : show(latencyMs.p95),
        isRemote ? bytesText(sentBytes) : "0 B",
        isRemote ? bytesText(receivedBytes) : "0 B",
        isRemote ? seconds.toFixed(2) : "0",
        isRemote ? money(cost) : "0",
      ];
      row.append(name, ...texts.map(cell));
      return row;
    }),
  );
}

/** Draws the shares, and p50 and p95 of the latency, by placement; the picture's description has the same numbers. */
export function drawChart(place: HTMLElement, stats: OffloadStats): void {
  const worst = Math.max(...PLACEMENTS.map((x) => stats[x].latencyMs?.p95 ?? 0));
  const parts: Element[] = [heading("Share of the answers")];
  const words: string[] = [];
  for (const placement of PLACEMENTS) {
    const share = shareOf(stats, placement);
    parts.push(text(NAMES[placement]), bars(placement, [share ?? 0]), text(percent(share), "value"));
    words.push(`${NAMES[placement]}: ${percent(share)} of the answers`);
  }
  parts.push(heading("Latency: p50, and p95 in the lighter colour"));
  for (const placement of PLACEMENTS) {
    const { latencyMs } = stats[placement];
    const { p50 = 0, p95 = 0 } = latencyMs ?? {};
    const label = latencyMs === null ? "–" : `${show(p50)} / ${show(p95)} ms`;
    const ends = worst === 0 ? [] : [p50 / worst, p95 / worst];
    parts.push(text(NAMES[placement]), bars(placement, ends), text(label, "value"));
    if (latencyMs !== null) words.push(`${NAMES[placement]}: p50 ${show(p50)} ms, p95 ${show(p95)} ms`);
  }
  place.replaceChildren(...parts);
  place.setAttribute("aria-label", stats.localShare === null ? "No requests yet." : `${words.join("; ")}.`);
}

/** Writes what became of answers that this device was unsure of; nothing where there was none. */
export function drawUnsure(note: HTMLElement, { cascade: { unsure, sent, answered } }: OffloadStats): void {
  note.textContent =
    unsure === 0
      ? ""
      : `This device was unsure ${unsure} times: ${sent} sent on, ${answered} answered by the more accurate model.`;
}

/** Writes the costs. @throws RangeError for a wrong price */
export function drawFacts(list: HTMLElement, stats: OffloadStats, price: OffloadPrice): number {
  const { cost, savedCost, costPer1000, allRemoteCostPer1000 } = offloadReport(stats, price);
  const facts: [string, string][] = [
    ["Cost of the server time", money(cost)],
    ["Per 1,000 answers", money(costPer1000)],
    ["All on the server, per 1,000 (estimate)", money(allRemoteCostPer1000)],
    ["Saved cost (estimate)", money(savedCost)],
    ["Saved server time (estimate)", stats.saved === null ? "–" : `${stats.saved.seconds.toFixed(2)} s`],
    ["Not sent (estimate)", stats.saved === null ? "–" : bytesText(stats.saved.sentBytes)],
  ];
  list.replaceChildren(
    ...facts.map(([name, value]) => {
      const group = document.createElement("div");
      const [term, fact] = [document.createElement("dt"), document.createElement("dd")];
      term.textContent = name;
      fact.textContent = value;
      group.append(term, fact);
      return group;
    }),
  );
  return cost;
}

function shareOf({ localShare }: OffloadStats, placement: PlacementName): number | null {
  return localShare === null ? null : placement === "local" ? localShare : 1 - localShare;
}

/** A bar up to the first share, and a lighter one on to the second. */
function bars(placement: PlacementName, ends: readonly number[]): SVGElement {
  const picture = document.createElementNS(SVG, "svg");
  picture.setAttribute("viewBox", "0 0 100 1");
  picture.setAttribute("preserveAspectRatio", "none");
  for (const [i, end] of ends.entries()) {
    const from = i === 0 ? 0 : (ends[i - 1] ?? 0);
    const bar = document.createElementNS(SVG, "rect");
    bar.setAttribute("class", i === 0 ? placement : `${placement} tail`);
    for (const [key, value] of Object.entries({ x: 100 * from, y: 0, width: 100 * (end - from), height: 1 }))
      bar.setAttribute(key, value.toFixed(3));
    picture.append(bar);
  }
  return picture;
}

function heading(words: string): HTMLElement {
  return text(words, "head");
}

function text(words: string, className = ""): HTMLElement {
  const made = document.createElement("span");
  made.className = className;
  made.textContent = words;
  return made;
}

function cell(words: string): HTMLElement {
  const made = document.createElement("td");
  made.className = "number";
  made.textContent = words;
  return made;
}

function percent(share: number | null): string {
  return share === null ? "–" : `${(100 * share).toFixed(1)} %`;
}

function show(ms: number): string {
  return ms >= 100 ? ms.toFixed(0) : ms.toFixed(1);
}

function money(amount: number | null): string {
  if (amount === null) return "–";
  if (amount === 0 || amount >= 1_000) return amount.toFixed(0);
  return amount < 1e-6 ? "< 0.000001" : amount.toPrecision(3);
}

function bytesText(bytes: number): string {
  if (bytes < 1_000) return `${bytes} B`;
  return bytes < 1e6 ? `${(bytes / 1e3).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}
