// External scripts of the page that the browser refuses: by the content security policy, by a sandbox, or on their way.
import { admitsScript, governing, isDynamic } from "../csp.ts";
import type { Change, DoctorCheck, Evidence, Diagnosis, SiteFile } from "../evidence.ts";
import { textOf } from "../http.ts";
import { isModule, scriptTags } from "../markup.ts";
import type { ScriptTag } from "../markup.ts";
import { bare, nameOf, pathOf } from "../urls.ts";
import { described, documentOf, isForeign, isServed, lines, mergeById, placeOf } from "./facts.ts";
import { policiesOf, scriptBase, shown } from "./policy.ts";
import type { HeldPolicy } from "./policy.ts";

/** An external script whose refusal keeps the app from starting. */
interface Entry {
  readonly tag: ScriptTag;
  readonly url: string;
  readonly file: SiteFile | undefined;
}

/** Finds external scripts that do not run, where no engine was started. */
export const externalScripts: DoctorCheck = (evidence) => {
  const document = documentOf(evidence);
  if (document === undefined || evidence.browser?.hasStarted === true) return [];
  const entries = entriesOf(document, evidence);
  const refused = policiesOf(document).flatMap((held) =>
    entries.filter((x) => !admitsScript(held.policy, given(x), evidence.url)).map((x) => byPolicy(x, held, document)),
  );
  const found = [...sandboxed(document, evidence), ...mergeById(refused)];
  return found.length > 0 ? found : entries.flatMap((x) => failed(x, evidence));
};

/** Returns the scripts that may start the app: modules of the page's origin, and scripts that hold the package. */
function entriesOf(document: SiteFile, evidence: Evidence): Entry[] {
  return scriptTags(textOf(document.answer), evidence.url).flatMap((tag) => {
    const { url, attributes } = tag;
    const type = attributes.get("type")?.trim().toLowerCase() ?? "";
    if (url === null || attributes.has("nomodule") || !(type === "" || isModule(tag) || /script/.test(type))) return [];
    const file = evidence.files.find((x) => bare(x.url) === bare(url));
    const hasPackage = file !== undefined && textOf(file.answer).includes("selvedge.error");
    const isOwn = new URL(url).origin === new URL(evidence.url).origin;
    if (!hasPackage && !(isOwn && (isModule(tag) || evidence.browser !== null))) return [];
    const isLoaded = evidence.browser?.seen.some(
      (x) => bare(x.url) === bare(url) && x.failure === undefined && x.status < 400,
    );
    return isLoaded === true ? [] : [{ tag, url, file }];
  });
}

function given({ tag: { attributes }, url }: Entry): { url: string; nonce: string | null; hashes: string[] } {
  const hashes = (attributes.get("integrity") ?? "").split(/\s+/).filter((x) => x !== "");
  return { url, nonce: attributes.get("nonce") ?? null, hashes };
}

function byPolicy({ url }: Entry, { policy, seen }: HeldPolicy, document: SiteFile): Diagnosis {
  const rule = governing(policy, "script-src-elem") ?? { name: "script-src", sources: [] };
  const directive = rule.name === "default-src" ? "script-src" : rule.name;
  const isStrict = isDynamic(rule.sources);
  const nonce = rule.sources.flatMap((x) => /^'nonce-(.*)'$/i.exec(x)?.[1] ?? [])[0];
  const { origin } = new URL(url);
  const source = origin === new URL(document.url).origin ? "'self'" : origin;
  const change: Change = isStrict
    ? { kind: "nonce", script: pathOf(url), nonce: nonce ?? null }
    : {
        ...{ kind: "csp", path: pathOf(document.url), directive },
        ...{ sources: [...withoutNone(rule, directive), source], seen },
      };
  return {
    id: "csp-script",
    severity: "error",
    message: `The content security policy keeps the script ${pathOf(url)} from running: ${isStrict ? "under 'strict-dynamic' it needs a nonce" : `${directive} must admit ${source}`}.`,
    evidence: [shown(document, rule), `refused: ${url}`],
    changes: [change],
  };
}

function withoutNone(rule: { name: string; sources: readonly string[] }, directive: string): readonly string[] {
  return rule.name === directive ? [] : scriptBase(rule);
}

/** A sandbox gives the page an origin of its own: it reads no module, and starts no worker. */
function sandboxed(document: SiteFile, evidence: Evidence): Diagnosis[] {
  return policiesOf(document).flatMap(({ policy, seen }) => {
    // In markup a sandbox says nothing.
    const sources = seen.isMeta ? undefined : policy.get("sandbox");
    const has = sources?.map((x) => x.toLowerCase());
    const missing = ["allow-scripts", "allow-same-origin"].filter((x) => has?.includes(x) === false);
    if (sources === undefined || missing.length === 0) return [];
    return [
      {
        id: "csp-sandbox",
        severity: "error" as const,
        message: `The content security policy sandboxes the page without ${missing.join(" and ")}: it runs no modules, and starts no workers.`,
        evidence: [shown(document, { name: "sandbox", sources }), ...lines(evidence, /sandbox|origin 'null'/)],
        changes: [
          {
            ...{ kind: "csp" as const, path: pathOf(document.url), directive: "sandbox", sources: missing },
            seen,
          },
        ],
      },
    ];
  });
}

/** A script that the server has, and that did not arrive in the browser. */
function failed({ url, file, tag }: Entry, evidence: Evidence): Diagnosis[] {
  if (file === undefined || !isServed(file) || file.seen?.failure === undefined) return [];
  const isRead = isModule(tag) || tag.attributes.has("crossorigin");
  const { origin } = new URL(evidence.url);
  const allowed = file.answer.headers["access-control-allow-origin"] ?? "";
  const lacksCors = isRead && isForeign(file, evidence) && !["*", origin].includes(allowed);
  return [
    {
      id: "script-blocked",
      severity: "error",
      message: `The browser did not load the script ${pathOf(url)} (${file.seen.failure}): the app does not start.`,
      evidence: [described(file), ...lines(evidence, new RegExp(nameOf(url).replaceAll(/[^\w]/g, "\\$&")))],
      changes: lacksCors
        ? [{ kind: "header", path: placeOf(file, evidence), name: "Access-Control-Allow-Origin", value: origin }]
        : [],
    },
  ];
}
