// Errors that the engine reported itself, where no other check has found the cause.
import { ERROR_REASONS } from "../../core/error-reasons.ts";
import { CHANGES } from "../changes.ts";
import type { Change, Check, EngineError, Found } from "../evidence.ts";

/** Outcomes of a page that works, where it handles them: it cancelled, or bounded its own load. */
const USUAL: ReadonlySet<string> = new Set(["closed", "overloaded", "deadline-exceeded"]);
/** Codes that say more of the doctor's device than of the site, where the page handles them. */
const OF_DEVICE: ReadonlySet<string> = new Set(["no-backend", "does-not-fit", "out-of-memory", "device-lost"]);

/** Finds errors of the engine, one finding a code. */
export const engineErrors: Check = ({ browser }) => {
  const errors = (browser?.errors ?? []).filter((x) => !(x.isHandled && USUAL.has(x.code)));
  // The last one of a code, and one that is not handled before others.
  const codes = new Map<string, EngineError>();
  for (const error of errors)
    if (!error.isHandled || codes.get(error.code)?.isHandled !== false) codes.set(error.code, error);
  return [...codes.values()].map(found);
};

function found({ code, message, reason, help, isHandled }: EngineError): Found {
  return {
    id: "engine-error",
    severity: isHandled && OF_DEVICE.has(code) ? "warning" : "error",
    message: `The engine reports ${code}${isHandled ? ", which the page handles" : ""}: ${message}`,
    evidence: [
      help === null
        ? `the engine threw a ${code}`
        : `SelvedgeError code ${code}${reason === null ? "" : `, reason ${reason}`}`,
      ...ERROR_REASONS.filter((x) => x.code === code && x.reason === reason).map(({ fix }) => fix),
      ...(help === null ? [] : [`more: ${help}`]),
    ],
    changes: changesOf(code, reason, message),
  };
}

/** A binary is refused by one directive or another, and the message names the one of requests. */
function changesOf(code: string, reason: string | null, message: string): readonly Change[] {
  const [, source] = /`connect-src ([^`]+)`/.exec(message) ?? [];
  if (reason === "wasm-csp" && source !== undefined)
    return [{ kind: "csp", path: "/", directive: "connect-src", sources: [source] }];
  return CHANGES[`${code} ${reason}`] ?? [];
}
