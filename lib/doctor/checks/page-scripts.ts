// Scripts of the page itself that keep the app from starting, before any file of Selvedge is requested: an inline import
// map or script that the content security policy blocks, imports that can't be resolved, and a script with a syntax error.
import { createHash } from "node:crypto";
import { admitsInline, governing } from "../csp.ts";
import type { DoctorCheck, Evidence, Diagnosis, SiteFile } from "../evidence.ts";
import { textOf } from "../http.ts";
import { importMaps, isModule, isOwnName, namesOf, scriptTags } from "../markup.ts";
import { bare, folderOf, nameOf, pathOf } from "../urls.ts";
import { described, documentOf, lines } from "./facts.ts";
import { imports, isOfImports } from "./imports.ts";
import { policiesOf, scriptBase, shown } from "./policy.ts";
import type { HeldPolicy } from "./policy.ts";
import { scriptContent } from "./types.ts";

/** Finds inline scripts that a policy blocks, imports that lead nowhere, and scripts with syntax errors. */
export const pageScripts: DoctorCheck = (evidence) => {
  // A map that the policy blocks resolves nothing: the policy is the cause.
  const blocked = inline(evidence);
  return [...blocked, ...(blocked.length > 0 ? [] : imports(evidence)), ...syntax(evidence)];
};

/** A script in the page's markup that names the package. */
interface Inline {
  readonly isMap: boolean;
  readonly nonce: string | null;
  readonly text: string;
}

function inline(evidence: Evidence): Diagnosis[] {
  const document = documentOf(evidence);
  if (document === undefined) return [];
  const scripts = inlineScripts(textOf(document.answer));
  return policiesOf(document).flatMap((held) => {
    const blocked = scripts.filter(({ nonce, text }) => !admitsInline(held.policy, nonce, hashesOf(text)));
    return blocked.map((script) => blockedScript(script, held, document, evidence));
  });
}

function blockedScript(
  { isMap, text }: Inline,
  { policy, seen }: HeldPolicy,
  document: SiteFile,
  evidence: Evidence,
): Diagnosis {
  const rule = governing(policy, "script-src-elem") ?? { name: "script-src", sources: [] };
  const directive = rule.name === "default-src" ? "script-src" : rule.name;
  return {
    id: "csp-inline",
    severity: "error",
    message: `The content security policy blocks the page's inline ${isMap ? "import map" : "script"}, which names selvedge: ${directive} needs its hash, or a nonce.`,
    evidence: [
      shown(document, rule),
      `inline ${isMap ? "import map" : "script"}: ${text.trim().replaceAll(/\s+/g, " ").slice(0, 120)}`,
      ...lines(evidence, /inline|import ?map|resolve module specifier|bare specifier/i),
    ],
    changes: [
      {
        kind: "csp",
        path: pathOf(evidence.url),
        directive,
        sources: [...(rule.name === directive ? [] : scriptBase(rule)), `'${hashesOf(text)[0] ?? ""}'`],
        seen,
      },
    ],
  };
}

/** Returns the inline import maps and module scripts of a page that name the package. */
function inlineScripts(html: string): Inline[] {
  return scriptTags(html, "http://localhost/").flatMap((tag) => {
    const { attributes, text } = tag;
    const isMap = /^importmap$/i.test(attributes.get("type")?.trim() ?? "");
    if (attributes.has("src") || !/\bselvedge\b/.test(text) || !(isMap || isModule(tag))) return [];
    return [{ isMap, nonce: attributes.get("nonce") ?? null, text }];
  });
}

/** Returns the hashes of an inline script as a policy names them; a browser reads line ends as "\n". */
function hashesOf(text: string): string[] {
  const content = text.replaceAll(/\r\n?/g, "\n");
  return ["sha256", "sha384", "sha512"].map((name) => `${name}-${createHash(name).update(content).digest("base64")}`);
}

/** A script that can't be parsed matters where no engine was started: an app has scripts of others too. */
function syntax(evidence: Evidence): Diagnosis[] {
  const { browser } = evidence;
  const { origin } = new URL(evidence.url);
  if (browser === null || browser.hasStarted) return [];
  const isNamed = imports(evidence).length > 0;
  const own = browser.scriptErrors.filter(
    (x) => URL.canParse(x.url) && new URL(x.url).origin === origin && !(isNamed && isOfImports(x)),
  );
  return own.slice(0, 1).map(({ url, line, message }) => {
    const file = evidence.files.find((x) => bare(x.url) === bare(url));
    const isPage = bare(url) === bare(evidence.url);
    const content =
      file === undefined || isPage || file.answer.body.byteLength === 0 ? null : scriptContent(file, "The script ");
    if (content !== null) return content;
    const isPackage = /^(?:selvedge\.min|index)\.js$/.test(nameOf(url)) && isMapped(url, evidence);
    return {
      id: "script-syntax",
      severity: "error",
      message: `${isPage ? "A script in the page" : `The script ${pathOf(url)}`} can't be parsed (${message}): the app does not start.`,
      evidence: [`${url}:${line}: ${message}`, ...(file === undefined || isPage ? [] : [described(file)])],
      changes: [
        isPackage
          ? { kind: "copy", files: [nameOf(url), "worker-*.js", "*.wasm"], to: pathOf(folderOf(url)) }
          : { kind: "replace", url: pathOf(url), command: "npm run build" },
      ],
    };
  });
}

/** Whether an import map of the page has the package at an address. */
function isMapped(url: string, evidence: Evidence): boolean {
  const document = documentOf(evidence);
  const maps = document === undefined ? [] : importMaps(scriptTags(textOf(document.answer), evidence.url));
  return maps.some((map) =>
    namesOf(map).some(
      ([name, to]) =>
        isOwnName(name) && URL.canParse(to, evidence.url) && bare(new URL(to, evidence.url).href) === bare(url),
    ),
  );
}
