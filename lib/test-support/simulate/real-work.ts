// Work that Node does outside the simulated world, on threads of its own: digests and the reading of blobs. The
// simulated clock stands still meanwhile, or a busy machine would age the requests that wait for it. Modules that an
// engine imports on demand are imported here, before any engine is made: all of them, as real-work.test.ts checks.
import { floorsFor } from "../../core/tolerances.ts";
import { readTensors } from "../../core/read-tensors.ts";
import { readReleases } from "../../core/release-record.ts";
import { unreadableOf } from "../../core/unreadable.ts";
import { assess } from "../../engine/availability.ts";
import { Comparer } from "../../engine/choose-backend.ts";
import { checkGpu } from "../../engine/check-gpu.ts";
import { checkModel } from "../../engine/check-model.ts";
import { hasHalfWeights } from "../../engine/half-weights.ts";
import { SecondLook } from "../../engine/second-look.ts";
import { seededFeeds } from "../../engine/seeded-inputs.ts";
import { unverified } from "../../engine/unverified.ts";
import { drawTracks } from "../../engine/devtools-tracks.ts";
import { embedTexts } from "../../engine/embed.ts";
import { answersOf } from "../../engine/map-answers.ts";
import { checkUpdateOptions } from "../../engine/own-description.ts";
import { imageFault } from "../../engine/input-fault.ts";
import { leaveGpu } from "../../engine/leave-gpu.ts";
import { loadOther } from "../../engine/load-other.ts";
import { recordTrace } from "../../engine/record-trace.ts";
import { startCascade } from "../../engine/cascade.ts";
import { createHedging } from "../../engine/hedging.ts";
import { remoteSide } from "../../engine/remote-lanes.ts";
import { loadRemote } from "../../engine/remote-load.ts";
import { resolveRepository } from "../../engine/repository-source.ts";
import { Results } from "../../engine/result-cache.ts";
import { openAnswers } from "../../engine/result-store.ts";
import { Stateful } from "../../engine/stateful.ts";
import { openEmbeddings } from "../../remote/embeddings.ts";
import { askHealth } from "../../remote/server-state.ts";
import { wordsOf } from "../../remote/failure-text.ts";
import { RemoteModel } from "../../remote/infer.ts";
import { parseJson } from "../../remote/json-tensors.ts";

// A bare import would be dropped, as one without side effects.
void [
  assess,
  Comparer,
  checkGpu,
  checkModel,
  hasHalfWeights,
  SecondLook,
  seededFeeds,
  unverified,
  answersOf,
  checkUpdateOptions,
  recordTrace,
  Stateful,
  startCascade,
  createHedging,
  remoteSide,
  loadRemote,
  openEmbeddings,
  wordsOf,
  RemoteModel,
  askHealth,
  floorsFor,
  parseJson,
  imageFault,
  leaveGpu,
  loadOther,
  readTensors,
  readReleases,
  unreadableOf,
  drawTracks,
  embedTexts,
  resolveRepository,
  Results,
  openAnswers,
];
let pending = 0;

/** Whether such work is pending. */
export function isWorkingOutside(): boolean {
  return pending > 0;
}

/** Waits for such work. */
export async function counted<T>(work: Promise<T>): Promise<T> {
  pending += 1;
  try {
    return await work;
  } finally {
    pending -= 1;
  }
}

const { subtle } = crypto;
const digest = subtle.digest.bind(subtle);
subtle.digest = (algorithm, data) => counted(digest(algorithm, data));

const read = Reflect.get(Blob.prototype, "arrayBuffer");
Blob.prototype.arrayBuffer = function (this: Blob): Promise<ArrayBuffer> {
  return counted(read.call(this));
};
