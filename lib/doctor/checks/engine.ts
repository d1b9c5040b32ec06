// Errors that the engine reported itself, where no other check has found the cause.
import { ERROR_REASONS } from "../../core/error-reasons.ts";
import { CHANGES } from "../changes.ts";
import type { Check } from "../evidence.ts";

/** Finds errors of the engine, one finding a code. */
export const engineErrors: Check = ({ browser }) => {
  const codes = new Map((browser?.errors ?? []).map((x) => [x.code, x]));
  return [...codes.values()].map(({ code, message, reason }) => ({
    id: "engine-error",
    severity: "error",
    message: `The engine reports ${code}: ${message}`,
    evidence: [
      `SelvedgeError code ${code}${reason === null ? "" : `, reason ${reason}`}`,
      ...ERROR_REASONS.filter((x) => x.code === code && x.reason === reason).map(({ fix }) => fix),
      `more: npx selvedge explain ${code}`,
    ],
    changes: CHANGES[`${code} ${reason}`] ?? [],
  }));
};
