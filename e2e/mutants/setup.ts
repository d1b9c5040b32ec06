// Faults of set-ups: files of another build, causes that waiting does not end, schemes, files in a model's place.
import type { Mutant } from "./mutant.ts";

const build = { file: "lib/core/build-id.ts", test: "lib/core/build-id.test.ts" };
const errors = { file: "lib/core/errors.ts", test: "lib/core/errors.test.ts" };
const scheme = { file: "lib/cache/open.ts", test: "lib/cache/open.test.ts", title: "the scheme of an address" };
const sniff = { file: "lib/core/sniff.ts", test: "lib/core/sniff.test.ts" };
const brotli = { file: "lib/cache/brotli.ts", test: "lib/cache/brotli.test.ts" };

/** Each mutant brings one fault back. */
export const MUTANTS: readonly Mutant[] = [
  {
    ...build,
    fault: "setup-build",
    breaks: "workers of another build are taken",
    from: 'theirs.startsWith("@") || theirs === own',
    to: 'theirs.startsWith("@") || theirs !== ""',
  },
  {
    ...build,
    fault: "setup-build ready",
    breaks: "workers of a release without that message are taken",
    from: 'selvedge === "ready" ? build : "unknown"',
    to: 'selvedge === "ready" ? build : own',
  },
  {
    ...build,
    fault: "setup-build source",
    breaks: "code that runs from its source refuses workers",
    from: 'own.startsWith("@") ||',
    to: "",
  },
  {
    ...errors,
    fault: "setup-retry",
    breaks: "a retry is advised for faults of the deployment",
    from: 'RETRYABLE.has(code) && !PERMANENT.has(details["reason"])',
    to: "RETRYABLE.has(code)",
  },
  {
    ...errors,
    fault: "setup-retry cors",
    breaks: "a retry is advised where CORS forbids a download",
    from: '  "cors",\n',
    to: "",
  },
  {
    ...scheme,
    fault: "setup-scheme",
    breaks: "models can't be loaded from an extension's own files",
    from: '(protocol === ownProtocol && protocol !== "file:")',
    to: "protocol === null",
  },
  {
    ...scheme,
    fault: "setup-scheme other",
    breaks: "models may be loaded from the scheme of another extension",
    from: "protocol === ownProtocol",
    to: "ownProtocol !== undefined",
  },
  {
    ...scheme,
    fault: "setup-scheme file",
    breaks: "a page opened as a file may load files",
    from: ' && protocol !== "file:"',
    to: "",
  },
  {
    ...sniff,
    fault: "setup-sniff",
    breaks: "a Git LFS pointer is taken for a model",
    from: "/^version https:",
    to: "/^versions https:",
  },
  {
    ...sniff,
    fault: "setup-sniff mark",
    breaks: "a page that begins with a byte order mark is not recognised",
    from: "(\\xef\\xbb\\xbf)?",
    to: "",
  },
  {
    ...sniff,
    fault: "setup-sniff onnx",
    breaks: "ONNX files are taken for another format",
    from: "|^\\x80[\\x02-\\x05]",
    to: "|^[\\x08\\x80]|^\\x80[\\x02-\\x05]",
  },
  {
    ...brotli,
    fault: "setup-brotli",
    breaks: "a missing decoder of brotli is reported as a failed download",
    from: 'throw fail("setup-failed", "wasm-missing"',
    to: 'throw fail("download-failed", "wasm-missing"',
  },
  {
    fault: "setup-results",
    breaks: "a page that is not secure hashes inputs for the result cache, which it can't",
    file: "lib/engine/lazy-results.ts",
    from: "!this.#effects.facts.secure",
    to: "this.#effects === null",
    test: "lib/engine/lazy-results.test.ts",
  },
  {
    fault: "setup-vite",
    breaks: "workers are looked for in Nuxt's cache of pre-bundled packages",
    file: "lib/assets.ts",
    from: "\\/\\.[^/]+(\\/[^/]+)*\\/deps",
    to: "\\/\\.vite\\/deps",
    test: "lib/assets.test.ts",
  },
];
