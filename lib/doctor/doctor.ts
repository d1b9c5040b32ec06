// Diagnosis of a site: collects evidence by a browser and by requests of its own, runs the checks, words the fixes.
import { randomUUID } from "node:crypto";
import { resolve } from "node:path";
import { EVALUATE_MS, INSTALL_DRIVER } from "./browser.ts";
import type { DoctorBrowser, OpenPage } from "./browser.ts";
import { copies } from "./checks/copies.ts";
import { cors } from "./checks/cors.ts";
import { delivery } from "./checks/delivery.ts";
import { engineErrors } from "./checks/engine.ts";
import { described, ENGINE, isHidden, isServed, namesPackage, typeOf } from "./checks/facts.ts";
import { externalScripts } from "./checks/external-scripts.ts";
import { isolation } from "./checks/isolation.ts";
import { models } from "./checks/models.ts";
import { pageScripts } from "./checks/page-scripts.ts";
import { policy } from "./checks/policy.ts";
import { reachable } from "./checks/reachable.ts";
import { secure } from "./checks/secure.ts";
import { serviceWorker } from "./checks/service-worker.ts";
import { trustedTypes } from "./checks/trusted-types.ts";
import { types } from "./checks/types.ts";
import { versions } from "./checks/versions.ts";
import type {
  HttpAnswer,
  BrowserEvidence,
  DoctorCheck,
  Evidence,
  Diagnosis,
  Project,
  SiteFile,
  Stack,
} from "./evidence.ts";
import { findFiles, isHtml } from "./find-files.ts";
import { fixOf } from "./fixes.ts";
import type { Fix } from "./fixes.ts";
import { ask, encodingHint, withoutLogin, withoutSecret } from "./http.ts";
import type { Login } from "./http.ts";
import { readOwnPackage } from "./own-package.ts";
import { recognise } from "./stack.ts";
import { bare, roleByName } from "./urls.ts";

