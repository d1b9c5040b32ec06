// Files on another origin: models need CORS, workers can't come from there, COEP asks for more.
import type { Check, Evidence, Found, SiteFile } from "../evidence.ts";
import { pathOf } from "../urls.ts";
import { filesOf, header, isForeign, isMixed, lines } from "./facts.ts";

/** Finds files of another origin that the browser withholds. */
export const cors: Check = (evidence) => [...withheld(evidence), ...foreignWorkers(evidence)];

function withheld(evidence: Evidence): Found[] {
  const { origin } = new URL(evidence.url);
  const files = filesOf(evidence, "bundle", "chunk", "model", "data", "wasm", "rest", "brotli").filter(
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

function foreignWorkers(evidence: Evidence): Found[] {
  const thrown = (evidence.browser?.workers ?? []).filter(
    (x) => x.thrown !== undefined && URL.canParse(x.url) && new URL(x.url).origin !== new URL(evidence.url).origin,
  );
  const [first] = thrown;
  if (first === undefined || /Trusted/.test(first.thrown ?? "")) return [];
  return [
    {
      id: "worker-other-origin",
      severity: "error",
      message: `The worker script is on ${new URL(first.url).origin}: a page starts workers of its own origin alone.`,
      evidence: [`new Worker("${first.url}"): ${first.thrown ?? ""}`],
      changes: [{ kind: "same-origin-files" }],
    },
  ];
}
