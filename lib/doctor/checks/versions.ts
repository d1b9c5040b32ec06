// One version of page and workers: files that are copied by hand keep their names, and stay behind at an update.
import { createHash } from "node:crypto";
import type { DoctorCheck, Evidence, Diagnosis } from "../evidence.ts";
import { textOf } from "../http.ts";
import { nameOf, pathOf } from "../urls.ts";
import { filesOf, isCutWasm, isPointer, isServed, undeclaredCoding, withoutCarriageReturns } from "./facts.ts";

/** Version of the package and of ONNX Runtime, as core/version.ts has it. */
const RELEASE = /["'`](\d+\.\d+\.\d+[\w.+-]* \d+\.\d+\.\d+[\w.+-]*)["'`]/g;

/** Finds workers and binaries of another version than the page's. */
export const versions: DoctorCheck = (evidence) => {
  const pages = filesOf(evidence, "script", "document").filter(isServed);
  const releases = pages.flatMap((x) => releasesIn(textOf(x.answer)));
  // Another library may hold such a pair too: the one with this package's ONNX Runtime is preferred.
  const page = releases.find((x) => x.endsWith(onnx(evidence))) ?? releases[0];
  return [...workers(evidence, page), ...(page === evidence.own.release ? copies(evidence) : [])].slice(0, 1);
};

function workers(evidence: Evidence, page: string | undefined): Diagnosis[] {
  if (page === undefined) return [];
  return filesOf(evidence, "worker", "cache-worker").flatMap((file) => {
    if (!isServed(file)) return [];
    const releases = releasesIn(textOf(file.answer));
    if (releases.length === 0 || releases.includes(page)) return [];
    return [
      mismatch(
        file.url,
        `The page is selvedge ${short(page)}, the worker script ${pathOf(file.url)} is ${short(releases[0])}.`,
        [`${file.url}: ${releases.join(", ")}`, `page: ${page}`],
      ),
    ];
  });
}

/** Files under the package's own names that differ from those of the package that is installed here. */
function copies({ files, own }: Evidence): Diagnosis[] {
  return files.flatMap((file) => {
    const name = nameOf(file.url);
    const expected = own.files[name];
    const { answer } = file;
    if (expected === undefined || !isServed(file) || !answer.isWhole || "content-encoding" in answer.headers) return [];
    // The check of types says what it is.
    if (answer.body.byteLength < 8 || isPointer(answer) || undeclaredCoding(file) !== null) return [];
    if (name.endsWith(".wasm") && isCutWasm(answer)) return [];
    // A dev server (Vite's of node_modules) or a minifier may rewrite scripts; only a copy is the same byte for byte.
    if (answer.url.includes("?") || !/\.(?:js|wasm)$/.test(name)) return [];
    if (name.endsWith(".js") && file.url.includes("/node_modules/")) return [];
    const sha256 = hashOf(answer.body);
    // Git on Windows writes other line ends into scripts, which read the same.
    const isSame =
      sha256 === expected || (name.endsWith(".js") && hashOf(withoutCarriageReturns(answer.body)) === expected);
    if (isSame) return [];
    return [
      mismatch(
        file.url,
        `${pathOf(file.url)} is not the file of selvedge ${short(own.release)}, which the page is: an old copy, or one that was changed.`,
        [
          `${file.url}: SHA-256 ${sha256.slice(0, 16)}…, ${answer.body.byteLength} bytes`,
          `node_modules/selvedge/dist/${name}: SHA-256 ${expected.slice(0, 16)}…`,
        ],
      ),
    ];
  });
}

function hashOf(body: Uint8Array): string {
  return createHash("sha256").update(body).digest("hex");
}

function mismatch(url: string, message: string, evidence: readonly string[]): Diagnosis {
  const files = ["worker-*.js", "*.wasm"];
  const to = pathOf(new URL(".", url).href);
  return { id: "version-mismatch", severity: "error", message, evidence, changes: [{ kind: "copy", files, to }] };
}

function releasesIn(text: string): string[] {
  return text.includes("selvedge") ? [...text.matchAll(RELEASE)].map(([, release = ""]) => release) : [];
}

function onnx({ own }: Evidence): string {
  return own.release.slice(own.release.indexOf(" "));
}

function short(release: string | undefined): string {
  return release?.split(" ", 1)[0] ?? "";
}
