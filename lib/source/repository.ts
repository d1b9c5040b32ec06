// Reads the files of a repository in the Hugging Face layout into facts: config.json, the tokenizer's and the processor's
// files, generation_config.json, and those of sentence-transformers. Pure: the caller fetches the texts (the fetch
// worker) or reads them (Node). describe.ts makes a bundle of the facts.
import { readConfig } from "./config.ts";
import type { ModelConfig } from "./config.ts";
import { EVALUATION } from "./evaluation.ts";
import { readGeneration } from "./generation.ts";
import type { GenerationFacts } from "./generation.ts";
import { objectOf, parseJson, textOf } from "./json.ts";
import { readProcessor } from "./processor.ts";
import type { ProcessorFacts } from "./processor.ts";
import { MODULES, POOLING, poolingPath, readSentence } from "./sentence.ts";
import type { SentenceFacts } from "./sentence.ts";
import { readTokenizer } from "./tokenizer.ts";
import type { TokenizerFacts } from "./tokenizer.ts";
import { readVocabulary, VOCABULARY } from "./vocabulary.ts";
import type { VocabularyFacts } from "./vocabulary.ts";

/** Facts of a repository; null for a file that it has not. */
export interface RepositoryFacts {
  readonly config: ModelConfig | null;
  readonly tokenizer: TokenizerFacts | null;
  readonly processor: ProcessorFacts | null;
  readonly generation: GenerationFacts | null;
  /** Classes of a model that writes texts by CTC. */
  readonly vocabulary: VocabularyFacts | null;
  /** Pooling of token vectors, for a model of sentence-transformers. */
  readonly sentence: SentenceFacts | null;
  /** The most tokens of a text: sentence-transformers' own, else the least of tokenizer's and positions; null for any. */
  readonly maxLength: number | null;
}

/** Path of the tokenizer that texts are read by. */
export const TOKENIZER = "tokenizer.json";

const FILES = {
  config: "config.json",
  tokenizer: "tokenizer_config.json",
  processor: "preprocessor_config.json",
  processors: "processor_config.json",
  generation: "generation_config.json",
  modules: MODULES,
  pooling: POOLING,
  length: "sentence_bert_config.json",
  prompts: "config_sentence_transformers.json",
} as const;

/** Paths of the small files that `readRepository` reads, where a repository has them. */
export const REPOSITORY_FILES: readonly string[] = Object.values(FILES);

/** Other names of the pooling's file, and of the length's: `sentence_roberta_config.json` and the like, of older releases. */
const OTHER_NAMES =
  /^(?:\d+_Pooling\/config|sentence_(?:roberta|distilbert|camembert|albert|xlm-roberta|xlnet)_config)\.json$/;

/** Folder of the graphs, where some exporters leave the other files too. */
const GRAPHS = "onnx/";

/**
 * Returns the paths among a repository's that `readRepository` reads; a pooling module may have another folder, and a file
 * that is not at the top may lie beside the graphs.
 */
export function filesToRead(paths: readonly string[]): string[] {
  const isRead = (x: string): boolean => REPOSITORY_FILES.includes(x) || OTHER_NAMES.test(x);
  const all = new Set(paths);
  return paths.filter((x) => isRead(x) || (x.startsWith(GRAPHS) && isRead(atTop(x)) && !all.has(atTop(x))));
}

/** Returns the path of the tokenizer among a repository's: at the top, or beside the graphs; undefined for none. */
export function tokenizerPath(paths: ReadonlySet<string>): string | undefined {
  return [TOKENIZER, GRAPHS + TOKENIZER].find((x) => paths.has(x));
}

/** Returns the path at the top of a file that lies beside the graphs; another path as it is. */
function atTop(path: string): string {
  return path.startsWith(GRAPHS) ? path.slice(GRAPHS.length) : path;
}

/**
 * Reads a repository's files, as texts by path; files that it does not know are ignored.
 * @throws SelvedgeError `bundle-invalid` for a file that is not JSON
 */
