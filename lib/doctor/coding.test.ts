// Codings of a body of which the beginning alone is known.
import { brotliCompressSync, constants, deflateRawSync, deflateSync, gzipSync } from "node:zlib";
import { expect, test } from "vitest";
import { codingFault, isWasmStart } from "./coding.ts";
import type { HttpAnswer, SiteFile } from "./evidence.ts";

const CONTENT = Buffer.concat([
  Buffer.from([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]),
  Buffer.from(Array.from({ length: 400_000 }, (_, i) => (i * i * 31 + (i >> 3)) % 251)),
]);
const params = { [constants.BROTLI_PARAM_QUALITY]: 5 };
const CODED = {
  gzip: gzipSync(CONTENT),
  "x-gzip": gzipSync(CONTENT),
  br: brotliCompressSync(CONTENT, { params }),
  deflate: deflateSync(CONTENT),
  "Deflate ": deflateRawSync(CONTENT),
  "gzip, br": brotliCompressSync(gzipSync(CONTENT), { params }),
};

function faultOf(declared: string, body: Uint8Array): string | null {
  const answer: HttpAnswer = {
    ...{ url: "http://x/ort-wasm.wasm", status: 200, headers: { "content-encoding": declared }, redirects: [] },
    ...{ body, isWhole: false },
  };
  const file: SiteFile = {
    url: answer.url,
    role: "wasm",
    source: "requested",
    answer,
    packed: null,
    range: null,
    seen: null,
  };
  return codingFault(file, isWasmStart)?.kind ?? null;
}

test("a body that is compressed as declared has no fault, wherever it is cut", () => {
  for (const [declared, body] of Object.entries(CODED))
    for (const size of [1, 9, 100, 1_000, 4_096, 65_536, body.byteLength])
      expect([declared, size, faultOf(declared, body.subarray(0, size))]).toEqual([declared, size, null]);
});

test("a body that is not compressed as declared, and one that is compressed once more, are faults", () => {
  for (const declared of ["gzip", "br"]) expect([declared, faultOf(declared, CONTENT)]).toEqual([declared, "false"]);
  for (const coding of ["gzip", "br", "deflate"] as const)
    expect([coding, faultOf("gzip", gzipSync(CODED[coding]))]).toEqual([coding, "twice"]);
});

test("a coding that is not known here is no fault", () => {
  expect(faultOf("zstd", CONTENT)).toBeNull();
  expect(faultOf("aws-chunked", CONTENT)).toBeNull();
});
