// Bytes and cache lifetimes. Judged where they matter: a host that compresses scripts but not WebAssembly, or one that
// is not on this machine.
import { isIP } from "node:net";
import { gzipSync } from "node:zlib";
import type { DoctorCheck, Evidence, Diagnosis, Host, SiteFile } from "../evidence.ts";
import { folderOf, isHashed, isLoopback, pathOf } from "../urls.ts";
import { filesOf, isServed, kilobytes, placeOf } from "./facts.ts";

const DAY_S = 86_400;
const SAMPLE_BYTES = 500_000;
const PREVIEWS: ReadonlySet<Host> = new Set(["vite", "webpack-dev-server", "serve", "http-server", "python"]);

/** Finds uncompressed binaries and cache lifetimes that are wrong. */
export const delivery: DoctorCheck = (evidence) => [...compression(evidence), ...lifetimes(evidence)];

function compression(evidence: Evidence): Diagnosis[] {
  const plain = filesOf(evidence, "wasm", "rest").filter(
    (x) => isServed(x) && x.answer.isWhole && x.packed?.headers["content-encoding"] === undefined,
  );
  if (plain.length === 0) return [];
  const { hostname } = new URL(evidence.url);
  const isPacking = filesOf(evidence, "script", "worker", "cache-worker").some(
    ({ packed }) => packed?.headers["content-encoding"] !== undefined,
  );
  const isPublic = !isLoopback(hostname) && isIP(hostname) === 0 && !evidence.stack.isDev;
  const size = plain.reduce((sum, x) => sum + x.answer.body.byteLength, 0);
  return [
    {
      id: "wasm-uncompressed",
      severity: (isPacking && !isPreview(evidence)) || isPublic ? "warning" : "hint",
      message: `WebAssembly is sent uncompressed: ${kilobytes(size)}; by gzip it would be about ${kilobytes(size * gzipShare(plain[0]))}.`,
      evidence: plain.map(
        ({ url, answer }) =>
          `${url}: ${answer.body.byteLength} bytes, no Content-Encoding for Accept-Encoding: gzip, deflate, br, zstd`,
      ),
      changes: [{ kind: "compress", extension: ".wasm", type: "application/wasm" }],
    },
  ];
}

/** Whether a tool shows a build on this machine: no visitor comes there, and its headers are not the host's. */
function isPreview({ url, stack }: Evidence): boolean {
  return isLoopback(new URL(url).hostname) && stack.host !== null && PREVIEWS.has(stack.host);
}

/** Share of a binary's size that gzip leaves, measured on its middle. */
function gzipShare(file: SiteFile | undefined): number {
  const { body = new Uint8Array() } = file?.answer ?? {};
  const start = Math.floor(body.byteLength / 2);
  const sample = body.subarray(start, start + SAMPLE_BYTES);
  return sample.byteLength === 0 ? 1 : gzipSync(sample).byteLength / sample.byteLength;
}

function lifetimes(evidence: Evidence): Diagnosis[] {
  const long = filesOf(evidence, "bundle").filter(({ answer }) => maxAge(answer.headers["cache-control"]) > DAY_S);
  const short = filesOf(evidence, "worker", "cache-worker", "wasm").filter(
    (x) => isServed(x) && isHashed(x.url) && maxAge(x.answer.headers["cache-control"]) < 30 * DAY_S,
  );
  const found: Diagnosis[] = [];
  if (long[0] !== undefined)
    found.push({
      id: "bundle-cached",
      severity: "warning",
      message: `${pathOf(long[0].url)} is cached for ${Math.round(maxAge(long[0].answer.headers["cache-control"]) / DAY_S)} days: a new release of the model is not seen before.`,
      evidence: long.map((x) => `${x.url}: Cache-Control: ${x.answer.headers["cache-control"] ?? ""}`),
      changes: long.map((x) => {
        return { kind: "header", path: placeOf(x, evidence), name: "Cache-Control", value: "no-cache" };
      }),
    });
  if (short[0] !== undefined && !isPreview(evidence))
    found.push({
      id: "assets-not-cached",
      severity: "hint",
      message: `${pathOf(short[0].url)} has a hash in its name, and may be cached for a year.`,
      evidence: short.map((x) => `${x.url}: Cache-Control: ${x.answer.headers["cache-control"] ?? "(none)"}`),
      changes: [...new Set(short.map((x) => placeOf(cachedWith(x, evidence), evidence)))].map((path) => ({
        kind: "header",
        path,
        name: "Cache-Control",
        value: "public, max-age=31536000, immutable",
      })),
    });
  return found;
}

/** Returns the files that are cached with one: its folder, unless that has the page, or other files whose names stay. */
function cachedWith(file: SiteFile, { files }: Evidence): SiteFile {
  const folder = folderOf(file.url);
  const isShared = files.some((x) => x.url.startsWith(folder) && x.role !== "chunk" && !isHashed(x.url));
  return isShared ? file : { ...file, url: `${folder}*` };
}

function maxAge(value: string | undefined): number {
  return /\bno-(?:cache|store)\b/.test(value ?? "") ? 0 : Number(/\bmax-age=(\d+)/.exec(value ?? "")?.[1] ?? 0);
}
