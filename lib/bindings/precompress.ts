// Compressed copies of what a build wrote, for servers that send them (nginx's `gzip_static` and `brotli_static`, Caddy's
// `precompressed`, adapters of frameworks): `x.js.br` and `x.js.gz` beside `x.js`. Models are compressed already.
import { readdir, readFile, stat, writeFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { brotliCompress, constants, gzip } from "node:zlib";

/** A content coding, by its name in HTTP. */
export type Coding = "br" | "gzip";

/** The codings, the one with smaller files first. */
export const CODINGS: readonly Coding[] = ["br", "gzip"];

/** Endings of the copies. */
export const ENDINGS: Readonly<Record<Coding, string>> = { br: ".br", gzip: ".gz" };

/** Names of the files that are compressed. */
export const COMPRESSIBLE: RegExp = /\.(wasm|[mc]?js)$/;

/** Smaller files fit into one packet. */
const LEAST_BYTES = 1_024;

/** The logger that progress goes to. */
interface ViteLog {
  readonly logLevel?: string | undefined;
  readonly logger: { info(message: string): void };
}

/**
 * Compresses bytes; `fast` for answers that someone waits for. The 7.7 MB of ort-wasm.wasm with brotli: quality 5 gives
 * 1.47 MB in 0.3 s of processor time, 9 gives 1.41 in 1.2 s, and 11 gives 1.23 in 18 s, which is too slow for builds.
 */
export function compress(bytes: Uint8Array, coding: Coding, effort: "fast" | "small"): Promise<Buffer> {
  if (coding === "gzip") return promisify(gzip)(bytes, { level: effort === "fast" ? 6 : 9 });
  const params = {
    [constants.BROTLI_PARAM_QUALITY]: effort === "fast" ? 5 : 9,
    [constants.BROTLI_PARAM_LGWIN]: constants.BROTLI_MAX_WINDOW_BITS,
    [constants.BROTLI_PARAM_SIZE_HINT]: bytes.byteLength,
  };
  return promisify(brotliCompress)(bytes, { params });
}

/** Writes the copies of a folder's files, several at a time. A copy that is not smaller, or is up to date, is left. */
export async function compressFolder(folder: string, codings: readonly Coding[], log: ViteLog): Promise<void> {
  const startMs = Date.now();
  const names = (await readdir(folder, { recursive: true })).filter((name) => COMPRESSIBLE.test(name));
  const jobs = names.flatMap((name) => codings.map((coding) => ({ path: join(folder, name), coding })));
  const total: Record<Coding, number> = { br: 0, gzip: 0 };
  const { stdout } = process;
  const isShown = stdout.isTTY && (log.logLevel ?? "info") === "info";
  let [done, written] = [0, 0];
  const queue = jobs.values();
  const work = async (): Promise<void> => {
    for (const { path, coding } of queue) {
      const bytes = await writeCopy(path, coding);
      total[coding] += bytes;
      if (bytes > 0) written += 1;
      done += 1;
      if (isShown) stdout.write(`\rselvedge: compressing, ${done} of ${jobs.length}`);
    }
  };
  await Promise.all(Array.from({ length: availableParallelism() }, work));
  if (isShown && jobs.length > 0) stdout.write("\r\x1b[K");
  const sizes = codings.map((coding) => `${coding} ${(total[coding] / 1e6).toFixed(2)} MB`).join(", ");
  const seconds = ((Date.now() - startMs) / 1_000).toFixed(1);
  if (written > 0) log.logger.info(`selvedge: wrote ${written} compressed copies in ${seconds} s: ${sizes}`);
}

/** Writes one copy; returns its size, 0 where none was written. */
async function writeCopy(path: string, coding: Coding): Promise<number> {
  const to = path + ENDINGS[coding];
  const [file, copy] = await Promise.all([path, to].map((x) => stat(x).catch(() => null)));
  // A folder may be called chart.js, and a link may lead nowhere.
  if (file?.isFile() !== true || file.size < LEAST_BYTES || (copy != null && copy.mtimeMs >= file.mtimeMs)) return 0;
  const small = await compress(await readFile(path), coding, "small");
  if (small.byteLength >= file.size) return 0;
  await writeFile(to, small);
  return small.byteLength;
}
