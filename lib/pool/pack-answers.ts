// Decoded answers of many requests on the thread line: flat lists of texts and numbers, which a browser copies in far
// less time than an object for each, and of which the page makes objects only when somebody looks at them.
import type { Decoded, PackedAnswers } from "./protocol.ts";

/** How many texts and numbers an entry has. */
const WIDTHS: Readonly<Record<Decoded["kind"], readonly [texts: number, numbers: number]>> = {
  text: [1, 1],
  labels: [1, 2],
  index: [0, 2],
  probabilities: [0, 1],
};

/** Packs the answers of one output, a list for each request. */
export function packAnswers(requests: readonly (readonly Decoded[])[]): PackedAnswers {
  const texts: string[] = [];
  const numbers: number[] = [];
  const sizeOf = (row: Decoded): number => {
    if (row.kind === "labels") {
      for (const { label, index, score } of row.labels) {
        texts.push(label);
        numbers.push(index, score);
      }
      return row.labels.length;
    }
    if (row.kind === "probabilities") {
      for (const probability of row.probabilities) numbers.push(probability);
      return row.probabilities.length;
    }
    if (row.kind === "index") numbers.push(row.index, row.score);
    else {
      texts.push(row.text);
      numbers.push(row.confidence);
    }
    return 1;
  };
  const sizes = requests.map((rows) => rows.map(sizeOf));
  const kind = requests.find(([row]) => row !== undefined)?.[0]?.kind ?? "text";
  return { kind, sizes, texts, numbers: Float64Array.from(numbers) };
}

/** Gives for each request what makes its answers. */
export function unpackAnswers({ kind, sizes, texts, numbers }: PackedAnswers): (() => Decoded[])[] {
  const [textWidth, width] = WIDTHS[kind];
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
        const [one = Number.NaN, two = Number.NaN] = numbers.subarray(entry * width, (entry + 1) * width);
        if (kind === "text") return { kind, text, confidence: one };
        if (kind === "index") return { kind, index: one, score: two };
        if (kind === "probabilities") return { kind, probabilities: Float32Array.from(numbers.subarray(entry, at)) };
        const labels = Array.from({ length: size }, (_, i) => {
          const each = 2 * (entry + i);
          return { label: texts[entry + i] ?? "", index: numbers[each] ?? -1, score: numbers[each + 1] ?? Number.NaN };
        });
        return { kind, labels };
      });
    };
  });
}
