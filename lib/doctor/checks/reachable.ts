// Every file of the engine and of models is there, and is itself: no 404, no page of a single-page app in its place.
import type {
  HttpAnswer,
  Change,
  DoctorCheck,
  Evidence,
  FailureKind,
  FileName,
  Diagnosis,
  Role,
  SiteFile,
} from "../evidence.ts";
import { isHtml } from "../find-files.ts";
import { isOk, textOf } from "../http.ts";
import { importMaps, isModule, leadingImports, mappedAddress, namesOf, scriptTags } from "../markup.ts";
import type { ImportMap } from "../markup.ts";
import { bare, extensionOf, folderOf, nameOf, pathOf } from "../urls.ts";
import {
  described,
  documentOf,
  ENGINE,
  filesOf,
  isArrived,
  isHidden,
  isMixed,
  lines,
  mergeById,
  MODELS,
} from "./facts.ts";
import { mapWith, moduleOf } from "./imports.ts";

const NOUNS: Readonly<Partial<Record<Role, string>>> = {
  worker: "The worker script",
  "cache-worker": "The worker script that fetches models",
  wasm: "The WebAssembly binary",
  rest: "The second WebAssembly binary",
  brotli: "The brotli decoder",
  bundle: "The bundle's description",
  chunk: "A chunk of the bundle",
  model: "The model",
  data: "The file",
};
/** Files of the package. */
const PACKAGE: ReadonlySet<Role> = new Set([...ENGINE, "brotli"]);
/** Beginnings of ids, by the roles of files that are judged by their answers, whoever requests them. */
const ID_NAMES: Readonly<Partial<Record<Role, FileName>>> = {
  worker: "worker",
  "cache-worker": "worker",
  wasm: "wasm",
  rest: "wasm",
  brotli: "wasm",
  bundle: "bundle",
  chunk: "chunk",
  model: "model",
  data: "file",
};

const MEDIA = /\.(?:avif|bmp|gif|jpe?g|png|webp|mp3|ogg|wav|flac|mp4|webm)$/i;

/** Files of a folder that are listed one by one. */
const LISTED_MAX = 4;

/** Finds files that are missing, redirected, answered with HTML, or blocked as http on a page over https. */
export const reachable: DoctorCheck = (evidence) => {
  const judged = evidence.files.flatMap((file) => {
    const name = ID_NAMES[file.role];
    const result = name === undefined ? null : judge(file, name, evidence);
    return result === null ? [] : [result];
  });
  const found = new Map(mergeById(judged).map((x) => [x.id, x]));
  // Files of the package are served together, or not at all.
  for (const reason of ["missing", "is-html", "redirected", "forbidden", "limited", "unreachable"] as const) {
    const [worker, wasm] = [found.get(`worker-${reason}`), found.get(`wasm-${reason}`)];
    if (worker === undefined || wasm === undefined) continue;
    const [both = worker] = mergeById([worker, { ...wasm, id: worker.id }]);
    found.set(worker.id, both);
    found.delete(wasm.id);
  }
  const merged = [...found.values(), ...modules(evidence)].map((x) => ({ ...x, changes: grouped(x.changes) }));
  return [...merged, ...mixed(evidence), ...moved(evidence), ...inputs(evidence)];
};

/** Pictures, sounds and videos of the page's own server that its code requested in vain: a model's inputs, as a rule. */
function inputs({ browser, url: page }: Evidence): Diagnosis[] {
  const { origin } = new URL(page);
  const lost = (browser?.hasStarted === true ? browser.seen : []).filter(
    ({ url, status, isByCode }) =>
      isByCode === true && [404, 410].includes(status) && MEDIA.test(bare(url)) && new URL(url).origin === origin,
  );
  return mergeById(
    lost.map(({ url, status }) => ({
      id: "file-missing",
      severity: "warning",
      message: `The page's code requests ${pathOf(url)}, which is missing (status ${status}).`,
      evidence: [`browser: ${url}: status ${status}`],
      changes: [{ kind: "copy", files: [pathOf(url)], to: pathOf(folderOf(url)) }],
    })),
  );
}

