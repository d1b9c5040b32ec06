// Files on another origin: models and the package's own files need CORS, and the app's own workers can't come from there.
import type { DoctorCheck, Evidence, Diagnosis, SiteFile } from "../evidence.ts";
import { pathOf } from "../urls.ts";
import { filesOf, header, isForeign, isMixed, lines } from "./facts.ts";

/** Finds files of another origin that the browser withholds. */
export const cors: DoctorCheck = (evidence) => [...withheld(evidence), ...foreignWorkers(evidence)];

function withheld(evidence: Evidence): Diagnosis[] {
  const { origin } = new URL(evidence.url);
  const roles = ["worker", "cache-worker", "bundle", "chunk", "model", "data", "wasm", "rest", "brotli"] as const;
  const files = filesOf(evidence, ...roles).filter(
    (file) =>
      isForeign(file, evidence) && !isMixed(file, evidence) && file.answer.status === 200 && !isAllowed(file, origin),
  );
  const [first] = files;
  if (first === undefined) return [];
  const host = new URL(first.url).origin;
  return [
    {
      id: "cors",
      severity: "error",
      message: `${pathOf(first.url)} is on ${host}, which does not allow ${origin} to read it (CORS).`,
      evidence: [
        ...files
          .slice(0, 2)
          .map((x) => `${x.url}: Access-Control-Allow-Origin: ${header(x, "access-control-allow-origin") ?? "(none)"}`),
        ...(first.seen?.failure === undefined ? [] : [`browser: ${first.seen.failure}`]),
        ...lines(evidence, /CORS|Cross-Origin Request Blocked/),
      ],
      changes: [
        { kind: "header", path: `${host}/*`, name: "Access-Control-Allow-Origin", value: "*" },
        // The engine reads it to tell a stored model from a newer one.
        { kind: "header", path: `${host}/*`, name: "Access-Control-Expose-Headers", value: "ETag, Content-Length" },
      ],
    },
  ];
}

function isAllowed(file: SiteFile, origin: string): boolean {
  const allowed = file.answer.headers["access-control-allow-origin"];
  return allowed === "*" || allowed === origin;
}

/** Workers of the app: the package starts its own from a Blob there, and the doctor's trials of those prove nothing. */
function foreignWorkers(evidence: Evidence): Diagnosis[] {
  const first = (evidence.browser?.workers ?? []).find(
    (x) =>
      x.name !== "selvedge" &&
      x.thrown !== undefined &&
      /^https?:/.test(x.url) &&
      new URL(x.url).origin !== new URL(evidence.url).origin,
  );
  if (first === undefined || /Trusted/.test(first.thrown ?? "")) return [];
  return [
    {
      id: "worker-other-origin",
      severity: "error",
      message: `The app's worker script is on ${new URL(first.url).origin}: a page starts workers of its own origin alone.`,
      evidence: [`new Worker("${first.url}"): ${first.thrown ?? ""}`],
      changes: [{ kind: "worker-by-blob", url: first.url }],
    },
  ];
}
