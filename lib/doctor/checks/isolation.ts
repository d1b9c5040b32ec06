// Cross-origin isolation: a page with COEP starts only workers that have COEP too; threads need both headers.
import type { DoctorCheck, Evidence, Diagnosis, SiteFile } from "../evidence.ts";
import { textOf } from "../http.ts";
import { folderOf, isHashed, pathOf } from "../urls.ts";
import { documentOf, filesOf, header, isServed, lines } from "./facts.ts";

const COEP = "cross-origin-embedder-policy";
const COOP = "cross-origin-opener-policy";
/** Options that other libraries do not have. */
const ENGINE_OPTION = /\b(?:backends|assetsBase|trustedTypesPolicy|trustedKeys|keepInMemory)\b/;

/** Finds workers without the page's COEP, and threads without isolation. */
export const isolation: DoctorCheck = (evidence) => [...embedder(evidence), ...threads(evidence)];

function embedder(evidence: Evidence): Diagnosis[] {
  const coep = word(header(documentOf(evidence), COEP));
  if (!isEmbedder(coep)) return [];
  const without = filesOf(evidence, "worker", "cache-worker").filter(
    (file) => isServed(file) && !isEmbedder(word(header(file, COEP))),
  );
  if (without.length === 0) return [];
  return [
    {
      id: "coep-worker",
      severity: "error",
      message: `The page has Cross-Origin-Embedder-Policy: ${coep}, its worker scripts don't: the browser refuses to start them.`,
      evidence: [
        `${evidence.url}: Cross-Origin-Embedder-Policy: ${coep}`,
        ...without
          .slice(0, 3)
          .map(({ url, answer }) => `${url}: status ${answer.status}, no Cross-Origin-Embedder-Policy`),
        ...without.flatMap(({ seen }) => (seen?.failure === undefined ? [] : [`browser: ${seen.failure}`])).slice(0, 1),
        ...lines(evidence, /BLOCKED_BY_RESPONSE|Cross-Origin-Embedder/),
      ],
      changes: [...new Set(without.map((x) => placeOf(x, evidence)))].map((path) => ({
        kind: "header",
        path,
        name: "Cross-Origin-Embedder-Policy",
        value: coep,
      })),
    },
  ];
}

/**
 * Returns where a worker's header is set: on its folder where its name is another one after the next build, unless the
 * page is there, or a worker that has the header. Two of it are none.
 */
function placeOf({ url }: SiteFile, evidence: Evidence): string {
  const folder = folderOf(url);
  const hasOwn = evidence.files.some(
    (x) => x.url.startsWith(folder) && (x.role === "document" || isEmbedder(word(header(x, COEP)))),
  );
  return pathOf(isHashed(url) && !hasOwn ? `${folder}*` : url);
}

function threads(evidence: Evidence): Diagnosis[] {
  const document = documentOf(evidence);
  const [asked] = filesOf(evidence, "document", "script").flatMap(({ answer, url }) => {
    const option = threadsIn(textOf(answer));
    return option === null ? [] : [{ url, option }];
  });
  const isIsolated =
    evidence.browser?.isIsolated ?? (isEmbedder(word(header(document, COEP))) && header(document, COOP) !== undefined);
  if (document === undefined || asked === undefined || isIsolated) return [];
  const missing = [
    [COOP, "Cross-Origin-Opener-Policy", "same-origin"],
    [COEP, "Cross-Origin-Embedder-Policy", "require-corp"],
  ].filter(([name = "", , value = ""]) => {
    const sent = word(header(document, name));
    return name === COEP ? !isEmbedder(sent) : sent !== value;
  });
  return [
    {
      id: "threads-not-isolated",
      severity: "warning",
      message: "The app asks for threads, and the page is not cross-origin isolated: each lane runs on one thread.",
      evidence: [
        `${asked.url}: ${asked.option}`,
        ...missing.map(([name = "", title = ""]) => `${document.url}: ${title}: ${header(document, name) ?? "(none)"}`),
      ],
      changes: missing.map(([, name = "", value = ""]) => ({ kind: "header", path: "/*", name, value })),
    },
  ];
}

/** Returns the option `threads` as code passes it to an engine; null where it does not, or only to others. */
export function threadsIn(code: string): string | null {
  const found = code.matchAll(/\bthreads["']?\s*:\s*(?:[2-9]\b|\d\d+|["'`]auto["'`])/g);
  for (const { 0: option, index } of found) {
    const start = openingBrace(code, index);
    const before = code.slice(Math.max(0, start - 80), Math.max(0, start)).trimEnd();
    const callee = /([\w$.]+)\($/.exec(before)?.[1];
    // A bundler may rename createEngine, to a plain name; options may be a constant. Methods and lists are of others.
    const isOurs =
      callee === undefined
        ? /(?:\)\(|[^=!<>]=|\breturn|=>\s*\()$/.test(before)
        : !callee.includes(".") || /\bcreateEngine$/.test(callee);
    if (isOurs || ENGINE_OPTION.test(code.slice(start, index))) return option;
  }
  return null;
}

/** Returns the place of the brace that opens the object around a place; -1 where there is none nearby. */
function openingBrace(code: string, place: number): number {
  for (let i = place - 1, depth = 0; i >= Math.max(0, place - 1_000); i -= 1) {
    if (code[i] === "}") depth += 1;
    if (code[i] === "{" && (depth -= 1) < 0) return i;
  }
  return -1;
}

function word(value: string | undefined): string {
  return (value ?? "").split(";", 1)[0]?.trim().toLowerCase() ?? "";
}

function isEmbedder(value: string): boolean {
  return value === "require-corp" || value === "credentialless";
}
