// Evidence of a site, and findings. Checks read the evidence and touch neither network nor browser.

/** Kind of a file that Selvedge needs, or that shows how the site is served. */
export type Role =
  | "document"
  | "script"
  | "worker"
  | "cache-worker"
  | "wasm"
  | "rest"
  | "brotli"
  | "bundle"
  | "chunk"
  | "model"
  /** Another file that the engine was to load, such as labels. */
  | "data"
  | "asset"
  | "service-worker";

/** Answer of a server to one request of the doctor. */
export interface HttpAnswer {
  /** Address after redirects. */
  readonly url: string;
  /** 0 where the server did not answer. */
  readonly status: number;
  /** Header values by lower-case name. */
  readonly headers: Readonly<Record<string, string>>;
  /** Body as received, not decoded; cut at the limit of the request. */
  readonly body: Uint8Array;
  /** Whether the body is complete. */
  readonly isWhole: boolean;
  /** Addresses that redirected to this one. */
  readonly redirects: readonly string[];
  /** Reason for which there is no answer. */
  readonly error?: string;
}

/** One request as the browser saw it. */
export interface Seen {
  readonly url: string;
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** The browser's word for a request that failed, such as net::ERR_BLOCKED_BY_RESPONSE. */
  readonly failure?: string;
  readonly isFromServiceWorker: boolean;
  /** Whether code requested it, by fetch() or XMLHttpRequest. */
  readonly isByCode?: boolean;
  /** SHA-256 of the decoded body, for files that a service worker answered. */
  readonly sha256?: string;
}

/** How the doctor knows of a file: the browser requested it, code names it, a bundle lists it, it belongs beside one. */
export type FoundBy = "requested" | "named" | "listed" | "sibling";

/** One file of the site. */
export interface SiteFile {
  readonly url: string;
  readonly role: Role;
  readonly source: FoundBy;
  /** Answer without compression. */
  readonly answer: HttpAnswer;
  /** Answer where gzip, brotli and Zstandard are accepted; the beginning of its body alone. */
  readonly packed: HttpAnswer | null;
  /** Answer to a request of the first 16 bytes; models and chunks alone. */
  readonly range: HttpAnswer | null;
  readonly seen: Seen | null;
}

/** A worker that the page started, or tried to. */
export interface StartedWorker {
  readonly url: string;
  readonly name: string;
  /** Error that the constructor threw. */
  readonly thrown?: string;
  /** Whether an `error` event without a message came: the script did not load. */
  readonly hasFailed: boolean;
  /** Whether the worker sent a message: its script runs. */
  readonly hasSpoken: boolean;
}

/** A `securitypolicyviolation` event. */
export interface Violation {
  readonly directive: string;
  readonly blocked: string;
  readonly policy: string;
  readonly isReportOnly: boolean;
}

/** An error that the engine reported to the page. */
export interface EngineError {
  /** Code of a SelvedgeError; for another error, its name. */
  readonly code: string;
  readonly message: string;
  readonly reason: string | null;
  /** Address that it is about; null where it has none. */
  readonly url: string | null;
  /** Command that explains it; null where it has none. */
  readonly help: string | null;
  /** Whether the page caught it and wrote it to no console. */
  readonly isHandled: boolean;
}

/** A syntax error of a script, as the page's `error` event has it. */
export interface ScriptError {
  readonly url: string;
  readonly line: number;
  readonly message: string;
}

/** Evidence that the browser showed. */
export interface BrowserEvidence {
  /** Name and version. */
  readonly name: string;
  /** Whether the page has run none of the doctor's code: its requests and its console alone are seen. */
  readonly isSilent: boolean;
  readonly isSecureContext: boolean;
  readonly isIsolated: boolean;
  readonly console: readonly string[];
  readonly errors: readonly EngineError[];
  readonly scriptErrors: readonly ScriptError[];
  readonly violations: readonly Violation[];
  readonly workers: readonly StartedWorker[];
  /** Whether the page itself has started a worker of the package; those that the doctor starts do not count. */
  readonly hasStarted: boolean;
  /** Addresses of the frames that have started an engine: of those the requests alone are seen. */
  readonly engineFrames: readonly string[];
  readonly seen: readonly Seen[];
  /** Addresses of the page's own resources; a worker's are not among them. */
  readonly resources: readonly string[];
  /** Error of compiling an empty WebAssembly module on the page; null where it compiles. */
  readonly wasmRefusal: string | null;
  /** Script of the service worker that controls the page, or null. */
  readonly serviceWorker: string | null;
}

