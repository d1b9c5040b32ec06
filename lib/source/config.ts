// Reads config.json: the architecture, the labels, the lengths, and which graphs have external data.
import { EVALUATION } from "./evaluation.ts";
import { countOf, listOf, numberOf, objectOf, textOf } from "./json.ts";
import type { JsonObject } from "./json.ts";

/** Facts of config.json. */
export interface ModelConfig {
  /** As `bert`; null where the file does not say. */
  readonly modelType: string | null;
  /** Class names, as `BertForSequenceClassification`. */
  readonly architectures: readonly string[];
  /** Names of the classes in their order, LABEL_0 and so on where the file names none; null for an incomplete `id2label`. */
  readonly labels: readonly string[] | null;
  /** Whether the file of timm states a number of classes: it names no class by its head. */
  readonly isClassifier: boolean;
  /** Whether classes exclude each other (softmax), or not (sigmoid), or the output is a number. */
  readonly problem: "single-label" | "multi-label" | "regression";
  /** The most positions that the model has; null where it does not say. */
  readonly maxPositions: number | null;
  /** Whether positions begin after the padding's, at 2. */
  readonly hasOffset: boolean;
  /** Id of the padding token; null where the file does not say. */
  readonly padId: number | null;
  /** Width of the hidden states; null where it does not say. */
  readonly hiddenSize: number | null;
  /** Number of files of external data by the name of a graph, from `transformers.js_config`; `*` is for all graphs. */
  readonly externalData: Readonly<Record<string, number>>;
  /** The encoding that the repository's author prefers, from `transformers.js_config`; null for none. */
  readonly dtype: string | null;
}

/** Model types whose positions begin after the padding's: two of `max_position_embeddings` are no text. */
const OFFSET_POSITIONS: ReadonlySet<string> = new Set([
  ...(["roberta", "xlm-roberta", "camembert", "mpnet", "roberta-prelayernorm", "data2vec-text"] as const),
  ...(["longformer", "xlm-roberta-xl", "xmod", "luke", "bertweet", "esm"] as const),
  ...(["ibert", "markuplm", "lilt", "layoutlmv3"] as const),
]);

/** Names in which the maximum number of positions is given. */
const POSITIONS = ["max_position_embeddings", "n_positions", "max_sequence_length", "seq_length", "n_ctx"] as const;

/** Reads a parsed config.json. */
export function readConfig(json: unknown): ModelConfig {
  const config = objectOf(json);
  const text = objectOf(config["text_config"]);
  const own = objectOf(config["transformers.js_config"]);
  const modelType = textOf(config["model_type"]);
  const count = POSITIONS.map((x) => countOf(config[x]) ?? countOf(text[x])).find((x) => x !== null) ?? null;
  const offset = modelType !== null && OFFSET_POSITIONS.has(modelType) ? 2 : 0;
  const labels = labelsOf(config);
  return {
    modelType,
    architectures: listOf(config["architectures"]).filter((x) => typeof x === "string"),
    labels,
    isClassifier: EVALUATION in config && countOf(config["num_classes"]) !== null,
    problem: problemOf(config, labels),
    maxPositions: count === null || count <= offset ? null : count - offset,
    hasOffset: offset > 0,
    padId: countOf(config["pad_token_id"]),
    hiddenSize: countOf(config["hidden_size"]) ?? countOf(config["d_model"]) ?? countOf(config["dim"]),
    externalData: externalDataOf(own["use_external_data_format"]),
    dtype: textOf(own["dtype"]),
  };
}

/** The number of classes of a configuration that says nothing of them: such a file leaves out what is usual. */
const CLASSES = 2;
const CLASSES_MAX = 100_000;

/** Returns the labels in the order of the classes; null where a class has none. */
function labelsOf(config: JsonObject): string[] | null {
  if (config["id2label"] == null && EVALUATION in config) return namesOf(config);
  if (config["id2label"] == null) {
    const length = countOf(config["num_labels"] ?? config["_num_labels"] ?? CLASSES, CLASSES_MAX) ?? 0;
    return length === 0 ? null : Array.from({ length }, (_, i) => `LABEL_${i}`);
  }
  const named = objectOf(config["id2label"]);
  const labels = Object.keys(named).map((_, i) => named[String(i)]);
  const isLabel = (x: unknown): boolean => (typeof x === "string" && x !== "") || numberOf(x) !== null;
  if (labels.length === 0 || !labels.every(isLabel)) return null;
  return labels.map((x) => String(x).replace(/[\r\n]+/g, " "));
}

/** Returns the labels as timm writes them; null for none, since it then takes them from a table of its own. */
function namesOf(config: JsonObject): string[] | null {
  const names = listOf(config["label_names"]).map(textOf);
  return names.length === 0 || names.includes(null) ? null : (names as string[]);
}

function problemOf(config: JsonObject, labels: readonly string[] | null): ModelConfig["problem"] {
  const told = textOf(config["problem_type"]);
  if (told === "multi_label_classification") return "multi-label";
  if (told === "regression") return "regression";
  // A head of one class is a score, as that of a cross-encoder, whatever `problem_type` says: its softmax is 1.
  const classes = labels?.length ?? numberOf(config["num_labels"]);
  return classes === 1 ? "regression" : "single-label";
}

/** Reads `use_external_data_format`: true or a number for all graphs, or such a value by graph. */
function externalDataOf(value: unknown): Record<string, number> {
  const one = (x: unknown): number | null => (x === true ? 1 : countOf(x, 1_000));
  const all = one(value);
  if (all !== null) return { "*": all };
  const entries = Object.entries(objectOf(value)).flatMap(([name, x]): [string, number][] => {
    const number = one(x);
    return number === null ? [] : [[name, number]];
  });
  return Object.fromEntries(entries);
}
