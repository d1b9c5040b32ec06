// Reasons that `info.why` reports: a code for programs to branch on, and a sentence with numbers for people.
// choose-variant.ts returns the reasons for a backend, schedule/explain-start.ts those for a lane and a batch;
// explain-run.ts writes the sentences of the latter.

/** All codes, each with its meaning. */
export const WHY_CODES = {
  pinned: "the caller named the backend",
  "only-backend": "the other backend is not available, or no variant meets its needs",
  "software-adapter": "the WebGPU adapter is a software renderer; WebAssembly is faster",
  "not-measured": "no backend was measured yet: the first request runs on WebAssembly",
  measured: "this device runs it faster on this backend, or WebGPU not clearly faster than WebAssembly",
  "measurement-failed": "the other backend failed while it was measured",
  "golden-failed": "WebGPU answered the bundle's known input wrongly on this device",
  "gpu-fallback": "the GPU was lost or failed; the model moved to WebAssembly",
  "crashed-before": "a page crashed while it loaded the best variant for this device",
  "memory-short": "this device is, or may be, short of memory: a smaller variant, or loaded without prepacking",
  "remote-only": "the caller's `placement` is `remote`",
  "remote-helps": "a server answered what this device could not, or not as soon",
  "weights-coming": "this device was still loading the model",
  "local-failed": "this device can't run the model",
  hedged: "a server answered first, since this device was later than usual",
  escalated: "a larger model on a server answered, since this device's answer was unsure",
  "only-lane": "no other lane can run it",
  "earliest-finish": "this lane has the earliest estimated finish",
  "lane-queue-full": "the lane with the earliest estimated finish has a full queue (two batches)",
  "express-lane": "a short request that other lanes might finish late",
  "wide-lane": "a single request, as those before it, so it may use all cores",
  "state-kept": "this lane holds its recurrent state",
  batched: "batched with other requests, which takes less time than one by one",
  "batch-tried": "batched with other requests to measure what that takes",
  unbatchable: "its model or its inputs can't be concatenated with others",
  "nothing-to-join": "no other request that could be batched with it was queued",
  "batch-costs": "a batch takes at least as much time per row as a single request",
  "lanes-idle": "other requests were queued, and other lanes were idle for them",
  "batch-limit": "a larger batch would be late or exceed a limit",
  retried: "retried: an earlier attempt failed",
  late: "finished after its deadline",
  coalesced: "coalesced with a request in flight that has the same inputs",
  cached: "answered from the result cache",
} as const;

/** Code of a reason. */
export type WhyCode = keyof typeof WHY_CODES;

/** A reason, as a code and a sentence. */
export interface Why {
  /** Code of the reason, for programs to branch on. */
  readonly code: WhyCode;
  /** One sentence with the numbers of the decision. */
  readonly text: string;
}
