// A simulated world with inference servers, for tests of models that run on either side: the real engine, scheduler,
// worker code, client and codec; the servers answer by oip-answer.ts.
import { bundleJson } from "../../core/bundle-json.ts";
import { parseBundle } from "../../core/bundle-schema.ts";
import type { Bundle, Variant } from "../../core/bundle.ts";
import type { Placement } from "../../core/device.ts";
import { isSelvedgeError } from "../../core/errors.ts";
import type { Tensor } from "../../core/tensor.ts";
import type { Model } from "../../engine/model.ts";
import type { LoadOptions } from "../../engine/options.ts";
import { openScene } from "../simulate/fixtures.ts";
import type { EngineScene, SceneOptions } from "../simulate/fixtures.ts";
import { toyBundle } from "../simulate/toy-backend.ts";
import { CHUNK_FILE, toyGolden } from "../simulate/toy-golden.ts";
import type { Files } from "../simulate/toy-golden.ts";
import { answerOip, LENGTH_HEADER } from "./oip-answer.ts";
import type { OipModel } from "./oip-answer.ts";

/** Address of the first server. */
export const URL_A = "https://infer.test";
/** Address of the second server. */
export const URL_B = "https://other.test";

/** The option `remote.models` that vouches for the servers' model. */
export const MODELS = { m: { verified: true }, slow: { model: "m", verified: true } } as const;

/** A server, as a test changes it. */
export interface Server {
  /** Paths of the requests that have reached it. */
  readonly seen: string[];
  /** Lengths of the bodies of its requests to infer. */
  readonly bodies: number[];
  isUp: boolean;
  ms: number;
  factor: number;
  /** Further models, by name with their factors. */
  readonly others: Record<string, number>;
  version: string;
  /** Rows that its model takes; −1 for any number. */
  rows: number;
  /** Answers an infer request in place of its model; null for the model's own answer. */
  fault: (() => Response | null) | null;
}

/** A world with two servers that have the model `m`, y = 2 x; the engine knows the first unless the options say otherwise. */
export interface RemoteStage extends EngineScene {
  readonly server: Server;
  readonly other: Server;
}

/** Options of a stage. */
export type RemoteStageOptions = SceneOptions & { readonly placement?: Placement };

/** Opens a stage; its models `m` and `slow` are vouched for. */
export async function stage(options: RemoteStageOptions = {}): Promise<RemoteStage> {
  const make = (): Server => ({
    ...{ seen: [], bodies: [], isUp: true, ms: 30, factor: 2, others: {}, version: "1", rows: -1, fault: null },
  });
  const [server, other] = [make(), make()];
  const remote = { endpoints: [URL_A], models: MODELS };
  const scene = await openScene({ remote, ...options });
  const { world } = scene;
  world.fetchRemote = async (url, { body, headers }) => {
    const { pathname, origin } = new URL(url);
    const asked = origin === URL_B ? other : server;
    asked.seen.push(pathname);
    await new Promise<void>((resolve) => {
      world.at(asked.ms, resolve);
    });
    if (!asked.isUp) throw new TypeError("Failed to fetch");
    const bytes = new Uint8Array((body as Uint8Array<ArrayBuffer> | undefined) ?? []);
    if (bytes.length > 0) asked.bodies.push(bytes.length);
    const fault = bytes.length > 0 ? (asked.fault?.() ?? null) : null;
    if (fault !== null) return fault;
    const length = new Headers(headers).get(LENGTH_HEADER);
    const others = Object.entries(asked.others).map(([name, factor]) => served(asked, name, factor));
    const reply = await answerOip([served(asked, "m", asked.factor), ...others], pathname, length, bytes);
    return new Response(reply.body, { status: reply.status, headers: reply.headers });
  };
  return { ...scene, server, other };
}

function served(server: Server, name: string, factor: number): OipModel {
  const shape = [server.rows, 2];
  return {
    name,
    version: server.version,
    inputs: [{ name: "x", datatype: "FP32", shape }],
    outputs: [{ name: "y", datatype: "FP32", shape }],
    run: ({ x }) => {
      const { dims, data } = x as Tensor<"float32">;
      return Promise.resolve({ y: { dtype: "float32", dims, data: data.map((value) => factor * value) } });
    },
  };
}

/** Resolves to what a promise rejects with: code and reason, or an error of another kind. */
export async function failure(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => "answered",
    (error: unknown) => (isSelvedgeError(error) ? [error.code, error.details["reason"]] : error),
  );
}

/** Loads the model `m`. */
export const load = (scene: EngineScene, options: LoadOptions = {}): Promise<Model> => scene.load("m", options);

/** A bundle's JSON, and its files by path. */
interface Made {
  readonly bundles: Readonly<Record<string, string>>;
  readonly files: Files;
}

/**
 * Makes a bundle with a variant for each factor: y = factor x, with a golden that says so.
 * @param change - changes the description of the model
 */
export function goldenBundle(
  factors: Readonly<Record<string, number>>,
  change: (model: Bundle["model"]) => Bundle["model"] = (model) => model,
  name = "m",
): Made {
  const bundle = parseBundle(JSON.parse(toyBundle(name, Object.values(factors)[0] ?? 2)));
  const [only] = bundle.variants as [Variant];
  const goldens = Object.entries(factors).map(([id, factor]) => ({ id, ...toyGolden(factor) }));
  const variants = goldens.map(({ id, golden }): Variant => ({ ...only, id, golden }));
  const files = Object.fromEntries([CHUNK_FILE, ...goldens.map((x) => x.files)].flatMap((x) => Object.entries(x)));
  const made = { ...bundle, model: change(bundle.model), variants };
  return { bundles: { [name]: JSON.stringify(bundleJson(made)) }, files };
}
