// The third step of a compression: lists the forms to make. To those that were requested it adds what pruning and the
// search find.
import { join } from "node:path";
import type { Form, Target } from "./forms/forms.ts";
import { pruneForms } from "./forms/prune-forms.ts";
import type { PruneOutcome, PruneRequest } from "./forms/prune-forms.ts";
import { describeSearch } from "./report/search-report.ts";
import { firstFeeds } from "./run/samples.ts";
import { search } from "./search/search.ts";
import type { SearchOutcome } from "./search/search.ts";
import type { SimplifiedSource } from "./simplify-source.ts";

/**
 * Maximum number of samples for reconstruction after pruning. More than a layer has units, or the fit would interpolate
 * them and generalize to nothing else. As many as the model runs in the time allowed, and none of the held-out ones.
 */
const FITTED = 8_192;
const FITTED_MS = 20_000;

/** The forms to make, with the results of pruning and of the search; null where there was none. */
export interface FormList {
  readonly forms: readonly Form[];
  readonly pruning: PruneOutcome | null;
  readonly searched: SearchOutcome | null;
}

/** Lists the forms to make. */
export async function listForms(job: SimplifiedSource): Promise<FormList> {
  const pruned = await prunedForms(job);
  const searched = await searchedForms(job);
  const forms = [...job.forms, ...(pruned?.forms ?? []), ...(searched?.forms ?? [])];
  return { forms, pruning: pruned?.outcome ?? null, searched: searched?.outcome ?? null };
}

async function prunedForms({
  simple,
  options,
  fitted: available,
  feeds,
  sampleMs,
  notes,
  ...job
}: SimplifiedSource): Promise<Awaited<ReturnType<typeof pruneForms>> | null> {
  if (options.prune === undefined || job.isStopped()) return null;
  job.onProgress("pruning");
  const most = Math.min(FITTED, FITTED_MS / sampleMs, available.n);
  const fitted = most > feeds.length ? await firstFeeds(available, most) : feeds;
  return pruneForms(
    simple,
    inFours(options.prune, job.targets),
    { feeds: fitted, isSynthetic: available.isSynthetic },
    notes,
  );
}

/**
 * Prunes channels to multiples of 4 where a GPU is a target: its kernels read 4 at a time, and ONNX Runtime 1.30's are
 * wrong for some other counts (worker/backend/webgpu-rewrites.ts). Heads are counted one by one.
 */
function inFours(request: PruneRequest, targets: readonly Target[]): PruneRequest {
  const isForGpu = targets.some((x) => x !== "wasm");
  return isForGpu && (request.heads ?? 0) === 0 ? { multipleOf: 4, ...request } : request;
}

async function searchedForms(job: SimplifiedSource): Promise<Awaited<ReturnType<typeof search>> | null> {
  const { simple, options, references, metric, labels, targets, out, notes, onProgress } = job;
  const { samples } = references;
  if (options.search === undefined || samples.n === 0 || job.isStopped()) return null;
  await out.create();
  const statePath = join(out.path, "search.json");
  const { feeds, split } = job;
  const input = {
    references,
    metric,
    labels,
    simple,
    feeds,
    isSynthetic: samples.isSynthetic,
    targets,
    statePath,
    split,
  };
  const { budgetMs } = options.search;
  try {
    const found = await search({ ...input, budgetMs, signal: options.signal, onProgress });
    notes.push(...describeSearch(found.outcome, metric.name));
    return found;
  } catch (error) {
    notes.push(`The search failed: ${error instanceof Error ? error.message : String(error)}`);
    return null;
  }
}
