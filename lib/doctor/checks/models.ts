// Models and bundles: real files rather than stand-ins, unchanged on their way, and with what a browser needs to keep
// them.
import { createHash } from "node:crypto";
import { brotliDecompressSync, gunzipSync } from "node:zlib";
import { parseBundle } from "../../core/bundle-schema.ts";
import { codingFault, isPlainStart } from "../coding.ts";
import type { HttpAnswer, DoctorCheck, Evidence, Diagnosis, SiteFile } from "../evidence.ts";
import { chunksOf } from "../find-files.ts";
import type { Listed } from "../find-files.ts";
import { textOf } from "../http.ts";
import { folderOf, nameOf, pathOf } from "../urls.ts";
import {
  AS_TEXT,
  described,
  filesOf,
  isPointer,
  isServed,
  mergeById,
  MODELS,
  placeOf,
  pointer,
  textFault,
  undeclaredCoding,
  withoutCarriageReturns,
} from "./facts.ts";
import { wronglyCoded } from "./types.ts";

/** Beginnings of files that are taken for models by mistake. */
const STRANGERS: readonly (readonly [string, readonly number[]])[] = [
  ["a PNG image", [0x89, 0x50, 0x4e, 0x47]],
  ["a JPEG image", [0xff, 0xd8, 0xff]],
  ["a ZIP archive", [0x50, 0x4b, 0x03, 0x04]],
  ["gzip, without a Content-Encoding that says so", [0x1f, 0x8b]],
  ["an XML document", [0x3c, 0x3f, 0x78, 0x6d]],
  ["JSON", [0x7b, 0x22]],
];

/** Finds stand-ins, changed chunks, and models that no browser keeps. */
export const models: DoctorCheck = (evidence) =>
  mergeById([
    ...filesOf(evidence, "bundle", "chunk", "model", "data").filter(isServed).flatMap(standIn),
    ...filesOf(evidence, "bundle").filter(isServed).flatMap(invalid),
    ...changed(evidence),
    ...filesOf(evidence, "model")
      .filter(isServed)
      .flatMap((file) => validators(file, evidence)),
    ...filesOf(evidence, "model", "chunk")
      .filter(isServed)
      .flatMap((file) => ranges(file, evidence)),
  ]);

function standIn(file: SiteFile): Diagnosis[] {
  const { answer, url, role } = file;
  if (isPointer(answer)) return [pointer(file)];
  if (role === "model" && answer.isWhole && answer.body.byteLength === 0)
    return [
      {
        id: "model-content",
        severity: "error",
        message: `${pathOf(url)} is empty: its upload was not completed.`,
        evidence: [`${described(file)}, 0 bytes`],
        changes: [{ kind: "copy", files: [pathOf(url)], to: pathOf(folderOf(url)) }],
      },
    ];
  const fault = role === "model" ? codingFault(file, isPlainStart) : null;
  if (fault !== null) return [wronglyCoded(file, fault, "model-content", "")];
  const stranger = STRANGERS.find(([, magic]) => magic.every((x, i) => answer.body[i] === x))?.[0];
  if (role !== "model" || stranger === undefined || "content-encoding" in answer.headers) return [];
  return [
    {
      id: "model-content",
      severity: "error",
      message: `${pathOf(url)} is no ONNX model: it is ${stranger}.`,
      evidence: [described(file)],
      changes: [{ kind: "replace", url: pathOf(url), command: "cp <the .onnx file>" }],
    },
  ];
}

/** A description that the engine refuses, for the reason that the engine gives. */
function invalid({ answer, url }: SiteFile): Diagnosis[] {
  if (!answer.isWhole || isPointer(answer)) return [];
  const reason = refusalOf(answer);
  if (reason === null) return [];
  return [
    {
      id: "bundle-invalid",
      severity: "error",
      message: `${pathOf(url)} is no bundle that selvedge reads: ${reason}`,
      evidence: [`${url}: begins with ${JSON.stringify(textOf(answer).slice(0, 60))}, ${answer.body.byteLength} bytes`],
      changes: [{ kind: "replace", url: pathOf(url), command: "cp <bundle.json as selvedge compress wrote it>" }],
    },
  ];
}

/** Returns the reason for which a bundle.json is refused; null where it is read. */
function refusalOf({ body, headers }: HttpAnswer): string | null {
  try {
    const sent = decode(body, headers["content-encoding"] ?? "");
    if (sent !== null) parseBundle(JSON.parse(new TextDecoder().decode(sent)));
    return null;
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return error instanceof SyntaxError ? `it is not JSON (${reason}).` : reason;
  }
}

