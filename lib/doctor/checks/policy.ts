// Content security policy: WebAssembly, workers and requests. A worker is governed by the policy of its own response, so
// the document's and the workers' are both read.
import { admits, admitsWasm, governing, parsePolicies, written } from "../csp.ts";
import type { Policy } from "../csp.ts";
import type { DoctorCheck, Evidence, Diagnosis, SeenPolicy, SiteFile } from "../evidence.ts";
import { chunksOf } from "../find-files.ts";
import { textOf } from "../http.ts";
import { tagsOf } from "../markup.ts";
import { pathOf } from "../urls.ts";
import { documentOf, filesOf, header, isForeign, isServed, lines, mergeById } from "./facts.ts";

/** Finds directives that refuse what the engine needs. */
export const policy: DoctorCheck = (evidence) => {
  const own = filesOf(evidence, "worker", "cache-worker").filter((x) => isServed(x) && !isForeign(x, evidence));
  const governed = [documentOf(evidence), ...own];
  const found = governed.flatMap((file) => (file === undefined ? [] : judge(file, evidence)));
  return mergeById(found);
};

function judge(file: SiteFile, evidence: Evidence): Diagnosis[] {
  return policiesOf(file).flatMap((each) => [
    ...wasm(each, file, evidence),
    ...(file.role === "document" ? workers(each, file, evidence) : []),
    ...requests(each, file, evidence),
  ]);
}

function wasm({ policy: each, seen }: HeldPolicy, file: SiteFile, evidence: Evidence): Diagnosis[] {
  const rule = governing(each, "script-src");
  if (rule === null || admitsWasm(each)) return [];
  // The fetch worker compiles nothing but the brotli decoder, which Chromium lacks.
  if (file.role === "cache-worker" && !hasBrotli(evidence)) return [];
  const refusal = evidence.browser?.wasmRefusal;
  // A worker is governed by its own response: where that is free, each worker compiles what the page can't.
  const others = filesOf(evidence, "worker", "cache-worker").filter(
    (x) => isServed(x) && (x.role === "worker" || (hasBrotli(evidence) && isForeign(x, evidence))),
  );
  const isSoft =
    file.role === "document" &&
    others.length > 0 &&
    others.every((x) => policiesOfWorker(x, evidence).every((y) => admitsWasm(y.policy)));
  return [
    {
      id: "csp-wasm",
      severity: isSoft ? "warning" : "error",
      message: isSoft
        ? "The page's content security policy lacks 'wasm-unsafe-eval': each worker compiles WebAssembly by itself, and starts later."
        : "The content security policy keeps WebAssembly from compiling: script-src lacks 'wasm-unsafe-eval'.",
      evidence: [
        shown(file, rule),
        ...(typeof refusal === "string" ? [`in ${evidence.browser?.name ?? ""}: ${refusal.slice(0, 300)}`] : []),
      ],
      changes: [change(file, { policy: each, seen }, "script-src", [...scriptBase(rule), "'wasm-unsafe-eval'"])],
    },
  ];
}

/** Whether a bundle of the page has chunks that brotli has compressed. */
function hasBrotli(evidence: Evidence): boolean {
  return filesOf(evidence, "bundle").some(({ answer }) => chunksOf(textOf(answer)).some((x) => x.encoding === "br"));
}

function workers({ policy: each, seen }: HeldPolicy, file: SiteFile, evidence: Evidence): Diagnosis[] {
  const scripts = filesOf(evidence, "worker", "cache-worker");
  const refused = scripts.map((x) => x.url).filter((url) => !admits(each, "worker-src", url, evidence.url));
  const lacksBlob =
    scripts.some((x) => isForeign(x, evidence)) && !admits(each, "worker-src", "blob:null/", evidence.url);
  const rule = governing(each, "worker-src");
  const blobs = (evidence.browser?.violations ?? []).filter(
    (x) => !x.isReportOnly && x.directive.startsWith("worker-src") && x.blocked.startsWith("blob"),
  );
  const needsBlob = lacksBlob || blobs.length > 0;
  if (rule === null || (refused.length === 0 && !needsBlob)) return [];
  const sources = [...new Set([...refused.map((x) => sourceOf(x, evidence)), ...(needsBlob ? ["blob:"] : [])])];
  return [
    {
      id: "csp-worker",
      severity: "error",
      message: `The content security policy keeps workers from starting: worker-src must admit ${sources.join(" ")}.`,
      evidence: [
        shown(file, rule),
        ...refused.slice(0, 2).map((x) => `refused: ${x}`),
        ...violations(evidence, "worker-src"),
      ],
      changes: [change(file, { policy: each, seen }, "worker-src", sources)],
    },
  ];
}

