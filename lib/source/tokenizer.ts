// Reads tokenizer_config.json and the settings in tokenizer.json: lengths, padding, and the inputs that a text fills.
import { countOf, listOf, numberOf, objectOf, textOf } from "./json.ts";

/** Facts of a tokenizer. */
export interface TokenizerFacts {
  /** The most tokens of a text; null where no file bounds it (some write 1e30 for that). */
  readonly maxLength: number | null;
  /** Names of the inputs that the tokenizer fills, as `input_ids`. */
  readonly inputNames: readonly string[];
  /** The part of a longer text that is kept; null where no file says. */
  readonly keeps: "begin" | "end" | null;
  /** Id of the padding token; null where no file names it. */
  readonly padId: number | null;
  /** The tokenizer's class, as `BertTokenizer`; null where no file names it. */
  readonly className: string | null;
}

const INPUT_NAMES = ["input_ids", "attention_mask"];
/** Lengths above this are the "no limit" of transformers. */
const NO_LIMIT = 1e6;

/**
 * Reads the parsed files of a tokenizer.
 * @param config - tokenizer_config.json; null where the repository has none
 * @param file - tokenizer.json, or null where it was not read
 */
export function readTokenizer(config: unknown, file: unknown): TokenizerFacts {
  const told = objectOf(config);
  const { truncation, padding, added_tokens: added } = objectOf(file) as Record<string, unknown>;
  const names = listOf(told["model_input_names"]).filter((x) => typeof x === "string");
  const [pads, cuts] = [objectOf(padding), objectOf(truncation)];
  const padToken = tokenOf(told["pad_token"]) ?? textOf(pads["pad_token"]);
  const cutSide = (textOf(told["truncation_side"]) ?? textOf(cuts["direction"]))?.toLowerCase();
  return {
    keeps: cutSide === "left" ? "end" : cutSide === "right" ? "begin" : null,
    // As transformers, which takes nothing of the truncation in tokenizer.json: it is what training last had.
    maxLength: countOf(told["model_max_length"] ?? told["max_len"], NO_LIMIT),
    inputNames: names.length > 0 ? names : INPUT_NAMES,
    padId: numberId(pads["pad_id"]) ?? idOf(padToken, told["added_tokens_decoder"], added),
    className: textOf(told["tokenizer_class"]),
  };
}

/** Returns a token, which is a text or an object with its text. */
export function tokenOf(value: unknown): string | null {
  return textOf(value) ?? textOf(objectOf(value)["content"]);
}

/** Finds a token's id among the added tokens of either file. */
function idOf(token: string | null, decoder: unknown, added: unknown): number | null {
  if (token === null) return null;
  for (const [id, value] of Object.entries(objectOf(decoder)))
    if (tokenOf(value) === token) return numberId(Number(id));
  const found = listOf(added).find((x) => tokenOf(x) === token);
  return numberId(objectOf(found)["id"]);
}

/** Returns a value that is a token's id, else null. */
function numberId(value: unknown): number | null {
  const id = numberOf(value);
  return id !== null && Number.isSafeInteger(id) && id >= 0 ? id : null;
}
