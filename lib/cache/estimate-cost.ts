// Cost of a model before it is loaded: only `bundle.json` (or, of a bare model, the answer to HEAD) is fetched for it.
import type { Downloader } from "./download.ts";
import { request } from "./http.ts";
import { isBare } from "./manifest.ts";
import type { Manifest } from "./manifest.ts";
import { countRuns } from "./count-runs.ts";
import { bareOf, lookUp } from "./open.ts";
import { plan } from "./plan.ts";
import { isRepository } from "./repository.ts";
import type { DownloadCost, CostEstimate, LoadCriteria } from "./messages.ts";
import { keyOf } from "./names.ts";
import { wireBytesOf } from "../core/bundle.ts";
import type { BundleChunk } from "../core/bundle.ts";
import { isSelvedgeError } from "../core/errors.ts";
import type { SelvedgeError } from "../core/errors.ts";
import type { Fit, UnfitReason } from "../core/fit.ts";

/** Estimates a model at an address, and the stored part of it. */
export async function estimateCost(
  url: string,
  criteria: LoadCriteria,
  downloader: Downloader,
  signal: AbortSignal,
): Promise<CostEstimate> {
  const { modelStore, effects } = downloader;
  const estimate = await effects.estimate().catch(() => null);
  const { saveData, bytesPerSecond } = effects.connection();
  const rate = (await modelStore?.rate().catch(() => null)) ?? bytesPerSecond;
  const around = {
    freeBytes: estimate === null ? null : Math.max(0, estimate.quota - estimate.usage),
    bytesPerSecond: rate,
    saveData,
  };
  try {
    if (!new URL(url).pathname.endsWith(".json") && !isRepository(url))
      return await estimateBare(url, criteria, downloader, signal, around);
    const opened = await countRuns(await lookUp(url, criteria, downloader, signal), modelStore);
    const planned = plan(opened, criteria);
    const here = (await modelStore?.chunks().catch(() => null)) ?? new Set<string>();
    const held = await effects.heldLocks().catch((): readonly string[] => []);
    const assets = planned.assets.flatMap((x) => x.chunks);
    const costs = planned.candidates.map(({ backend, variant, fit = null }): DownloadCost => {
      const all = [...assets, ...variant.files.flatMap((x) => x.chunks)];
      const chunks = [...new Map(all.map((x) => [keyOf(x), x])).values()];
      const missing = chunks.filter((x) => !here.has(keyOf(x)));
      return {
        backend,
        bytes: sum(chunks),
        bytesToFetch: sum(missing),
        isUnderWay: missing.some((x) => held.includes(`selvedge/${x.sha256}`) || downloader.isUnderWay(x)),
        fit,
      };
    });
    return { ...around, plan: planned, costs, failed: null, unfit: null };
  } catch (error) {
    signal.throwIfAborted();
    if (!isSelvedgeError(error)) throw error;
    return { ...around, plan: null, costs: [], failed: error.message, unfit: unfitOf(error) };
  }
}

/** The memory that an error is about; null for any but `does-not-fit`. */
function unfitOf({ code, message, details }: SelvedgeError): Fit | null {
  if (code !== "does-not-fit") return null;
  const { memoryBytes, reason } = details;
  return { fits: "no", memoryBytes: Number(memoryBytes), why: message, reason: reason as UnfitReason };
}

/** Looks at a bare model: its memory by its size, and by its graph where it is stored. */
async function estimateBare(
  url: string,
  criteria: LoadCriteria,
  downloader: Downloader,
  signal: AbortSignal,
  around: Omit<CostEstimate, "plan" | "costs" | "failed" | "unfit">,
): Promise<CostEstimate> {
  const { chunks, ...cost } = await bareCost(url, downloader, signal);
  const cold = { ...around, plan: null };
  if (cost.bytes === null) return { ...cold, costs: [{ ...cost, fit: null }], failed: null, unfit: null };
  const data = (await downloader.modelStore?.peek(chunks).catch(() => null)) ?? null;
  try {
    const { candidates, settled } = plan(await countRuns({ ...bareOf(url, cost.bytes), data }, null), criteria);
    const at = candidates.find((x) => settled === null || x.backend === settled.backend);
    return { ...cold, costs: [{ ...cost, fit: at?.fit ?? null }], failed: null, unfit: null };
  } catch (error) {
    if (!isSelvedgeError(error)) throw error;
    return { ...cold, costs: [{ ...cost, fit: null }], failed: error.message, unfit: unfitOf(error) };
  }
}

/** Requests a bare model's size, and returns its chunks where it is stored. */
async function bareCost(
  url: string,
  downloader: Downloader,
  signal: AbortSignal,
): Promise<Omit<DownloadCost, "fit"> & { readonly chunks: readonly BundleChunk[] }> {
  const { modelStore, effects } = downloader;
  const source = (await modelStore?.source(url).catch(() => null)) ?? null;
  const stored = source === null ? null : await modelStore?.bundle(source.identity).catch(() => null);
  const manifest: Manifest | null = stored ?? null;
  const here = (await modelStore?.chunks().catch(() => null)) ?? new Set<string>();
  const held = await effects.heldLocks().catch((): readonly string[] => []);
  const isUnderWay = held.includes(`selvedge/bare/${url}`);
  if (manifest !== null && isBare(manifest) && manifest.chunks.every((x) => here.has(keyOf(x))))
    return { backend: null, bytes: sum(manifest.chunks), bytesToFetch: 0, isUnderWay, chunks: manifest.chunks };
  const { headers, cancel } = await request(url, { method: "HEAD" }, { effects, signal });
  cancel();
  const size = headers.get("content-encoding") === null ? Number(headers.get("content-length") ?? Number.NaN) : null;
  const bytes = size === null || !Number.isFinite(size) ? null : size;
  return { backend: null, bytes, bytesToFetch: bytes, isUnderWay, chunks: [] };
}

/** Sums the wire bytes of chunks. */
function sum(chunks: readonly BundleChunk[]): number {
  return chunks.reduce((total, x) => total + wireBytesOf(x), 0);
}