/** A chunk's name is the SHA-256 of its content: a host that decodes or rewrites it breaks the bundle. */
function changed(evidence: Evidence): Diagnosis[] {
  const listed = new Map(
    filesOf(evidence, "bundle").flatMap(({ answer }) => chunksOf(textOf(answer)).map((x) => [x.sha256, x])),
  );
  const wrong = filesOf(evidence, "chunk").find((file) => {
    const { answer, url } = file;
    const chunk = listed.get(nameOf(url).slice(0, 64));
    if (!isServed(file) || !answer.isWhole || isPointer(answer)) return false;
    return chunk !== undefined && !isStored(answer.body, answer.headers["content-encoding"], chunk);
  });
  if (wrong === undefined) return [];
  const { answer, url } = wrong;
  const expected = listed.get(nameOf(url).slice(0, 64));
  const asText = expected === undefined ? null : textFaultOf(wrong, expected);
  if (expected !== undefined && asText === null && isShort(wrong, expected))
    return [
      {
        id: "chunk-changed",
        severity: "error",
        message: `${pathOf(url)} is ${answer.body.byteLength === 0 ? "empty" : "cut short"}: its upload was not completed.`,
        evidence: [described(wrong), `${url}: ${answer.body.byteLength} bytes, ${expected.wireBytes} expected`],
        changes: [{ kind: "copy", files: [`${pathOf(folderOf(url))}*`], to: pathOf(folderOf(url)) }],
      },
    ];
  if (expected !== undefined && asText !== null)
    return [
      {
        id: "chunk-changed",
        severity: "error",
        message: `${pathOf(url)} is not what its name, a SHA-256, stands for: ${asText}.`,
        evidence: [described(wrong), `${url}: ${answer.body.byteLength} bytes, ${expected.wireBytes} expected`],
        changes: [{ kind: "copy", files: [`${pathOf(folderOf(url))}*`], to: pathOf(folderOf(url)) }],
      },
    ];
  return [
    {
      id: "chunk-changed",
      severity: "error",
      message: `The host changes chunks on their way: ${pathOf(url)} is not what its name, a SHA-256, stands for.`,
      evidence: [
        described(wrong),
        `${url}: ${answer.body.byteLength} bytes, ${expected?.wireBytes ?? 0} expected; Content-Encoding ${answer.headers["content-encoding"] ?? "(none)"}`,
      ],
      changes: [{ kind: "as-stored", path: `${pathOf(new URL(".", url).href)}*` }],
    },
  ];
}

/** Returns how a chunk was changed by something that took it for text; null where nothing shows it. */
function textFaultOf({ answer }: SiteFile, expected: Listed): string | null {
  const { body, headers } = answer;
  if (isStored(withoutCarriageReturns(body), headers["content-encoding"], expected)) return AS_TEXT;
  const lost = expected.wireBytes - body.byteLength;
  // Twice what chance lets expect, for content that chance did not make; a chunk that is cut short lacks more.
  return "content-encoding" in headers ? null : textFault(body, lost > 0 && lost < (2 * expected.wireBytes) / 2 ** 16);
}

/** Whether a file lacks bytes, and by no compression on its way. */
function isShort(file: SiteFile, { wireBytes }: Listed): boolean {
  const { body, headers } = file.answer;
  return body.byteLength < wireBytes && !("content-encoding" in headers) && undeclaredCoding(file) === null;
}

/** Whether bytes are a chunk as stored, after the browser has undone the encoding of the transfer. */
function isStored(body: Uint8Array, transfer: string | undefined, { sha256, encoding }: Listed): boolean {
  try {
    const sent = decode(body, transfer ?? "");
    // A host that has undone the encoding does no harm: the engine recognises the content.
    if (sent !== null && createHash("sha256").update(sent).digest("hex") === sha256) return true;
    const content = decode(sent, encoding);
    return content === null || createHash("sha256").update(content).digest("hex") === sha256;
  } catch {
    return false;
  }
}

/** Undoes an encoding; null for one that Node does not know. */
function decode(body: Uint8Array | null, encoding: string): Uint8Array | null {
  if (body === null || encoding === "" || encoding === "identity") return body;
  if (encoding === "br") return brotliDecompressSync(body);
  return encoding === "gzip" ? gunzipSync(body) : null;
}

function validators(file: SiteFile, evidence: Evidence): Diagnosis[] {
  const { headers } = file.answer;
  if ("etag" in headers || "last-modified" in headers) return [];
  return [
    {
      id: "model-no-validator",
      severity: "warning",
      message: `${pathOf(file.url)} has neither ETag nor Last-Modified: a change is noticed only after the whole model was fetched again.`,
      evidence: [
        `${file.url}: ETag (none), Last-Modified (none), Cache-Control ${headers["cache-control"] ?? "(none)"}`,
      ],
      changes: [{ kind: "header", path: placeOf(file, evidence), name: "ETag", value: '"<hash of the file>"' }],
    },
  ];
}

function ranges(file: SiteFile, evidence: Evidence): Diagnosis[] {
  const { range, answer, url } = file;
  if (range === null || !MODELS.has(file.role)) return [];
  const sent = range.body;
  const isWrong = range.status === 206 && !sent.every((x, i) => x === answer.body[i]);
  if (isWrong)
    return [
      {
        id: "range-wrong",
        severity: "error",
        message: `A request of a part of ${pathOf(url)} is answered with other bytes: an interrupted download can't go on.`,
        evidence: [
          `${url}: Range: bytes=0-15 → ${range.status}, ${range.headers["content-range"] ?? "no Content-Range"}`,
        ],
        changes: [{ kind: "as-stored", path: pathOf(url) }],
      },
    ];
  if (range.status === 206 || answer.body.byteLength < 2 ** 20) return [];
  return [
    {
      id: "no-ranges",
      severity: "hint",
      message: `${pathOf(url)} can't be requested in parts: an interrupted download begins anew.`,
      evidence: [`${url}: Range: bytes=0-15 → status ${range.status}`],
      changes: [{ kind: "ranges", path: placeOf(file, evidence) }],
    },
  ];
}
