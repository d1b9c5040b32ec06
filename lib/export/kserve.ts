// Manifest of a KServe InferenceService that runs a Triton model repository and scales by concurrent requests.
import type { ServerModel } from "./exported-model.ts";

/** Options of an InferenceService. */
export interface KserveOptions {
  /** Address of the model repository, as KServe's storageUri. */
  readonly storageUri: string;
  /** Minimum number of servers. */
  readonly minReplicas: number;
  /** Maximum number of servers. */
  readonly maxReplicas: number;
  /** Concurrent requests for each server, above which more servers are started. */
  readonly concurrency: number;
  /** Instances of the model on each server, each with its own copy of the weights. */
  readonly instances: number;
}

/** Memory of Triton itself, in MiB, and how often an instance of a model holds its weights while it loads. */
const BASE_MIB = 512;
const COPIES = 3;

/** Returns the name of the service: a DNS label, short enough for the `-predictor` that KServe adds to it. */
export function serviceName(name: string): string {
  const label = name.toLowerCase().replaceAll(/[^a-z0-9]+/g, "-");
  return (/^[a-z]/.test(label) ? label : `model-${label}`).slice(0, 53).replace(/-+$/, "");
}

/** Writes the manifest, as YAML. */
export function kserveManifest(model: ServerModel, options: KserveOptions): string {
  const { storageUri, minReplicas, maxReplicas, concurrency, instances } = options;
  const memory = `${BASE_MIB + Math.ceil((model.bytes * COPIES * instances) / 2 ** 20)}Mi`;
  return `apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata:
  name: ${JSON.stringify(serviceName(model.name))}
spec:
  predictor:
    minReplicas: ${minReplicas}
    maxReplicas: ${maxReplicas}
    scaleMetric: concurrency
    scaleTarget: ${concurrency}
    model:
      runtime: kserve-tritonserver
      modelFormat:
        name: triton
        version: "2"
      protocolVersion: v2
      storageUri: ${JSON.stringify(storageUri)}
      resources:
        requests:
          cpu: "1"
          memory: ${memory}
        limits:
          memory: ${memory}
`;
}
