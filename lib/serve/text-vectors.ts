// Texts to vectors with a served model: the bundle's tokenizer before a run, and its pooling after it, as on the page.
// Texts of similar length run together, padded to the longest, where the bundle allows that.
import { setImmediate as nextTurn } from "node:timers/promises";
import { readBundle, readBundleFile } from "../compress/bundle/read-bundle.ts";
import { isPaddingHarmless, runByLength } from "../core/length-batches.ts";
import type { ChosenModel } from "../export/exported-model.ts";
import { createDecoder } from "../worker/processing/decode.ts";
import { createTextReaders } from "../worker/processing/text.ts";
import type { ServeTensors } from "./lane.ts";

/** Vectors of texts, in their order. */
export interface TextVectors {
  readonly vectors: readonly Float32Array[];
  /** Tokens of all texts, special ones included. */
  readonly tokens: number;
}

/** Makes vectors of texts with `run`, which may take the buffers of its feeds away. Rejects as `run` does. */
export type TextEmbedder = (
  texts: readonly string[],
  run: (feeds: ServeTensors) => Promise<ServeTensors>,
) => Promise<TextVectors>;

/** Runs of one request at once: more of them would keep other requests waiting. */
const AT_ONCE = 2;

/**
 * Creates the embedder of a model that takes one text and declares how its tokens' vectors are pooled; null for another
 * model. `mayBatch` is false where rows influence each other.
 * @throws SelvedgeError `bundle-invalid`, `integrity-failed` for a tokenizer that can't be read
 */
export async function createEmbedder(
  folder: string,
  { bundle }: Pick<ChosenModel, "bundle">,
  mayBatch: boolean,
): Promise<TextEmbedder | null> {
  const { inputs, outputs } = bundle.model;
  const port = inputs.find((x) => x.text !== undefined);
  const output = outputs.find((x) => x.decode?.op === "pool");
  const { text } = port ?? {};
  const file = bundle.assets?.find((x) => x.path === text?.tokenizer);
  if (port === undefined || text === undefined || file === undefined || output?.decode === undefined) return null;
  // A part of the pooling that this release does not compute.
  if (text.unsupported !== undefined) return null;
  if (!inputs.every(({ name }) => [port.name, text.mask, text.types, text.positions].includes(name))) return null;
  const assets = { [text.tokenizer]: new TextDecoder().decode(await readBundleFile(await readBundle(folder), file)) };
  const reader = createTextReaders(inputs, assets)[port.name];
  if (reader === undefined) return null;
  // Parses the tokenizer's file, which takes long, before there are requests.
  reader.read([""]);
  const decode = createDecoder(output.name, output.decode, {});
  const before = text.prompts?.[text.prompt ?? ""] ?? "";
  const isShared = mayBatch && isPaddingHarmless(port);
  const how = { isShared, inFlight: AT_ONCE, now: () => performance.now() };
  return async (texts, run) => {
    const vectors: Float32Array[] = [];
    let tokens = 0;
    await runByLength(texts, how, async (rows, { signal }) => {
      // Tokenizing and pooling happen on the server's own thread.
      await nextTurn();
      signal.throwIfAborted();
      const feeds = reader.read(rows.map((i) => before + (texts[i] ?? "")));
      const mask = text.mask === undefined ? undefined : feeds[text.mask];
      const kept = mask && { ...mask, data: mask.data.slice() as never };
      tokens += countTokens(kept?.data ?? feeds[port.name]?.data ?? [], kept !== undefined);
      const outputs = await run(feeds);
      const found = decode(outputs[output.name] as ServeTensors[string], {
        ...{ input: (name) => (name === text.mask ? kept : undefined), output: (name) => outputs[name] },
        ...{ picture: () => null, tokens: () => null },
      });
      for (const [at, i] of rows.entries()) {
        const own = found[at];
        if (own?.kind === "vector") vectors[i] = own.vector;
      }
    });
    return { vectors, tokens };
  };
}

/** Counts a batch's tokens: those under its mask, or all. */
function countTokens(data: ServeTensors[string]["data"], isMask: boolean): number {
  return isMask ? Array.from(data as ArrayLike<number | bigint>).filter((x) => Number(x) !== 0).length : data.length;
}
