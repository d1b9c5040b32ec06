// The error of a model that nothing can be compared with on this device. Imported by known-answers.ts.
import { SelvedgeError } from "../core/errors.ts";

/** Returns the error of a variant without a golden that wasm can't run. */
export function unverified(variant: string, code: string): SelvedgeError {
  const sentence = `WebGPU ${variant} refused: unverified, since it has no golden and wasm can't run it (${code})`;
  const message = `${sentence}. Pass \`allowUnverified: true\` to \`load\` to run it on this GPU unchecked, or compress it to a bundle.`;
  return new SelvedgeError("wrong-result", message, { reason: "unverified", variant, refusal: sentence });
}
