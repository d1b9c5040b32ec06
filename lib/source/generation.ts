// Reads generation_config.json: the ids and lengths with which a model generates text.
import { countOf, listOf, numberOf, objectOf, truthOf } from "./json.ts";

/** Facts of a model that generates. */
export interface GenerationFacts {
  /** Ids that end a text. */
  readonly endIds: readonly number[];
  /** Id that begins a text; null where the file does not say. */
  readonly beginId: number | null;
  /** Padding id; null where the file does not say. */
  readonly padId: number | null;
  /** First id of a decoder beside an encoder; null where the file does not say. */
  readonly decoderStartId: number | null;
  /** The most tokens of a text, the prompt included; null where the file does not say. */
  readonly maxLength: number | null;
  /** The most tokens after the prompt; null where the file does not say. */
  readonly maxNewTokens: number | null;
  /** Whether tokens are sampled; else the likeliest is taken. */
  readonly samples: boolean;
  readonly temperature: number | null;
  readonly topK: number | null;
  readonly topP: number | null;
  readonly repetitionPenalty: number | null;
  /** Ids that are never generated. */
  readonly suppressIds: readonly number[];
}

/** Reads a parsed generation_config.json. */
export function readGeneration(json: unknown): GenerationFacts {
  const config = objectOf(json);
  const ids = (value: unknown): number[] =>
    [value].flat().filter((x): x is number => Number.isInteger(x) && (x as number) >= 0);
  return {
    endIds: ids(config["eos_token_id"]),
    beginId: ids(config["bos_token_id"])[0] ?? null,
    padId: ids(config["pad_token_id"])[0] ?? null,
    decoderStartId: ids(config["decoder_start_token_id"])[0] ?? null,
    maxLength: countOf(config["max_length"]),
    maxNewTokens: countOf(config["max_new_tokens"]),
    samples: truthOf(config["do_sample"], false),
    temperature: numberOf(config["temperature"]),
    topK: numberOf(config["top_k"]),
    topP: numberOf(config["top_p"]),
    repetitionPenalty: numberOf(config["repetition_penalty"]),
    suppressIds: listOf(config["suppress_tokens"]).filter((x): x is number => Number.isInteger(x)),
  };
}
