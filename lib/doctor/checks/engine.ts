// Errors that the engine reported itself, where no other check has found the cause.
import { ERROR_REASONS } from "../../core/error-reasons.ts";
import { CHANGES } from "../changes.ts";
import type { Change, DoctorCheck, EngineError, Evidence, Diagnosis } from "../evidence.ts";
import { bare, folderOf, pathOf } from "../urls.ts";

/** Outcomes of a page that works, where it handles them: it cancelled, or bounded its own load. */
const USUAL: ReadonlySet<string> = new Set(["closed", "overloaded", "deadline-exceeded"]);
/** Codes that say more of the doctor's device than of the site, where the page handles them. */
const OF_DEVICE: ReadonlySet<string> = new Set(["no-backend", "does-not-fit", "out-of-memory", "device-lost"]);

/** Finds errors of the engine, one finding a code. */
export const engineErrors: DoctorCheck = (evidence) => {
  const { browser } = evidence;
  const errors = (browser?.errors ?? []).filter((x) => !(x.isHandled && USUAL.has(x.code)));
  // The last one of a code, and one that is not handled before others.
  const codes = new Map<string, EngineError>();
  for (const error of errors)
    if (!error.isHandled || codes.get(error.code)?.isHandled !== false) codes.set(error.code, error);
  return [...codes.values()].map((error) => found(error, evidence));
};

function found(error: EngineError, evidence: Evidence): Diagnosis {
  const { code, message, reason, help, isHandled } = error;
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
    changes: changesOf(error, evidence),
  };
}

/** A binary is refused by one directive or another, and the message names the one of requests. */
function changesOf({ code, reason, message, url }: EngineError, evidence: Evidence): readonly Change[] {
  const [, source] = /`connect-src ([^`]+)`/.exec(message) ?? [];
  const path = pathOf(evidence.url);
  if ((reason === "wasm-csp" || reason === "csp") && source !== undefined)
    return [{ kind: "csp", path, directive: "connect-src", sources: [source] }];
  const changes = CHANGES[`${code} ${reason}`] ?? [];
  const base = changes.flatMap((x) => (x.kind === "assets-base" ? [x.to] : []))[0] ?? null;
  const at = url !== null && URL.canParse(url, evidence.url) ? new URL(url, evidence.url).href : null;
  const file = at === null || !/^https?:/.test(at) ? null : at;
  return changes.flatMap((x) => placed(x, file, base, evidence) ?? []);
}

/** Puts the file's own address into a change, in place of the table's example; null where a change needs one it lacks. */
function placed(change: Change, url: string | null, base: string | null, evidence: Evidence): Change | null {
  switch (change.kind) {
    case "copy": {
      const to = base ?? (url === null ? null : pathOf(folderOf(url)));
      if (to === null) return null;
      const isPackage = change.files.every((x) => !x.startsWith("/"));
      if (isPackage) return { ...change, to };
      return url === null ? null : { ...change, files: [pathOf(url)], to };
    }
    case "csp": {
      const placedAt = { ...change, path: pathOf(evidence.url) };
      if (change.directive !== "connect-src") return placedAt;
      return url === null ? null : { ...placedAt, sources: [isOwn(url, evidence) ? "'self'" : new URL(url).origin] };
    }
    case "header":
      if (change.path === "/*") return change;
      if (url === null) return null;
      return { ...change, path: isOwn(url, evidence) ? pathOf(url) : `${new URL(url).origin}/*` };
    case "no-fallback":
      return url === null ? null : { ...change, paths: [pathOf(url)] };
    case "replace":
      return url === null ? null : { ...change, url: pathOf(url) };
    case "as-stored":
      return url === null ? null : { ...change, path: pathOf(url) };
    case "https":
      return url?.startsWith("http:") === true ? { ...change, url } : null;
    case "no-header": {
      const sent = evidence.files.find((x) => url !== null && bare(x.url) === bare(url));
      const value = sent?.answer.headers[change.name.toLowerCase()];
      return url === null || value === undefined ? null : { ...change, path: pathOf(url), value };
    }
    default:
      return change;
  }
}

function isOwn(url: string, { url: page }: Evidence): boolean {
  return new URL(url).origin === new URL(page).origin;
}
