// Every reason that Selvedge gives, in one place: a code for programs to branch on, and a sentence with the numbers
// behind it for people. Where a model runs is reasoned about in choose.ts, where and with whom a request ran in
// schedule/why.ts; explain.ts makes sentences of the latter.

/** Lists every code there is, with what it says. */
export const WHY_CODES = {
  pinned: "the caller named the backend",
  "webgpu-missing": "there is no WebGPU, or no variant fits it",
  "wasm-missing": "no variant fits wasm",
  "software-adapter": "the GPU is drawn by the processor, where wasm is faster",
  "not-measured": "it is not measured yet: that needs a first request, or takes longer than a load waits",
  "measured-faster": "WebGPU was measured to be faster on this device",
  "measured-slower": "WebGPU was measured, and is not clearly faster on this device",
  "webgpu-failed": "WebGPU failed when it was tried",
  "wasm-failed": "WebAssembly failed when it was tried",
  "gpu-lost": "the GPU was lost or failed under it, so it went down to wasm",
  "crashed-before": "a page died while it tried the variant that is best here",
  "only-lane": "no other lane could take it",
  "first-through": "it is expected to be through there first",
  "lane-full": "the lane that is first through holds two batches already",
  "express-lane": "it is short, and would be late on the others",
  "wide-lane": "it came alone, as those before it, so it may use all cores",
  "state-kept": "its state lies there",
  batched: "it ran together with others, since that costs less than one by one",
  "batch-tried": "it ran together with others, to learn what that costs",
  unbatchable: "its model or its inputs can't be joined with others",
  "nothing-to-join": "nothing else waited that could run with it",
  "batch-costs": "together with others a row costs as much as alone, or more",
  "batch-spread": "others waited, and other lanes were free for them",
  "batch-bounded": "a larger batch would break a deadline or a bound",
  again: "an earlier try failed",
  late: "it was to be finished although it was late",
  shared: "the same inputs were asked meanwhile, and that answer serves both",
  kept: "the same inputs were answered before, and the answer was kept",
} as const;

/** Names a reason. */
export type WhyCode = keyof typeof WHY_CODES;

/** A reason. */
export interface Why {
  /** Names it, for code to branch on. */
  readonly code: WhyCode;
  /** One sentence with the numbers behind it. */
  readonly text: string;
}
