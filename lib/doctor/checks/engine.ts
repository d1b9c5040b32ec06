// Errors that the engine reported itself, where no other check has found the cause.
import type { Check } from "../evidence.ts";

/** Finds errors of the engine, one finding a code. */
export const engineErrors: Check = ({ browser }) => {
  const codes = new Map((browser?.errors ?? []).map((x) => [x.code, x]));
  return [...codes.values()].map(({ code, message, reason }) => ({
    id: "engine-error",
    severity: "error",
    message: `The engine reports ${code}: ${message}`,
    evidence: [`SelvedgeError code ${code}${reason === null ? "" : `, reason ${reason}`}`],
    changes: [],
  }));
};
