// Writes the model of a bundle for an inference server (`selvedge export`): its files, expanded and verified, and the
// server's own description of it. The description is written last, since servers look for it.
import { join } from "node:path";
import { OutFolder } from "../compress/bundle/out-folder.ts";
import { requirePackages } from "../compress/run/optional-peers.ts";
import { chooseModel, describeWritten, GRAPH } from "./exported-model.ts";
import type { ServerModel, ServerModelOptions } from "./exported-model.ts";
import { kserveManifest, serviceName } from "./kserve.ts";
import { mlserverSettings, RUNTIME, RUNTIME_SOURCE } from "./mlserver.ts";
import { tritonConfig } from "./triton.ts";

/** The servers that a bundle can be exported for. */
export const SERVERS = ["triton", "kserve", "mlserver"] as const;

/** Name of a server. */
export type ServerName = (typeof SERVERS)[number];

/** Options of `exportBundle`. */
export interface ExportOptions extends ServerModelOptions {
  /** Folder for the results. */
  readonly out: string;
  /** Maximum number of rows that run together; 1 for no batching. Default: 16. */
  readonly maxBatchSize?: number | undefined;
  /** Number of instances of the model on each Triton. Default: 1. */
  readonly instances?: number | undefined;
  /** KServe's storageUri: where the folder `models` will be. Default: a volume claim with the service's name. */
  readonly storageUri?: string | undefined;
  /** Minimum number of servers, KServe only. Default: 1. */
  readonly minReplicas?: number | undefined;
  /** Maximum number of servers, KServe only. Default: 4. */
  readonly maxReplicas?: number | undefined;
}

/** An export. */
export interface Exported {
  readonly model: ServerModel;
  /** Paths of the written files, relative to `out`. */
  readonly paths: readonly string[];
  /** KServe's storageUri; undefined for another server. */
  readonly storageUri?: string | undefined;
}

/**
 * Exports the bundle in a folder.
 * @throws TypeError, RangeError for a wrong option; SelvedgeError `bundle-invalid`, `integrity-failed`, `model-invalid`,
 * `setup-failed` without onnxruntime-node
 */
export async function exportBundle(server: ServerName, folder: string, options: ExportOptions): Promise<Exported> {
  const { maxBatchSize = 16, instances = 1, minReplicas = 1, maxReplicas = 4 } = options;
  if (minReplicas > maxReplicas)
    throw new RangeError(`minReplicas: ${minReplicas} is above maxReplicas, ${maxReplicas}`);
  requirePackages(["onnxruntime-node"]);
  const chosen = await chooseModel(folder, options);
  const { name } = chosen;
  const root = server === "kserve" ? join(name, "models", name) : name;
  const modelFolder = server === "mlserver" ? root : join(root, "1");
  const out = new OutFolder(options.out, [folder]);
  const paths: string[] = [];
  const write = async (path: string, pieces: readonly Uint8Array[]): Promise<void> => {
    await out.write(path, pieces);
    paths.push(path);
  };
  out.check(chosen.files.map((x) => join(modelFolder, x.path)));
  for (const file of chosen.files) await write(join(modelFolder, file.path), await file.read());
  const model = await describeWritten(chosen, join(options.out, modelFolder, GRAPH));
  const writeText = (path: string, text: string): Promise<void> => write(path, [new TextEncoder().encode(text)]);
  if (server === "mlserver") {
    await writeText(join(root, RUNTIME), RUNTIME_SOURCE);
    await writeText(join(root, "model-settings.json"), mlserverSettings(model, maxBatchSize));
    return { model, paths };
  }
  await writeText(join(root, "config.pbtxt"), tritonConfig(model, { maxBatchSize, instances }));
  if (server === "triton") return { model, paths };
  const { storageUri = `pvc://${serviceName(name)}/models` } = options;
  const replicas = { minReplicas, maxReplicas, concurrency: maxBatchSize, instances };
  const manifest = kserveManifest(model, { storageUri, ...replicas });
  await writeText(join(name, "inference-service.yaml"), manifest);
  return { model, paths, storageUri };
}
