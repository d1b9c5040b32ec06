// The labels of a bare model from an address. They are stored as a bare model is, as one chunk under the address, so that
// the next page opens the model without a network; the server's are used wherever it answers.
import { sha256Hex } from "../core/bundle.ts";
import { isSelvedgeError, SelvedgeError } from "../core/errors.ts";
import { otherThanLabels, readLabels } from "../core/read-labels.ts";
import type { OtherFile } from "../core/read-labels.ts";
import type { Downloader } from "./download.ts";
import { ATTEMPTS, isAway, readAll, request, retry } from "./http.ts";
import { bareManifest, identityOf, isBare } from "./manifest.ts";

/** Bound on a file of labels. */
const LABELS_MAX_BYTES = 4 * 1024 * 1024;
/** Bound on the wait for the server before stored labels are used without it. */
const ASK_MS = 5_000;

/**
 * Fetches labels; returns the stored ones where the server is away.
 * @throws SelvedgeError as a download, and `model-invalid` for a file of another kind; TypeError for wrong labels
 */
export async function fetchLabels(url: string, downloader: Downloader, signal: AbortSignal): Promise<string[]> {
  const { effects } = downloader;
  const stored = await storedLabels(url, downloader).catch(() => null);
  const late = new AbortController();
  const cancel =
    stored === null
      ? () => undefined
      : effects.setTimer(() => {
          late.abort();
        }, ASK_MS);
  try {
    const net = { effects, signal: AbortSignal.any([signal, late.signal]) };
    const attempts = (): Promise<number> => Promise.resolve(stored === null ? ATTEMPTS.network : 1);
    const read = async () =>
      readAll(url, await request(url, { cache: "no-cache" }, net), LABELS_MAX_BYTES, null, () => undefined);
    const bytes = new Uint8Array(await retry(net, read, attempts));
    const other = otherThanLabels(bytes);
    if (other !== null) throw notLabels(url, other);
    const labels = readLabels(bytes, `labels: ${url}`);
    await store(url, bytes, downloader).catch(() => undefined); // no room: they are fetched again
    return labels;
  } catch (error) {
    signal.throwIfAborted();
    if (stored !== null && (late.signal.aborted || isAway(error))) return readLabels(stored, `labels: ${url}`);
    throw isSelvedgeError(error)
      ? new SelvedgeError(error.code, `labels: ${error.message}`, error.details, error.cause)
      : error;
  } finally {
    cancel();
  }
}

/** Returns the error for a file of another kind, with the code that a model in its place would have. */
function notLabels(url: string, { reason, what, fix }: OtherFile): SelvedgeError {
  return new SelvedgeError("model-invalid", `${url} is ${what}. ${fix}`, { url, ...(reason !== null && { reason }) });
}

async function storedLabels(url: string, downloader: Downloader): Promise<Uint8Array | null> {
  const { modelStore } = downloader;
  const source = (await modelStore?.source(url)) ?? null;
  const manifest = source === null ? null : ((await modelStore?.bundle(source.identity)) ?? null);
  const [chunk] = manifest !== null && isBare(manifest) ? manifest.chunks : [];
  const blob = chunk === undefined ? null : await downloader.stored(chunk);
  if (blob === null || source === null) return null;
  await modelStore?.touch(source.identity).catch(() => undefined);
  return new Uint8Array(await blob.arrayBuffer());
}

async function store(url: string, bytes: Uint8Array<ArrayBuffer>, { modelStore }: Downloader): Promise<void> {
  if (modelStore === null || bytes.byteLength === 0) return;
  const chunk = { sha256: await sha256Hex(bytes), bytes: bytes.byteLength };
  const manifest = bareManifest([chunk]);
  const identity = await identityOf(manifest);
  await modelStore.remember(manifest, { url, identity, validator: null, signature: null });
  await modelStore.write(chunk, bytes);
}