/** Makes one change of those that more files of a folder need than a reader wants listed. */
function grouped(changes: readonly Change[]): Change[] {
  const groups = new Map<string, Change[]>();
  for (const change of changes) {
    const key = JSON.stringify(ofFolder(change));
    groups.set(key, [...(groups.get(key) ?? []), change]);
  }
  return [...groups.values()].flatMap((all) => (all.length > LISTED_MAX ? all.slice(0, 1).map(ofFolder) : all));
}

/** Returns a change of a file as one of all files in its folder. */
function ofFolder(change: Change): Change {
  const all = (path: string): string => `${path.slice(0, path.lastIndexOf("/") + 1)}*`;
  switch (change.kind) {
    case "answer":
    case "allow":
    case "no-limit":
    case "no-redirect":
    case "whole":
      return { ...change, path: all(change.path) };
    case "no-fallback":
      return { ...change, paths: change.paths.map((x) => all(x) + extensionOf(x)) };
    case "copy":
      return { ...change, files: change.files.map((x) => (x.startsWith("/") ? all(x) : x)) };
    default:
      return change;
  }
}

/** Files over http of a page over https: browsers send no such request, whatever the server would answer. */
function mixed(evidence: Evidence): Diagnosis[] {
  const isUpgraded =
    documentOf(evidence)?.answer.headers["content-security-policy"]?.includes("upgrade-insecure-requests");
  const files = evidence.files.filter(
    (x) => x.role in ID_NAMES && isMixed(x, evidence) && !isArrived(x) && isUpgraded !== true,
  );
  return mergeById(
    files.map((file) => ({
      id: "mixed-content",
      severity: "error",
      message: `The page is https and ${file.url} is http: browsers block that request.`,
      evidence: [
        ...(file.seen?.failure === undefined ? [] : [`browser: ${file.url}: ${file.seen.failure}`]),
        ...lines(evidence, /mixed (?:active )?content|insecure/i),
        ...(evidence.browser?.errors ?? []).slice(0, 1).map((x) => `engine: ${x.message.slice(0, 300)}`),
      ],
      changes: [{ kind: "https", url: file.url }],
    })),
  );
}

/** The package's own word that a bundler has changed the addresses of its files. */
function moved(evidence: Evidence): Diagnosis[] {
  const noted = lines(evidence, /A bundler moved Selvedge away/);
  if (noted.length === 0) return [];
  const to = "/selvedge/";
  return [
    {
      id: "files-moved",
      severity: "error",
      message: "The bundler leaves the package without the addresses of its workers.",
      evidence: noted,
      changes: [
        { kind: "copy", files: ["worker-*.js", "*.wasm"], to },
        { kind: "assets-base", to },
      ],
    },
  ];
}

function judge(file: SiteFile, name: FileName, evidence: Evidence): Diagnosis | null {
  const { answer, role, url } = file;
  const noun = NOUNS[role] ?? "A file";
  const isPage = isAnsweredPage(answer);
  if (isMixed(file, evidence) || isHidden(file)) return null;
  // The engine takes no part of a model for the whole; a page that got its model by other requests is not broken.
  const isPart = answer.status === 206 && MODELS.has(role) && (evidence.browser?.errors.length ?? 1) > 0;
  if (isOk(answer) && !isPage && !isPart) return null;
  // The server answers the doctor by CORS or not at all: checks of their own say more.
  if (answer.status === 0 && !/^https?:/.test(url)) return null;
  // A server may redirect to the same address until a cookie is set, which the doctor does not keep.
  if (isRedirect(answer) && isArrived(file)) return null;
  const isPrebundled = PACKAGE.has(role) && isPrebundle(evidence);
  const shown = [described(file), ...lines(evidence, new RegExp(nameOf(url).replaceAll(/[^\w]/g, "\\$&")))];
  if (isPrebundled)
    return {
      id: "vite-prebundled",
      severity: "error",
      message: `Vite's dev server pre-bundles selvedge, away from its workers: ${pathOf(url)} is not there.`,
      evidence: shown,
      changes: [{ kind: "exclude-prebundle" }],
    };
  const [kind, reason] = failureOf(file);
  return {
    id: `${name}-${kind}`,
    severity: "error",
    message: `${noun} ${pathOf(url)} ${reason}.`,
    evidence: shown,
    changes: changesOf(file, isPage, evidence),
  };
}