export function readRepository(files: ReadonlyMap<string, string>): RepositoryFacts {
  const texts = new Map([...files].map(([path, text]) => [files.has(atTop(path)) ? path : atTop(path), text]));
  const json = (path: string): unknown => {
    const text = texts.get(path);
    return text === undefined ? null : parseJson(path, text);
  };
  const read = <T>(path: string, reader: (json: unknown) => T): T | null => {
    const value = json(path);
    return value === null ? null : reader(value);
  };
  const config = read(FILES.config, readConfig);
  const modules = json(FILES.modules);
  const sentence = readSentence({
    modules,
    pooling: json(poolingPath(modules) ?? FILES.pooling),
    length: json([FILES.length, ...texts.keys()].find((x) => texts.has(x) && /^sentence_/.test(x)) ?? FILES.length),
    prompts: json(FILES.prompts),
  });
  const own = json(FILES.tokenizer);
  const hasTokenizer = own !== null || texts.has(TOKENIZER);
  const found = hasTokenizer ? readTokenizer(own, json(TOKENIZER)) : null;
  const tokenizer = found === null ? null : { ...found, padId: found.padId ?? config?.padId ?? null };
  const bounds = [tokenizer?.maxLength, config?.maxPositions].filter((x) => x != null);
  return {
    config,
    tokenizer,
    processor:
      read(FILES.processor, (x) => readProcessor(x)) ??
      processorIn(json(FILES.processors)) ??
      read(FILES.config, (x) => (EVALUATION in objectOf(x) ? readProcessor(x, FILES.config) : null)),
    generation: read(FILES.generation, readGeneration),
    vocabulary: read(VOCABULARY, (x) => readVocabulary(x, own, json(FILES.config))),
    sentence,
    maxLength: sentence?.maxLength ?? (bounds.length === 0 ? null : Math.min(...bounds)),
  };
}

/** Reads the image's or the sound's processor of a file of several, as transformers 5 writes it; null for none. */
function processorIn(json: unknown): ProcessorFacts | null {
  const all = objectOf(json);
  const own = [all["image_processor"], all["feature_extractor"]].find((x) => Object.keys(objectOf(x)).length > 0);
  const whole = { processor_class: all["processor_class"], ...objectOf(own) };
  return own === undefined ? null : readProcessor(whole, FILES.processors);
}

/** Reads the licence in the head of a model card (README.md); null where it names none. */
export function licenceOf(card: string): string | null {
  const head = /^\ufeff?---\r?\n([^]*?)\r?\n---/.exec(card)?.[1] ?? "";
  const licence = /^license:\s*["']?([\w.+-]+)["']?\s*$/m.exec(head)?.[1];
  return licence ?? null;
}

/** Reads the git-lfs pointer that stands in place of a file; null where a text is none. */
export function pointerOf(text: string): { readonly sha256: string; readonly bytes: number } | null {
  if (!text.startsWith("version https://git-lfs.github.com/spec/")) return null;
  const sha256 = /^oid sha256:([0-9a-f]{64})$/m.exec(text)?.[1];
  const bytes = /^size (\d+)$/m.exec(text)?.[1];
  return sha256 === undefined || bytes === undefined ? null : { sha256, bytes: Number(bytes) };
}

/** Reads the list of a repository's files, as the hub's API answers it. */
export function readTree(json: unknown): RepositoryFile[] {
  if (!Array.isArray(json)) return [];
  return json.map(objectOf).flatMap((entry): RepositoryFile[] => {
    const path = textOf(entry["path"]);
    const lfs = objectOf(entry["lfs"]);
    const hash = textOf(lfs["oid"])?.replace(/^sha256:/, "") ?? textOf(lfs["sha256"]);
    const size = typeof lfs["size"] === "number" ? lfs["size"] : entry["size"];
    if (entry["type"] !== "file" || path === null || !isPath(path)) return [];
    return [
      {
        path,
        bytes: typeof size === "number" && Number.isSafeInteger(size) && size >= 0 ? size : null,
        sha256: hash !== null && /^[0-9a-f]{64}$/.test(hash) ? hash : null,
        oid: textOf(entry["oid"]),
      },
    ];
  });
}

/** A file of a repository, as its host lists it. */
export interface RepositoryFile {
  readonly path: string;
  /** Null where the host does not state it. */
  readonly bytes: number | null;
  /** SHA-256 of a file that is stored by git-lfs; null for another one. */
  readonly sha256: string | null;
  /** Git's own id of the file or of its pointer; null where the host does not state it. */
  readonly oid: string | null;
}

/** Whether a path stays in its repository: no `..`, no root, no query. */
function isPath(path: string): boolean {
  return (
    path.length <= 300 &&
    !/^\/|[\\?#]|[^\x20-\x7e]/.test(path) &&
    !path.split("/").some((x) => x === ".." || x === "." || x === "")
  );
}
