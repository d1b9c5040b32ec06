// Reads the files of sentence-transformers: the modules that follow the transformer (pooling, normalising), and the
// model's own maximum length, which is below the tokenizer's (256 against 512 for MiniLM).
import { WITHOUT_PROMPT } from "../core/bundle.ts";
import type { PoolSpec } from "../core/bundle.ts";
import { countOf, listOf, objectOf, textOf, truthOf } from "./json.ts";

/** How the vectors of a text's tokens become one. */
export type PoolingMode = PoolSpec["mode"];

/** Facts of a sentence-transformers model. */
export interface SentenceFacts {
  /** Null where the pooling is of another kind, which `unsupported` names. */
  readonly pooling: PoolingMode | null;
  /** Whether the vector is scaled to length 1. */
  readonly normalize: boolean;
  /** Numbers in a vector; null where the file does not say. */
  readonly dims: number | null;
  /** The most tokens of a text; null where the file does not say. */
  readonly maxLength: number | null;
  /** Whether texts are made lower case before the tokenizer reads them. */
  readonly lowercase: boolean;
  /** Whether white space at both ends of a text is left out. */
  readonly trim: boolean;
  /** Texts that are put before a text, by the name of the use, as `query`. */
  readonly prompts: Readonly<Record<string, string>>;
  /** Name of the prompt that every text has where the caller names none; null for none. */
  readonly prompt: string | null;
  /** The module or mode that this release does not compute; null for none. */
  readonly unsupported: string | null;
}

/** Files of sentence-transformers, parsed; null for one that the repository has not. */
export interface SentenceFiles {
  /** modules.json. */
  readonly modules: unknown;
  /** The pooling module's config.json, as `1_Pooling/config.json`. */
  readonly pooling: unknown;
  /** sentence_bert_config.json. */
  readonly length: unknown;
  /** config_sentence_transformers.json. */
  readonly prompts: unknown;
}

/** Modes by the fields of the pooling's config.json, and by the words of newer ones. */
const MODES: Readonly<Record<string, PoolingMode>> = {
  pooling_mode_mean_tokens: "mean",
  pooling_mode_cls_token: "cls",
  pooling_mode_lasttoken: "last",
  pooling_mode_max_tokens: "max",
  pooling_mode_mean_sqrt_len_tokens: "sqrt-mean",
  pooling_mode_weightedmean_tokens: "weighted-mean",
};
const WORDS: Readonly<Record<string, PoolingMode>> = {
  ...{ mean: "mean", cls: "cls", lasttoken: "last", max: "max" },
  ...{ mean_sqrt_len_tokens: "sqrt-mean", weightedmean: "weighted-mean" },
};

/** Path of the list of modules, and the usual one of the pooling. */
export const MODULES = "modules.json";
export const POOLING = "1_Pooling/config.json";

/** Returns the path of the pooling's config.json by modules.json; null where there is none. */
export function poolingPath(modules: unknown): string | null {
  const pooling = listOf(modules).map(objectOf).find(isOf("Pooling"));
  const path = textOf(pooling?.["path"]);
  return path === null || !/^[\w.-]+$/.test(path) ? null : `${path}/config.json`;
}

/**
 * Reads the files; null for a repository with neither a pooling nor lengths or prompts, nor a module that is not computed: no
 * sentence-transformers model.
 */
export function readSentence({ modules, pooling, length, prompts }: SentenceFiles): SentenceFacts | null {
  const config = objectOf(pooling);
  const hasPooling = Object.keys(config).length > 0;
  const list = listOf(modules).map(objectOf);
  const other = list.find((x) => !isComputed(x));
  if (!hasPooling && length == null && prompts == null && other === undefined) return null;
  const modes = Object.keys(MODES).filter((x) => config[x] === true);
  const [only, second] = modes;
  const word = wordOf(config["pooling_mode"]);
  const mode = hasPooling ? modeOf(word, only) : null;
  const wrongMode =
    word === null && second !== undefined
      ? modes.join(" + ")
      : hasPooling && mode === null
        ? (word ?? only ?? "")
        : null;
  const unsupported =
    other !== undefined
      ? `${textOf(other["type"]) ?? "a module without a type"} of ${MODULES}`
      : wrongMode === null
        ? null
        : `${wrongMode} of ${poolingPath(modules) ?? POOLING}`;
  const own = objectOf(objectOf(prompts)["prompts"]);
  const texts = Object.entries(own).filter((x): x is [string, string] => typeof x[1] === "string");
  const usual = textOf(objectOf(prompts)["default_prompt_name"]);
  return {
    pooling: unsupported === null ? mode : null,
    normalize: list.some(isOf("Normalize")),
    dims: countOf(config["word_embedding_dimension"]) ?? countOf(config["embedding_dimension"]),
    maxLength: countOf(objectOf(length)["max_seq_length"], 1e6),
    lowercase: truthOf(objectOf(length)["do_lower_case"], false),
    trim: isStripped(textOf(objectOf(objectOf(prompts)["__version__"])["sentence_transformers"])),
    prompts: Object.fromEntries(texts),
    prompt: texts.some(([name]) => name === usual) ? usual : null,
    unsupported: truthOf(config["include_prompt"], true) ? unsupported : (unsupported ?? WITHOUT_PROMPT),
  };
}

/** Whether the release that wrote the files strips texts before it tokenizes: those before 5.4 do. */
function isStripped(version: string | null): boolean {
  const [major = 0, minor = 0] = (version ?? "").split(".").map(Number);
  return !(major > 5 || (major === 5 && minor >= 4));
}

/** Returns the mode by the word of newer files, else by a field of older ones; null for one that is not computed. */
function modeOf(word: string | null, field: string | undefined): PoolingMode | null {
  if (word !== null) return Object.hasOwn(WORDS, word) ? (WORDS[word] ?? null) : null;
  return field === undefined ? "mean" : (MODES[field] ?? null);
}

/** Returns the mode that newer files name, or several of a list, whose vectors are joined; null where they name none. */
function wordOf(mode: unknown): string | null {
  const words = listOf(mode).map(String);
  return words.length > 0 ? words.join(" + ") : textOf(mode);
}

/**
 * Whether a module is a transformer, which the graph is, also one of the repository's own code, or one of the library's that
 * are computed. Dropout is for training.
 */
function isComputed(module: Readonly<Record<string, unknown>>): boolean {
  const isOwn = textOf(module["type"])?.startsWith("sentence_transformers.") === false;
  const kinds = isOwn ? ["Transformer"] : ["Transformer", "Pooling", "Normalize", "Dropout"];
  return kinds.some((kind) => isOf(kind)(module));
}

/** Whether a module is of a kind: `sentence_transformers.models.Pooling`, or another path to the class. */
function isOf(kind: string): (module: Readonly<Record<string, unknown>>) => boolean {
  return (module) => textOf(module["type"])?.split(".").at(-1) === kind;
}
