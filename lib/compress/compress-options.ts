// Options of a compression.
import type { BrowserName } from "./check/browser.ts";
import type { Target } from "./forms/forms.ts";
import type { PruneRequest } from "./forms/prune-forms.ts";

/** Options of `compress`. */
export interface CompressOptions {
  /** Output folder. */
  readonly out: string;
  /** Default all three. */
  readonly targets?: readonly Target[] | undefined;
  /** Path of .npy, .npz, JSON lines, a folder, or a module. Default: synthetic inputs. */
  readonly samples?: string | undefined;
  /** Path of the right answers, one per sample; `classes` names the classes. */
  readonly labels?: string | undefined;
  /**
   * sqnr, top1, exact, perplexity, agreement, kl, cosine, or a module's path. Default "top1" with labels, else by the
   * model's use.
   */
  readonly metric?: string | undefined;
  /** Allowed loss of the metric, as "0.5%"; for sqnr the minimum ratio, as "30dB", or the allowed error energy. */
  readonly maxDrop?: string | undefined;
  /** Path of a bundle.json whose description of the model applies: names, preprocessing. */
  readonly bundle?: string | undefined;
  /**
   * Folder of a Hugging Face export whose files describe the model: config.json, tokenizer.json,
   * preprocessor_config.json and those of sentence-transformers. Default none.
   */
  readonly repository?: string | undefined;
  /** How images become an input, as `224x224,rgb,imagenet`; words in any order, each with a default. Default: tensors. */
  readonly image?: string | undefined;
  /** Path of the names of the classes: one a line, a JSON array, or a config.json with `id2label`. Default none. */
  readonly classes?: string | undefined;
  /** Number of best classes in an answer; with `classes`. Default 5. */
  readonly top?: number | undefined;
  /** Whether the output with `classes` holds logits. Default: no softmax ends the graph. */
  readonly logits?: boolean | undefined;
  /** Names of the forms to make. Default: those that suit the targets. */
  readonly forms?: readonly string[] | undefined;
  /** Sizes for synthetic inputs: "pixel_values=1x3x224x224" by input, "sequence_length=64" by dim. Default: guessed. */
  readonly shape?: readonly string[] | undefined;
  /** Maximum number of samples to use. Default: as many as the model runs in a minute. */
  readonly limit?: number | undefined;
  /** Time limit for measuring the sensitivity of each weight. Default 10,000 ms; 0 skips it. */
  readonly sensitivityMs?: number | undefined;
  /** Also prunes units, by this share or these; adds the forms "pruned" and "pruned-int8". Default none. */
  readonly prune?: PruneRequest | undefined;
  /**
   * Sets the smallest weights to 0 to reduce the download only, as "50%" or "2:4"; adds the form "masked". Default
   * none.
   */
  readonly mask?: string | undefined;
  /**
   * Searches for the smallest and the fastest model within the budget; adds "searched" and "searched-fast". Default
   * off.
   */
  readonly search?: { readonly budgetMs?: number | undefined } | undefined;
  /** Checks the targets in this browser, driven by playwright-core, instead of in onnxruntime-node. Default none. */
  readonly browser?: BrowserName | undefined;
  /** Stops the work. Finished forms are packed, and the report says so. */
  readonly signal?: AbortSignal | undefined;
  /** Called with a line of text at each step. */
  readonly onProgress?: ((line: string) => void) | undefined;
}