function requests({ policy: each, seen }: HeldPolicy, file: SiteFile, evidence: Evidence): Diagnosis[] {
  const wanted = filesOf(evidence, "wasm", "rest", "bundle", "chunk", "model", "brotli", "data");
  const rule = governing(each, "connect-src");
  const refuses = ({ url }: SiteFile): boolean => !admits(each, "connect-src", url, evidence.url);
  // Workers fetch by their own policies. The page itself fetches the binary alone, to compile it once for all of them.
  const workers = filesOf(evidence, "worker", "cache-worker").filter(isServed);
  const isFetched = ({ url }: SiteFile): boolean =>
    workers.length > 0 &&
    workers.every((x) =>
      policiesOfWorker(x, evidence).every((y) => admits(y.policy, "connect-src", url, evidence.url)),
    );
  const isSoft = file.role === "document" && wanted.filter(refuses).every(isFetched);
  const refused = wanted.filter((x) => refuses(x) && (!isSoft || x.role === "wasm")).map((x) => x.url);
  if (rule === null || refused.length === 0) return [];
  const sources = [...new Set(refused.map((x) => sourceOf(x, evidence)))];
  return [
    {
      id: "csp-connect",
      severity: isSoft ? "warning" : "error",
      message: isSoft
        ? `The page's content security policy lets it fetch no WebAssembly: each worker fetches and compiles it by itself, and starts later; connect-src must admit ${sources.join(" ")}.`
        : `The content security policy keeps files from being fetched: connect-src must admit ${sources.join(" ")}.`,
      evidence: [
        shown(file, rule),
        ...refused.slice(0, 2).map((x) => `refused: ${x}`),
        ...violations(evidence, "connect-src"),
        ...lines(evidence, /connect-src/),
      ],
      changes: [change(file, { policy: each, seen }, "connect-src", sources)],
    },
  ];
}

/** Returns the policies of a worker: the page's for one from another origin, which starts from a blob: address. */
function policiesOfWorker(worker: SiteFile, evidence: Evidence): HeldPolicy[] {
  const document = documentOf(evidence);
  return policiesOf(document !== undefined && isForeign(worker, evidence) ? document : worker);
}

/** A policy, and where it stands. */
export interface HeldPolicy {
  readonly policy: Policy;
  readonly seen: SeenPolicy;
}

/** Returns the policies of a response, and of a document's own markup. */
export function policiesOf(file: SiteFile): HeldPolicy[] {
  const found = heldIn(header(file, "content-security-policy"), false);
  if (file.role !== "document") return found;
  for (const tag of tagsOf(textOf(file.answer), "meta"))
    if (tag.get("http-equiv")?.trim().toLowerCase() === "content-security-policy")
      found.push(...heldIn(tag.get("content"), true));
  return found;
}

/** Returns the policies of a header or a tag: a comma begins another one, for Chromium in markup too. */
function heldIn(value: string | undefined, isMeta: boolean): HeldPolicy[] {
  const all = parsePolicies(value);
  const policies = all.map(written);
  return all.map((policy, index) => ({ policy, seen: { policies, index, isMeta } }));
}

/** Writes a directive of a file's policy. */
export function shown({ url }: SiteFile, { name, sources }: { name: string; sources: readonly string[] }): string {
  return `${url}: Content-Security-Policy: … ${name} ${sources.join(" ")} …`;
}

/** Returns the sources that a new script-src keeps, since it replaces default-src. */
export function scriptBase({ name, sources }: { name: string; sources: readonly string[] }): readonly string[] {
  return name === "script-src" ? [] : sources.filter((x) => x !== "'none'");
}

function change(file: SiteFile, { policy: each, seen }: HeldPolicy, directive: string, sources: readonly string[]) {
  const rule = governing(each, directive);
  // A new directive replaces the one that held in its place; of that, addresses are kept.
  const isNew = rule !== null && rule.name !== directive && directive !== "script-src";
  const base = isNew ? rule.sources.filter((x) => !x.startsWith("'") || x.toLowerCase() === "'self'") : [];
  const all = [...new Set([...sources, ...base])];
  return { kind: "csp", path: pathOf(file.url), directive, sources: all, seen } as const;
}

function sourceOf(url: string, evidence: Evidence): string {
  const { origin } = new URL(url);
  return origin === new URL(evidence.url).origin ? "'self'" : origin;
}

function violations({ browser }: Evidence, directive: string): string[] {
  const found = (browser?.violations ?? []).filter((x) => !x.isReportOnly && x.directive.startsWith(directive));
  return found.slice(0, 2).map((x) => `violation in ${browser?.name ?? ""}: ${x.directive} blocked ${x.blocked}`);
}
