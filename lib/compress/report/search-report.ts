// Report of a search: as lines, as a table, and as a plot of the Pareto frontier. Depends on the outcome alone, so that
// any format of the report can render it.
import { escapeHtml } from "./escape-html.ts";
import type { ScoredForm, SearchOutcome } from "../search/search.ts";
import { PRICES } from "../search/search-shares.ts";

/** Describes a search in lines. */
export function describeSearch(
  { candidates, chosen, uniform, isCutShort, seconds }: SearchOutcome,
  metric: string,
): string[] {
  const lines = chosen.map(({ id, bytes, form, left, price, heldOut }) => {
    const { loss, n } = heldOut;
    const points = (x: number): string => (x * 100).toFixed(2);
    const told =
      loss === null
        ? `${metric} ${heldOut.score.toFixed(4)} (float32 ${heldOut.reference.toFixed(4)})`
        : `${points(loss.mean)} points lost (95 %: ${points(loss.low)} to ${points(loss.high)})`;
    const beside =
      uniform === null || id !== "searched"
        ? ""
        : ` The smallest uniform setting that passed: ${uniform.form}, ${uniform.bytes} bytes.`;
    return `${id}: ${form}, ${left} weights at 16 bits, pruned at ${price} of ${PRICES}, ${bytes} bytes; on ${n} held-out samples, ${told}.${beside}`;
  });
  const passed = candidates.filter((x) => x.isPassed).length;
  lines.push(`The search tried ${candidates.length} models in ${seconds} s, of which ${passed} passed.`);
  if (isCutShort) lines.push("The search was cut short: the same command goes on from there.");
  return lines;
}

/** Returns the candidates that passed and are not dominated in bytes and multiply-adds, the smallest first. */
export function frontier(candidates: readonly ScoredForm[]): ScoredForm[] {
  const passed = candidates.filter((x) => x.isPassed);
  return passed
    .filter(
      (x) => !passed.some((y) => y.bytes <= x.bytes && y.macs <= x.macs && (y.bytes < x.bytes || y.macs < x.macs)),
    )
    .sort((a, b) => a.bytes - b.bytes);
}

/** Returns the frontier as rows of text, the head first. */
export function frontierRows({ candidates }: SearchOutcome): string[][] {
  return [
    ["form", "weights at 16 bits", "pruned", "bytes", "multiply-adds", "score"],
    ...frontier(candidates).map((x) => [
      x.form,
      String(x.left),
      `${x.price} of ${PRICES}`,
      String(x.bytes),
      String(Math.round(x.macs)),
      x.score.toFixed(4),
    ]),
  ];
}

/** Describes a candidate; its texts come from search.json, which may be from an untrusted source. */
function titleOf({ form, left, price, bytes, score }: ScoredForm): string {
  return escapeHtml(`${form}, ${left} weights at 16 bits, pruned at ${price}: ${bytes} bytes, ${score.toFixed(4)}`);
}

/**
 * Renders all candidates as an SVG, score against bytes: colour shows whether they passed; a line connects the
 * frontier.
 */
export function frontierPlot({ candidates }: SearchOutcome): string {
  const most = Math.max(1, ...candidates.map((x) => x.bytes));
  const scores = candidates.map((x) => x.score);
  const [low, high] = [Math.min(...scores), Math.max(...scores)];
  const left = (x: ScoredForm): number => 60 + (x.bytes / most) * 600;
  const top = (x: ScoredForm): number => 280 - ((x.score - low) / Math.max(high - low, 1e-9)) * 240;
  const dots = candidates.map(
    (x) =>
      `<circle cx="${left(x).toFixed(1)}" cy="${top(x).toFixed(1)}" r="4" class="${x.isPassed ? "mark" : "other"}"><title>${titleOf(x)}</title></circle>`,
  );
  const line = frontier(candidates).map((x) => `${left(x).toFixed(1)},${top(x).toFixed(1)}`);
  return `<svg viewBox="0 0 700 320" role="img" aria-label="Score against bytes of all candidates of the search">
<path class="axis" d="M60 20V280H680"/><text x="4" y="44">${high.toFixed(3)}</text><text x="4" y="284">${low.toFixed(3)}</text>
<text x="560" y="305">${most} bytes</text><polyline points="${line.join(" ")}" fill="none" stroke="currentColor"/>${dots.join("")}</svg>`;
}
