// The public surface of Selvedge.
export { createEngine } from "./create-engine.ts";
export type { Engine } from "./engine/engine.ts";
export type { EngineStats } from "./engine/engine-stats.ts";
export type { Model } from "./engine/model.ts";
export type { ModelCheck, OutputCheck } from "./engine/check-model.ts";
export type { MapResult, MapFailure } from "./engine/map.ts";
export type { Attempt, RunInfo, RunResult, RequestSummary } from "./engine/result.ts";
export type { RunWhy } from "./engine/explain-run.ts";
export type {
  AvailabilityOptions,
  BatchingOptions,
  CascadeOptions,
  EngineOptions,
  HedgeOptions,
  HubOptions,
  LabelsOption,
  LoadOptions,
  MapOptions,
  ObserveOptions,
  RemoteEngineOptions,
  RemoteModelOption,
  RunOptions,
  StatefulOptions,
  TraceOptions,
  UpdateOptions,
} from "./engine/options.ts";
export type { ImageOption, MeanStd } from "./core/describe-model.ts";
export type { ResultCounts, ResultsOptions } from "./engine/result-cache.ts";
export type { Stateful } from "./engine/stateful.ts";
export type {
  ArrayInput,
  ImageInput,
  SoundInput,
  InputArrays,
  Inputs,
  OrtTensor,
  TensorInput,
  TextInput,
} from "./engine/inputs.ts";
export type { TextPair } from "./core/text-pair.ts";
export type { ModelSource, RepositorySource } from "./core/resolve-source.ts";
export type { Availability } from "./engine/availability.ts";
export type { FileProgress, Progress, StoreChoice, Updated, UpdatePolicy } from "./cache/messages.ts";
export type { Dtype, DtypeArrays, Port, Tensor, TensorOf } from "./core/tensor.ts";
export type { Decoded } from "./rpc/messages.ts";
export type { BoxesSpec, MapSpec, PointsSpec, SegmentSpec, TokensSpec } from "./core/decode-spec.ts";
export type { ResampleFilter, ResampleSpec, ScaledSize } from "./core/image-spec.ts";
export type { EmbedOptions, Precision, Vectors } from "./engine/embed.ts";
export type { BackendName } from "./rpc/backend.ts";
export type { AdapterFacts, DeviceFacts, Placement } from "./core/device.ts";
export type { Why, WhyCode } from "./core/reasons.ts";
export type { LaneStats } from "./pool/lane-state.ts";
export type {
  CascadeCounts,
  HedgeCounts,
  OffloadStats,
  PlacementCounts,
  ServerSavings,
  ServerTraffic,
} from "./observe/offload.ts";
export type { BatchCounts, Outcome, RequestCounts } from "./observe/counters.ts";
export type { Trace, TraceEvent } from "./observe/trace.ts";
export type { Priority } from "./schedule/events.ts";
export { isSelvedgeError, SelvedgeError } from "./core/errors.ts";
export type { ErrorCode, ErrorDetails } from "./core/errors.ts";
export type {
  Assignment,
  Bundle,
  BundleChunk,
  BundleFile,
  BundleFormat,
  BundleInput,
  BundleOutput,
  CtcSpec,
  CutSpec,
  DecodeSpec,
  FbankSpec,
  Golden,
  GoldenRun,
  ImageSpec,
  LogMelSpec,
  SamplesSpec,
  SoundSpec,
  PadSpec,
  PerBackend,
  PoolSpec,
  PortSteps,
  ResizeSpec,
  Score,
  ScoreValue,
  TextSpec,
  Variant,
} from "./core/bundle.ts";
export type {
  Effects,
  FetchWatch,
  HostFacts,
  LifeChange,
  ScriptUrl,
  WorkerHandle,
  WorkerSource,
} from "./effects/effects.ts";
export type { PageLocks } from "./effects/web-locks.ts";
