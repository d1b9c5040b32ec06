// Token classification: a label per token, and tokens grouped to entities, with the results of the pipeline
// "token-classification" of transformers 4.57: softmax; labels of B- and I-; words by `##` where the vocabulary marks
// parts of words, else by white space.
import type { TokensSpec } from "../../core/decode-spec.ts";
import type { Tensor } from "../../core/tensor.ts";
import type { Decoded } from "../../rpc/messages.ts";
import type { DecodeRun } from "./decode-run.ts";
import type { TokenSpan, TextTokens } from "./spans.ts";
import { argmax, checkNumbers, checkTable, mismatch, softmax, valuesOf } from "./values.ts";

/** An entity of a text. */
type Entity = Extract<Decoded, { kind: "entities" }>["entities"][number];

/** A token, or the tokens of one word. */
interface Piece {
  readonly words: readonly string[];
  readonly scores: Float32Array;
  readonly start: number | null;
  readonly end: number | null;
  /** Index of its first token in the row. */
  readonly index: number;
  /** Whether it continues the word before. */
  readonly isPart: boolean;
}

/** A piece with its label; a group of them. */
interface Labelled extends Omit<Piece, "scores" | "isPart"> {
  readonly label: string;
  readonly score: number;
}

/** Creates the decoder of logits [batch, token, class]. */
export function decodeTokens(
  name: string,
  spec: TokensSpec,
  labels: readonly string[],
): (output: Tensor, run?: DecodeRun) => Decoded[] {
  const { aggregate = "simple", ignore = ["O"] } = spec;
  return (output, run) => {
    const [items, tokens, classes] = output.dims;
    if (output.dims.length !== 3 || items === undefined || tokens === undefined || classes === undefined)
      throw mismatch(`Output "${name}" must be [batch, token, class] for tokens, not [${output.dims.join(", ")}].`);
    checkTable(name, spec.asset, labels.length, classes);
    const values = valuesOf(name, output);
    return Array.from({ length: items }, (_, item): Decoded => {
      const text = run?.tokens(spec.text, item) ?? null;
      const scoresAt = (i: number): Float32Array => {
        const row = values.subarray((item * tokens + i) * classes, (item * tokens + i + 1) * classes);
        checkNumbers(name, row);
        return softmax(row);
      };
      const pieces = piecesOf(text, tokens, scoresAt);
      const whole = aggregate === "none" || aggregate === "simple" ? pieces : wordsOf(pieces, aggregate);
      const labelled = whole.map((x) => labelledOf(x, labels));
      const entities = (aggregate === "none" ? labelled : groupsOf(labelled))
        .filter((x) => !ignore.includes(x.label))
        .map(({ words, ...x }): Entity => {
          const word = aggregate === "none" ? (words[0] ?? "") : (text?.join(words) ?? "");
          return { ...x, word };
        });
      return { kind: "entities", entities };
    });
  };
}

/** The tokens of the text itself; all of the row where the caller brought ids. */
function piecesOf(text: TextTokens | null, tokens: number, scoresAt: (i: number) => Float32Array): Piece[] {
  const pieces: Piece[] = [];
  for (let index = 0; index < Math.min(tokens, text?.spans.length ?? tokens); index += 1) {
    const span = text?.spans[index];
    if (text !== null && span == null) continue;
    const [start, end] = span ?? [null, null];
    const token = text?.words[index] ?? "";
    const word = token === text?.unknown && span != null ? text.text.slice(...span) : token;
    const isPart = text !== null && span != null && token !== text.unknown && continues(text, token, span);
    pieces.push({ words: [word], scores: scoresAt(index), start, end, index, isPart });
  }
  return pieces;
}

/** Whether a token continues the word before. */
function continues({ text, marksParts }: TextTokens, word: string, [start, end]: TokenSpan): boolean {
  if (marksParts) return [...word].length !== [...text.slice(start, end)].length;
  return start > 0 && !text.slice(start - 1, start + 1).includes(" ");
}

/** Joins the tokens of each word, with the scores of its first token, of all, or of the surest. */
function wordsOf(pieces: readonly Piece[], how: "first" | "average" | "max"): Piece[] {
  const groups: Piece[][] = [];
  for (const piece of pieces)
    if (piece.isPart && groups.length > 0) groups.at(-1)?.push(piece);
    else groups.push([piece]);
  return groups.map((group) => {
    const [first] = group as [Piece, ...Piece[]];
    const end = group.at(-1)?.end ?? null;
    return { ...first, words: group.flatMap((x) => x.words), end, scores: scoresOf(group, how) };
  });
}

function scoresOf(group: readonly Piece[], how: "first" | "average" | "max"): Float32Array {
  const all = group.map((x) => x.scores);
  const [first = new Float32Array()] = all;
  if (how === "first") return first;
  if (how === "average") return first.map((_, i) => all.reduce((sum, x) => sum + (x[i] ?? 0), 0) / all.length);
  const largest = (x: Float32Array): number => x[argmax(x)] ?? 0;
  return all.reduce((best, x) => (largest(x) > largest(best) ? x : best), first);
}

function labelledOf({ scores, words, start, end, index }: Piece, labels: readonly string[]): Labelled {
  const best = argmax(scores);
  return { label: labels[best] ?? "", score: scores[best] ?? Number.NaN, words, start, end, index };
}

/** Joins adjacent pieces of one entity; B- begins another one. */
function groupsOf(pieces: readonly Labelled[]): Labelled[] {
  const groups: Labelled[][] = [];
  let before = "";
  for (const piece of pieces) {
    const tag = tagOf(piece.label);
    if (groups.length > 0 && tag === before && !piece.label.startsWith("B-")) groups.at(-1)?.push(piece);
    else groups.push([piece]);
    before = tag;
  }
  return groups.map((group) => {
    const [{ label, start, index }] = group as [Labelled, ...Labelled[]];
    return {
      ...{ label: label.includes("-") ? label.slice(label.indexOf("-") + 1) : label, start, index },
      score: group.reduce((sum, x) => sum + x.score, 0) / group.length,
      words: group.flatMap((x) => x.words),
      end: group.at(-1)?.end ?? null,
    };
  });
}

function tagOf(label: string): string {
  return /^[BI]-/.test(label) ? label.slice(2) : label;
}
