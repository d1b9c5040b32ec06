// Types and content of scripts and binaries: browsers refuse a script of another type, and compile a binary of another
// type only after it has arrived whole.
import { codingFault, isTextStart, isWasmStart } from "../coding.ts";
import type { CodingFault } from "../coding.ts";
import type { Change, DoctorCheck, Evidence, FindingId, Diagnosis, SiteFile } from "../evidence.ts";
import { textOf } from "../http.ts";
import { isModule, scriptTags } from "../markup.ts";
import { bare, extensionOf, folderOf, nameOf, pathOf } from "../urls.ts";
import {
  AS_TEXT,
  described,
  documentOf,
  filesOf,
  isCutWasm,
  isPointer,
  isScriptType,
  isServed,
  isUnbuilt,
  lines,
  mergeById,
  notBuilt,
  pointer,
  textFault,
  typeOf,
  undeclaredCoding,
  withoutCarriageReturns,
} from "./facts.ts";

/** Finds types that browsers refuse, scripts that are none, and binaries that are no WebAssembly. */
export const types: DoctorCheck = (evidence) =>
  mergeById([
    ...modulesOf(evidence).flatMap((file) => script(file, "module", evidence)),
    ...filesOf(evidence, "worker", "cache-worker").flatMap((file) => script(file, "worker script", evidence)),
    ...filesOf(evidence, "wasm", "rest", "brotli").flatMap(binary),
  ]);

/** Returns the page's modules, where no engine was started; all of its scripts where the browser names a module. */
function modulesOf(evidence: Evidence): readonly SiteFile[] {
  const document = documentOf(evidence);
  if (document === undefined || evidence.browser?.hasStarted === true) return [];
  const tags = scriptTags(textOf(document.answer), evidence.url).filter(isModule);
  const named = new Set(tags.flatMap(({ url }) => (url === null ? [] : [bare(url)])));
  const isTold = lines(evidence, /module.*MIME type|MIME type.*module/i).length > 0;
  return filesOf(evidence, "script").filter((x) => isTold || named.has(bare(x.url)));
}

function script(file: SiteFile, noun: string, evidence: Evidence): Diagnosis[] {
  const type = typeOf(file.answer);
  if (!isServed(file)) return [];
  const content = file.role === "script" ? moduleContent(file, evidence) : scriptContent(file, "The worker script ");
  if (content !== null) return [content];
  if (isScriptType(file.answer)) return [];
  const shown = [described(file), ...lines(evidence, /MIME type/)];
  if (file.role === "script" && isUnbuilt(file))
    return [notBuilt(`No browser runs the script ${pathOf(file.url)}`, shown)];
  const extension = extensionOf(file.url);
  return [
    {
      id: "script-type",
      severity: "error",
      message: `The ${noun} ${pathOf(file.url)} has the type ${type === "" ? "(none)" : type}: browsers run JavaScript types alone.`,
      evidence: shown,
      changes: [
        extension === ""
          ? { kind: "header", path: pathOf(file.url), name: "Content-Type", value: "text/javascript" }
          : { kind: "type", extension, type: "text/javascript" },
      ],
    },
  ];
}

/** Finds the fault of a module's content, unless the browser has reported it as a syntax error. */
function moduleContent(file: SiteFile, { browser }: Evidence): Diagnosis | null {
  const isTold = browser?.scriptErrors.some((x) => bare(x.url) === bare(file.url)) ?? false;
  return isTold || file.answer.body.byteLength === 0 ? null : scriptContent(file, "The script ");
}

/** Finds a script that is empty, a Git LFS pointer, no text, or compressed otherwise than its header says. */
export function scriptContent(file: SiteFile, noun: string): Diagnosis | null {
  if (isPointer(file.answer)) return pointer(file);
  const fault = codingFault(file, isTextStart);
  if (fault !== null) return wronglyCoded(file, fault, "script-content", noun);
  const coding = undeclaredCoding(file);
  const isEmpty = file.answer.body.byteLength === 0 && file.answer.isWhole;
  if (coding === null && !isEmpty) return wrongText(file, noun);
  return {
    id: "script-content",
    severity: "error",
    message: `${noun}${pathOf(file.url)} is ${coding === null ? "empty" : `compressed (${coding}), without a Content-Encoding that says so`}.`,
    evidence: [
      ...(isEmpty ? [] : [`${file.url}: begins with ${hex(file.answer.body)}`]),
      `${described(file)}, ${file.answer.body.byteLength} bytes`,
    ],
    changes: [
      coding === null
        ? { kind: "copy", files: ["worker-*.js", "*.wasm"], to: pathOf(folderOf(file.url)) }
        : encodedAs(file, coding),
    ],
  };
}

