// Part of `delivery`: bytes of a model update by chunking: none (a cache of whole files), fixed offsets, tensor borders
// (lib/compress/bundle/chunk-borders.ts), content-defined (FastCDC's gear hash). Two updates: a fine-tuned model, of which the last two
// tensors changed, and one with a layer of 300 kB inserted in its middle.
import { createHash } from "node:crypto";
import { join } from "node:path";
import { readVariantModel } from "../../../lib/compress/bundle/read-bundle.ts";
import { weights } from "../../../lib/test-support/cache-fixtures.ts";
import { cutChunks } from "../../../lib/compress/bundle/chunk-borders.ts";
import { tensorBorders } from "../../../lib/compress/onnx/model.ts";
import { ROOT } from "../../support/prepare.ts";
import type { Case } from "../kernel/kernel.ts";

type Bytes = Uint8Array<ArrayBuffer>;

interface Version {
  readonly bytes: Bytes;
  readonly borders: readonly number[];
}

const LAYER_BYTES = 300_000;
const WHOLE = "a cache of whole files";

const CUTS: Readonly<Record<string, (version: Version) => Bytes[]>> = {
  [WHOLE]: ({ bytes }) => [bytes],
  "chunks of 4 MiB": ({ bytes }) => cutChunks(bytes),
  "selvedge, at tensor borders": ({ bytes, borders }) => cutChunks(bytes, borders),
  "content-defined, 512 KiB on average": ({ bytes }) => cutByContent(bytes, 19),
};

/** Returns the cases: bytes fetched over the bytes of the file. */
export async function updateCases(): Promise<Case[]> {
  const cases = (["int8", "f32"] as const).map(async (variant) => {
    const old = await readVariant("ocr-rec", variant);
    const updates = { "fine-tuned: two tensors changed": tune(old), "a layer inserted": insert(old) };
    return Object.entries(updates).map(([name, next]): Case => ({
      name: `update of ocr-rec ${variant}, ${name}`,
      unit: "share of the file",
      statistic: "median",
      subjects: Object.entries(CUTS).map(([subject, cut]) => ({
        name: subject,
        sample: () =>
          Promise.resolve({ value: share(cut(old), cut(next)), backend: "none", model: "ocr-rec", variant }),
      })),
      of: WHOLE,
      goals: [],
      rounds: 1,
      warmups: 0,
    }));
  });
  return (await Promise.all(cases)).flat();
}

async function readVariant(model: string, id: string): Promise<Version> {
  const bytes = await readVariantModel(join(ROOT, "models/dist", model), id);
  return { bytes, borders: tensorBorders(bytes) };
}

function tune({ bytes, borders }: Version): Version {
  const tuned = bytes.slice();
  for (const at of borders.slice(-2)) for (let i = at; i < at + 2_000; i += 1) tuned[i] = (tuned[i] ?? 0) ^ 5;
  return { bytes: tuned, borders };
}

function insert({ bytes, borders }: Version): Version {
  const at = borders[borders.length >> 1] ?? 0;
  const grown = new Uint8Array([...bytes.subarray(0, at), ...weights(LAYER_BYTES), ...bytes.subarray(at)]);
  const moved = borders.filter((x) => x >= at).map((x) => x + LAYER_BYTES);
  return { bytes: grown, borders: [...borders.filter((x) => x <= at), ...moved] };
}

function share(old: readonly Bytes[], next: readonly Bytes[]): number {
  const nameOf = (bytes: Bytes): string => createHash("sha256").update(bytes).digest("hex");
  const known = new Set(old.map(nameOf));
  const total = next.reduce((sum, x) => sum + x.length, 0);
  const fetched = next.filter((x) => !known.has(nameOf(x))).reduce((sum, x) => sum + x.length, 0);
  return fetched / total;
}

/** Cuts where the gear hash of the last 32 bytes has `bits` zeros: FastCDC without its normalisation. */
function cutByContent(bytes: Bytes, bits: number): Bytes[] {
  const table = new Uint32Array(weights(1_024, 77).buffer);
  const chunks: Bytes[] = [];
  let from = 0;
  let hash = 0;
  for (let i = 0; i < bytes.length; i += 1) {
    hash = ((hash << 1) + (table[bytes[i] ?? 0] ?? 0)) >>> 0;
    const size = i + 1 - from;
    if ((size >= 2 ** (bits - 3) && hash >>> (32 - bits) === 0) || size === 4 * 1024 * 1024) {
      chunks.push(bytes.subarray(from, i + 1));
      from = i + 1;
    }
  }
  if (from < bytes.length) chunks.push(bytes.subarray(from));
  return chunks;
}
