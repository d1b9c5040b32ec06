// The public surface of Selvedge.
export { createEngine } from "./engine.ts";
export type { Engine, EngineStats } from "./engine.ts";
export type { Model } from "./model.ts";
export type { Mapped, Unmapped } from "./map.ts";
export type { Attempt, RunInfo, RunResult, Settled } from "./result.ts";
export type { RunWhy } from "./explain.ts";
export type {
  AvailabilityOptions,
  EngineOptions,
  LoadOptions,
  MapOptions,
  ObserveOptions,
  RunOptions,
  StatefulOptions,
  TraceOptions,
} from "./options.ts";
export type { Stateful } from "./stateful.ts";
export type { ImageInput, Inputs, TensorInput, TextInput } from "./inputs.ts";
export type { ModelSource } from "./source.ts";
export type { Availability } from "./availability.ts";
export type { FileProgress, Progress, StoreChoice, Updated, UpdatePolicy } from "./cache/protocol.ts";
export type { Dtype, DtypeArrays, Port, Tensor } from "./tensor.ts";
export type { Decoded } from "./pool/protocol.ts";
export type { BackendName } from "./backend/backend.ts";
export type { AdapterFacts, DeviceFacts } from "./device.ts";
export type { Why, WhyCode } from "./why.ts";
export type { LaneStats } from "./pool/lane-state.ts";
export type { BatchCounts, Outcome, RequestCounts } from "./observe/counters.ts";
export type { Trace, TraceEvent } from "./observe/trace.ts";
export type { Priority } from "./schedule/protocol.ts";
export { isSelvedgeError, SelvedgeError } from "./errors.ts";
export type { ErrorCode, ErrorDetails } from "./errors.ts";
export type { Assignment, Bundle, DecodeSpec, ImageSpec } from "./bundle.ts";
export type { Effects, HostFacts, ScriptUrl, WorkerHandle } from "./effects.ts";