/** Finds a script in UTF-16: browsers read modules and workers as UTF-8, whatever a header or a mark says. */
function wrongText(file: SiteFile, noun: string): Diagnosis | null {
  const { body, headers } = file.answer;
  const mark = body[0] === 0xff && body[1] === 0xfe ? "LE" : body[0] === 0xfe && body[1] === 0xff ? "BE" : null;
  if (mark === null || "content-encoding" in headers) return null;
  const path = pathOf(file.url);
  return {
    id: "script-content",
    severity: "error",
    message: `${noun}${path} is text in UTF-16: browsers read it as UTF-8.`,
    evidence: [`${file.url}: begins with ${hex(body)}`, described(file)],
    changes: [
      {
        kind: "replace",
        url: path,
        command: `iconv -f UTF-16 -t UTF-8 ${nameOf(path)} > utf-8.js && mv utf-8.js ${nameOf(path)}`,
      },
    ],
  };
}

/** Writes a fault of a file's coding: it is compressed twice, or not at all. */
export function wronglyCoded(file: SiteFile, fault: CodingFault, id: FindingId, noun: string): Diagnosis {
  const { declared, body } = fault;
  const path = pathOf(file.url);
  return {
    id,
    severity: "error",
    message:
      fault.kind === "twice"
        ? `${noun}${path} is compressed twice: what Content-Encoding: ${declared} undoes is compressed still.`
        : `${noun}${path} is not compressed as its Content-Encoding: ${declared} says: no browser reads it.`,
    evidence: [`${file.url}: Content-Encoding: ${declared}, begins with ${hex(body)}`, described(file)],
    changes: [
      fault.kind === "twice"
        ? { kind: "as-stored", path }
        : { kind: "no-header", path, name: "Content-Encoding", value: declared },
    ],
  };
}

function encodedAs(file: SiteFile, value: string): Change {
  return { kind: "header", path: pathOf(file.url), name: "Content-Encoding", value };
}

function binary(file: SiteFile): Diagnosis[] {
  if (!isServed(file)) return [];
  if (isPointer(file.answer)) return [pointer(file)];
  const fault = codingFault(file, isWasmStart);
  if (fault !== null) return [wronglyCoded(file, fault, "wasm-content", "")];
  const { body, headers } = file.answer;
  const type = typeOf(file.answer);
  const coding = undeclaredCoding(file);
  const encoding = headers["content-encoding"];
  if (encoding === undefined && body.byteLength < 8 && file.answer.isWhole)
    return [
      {
        id: "wasm-content",
        severity: "error",
        message: `${pathOf(file.url)} is ${body.byteLength === 0 ? "empty" : "cut short"}: its upload was not completed.`,
        evidence: [`${described(file)}, ${body.byteLength} bytes`],
        changes: [{ kind: "copy", files: ["worker-*.js", "*.wasm"], to: pathOf(folderOf(file.url)) }],
      },
    ];
  if (encoding === undefined && !isWasmStart(body))
    return [
      {
        id: "wasm-content",
        severity: "error",
        message: `${pathOf(file.url)} is no WebAssembly${coding === null ? "" : `: it is compressed (${coding}), without a Content-Encoding that says so`}.`,
        evidence: [`${file.url}: begins with ${hex(body)}`, described(file)],
        changes: [coding === null ? { kind: "as-stored", path: pathOf(file.url) } : encodedAs(file, coding)],
      },
    ];
  const isCut = isCutWasm(file.answer);
  const isAsText = isCut && !isCutWasm({ ...file.answer, body: withoutCarriageReturns(body) });
  const isRead = encoding === undefined && file.answer.isWhole;
  const asText = isAsText ? AS_TEXT : isRead ? textFault(body, isCut) : null;
  if (isCut || asText !== null)
    return [
      {
        id: "wasm-content",
        severity: "error",
        message:
          asText === null
            ? `${pathOf(file.url)} is cut short: it ends after ${body.byteLength} bytes, within a section.`
            : `${pathOf(file.url)} is no whole WebAssembly: ${asText}.`,
        evidence: [`${described(file)}, ${body.byteLength} bytes`],
        changes: [{ kind: "copy", files: ["worker-*.js", "*.wasm"], to: pathOf(folderOf(file.url)) }],
      },
    ];
  if (type === "application/wasm") return [];
  return [
    {
      id: "wasm-type",
      severity: "warning",
      message: `${pathOf(file.url)} has the type ${type === "" ? "(none)" : type}: it is compiled only after it has arrived, and the engine starts later.`,
      evidence: [described(file)],
      changes: [{ kind: "type", extension: ".wasm", type: "application/wasm" }],
    },
  ];
}

function hex(bytes: Uint8Array): string {
  return Array.from(bytes.subarray(0, 8), (x) => x.toString(16).padStart(2, "0")).join(" ");
}
