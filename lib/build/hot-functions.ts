// Which functions of ONNX Runtime's builds usually run, as `npm run usual` found out: a bit for each, kept in usual-*.json.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";

/** Names the two parts of a build for each other, and says which functions, imported ones not counted, are in the first. */
export interface Usual {
  readonly id: string;
  readonly isUsual: (index: number) => boolean;
}

/**
 * Reads what is known of a build.
 * @throws Error where the binary is another one
 */
export function readUsual(build: string, binary: Uint8Array): Usual {
  const path = join(import.meta.dirname, `usual-${build}.json`);
  const known = JSON.parse(readFileSync(path, "utf8")) as { sha256: string; bits: string };
  const sha256 = createHash("sha256").update(binary).digest("hex");
  if (sha256 !== known.sha256) throw new Error(`${path} is about another binary: npm run usual`);
  const bits = Buffer.from(known.bits, "base64");
  const id = createHash("sha256").update(sha256).update(bits).digest("hex").slice(0, 12);
  return { id, isUsual: (index) => (((bits[index >> 3] ?? 0) >> (index & 7)) & 1) === 1 };
}