/** Returns the kind of a failure, as ids have it, and the failure in words. */
function failureOf(file: SiteFile): readonly [kind: FailureKind, reason: string] {
  const { answer } = file;
  const { status, headers } = answer;
  const isPage = isAnsweredPage(answer);
  if (isPage && isElsewhere(file))
    return [
      "redirected",
      `is redirected to the page ${pathOf(answer.url)}: the host wants a login, or has moved the file`,
    ];
  if (isPage) return ["is-html", `is answered with an HTML page (status ${status})`];
  if (status === 0) return ["unreachable", `can't be reached (${answer.error ?? "no answer"})`];
  if ([401, 403].includes(status))
    return ["forbidden", `is refused (status ${status}): the host wants a login or forbids this path`];
  if (status === 429) {
    const wait = headers["retry-after"];
    return [
      "limited",
      `is refused for too many requests (status 429${wait === undefined ? "" : `, Retry-After ${wait}`})`,
    ];
  }
  if (status === 206) return ["partial", "is answered as a part of a file (status 206), where no part was asked for"];
  if (status >= 500) return ["missing", `fails on the server (status ${status}; see its log)`];
  if (isRedirect(answer)) {
    const to = targetOf(answer);
    if (answer.redirects.length === 0)
      return ["redirected", `is redirected (status ${status}) to no address that is one`];
    return ["redirected", `is redirected without end (status ${status}, to ${to}): the file is never sent`];
  }
  return ["missing", `is missing (status ${status})`];
}

/** Whether a page is the answer, and not what a host writes of an error. */
function isAnsweredPage(answer: HttpAnswer): boolean {
  return answer.status < 400 && isHtml(answer);
}

/** Whether an answer is a redirect that can't be followed, or not to an end. */
function isRedirect({ status }: HttpAnswer): boolean {
  return status >= 300 && status < 400;
}

/** Returns the path that an answer redirects to. */
function targetOf({ headers, url }: HttpAnswer): string {
  const { location = "" } = headers;
  return URL.canParse(location, url) ? pathOf(new URL(location, url).href) : JSON.stringify(location);
}

/** Whether a redirect has led to another path. */
function isElsewhere({ url, answer }: SiteFile): boolean {
  return answer.redirects.length > 0 && pathOf(answer.url) !== pathOf(url);
}

function changesOf(file: SiteFile, isPage: boolean, evidence: Evidence): Change[] {
  const { url, role, answer } = file;
  const { status, error } = answer;
  if (status === 401 || status === 403) return [{ kind: "allow", path: pathOf(url), status }];
  if (status === 429) return [{ kind: "no-limit", path: pathOf(url) }];
  if (status === 0) return [{ kind: "answer", path: pathOf(url), reason: error ?? "no answer" }];
  if (status === 206) return [{ kind: "whole", path: pathOf(url) }];
  if (status >= 500) return [{ kind: "answer", path: pathOf(url), reason: `status ${status}` }];
  if (isRedirect(answer)) return [{ kind: "no-redirect", path: pathOf(url), to: targetOf(answer) }];
  if (isPage && isElsewhere(file)) return [{ kind: "no-redirect", path: pathOf(url), to: pathOf(answer.url) }];
  // The package's files belong together: where one is missing, all are copied or deployed again.
  const files = PACKAGE.has(role) ? ["worker-*.js", "*.wasm"] : [pathOf(url)];
  const copy: Change = { kind: "copy", files, to: pathOf(folderOf(url)) };
  if (!isPage) return [copy];
  // Old bundles have chunks without an ending, which hosts take for routes.
  return [{ kind: "no-fallback", paths: [pathOf(url)] }, ...(evidence.hasHtmlFallback ? [copy] : [])];
}

