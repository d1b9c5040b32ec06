// Options of the client of embeddings, and their checks.
import { show } from "../core/check-inputs.ts";
import { norm } from "./vectors.ts";

/** The model that vectors must be of; `expect` or `golden` is needed. */
export interface EmbeddingsOptions {
  /** Bundle and variant that the vectors must be of (`model.identity`, `model.variant`); a server that states others is refused. */
  readonly expect?: { readonly identity: string; readonly variant: string } | undefined;
  /**
   * Texts with vectors of the right model, as `model.embed` computes them: a server that states no identity must answer
   * each with a cosine of at least 0.999, or is refused.
   */
  readonly golden?: { readonly texts: readonly string[]; readonly vectors: readonly ArrayLike<number>[] } | undefined;
  /** Numbers of a vector, for a model trained for fewer. Default: all. */
  readonly dims?: number | undefined;
  /** Texts of one request at most, from 1. Default: 128, and fewer once a server has refused more and named its limit. */
  readonly maxTexts?: number | undefined;
}

/** Texts of one request, where neither the app nor a server says otherwise: most servers take 256 and more. */
export const TEXTS_MAX = 128;

/**
 * Checks the options, and returns a copy of them.
 * @throws TypeError or RangeError for a wrong one
 */
export function checkEmbeddings(
  model: unknown,
  { expect, golden, dims, maxTexts }: EmbeddingsOptions,
): EmbeddingsOptions {
  if (typeof model !== "string" || model === "") throw new TypeError(`model: expected a name, got ${show(model)}`);
  if (expect === undefined && golden === undefined)
    throw new TypeError("embeddings: `expect` or `golden` is needed, so that vectors of two models never mix");
  for (const [name, value] of Object.entries({ expect, golden }))
    if (value !== undefined && (typeof value !== "object" || (value as unknown) === null))
      throw new TypeError(`${name}: expected an object, got ${show(value)}`);
  if (expect !== undefined && (typeof expect.identity !== "string" || typeof expect.variant !== "string"))
    throw new TypeError(`expect: expected { identity, variant }, got ${show(expect)}`);
  for (const [name, value] of Object.entries({ dims, maxTexts }))
    if (value !== undefined && !(Number.isSafeInteger(value) && value >= 1))
      throw new RangeError(`${name}: expected a whole number from 1, got ${show(value)}`);
  if (golden === undefined) return { expect, golden, dims, maxTexts };
  const { texts, vectors } = golden;
  checkTexts("golden.texts", texts);
  const isList: boolean = Array.isArray(vectors);
  if (!isList) throw new TypeError(`golden.vectors: expected a list of vectors, got ${show(vectors)}`);
  if (texts.length === 0 || texts.length > TEXTS_MAX || vectors.length !== texts.length)
    throw new TypeError(`golden: expected 1 to ${TEXTS_MAX} texts and a vector for each`);
  for (const [i, vector] of vectors.entries())
    if (!(vector.length > 0) || !(norm(vector) > 0) || (dims !== undefined && vector.length !== dims))
      throw new TypeError(`golden.vectors: number ${i} is no vector${dims === undefined ? "" : ` of ${dims} numbers`}`);
  return { expect, dims, maxTexts, golden: { texts: [...texts], vectors: vectors.map((x) => Float32Array.from(x)) } };
}

/** Half of a surrogate pair is no text in UTF-8. @throws TypeError for anything but texts */
export function checkTexts(option: string, texts: readonly string[]): void {
  const isText = (x: unknown): boolean => typeof x === "string" && !/\p{Surrogate}/u.test(x);
  const wrong = Array.isArray(texts) ? texts.findIndex((x) => !isText(x)) : 0;
  if (wrong >= 0) throw new TypeError(`${option}: expected a list of texts; number ${wrong} is none`);
}