/** The checks, in the order in which a page loads. */
const CHECKS: readonly DoctorCheck[] = [
  secure,
  pageScripts,
  externalScripts,
  reachable,
  types,
  isolation,
  policy,
  trustedTypes,
  cors,
  versions,
  models,
  copies,
  serviceWorker,
  delivery,
];
/** Findings on a host alone: a folder has none, and the doctor's own server is not judged. */
const OF_HOST: ReadonlySet<string> = new Set(["wasm-uncompressed", "assets-not-cached", "no-ranges"]);
/** A login in an address: directly after its scheme, or in an address of markup without one. Paths have "//" and "@" too. */
const LOGIN = /(\b(?:https?|wss?):\/\/)[^\s/?#"'`\\]+@|(?<![\w:/.%~-])(\/\/)[^\s/?#"'`\\:]+:[^\s/?#"'`\\]*@/gi;
/** Types of documents that browsers show as text, or save. */
const NO_PAGE =
  /^(?:text\/plain|text\/css|(?:application|text)\/(?:json|javascript)|(?:application|binary)\/octet-stream)$/;
const WAIT_MS = 20_000;
const ORDER = ["error", "warning", "hint"] as const;

/** A finding with its fixes. */
export interface Finding extends Omit<Diagnosis, "changes"> {
  readonly fixes: readonly Fix[];
}

/** Result of a diagnosis. */
export interface DoctorReport {
  readonly url: string;
  /** Browser that opened the page, or null. */
  readonly browser: string | null;
  readonly stack: Stack;
  readonly findings: readonly Finding[];
  /** Limits of this run, such as a missing browser. */
  readonly notes: readonly string[];
  /** Whether any file of Selvedge was found. */
  readonly hasSelvedge: boolean;
}

/** Options of a diagnosis. */
export interface DiagnoseOptions {
  readonly project: Project | null;
  /** Browser, or the reason for which there is none. */
  readonly browser: DoctorBrowser | string;
  /** Longest time for the page to load its models; default 20 s. */
  readonly waitMs?: number;
  /** Includes hints; default false. */
  readonly hints?: boolean;
  /** Whether the doctor itself serves the site, from a folder; default false. */
  readonly isFolder?: boolean;
  /** Called with a line of progress. */
  readonly onProgress?: (line: string) => void;
}

/**
 * Diagnoses the page at an address, which may have the name and password of a login (Basic authentication).
 * @throws Error where the page does not answer
 */
export async function diagnose(address: string, options: DiagnoseOptions): Promise<DoctorReport> {
  const { browser, project, hints = false, isFolder = false, onProgress = () => undefined } = options;
  const { url, login } = withoutLogin(address);
  const first = await ask(url, { limit: 1, login });
  if (first.status === 0)
    throw new Error(`${withoutSecret(url)} does not answer: ${first.error ?? "no reason given"}${encodingHint(url)}`);
  if (first.redirects.length > 0 && first.status >= 300 && first.status < 400)
    throw new Error(`${url} is redirected without end (status ${first.status}): take that redirect off`);
  if (first.status >= 400) throw new Error(`${url} answers with status ${first.status}${loginHint(first, login)}`);
  const notShown = whyNoPage(first);
  if (notShown !== null) throw new Error(`${url} ${notShown}`);
  const page = withoutLogin(first.url).url;
  const notes = typeof browser === "string" ? [browser] : [];
  const opened = typeof browser === "string" ? null : await openIn(browser, page, login, options, notes);
  try {
    onProgress("requesting its files");
    let shown = (await opened?.read()) ?? null;
    let files = await findFiles(page, shown, login);
    if (opened !== null && shown !== null && !shown.hasStarted) {
      shown = await probeAll(opened, files);
      files = withSeen(files, shown);
    }
    const evidence = await complete(page, files, shown, project, login);
    const isKept = (x: Diagnosis): boolean => (hints || x.severity !== "hint") && !(isFolder && OF_HOST.has(x.id));
    return report(evidence, notes, isKept);
  } finally {
    await opened?.close();
  }
}

/** Returns the reason for which a browser shows no page for an answer; null where it shows one. */
function whyNoPage(answer: HttpAnswer): string | null {
  const { status, headers } = answer;
  if (status === 204 || status === 205)
    return `answers with status ${status}, which has no page: name the page's address`;
  const disposition = headers["content-disposition"] ?? "";
  if (/^\s*attachment\b/i.test(disposition))
    return `is a download for browsers (Content-Disposition: ${disposition}): take that header off the page`;
  const type = typeOf(answer);
  if (NO_PAGE.test(type)) return `has the type ${type}, of which no browser makes a page: send it as text/html`;
  return null;
}

/** Returns the end of a message on an answer that asks for a login: how to give one, or why the given one is of no use. */
function loginHint({ status, headers, url }: HttpAnswer, login: Login | null): string {
  if (status !== 401 || !/(?:^|,\s*)basic\b/i.test(headers["www-authenticate"] ?? "")) return "";
  if (login === null) return ": put a name and password before the host, as https://name:password@host/";
  const { origin } = new URL(url);
  return origin === login.origin
    ? ": the name or password is wrong"
    : `: it was redirected to ${origin}, which gets no login of another origin; name that address`;
}

async function openIn(
  browser: DoctorBrowser,
  url: string,
  login: Login | null,
  { waitMs = WAIT_MS, onProgress = () => undefined }: DiagnoseOptions,
  notes: string[],
): Promise<OpenPage | null> {
  if (login !== null && !browser.keepsLogin) {
    notes.push(`no browser was used: this driver would send the login to every origin that asks; ${INSTALL_DRIVER}`);
    return null;
  }
  onProgress(`opening ${url} in ${browser.name}`);
  try {
    return await browser.open(url, waitMs, login);
  } catch (error) {
    notes.push(
      `${browser.name} did not open the page: ${error instanceof Error ? (error.message.split("\n")[0] ?? "") : String(error)}`,
    );
    return null;
  }
}

/** Starts the worker scripts that were found, where the page starts its engine only when it is used. */
async function probeAll(opened: OpenPage, files: readonly SiteFile[]): Promise<BrowserEvidence> {
  const scripts = files.filter((x) => (x.role === "worker" || x.role === "cache-worker") && isServed(x));
  for (const { url } of scripts) await opened.probe(url);
  return { ...(await opened.read()), hasStarted: false };
}

function withSeen(files: readonly SiteFile[], { seen }: BrowserEvidence): SiteFile[] {
  return files.map((file) => {
    const all = seen.filter((x) => bare(x.url) === bare(file.url));
    return { ...file, seen: all.find((x) => x.failure !== undefined) ?? all.at(-1) ?? file.seen };
  });
}

async function complete(
  url: string,
  files: readonly SiteFile[],
  browser: BrowserEvidence | null,
  project: Project | null,
  login: Login | null,
): Promise<Evidence> {
  const missing = await ask(new URL(`selvedge-doctor-${randomUUID()}.js`, url).href, { login });
  const worker = browser?.serviceWorker ?? null;
  const more: SiteFile[] = [];
  if (worker !== null) {
    const answer = await ask(worker, { limit: 2 ** 20, login });
    more.push({
      url: worker,
      role: "service-worker",
      source: "requested",
      answer,
      packed: null,
      range: null,
      seen: null,
    });
  }
  const all = [...files, ...more];
  return {
    url,
    files: all,
    stack: recognise(url, all, project),
    project,
    own: readOwnPackage(),
    browser,
    hasHtmlFallback: missing.status === 200 && isHtml(missing),
  };
}

function report(evidence: Evidence, notes: readonly string[], isKept: (found: Diagnosis) => boolean): DoctorReport {
  const found = CHECKS.flatMap((check) => check(evidence));
  if (!found.some((x) => x.severity === "error")) found.push(...engineErrors(evidence));
  const kept = found.filter(isKept);
  const sorted = ORDER.flatMap((severity) => kept.filter((x) => x.severity === severity));
  const all = sorted.flatMap((x) => x.changes);
  const findings = sorted.map(({ changes, ...rest }) => ({
    ...rest,
    fixes: changes.map((change) => fixOf(change, evidence, all)),
  }));
  const { url, stack, browser, files } = evidence;
  const hasSelvedge = files.some((x) => ENGINE.has(x.role)) || namesPackage(evidence);
  return withoutLogins({
    url,
    browser: browser?.name ?? null,
    stack,
    findings,
    notes: [...notes, ...hidden(evidence), ...(hasSelvedge || browser?.isSilent === true ? unseen(evidence) : [])],
    hasSelvedge,
  });
}

/** Takes the logins out of all addresses of a report, which is passed around: markup and consoles have them too. */
function withoutLogins(shown: DoctorReport): DoctorReport {
  return JSON.parse(JSON.stringify(shown), (_, value: unknown) =>
    typeof value === "string" ? value.replaceAll(LOGIN, "$1$2…@") : value,
  ) as DoctorReport;
}

/** Note on files that the browser got and the doctor did not: what they hold is not known. */
function hidden({ files }: Evidence): string[] {
  const [first, ...rest] = files.filter(isHidden);
  if (first === undefined) return [];
  const more = rest.length === 0 ? "" : `, and ${rest.length} more`;
  return [
    `the server does not send the doctor what the browser got (${described(first)}${more}), such as for want of a cookie: ` +
      "what those files hold is not checked",
  ];
}

/** Notes on parts that the page did not start while it was watched: nothing is known of them then. */
function unseen({ browser, files }: Evidence): string[] {
  if (browser?.isSilent === true)
    return [
      `the page ran no code in ${EVALUATE_MS / 1000} s: a script keeps its main thread busy, or the page may run none. ` +
        "Its files are checked; its errors and its workers are not seen",
    ];
  const more = browser === null ? "only a browser starts one" : "use its feature first, or --wait longer";
  if (browser !== null && browser.engineFrames.length > 0)
    return browser.engineFrames.map(
      (frame) =>
        `an engine was started in a frame (${frame}): its requests are checked; its errors and its ` +
        "workers are not seen. Run the doctor on the frame's own address to have them checked",
    );
  if (browser === null ? !files.some((x) => ENGINE.has(x.role)) : !browser.hasStarted)
    return [
      `the page has selvedge, and no worker was ${browser === null ? "named" : "started"}: ${more}`,
      ...ownWorker(browser),
    ];
  const isLoaded = (browser?.seen ?? []).some(
    ({ url, status }) => status >= 200 && status < 400 && ["model", "chunk"].includes(roleByName(url) ?? ""),
  );
  return browser === null || isLoaded ? [] : [`workers were started, and no model was fetched: ${more}`];
}

/** Note on a worker of the app, which may hold an engine: code in there is not observed. */
function ownWorker(browser: BrowserEvidence | null): string[] {
  const own = browser?.workers.find(({ name }) => name !== "selvedge");
  if (own === undefined) return [];
  return [
    `a worker of the app was started (${own.url}): of an engine in there the requests are checked; its errors and its ` +
      "workers are not seen. Run the engine on a page once to have them checked",
  ];
}

/** Whether an argument is an address rather than a folder. */
export function isAddress(target: string): boolean {
  return /^https?:\/\//i.test(target);
}

/** Folders in which a driver of browsers is looked up. */
export function driverFolders(project: Project | null): string[] {
  return [...(project === null ? [] : [project.folder]), process.cwd()].map((x) => resolve(x));
}
