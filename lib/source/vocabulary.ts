// Reads vocab.json of a model that writes texts by CTC: the table of its classes, and which of them is the blank.
import { countOf, objectOf, parseJson, textOf, truthOf } from "./json.ts";
import { CTC_TOKENIZERS } from "./processor-classes.ts";
import { MODULES, POOLING, poolingPath } from "./sentence.ts";
import { tokenOf } from "./tokenizer.ts";

/** Table of a CTC model. */
export interface VocabularyFacts {
  /** Text of each class; "" for one without a name. */
  readonly lines: readonly string[];
  /** Class of the blank. */
  readonly blank: number;
}

/** Path of the vocabulary. */
export const VOCABULARY = "vocab.json";
const CLASSES_MAX = 100_000;

/**
 * Returns the paths that are read too where a repository's first files ask for them: vocabularies are large, few are needed,
 * and a pooling may have a folder of any name.
 */
export function furtherFiles(texts: ReadonlyMap<string, string>): string[] {
  const modules = texts.get(MODULES);
  const pooling = modules === undefined ? null : poolingPath(parseJson(MODULES, modules));
  const isOther = pooling !== null && pooling !== POOLING && !texts.has(pooling);
  const hasVocabulary = /"\w+ForCTC"/.test(texts.get("config.json") ?? "");
  return [...(hasVocabulary ? [VOCABULARY] : []), ...(isOther ? [pooling] : [])];
}

/**
 * Reads a parsed vocab.json; null where texts are made otherwise than by characters and a mark between words.
 * @param tokenizer - tokenizer_config.json
 * @param config - config.json
 */
export function readVocabulary(json: unknown, tokenizer: unknown, config: unknown): VocabularyFacts | null {
  const told = objectOf(tokenizer);
  const className = textOf(told["tokenizer_class"]);
  if (className !== null && !CTC_TOKENIZERS.includes(className)) return null;
  const added = Object.entries(objectOf(told["added_tokens_decoder"]));
  const ids: (readonly [token: string | null, id: unknown])[] = [
    ...added.map(([id, x]) => [tokenOf(x), Number(id)] as const),
    ...Object.entries(objectOf(json)),
  ];
  const [pad, mark] = [tokenOf(told["pad_token"]) ?? "<pad>", tokenOf(told["word_delimiter_token"]) ?? "|"];
  const isLower = truthOf(told["do_lower_case"], false);
  const lines: string[] = [];
  let blank: number | null = null;
  for (const [token, id] of ids) {
    const isClass = token !== null && (id === 0 || countOf(id, CLASSES_MAX) !== null) && !/[\r\n]/.test(token);
    if (!isClass) return null;
    if (token === pad) blank = id as number;
    lines[id as number] = token === mark ? " " : isLower ? token.toLowerCase() : token;
  }
  // Tokens that were added later may be beyond the model's classes.
  const count = countOf(objectOf(config)["vocab_size"], CLASSES_MAX) ?? lines.length;
  return blank === null || blank >= count
    ? null
    : { lines: Array.from({ length: count }, (_, i) => lines[i] ?? ""), blank };
}
