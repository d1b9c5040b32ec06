// The reason for running on wasm after the GPU computed a wrong answer.
import type { SelvedgeError } from "../core/errors.ts";
import type { Why } from "../core/reasons.ts";

/** Returns the reason for running on wasm after a `wrong-result` of the GPU (golden-check.ts). */
export function whyRefused({ details }: SelvedgeError): Why {
  return { code: "golden-failed", text: `wasm: ${String(details["refusal"])}` };
}