/** Bundler or framework that made the site. */
export type Bundler =
  | "vite"
  | "webpack"
  | "rspack"
  | "next"
  | "nuxt"
  | "sveltekit"
  | "angular"
  | "parcel"
  | "rollup"
  | "esbuild"
  | "astro"
  | "importmap";

/** Software or service that serves the site. */
export type Host =
  | "nginx"
  | "apache"
  | "caddy"
  | "netlify"
  | "vercel"
  | "cloudflare-pages"
  /** Cloudflare's proxy, before a host that its answers do not name. */
  | "cloudflare"
  | "github-pages"
  | "firebase"
  | "serve"
  | "http-server"
  | "express"
  | "iis"
  | "vite"
  | "webpack-dev-server"
  | "ng-serve"
  | "nuxt-dev"
  | "astro-dev"
  | "next"
  | "python";

/** How the site is made and served. */
export interface Stack {
  readonly bundler: Bundler | null;
  readonly host: Host | null;
  /** Whether a development server answers. */
  readonly isDev: boolean;
}

/** Files of the app on this machine. */
export interface Project {
  readonly folder: string;
  /** Names of packages in package.json, with their version ranges. */
  readonly packages: Readonly<Record<string, string>>;
  /** Texts of configuration files, by name. */
  readonly configs: Readonly<Record<string, string>>;
}

/** The package that this command line belongs to. */
export interface OwnPackage {
  /** Version of the package and of ONNX Runtime, such as "0.1.0 1.30.0". */
  readonly release: string;
  /** SHA-256 of its workers and binaries, by file name. */
  readonly files: Readonly<Record<string, string>>;
}

/** All that the checks read. */
export interface Evidence {
  readonly url: string;
  readonly files: readonly SiteFile[];
  readonly stack: Stack;
  readonly project: Project | null;
  readonly own: OwnPackage;
  readonly browser: BrowserEvidence | null;
  /** Whether a path that does not exist is answered with a page. */
  readonly hasHtmlFallback: boolean;
}

/** Names that ids have of files: of the engine, of a model, one that a load names, or a script of the page. */
export const FILE_NAMES = ["worker", "wasm", "bundle", "chunk", "model", "file", "script"] as const;
export type FileName = (typeof FILE_NAMES)[number];

/** Failures of a request, as ids have them; `partial` of models alone. */
export const FAILURE_KINDS = [
  "missing",
  "is-html",
  "redirected",
  "forbidden",
  "limited",
  "unreachable",
  "partial",
] as const;
export type FailureKind = (typeof FAILURE_KINDS)[number];

/** Stable name of a finding, such as "wasm-missing". */
export type FindingId = (typeof OTHER_IDS)[number] | `${FileName}-${FailureKind}`;

/** Ids of findings, but for those of requests that failed. */
export const OTHER_IDS = [
  ...["assets-not-cached", "bundle-cached", "bundle-invalid", "chunk-changed", "coep-worker", "cors", "csp-connect"],
  ...["csp-inline", "csp-sandbox", "csp-script", "csp-wasm", "csp-worker", "engine-error", "files-moved"],
  ...["import-map-invalid", "import-unresolved", "insecure-context", "lfs-pointer", "mixed-content", "model-content"],
  ...["model-no-validator", "no-ranges", "not-built", "pwa-precache", "range-wrong", "script-blocked"],
  ...["script-content", "script-not-module", "script-syntax", "script-type", "service-worker-stale"],
  ...["threads-not-isolated", "trusted-types", "two-copies", "version-mismatch", "vite-prebundled", "wasm-content"],
  ...["wasm-type", "wasm-uncompressed", "worker-other-origin"],
] as const;

