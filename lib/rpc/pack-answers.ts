// Decoded answers of many requests on the thread line: flat lists of texts and numbers, which a browser copies in far
// less time than an object for each. The page makes objects of them only on access.
import type { Decoded, PackedAnswers } from "./messages.ts";

/** Number of texts and numbers per entry. Answers of other kinds are few and large, and cross as they are. */
const WIDTHS: Readonly<Partial<Record<Decoded["kind"], readonly [texts: number, numbers: number]>>> = {
  text: [1, 1],
  labels: [1, 2],
  index: [0, 2],
  probabilities: [0, 1],
  vector: [0, 1],
};

/** Packs the answers of one output, a list for each request. */
export function packAnswers(requests: readonly (readonly Decoded[])[]): PackedAnswers {
  const kind = requests.find(([row]) => row !== undefined)?.[0]?.kind ?? "text";
  const widths = WIDTHS[kind];
  if (widths === undefined) return { kind, sizes: [], texts: [], numbers: new Float64Array(), whole: requests };
  const sizes = requests.map((rows) => rows.map(sizeOf));
  const entries = sizes.reduce((sum, rows) => rows.reduce((sum, size) => sum + size, sum), 0);
  const texts: string[] = [];
  const numbers = new Float64Array(entries * widths[1]);
  let at = 0;
  for (const row of requests.flat())
    if (row.kind === "probabilities" || row.kind === "vector") {
      const list = listOf(row);
      numbers.set(list, at);
      at += list.length;
    } else if (row.kind === "labels")
      for (const { label, index, score } of row.labels) {
        texts.push(label);
        numbers[at++] = index;
        numbers[at++] = score;
      }
    else if (row.kind === "index") {
      numbers[at++] = row.index;
      numbers[at++] = row.score;
    } else if (row.kind === "text") {
      texts.push(row.text);
      numbers[at++] = row.confidence;
    }
  return { kind, sizes, texts, numbers };
}

/** Counts the entries of a row. */
function sizeOf(row: Decoded): number {
  if (row.kind === "labels") return row.labels.length;
  return row.kind === "probabilities" || row.kind === "vector" ? listOf(row).length : 1;
}

function listOf(row: Extract<Decoded, { kind: "probabilities" | "vector" }>): Float32Array {
  return row.kind === "vector" ? row.vector : row.probabilities;
}

/** Returns a function for each request that makes its answers. */
export function unpackAnswers({ kind, sizes, texts, numbers, whole }: PackedAnswers): (() => Decoded[])[] {
  if (whole) return whole.map((rows) => () => [...rows]);
  const [textWidth, width] = WIDTHS[kind] ?? [0, 0];
  let next = 0;
  return sizes.map((rows) => {
    const first = next;
    for (const size of rows) next += size;
    return () => {
      let at = first;
      return rows.map((size) => {
        const entry = at;
        at += size;
        const text = texts[entry * textWidth] ?? "";
        const [one = NaN, two = NaN] = numbers.subarray(entry * width, (entry + 1) * width);
        if (kind === "text") return { kind, text, confidence: one };
        if (kind === "index") return { kind, index: one, score: two };
        if (kind === "probabilities") return { kind, probabilities: new Float32Array(numbers.subarray(entry, at)) };
        if (kind === "vector") return { kind, vector: new Float32Array(numbers.subarray(entry, at)) };
        const labels = Array.from({ length: size }, (_, i) => {
          const each = 2 * (entry + i);
          return { label: texts[entry + i] ?? "", index: numbers[each] ?? -1, score: numbers[each + 1] ?? NaN };
        });
        return { kind: "labels", labels };
      });
    };
  });
}
