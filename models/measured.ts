// Measurements of variants, cached in measured.json beside the recipes, so that building a bundle takes seconds, needs
// no GPU, and gives the same bytes everywhere. A measurement is valid only for the exact bytes that were measured: it
// carries their hash, and is left out of the bundle if the model has changed since. measure.ts updates it.
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { sha256Hex } from "../lib/core/bundle.ts";
import type { Variant } from "../lib/core/bundle.ts";
import type { PackInput, PackVariant } from "../lib/compress/bundle/pack.ts";

/** Path of the measurements. */
export const MEASURED_PATH: string = join(import.meta.dirname, "measured.json");

/** Measurements of one model file. */
export type Measurement = Pick<Variant, "score" | "assignment"> & { readonly sha256: string };

/** Measurements by `bundle/variant`. */
export type Measurements = Readonly<Record<string, Measurement>>;

/** Reads the measurements. */
export function readMeasurements(): Measurements {
  return existsSync(MEASURED_PATH) ? (JSON.parse(readFileSync(MEASURED_PATH, "utf8")) as Measurements) : {};
}

/** Adds its measurements to each variant; `missing` names the variants whose bytes were never measured. */
export async function addMeasurements(
  input: PackInput,
  measurements: Measurements,
): Promise<{ input: PackInput; missing: string[] }> {
  const missing: string[] = [];
  const variants: PackVariant[] = [];
  for (const variant of input.variants) {
    const key = `${input.model.name}/${variant.id}`;
    const measured = measurements[key];
    if (measured?.sha256 !== (await modelHash(variant))) {
      missing.push(key);
      variants.push(variant);
      continue;
    }
    const { score, assignment } = measured;
    variants.push({ ...variant, ...(score && { score }), ...(assignment && { assignment }) });
  }
  return { input: { ...input, variants }, missing };
}

/** Hashes the model file of a variant. */
export async function modelHash(variant: PackVariant): Promise<string> {
  return sha256Hex(variant.files[0]?.bytes ?? new Uint8Array());
}