/** error: the page fails; warning: it works, at a cost or not for long; hint: it could do better. */
export type Severity = "error" | "warning" | "hint";

/** A content security policy as it was seen: all policies of the header, or the one of a `<meta>`. */
export interface SeenPolicy {
  readonly policies: readonly string[];
  /** Which of them refuses something. */
  readonly index: number;
  readonly isMeta: boolean;
}

/** A change that mends a finding, as data; fixes.ts writes the line for a bundler or a host. */
export type Change =
  | { readonly kind: "header"; readonly path: string; readonly name: string; readonly value: string }
  | { readonly kind: "type"; readonly extension: string; readonly type: string }
  /** Serves files of the package, or of the app, at `to`. */
  | { readonly kind: "copy"; readonly files: readonly string[]; readonly to: string }
  /** Answers 404 for files that are not there, and existing files as they are. */
  | { readonly kind: "no-fallback"; readonly paths: readonly string[] }
  /** Has the server, or a proxy before it, answer requests of a file. */
  | { readonly kind: "answer"; readonly path: string; readonly reason: string }
  /** Answers a file to every visitor, where the host refuses it. */
  | { readonly kind: "allow"; readonly path: string; readonly status: number }
  /** Raises the host's limit of requests. */
  | { readonly kind: "no-limit"; readonly path: string }
  /** Answers a file by itself, where a login or another rule redirects it. */
  | { readonly kind: "no-redirect"; readonly path: string; readonly to: string }
  /** Answers the whole file, with status 200, where no part of it was asked for. */
  | { readonly kind: "whole"; readonly path: string }
  /** Sends a header no longer. */
  | { readonly kind: "no-header"; readonly path: string; readonly name: string; readonly value: string }
  /** Requests a file over https. */
  | { readonly kind: "https"; readonly url: string }
  /** Makes the page's one import map have these addresses, before the page's first module; `rest`: its other parts. */
  | {
      readonly kind: "import-map";
      readonly imports: Readonly<Record<string, string>>;
      readonly rest?: Readonly<Record<string, unknown>>;
    }
  /** Has the bundler build what is served as sources. */
  | { readonly kind: "build" }
  /** Makes a classic script a module; the address of an inline one is null. */
  | { readonly kind: "module"; readonly script: string | null }
  | {
      readonly kind: "csp";
      readonly path: string;
      readonly directive: string;
      readonly sources: readonly string[];
      /** The policy as it was seen; without it, only what is added is known. */
      readonly seen?: SeenPolicy;
    }
  /** Passes a policy of Trusted Types; `isAllowed`: whether the header needs no name for it, or a change of its own adds it. */
  | { readonly kind: "trusted-types"; readonly isAllowed?: boolean }
  /** Sets the nonce of the policy on a script's tag; null where the policy has none yet. */
  | { readonly kind: "nonce"; readonly script: string; readonly nonce: string | null }
  | { readonly kind: "secure-context" }
  /** Puts the file's real content in its place. */
  | { readonly kind: "replace"; readonly url: string; readonly command: string }
  | { readonly kind: "as-stored"; readonly path: string }
  /** Answers a request of a part of a file with that part. */
  | { readonly kind: "ranges"; readonly path: string }
  | { readonly kind: "compress"; readonly extension: string; readonly type: string }
  | { readonly kind: "exclude-prebundle" }
  | { readonly kind: "assets-base"; readonly to: string }
  | { readonly kind: "same-origin-files" }
  /** A worker of the app is started from a Blob that imports its script. */
  | { readonly kind: "worker-by-blob"; readonly url: string }
  | { readonly kind: "one-copy" }
  | { readonly kind: "keep-out-of-precache" }
  | { readonly kind: "refresh-service-worker"; readonly url: string };

/** Result of a check, before its fix is worded. */
export interface Diagnosis {
  readonly id: FindingId;
  readonly severity: Severity;
  readonly message: string;
  /** Facts that show it: addresses, statuses, headers, console lines. */
  readonly evidence: readonly string[];
  readonly changes: readonly Change[];
}

/** One check. */
export type DoctorCheck = (evidence: Evidence) => readonly Diagnosis[];
