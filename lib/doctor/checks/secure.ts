// Secure context: without https, and off this machine, a browser has neither WebGPU nor OPFS nor WebCrypto.
import type { DoctorCheck } from "../evidence.ts";
import { isLoopback } from "../urls.ts";
import { lines } from "./facts.ts";

/** Finds a page over plain http. */
export const secure: DoctorCheck = (evidence) => {
  const { protocol, hostname, origin } = new URL(evidence.url);
  const isSecure = evidence.browser?.isSecureContext ?? (protocol === "https:" || isLoopback(hostname));
  if (isSecure) return [];
  const noted = lines(evidence, /randomUUID|crypto\.subtle|secure context|insecure/i);
  const failed = noted.length > 0 || (evidence.browser?.errors ?? []).some((x) => x.code !== "no-backend");
  return [
    {
      id: "insecure-context",
      severity: failed || evidence.browser === null ? "error" : "warning",
      message: `${origin} is no secure context: the browser has no WebGPU, no store for models and no threads there.`,
      evidence: [`${evidence.url}: isSecureContext is false`, ...noted],
      changes: [{ kind: "secure-context" }],
    },
  ];
};