/** Scripts that the page itself requested in vain: one missing module keeps the whole app from starting. */
function modules(evidence: Evidence): Diagnosis[] {
  const missing = filesOf(evidence, "script").filter((file) => {
    const { answer, seen } = file;
    // Without a browser, the module that the import map leads to stands for one that the page requests.
    const isRequested = seen !== null || (evidence.browser === null && mappings(file, evidence).length > 0);
    const isPage = isHtml(answer) && /javascript|\.m?js/.test(pathOf(answer.url));
    const isSilent = answer.status === 0 && !isArrived(file) && isOfApp(file, evidence);
    const isLost = answer.status >= 300 || isPage || isSilent;
    return isRequested && isLost && !isHidden(file) && !(isRedirect(answer) && isArrived(file));
  });
  return mergeById(
    missing.map((file): Diagnosis => {
      const { status } = file.answer;
      const [kind, reason] = failureOf(file);
      const isLost = kind === "is-html" || (kind === "missing" && status < 500);
      const effect = evidence.browser?.hasStarted === true ? "what imports it does not run" : "the app does not start";
      return {
        id: `script-${kind}`,
        severity: "error",
        message: `The script ${pathOf(file.url)} ${reason}: ${effect}.`,
        evidence: [
          described(file),
          ...mappings(file, evidence).map(([name]) => `import map: "${name}" is this address`),
        ],
        changes: isLost ? scriptChanges(file, evidence) : changesOf(file, isAnsweredPage(file.answer), evidence),
      };
    }),
  );
}

/**
 * Whether an app that has not started may wait for a script: of another origin, for one that its modules import. The
 * others there are measurements, advertisements, and what this machine may not reach.
 */
function isOfApp(file: SiteFile, evidence: Evidence): boolean {
  if (new URL(file.url).origin === new URL(evidence.url).origin) return true;
  if (evidence.browser?.hasStarted === true) return false;
  const document = documentOf(evidence);
  const inline = document === undefined ? [] : scriptTags(textOf(document.answer), evidence.url).filter(isModule);
  const codes = [
    ...inline.map((x) => [evidence.url, x.text] as const),
    ...filesOf(evidence, "script").map((x) => [x.url, textOf(x.answer)] as const),
  ];
  const isImported = codes.some(([at, code]) =>
    leadingImports(code).some((name) => URL.canParse(name, at) && bare(new URL(name, at).href) === bare(file.url)),
  );
  return isImported || mappings(file, evidence).length > 0;
}

/** Returns what makes a missing script be there: the import map's line where the map leads astray. */
function scriptChanges(file: SiteFile, evidence: Evidence): Change[] {
  const to = pathOf(folderOf(file.url));
  const mapped = mappings(file, evidence);
  const found = mapped.some(([name]) => name === "selvedge") ? moduleOf(evidence) : null;
  if (found !== null) return [mapWith(mapsOf(evidence), { selvedge: found }, (x) => isAt(x, file, evidence))];
  const name = nameOf(file.url);
  if (mapped.length > 0 && /^(?:selvedge\.min|index)\.js$/.test(name))
    return [{ kind: "copy", files: [name, "worker-*.js", "*.wasm"], to }];
  return [{ kind: "copy", files: [pathOf(file.url)], to }];
}

/** Names for which the page's import maps have a file's address. */
function mappings(file: SiteFile, evidence: Evidence): [name: string, address: string][] {
  const maps = mapsOf(evidence);
  const names = new Set(maps.flatMap((map) => namesOf(map).map(([name]) => name)));
  return [...names].flatMap((name) => {
    const address = mappedAddress(maps, name);
    return address !== null && isAt(address, file, evidence) ? [[name, address]] : [];
  });
}

/** Whether an address of an import map is a file's. */
function isAt(address: string, file: SiteFile, { url }: Evidence): boolean {
  return URL.canParse(address, url) && bare(new URL(address, url).href) === bare(file.url);
}

function mapsOf(evidence: Evidence): ImportMap[] {
  const document = documentOf(evidence);
  return document === undefined ? [] : importMaps(scriptTags(textOf(document.answer), evidence.url));
}

/** Whether the page loads selvedge from the cache folder of Vite's dev server. */
export function isPrebundle({ files, browser }: Evidence): boolean {
  const urls = [...files.map((x) => x.url), ...(browser?.resources ?? [])];
  return urls.some(
    (x) => /\/(?:deps|deps_ssr)\/(?:.*[/_])?selvedge(?:_[\w-]+)?\.js(?:\?|$)/.test(x) && !/\/dist\//.test(x),
  );
}
