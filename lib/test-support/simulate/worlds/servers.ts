// Worlds with an inference server whose faults a world switches on and off: with `auto` each request is answered,
// rightly and once, while either side lives; with `local` the server sees nothing.
import type { Model } from "../../../engine/model.ts";
import type { Tensor } from "../../../core/tensor.ts";
import { answerOip, LENGTH_HEADER } from "../../remote/oip-answer.ts";
import type { OipModel } from "../../remote/oip-answer.ts";
import { Random } from "../../random.ts";
import type { SceneRequest, Scene, Toy, WorldPlan } from "../scene.ts";

const URL_A = "https://infer.test";
const URL_B = "https://other.test";
/** Difference of another model's factor. */
const OTHER = 50;
const HOUR_MS = 3_600_000;
const MINUTE_MS = 61_000;
/** How long a server that failed is left alone at most, and a larger model. */
const BACK_MS = 130_000;

/** A reply of the server, changed. */
type Fault = (reply: ServerReply, server: SimulatedServer) => Response | Promise<Response>;

/** The parts of a right reply. */
interface ServerReply {
  readonly headers: Headers;
  readonly body: Uint8Array<ArrayBuffer>;
}

/** A server of a world. */
interface SimulatedServer {
  /** Models by name, with their factors. */
  readonly factors: ReadonlyMap<string, number>;
  ms: number;
  fault: Fault | null;
  /** Whether it has other models, of another version. */
  isOther: boolean;
  /** Inference requests that have reached it. */
  infers: number;
}

const status =
  (code: number, headers: Record<string, string> = {}): Fault =>
  () =>
    new Response('{"error":"simulated"}', { status: code, headers });

/** Changes the JSON of a reply. */
const edited =
  (change: (text: string) => string): Fault =>
  ({ headers, body }) => {
    const length = Number(headers.get(LENGTH_HEADER) ?? body.length);
    const head = new TextEncoder().encode(change(new TextDecoder().decode(body.subarray(0, length))));
    const own = new Headers(headers);
    if (own.has(LENGTH_HEADER)) own.set(LENGTH_HEADER, String(head.length));
    const bytes = new Uint8Array(head.length + body.length - length);
    bytes.set(head);
    bytes.set(body.subarray(length), head.length);
    return new Response(bytes, { headers: own });
  };

const FAULTS: Readonly<Record<string, Fault>> = {
  refuse: () => Promise.reject(new TypeError("Failed to fetch")),
  cut: ({ headers, body }) => {
    let isSent = false;
    const stream = new ReadableStream({
      pull(controller) {
        if (isSent) controller.error(new TypeError("terminated"));
        else controller.enqueue(body.subarray(0, body.length / 2));
        isSent = true;
      },
    });
    return new Response(stream, { headers });
  },
  hang: () => new Promise(() => undefined),
  full: status(429, { "retry-after": "1" }),
  "not ready": status(503),
  proxy: status(502),
  error: status(500),
  refusal: status(400),
  "wrong length": ({ headers, body }) => {
    const own = new Headers(headers);
    own.set(LENGTH_HEADER, String(body.length + 1));
    return new Response(body, { headers: own });
  },
  "short bytes": ({ headers, body }) => new Response(body.subarray(0, body.length - 1), { headers }),
  "wrong dtype": edited((text) => text.replace('"FP32"', '"INT32"')),
  "wrong shape": edited((text) => text.replace(/"shape":\[(\d+),/, (_, rows) => `"shape":[${Number(rows) + 1},`)),
  "other model": edited((text) => text.replace(/"model_name":"\w+"/, '"model_name":"other"')),
  // The model's own version is in it: another model has another one.
  "other version": edited((text) => text.replace(/"model_version":"(\w+)"/, '"model_version":"9$1"')),
};

const sent =
  (): Fault =>
  ({ headers, body }) =>
    new Response(body, { headers });

/** Faults of the model itself: its answer to several rows lacks the last one, or has it twice; with the rows more. */
const OTHER_ROWS: ReadonlyMap<Fault | null, number> = new Map([
  [sent(), -1],
  [sent(), 1],
]);

/** Starts a server with these models, whose factors are in their names. */
function serve({ world }: Scene, toys: readonly Toy[], address: string = URL_A): SimulatedServer {
  const factors = new Map(toys.map(({ factor }) => [`m${factor}`, factor]));
  const server: SimulatedServer = { factors, ms: 30, fault: null, isOther: false, infers: 0 };
  const modelOf = ([name, own]: readonly [string, number]): OipModel => {
    const [version, factor] = server.isOther ? ["2", own + OTHER] : ["1", own];
    const port = { datatype: "FP32", shape: [-1, -1] } as const;
    const run: OipModel["run"] = ({ x }) => {
      const { dims, data } = x as Tensor<"float32">;
      const [rows = 0, width = 0] = dims;
      const more = rows > 1 ? (OTHER_ROWS.get(server.fault) ?? 0) : 0;
      const right = Array.from(data, (value) => factor * value);
      const values = [...right, ...right.slice(-width)].slice(0, (rows + more) * width);
      const y = { dtype: "float32", dims: [rows + more, width], data: Float32Array.from(values) } as const;
      return Promise.resolve({ y });
    };
    return { name, version, inputs: [{ ...port, name: "x" }], outputs: [{ ...port, name: "y" }], run };
  };
  const { fetchRemote } = world;
  world.fetchRemote = async (url, init) => {
    if (!url.startsWith(address)) return fetchRemote(url, init);
    const { body, headers } = init;
    const { pathname } = new URL(url);
    const bytes = new Uint8Array((body as Uint8Array<ArrayBuffer> | undefined) ?? []);
    if (pathname.endsWith("/infer")) server.infers += 1;
    await new Promise<void>((resolve) => {
      world.at(server.ms, resolve);
    });
    const models = [...factors].map(modelOf);
    const answer = await answerOip(models, pathname, new Headers(headers).get(LENGTH_HEADER), bytes);
    const reply = { headers: new Headers(answer.headers), body: answer.body };
    // Metadata has the faults of the connection alone.
    const isWhole =
      pathname.endsWith("/infer") || [FAULTS["refuse"], FAULTS["proxy"]].includes(server.fault ?? undefined);
    if (server.fault !== null && isWhole) return server.fault(reply, server);
    return new Response(answer.body, { status: answer.status, headers: answer.headers });
  };
  return server;
}

/** Draws a model that takes so long on this device. */
const toyOf = ({ random }: Scene, factor: number): Toy => ({
  factor,
  wasm: { fixedMs: 0, rowMs: 20 + 60 * random.next() },
});

/** Changes the server's fault every second or so; returns the function that ends all. */
function disturb({ world, random: own }: Scene, server: SimulatedServer): () => void {
  const random = new Random(own.below(2 ** 30));
  const faults = [...Object.values(FAULTS), ...OTHER_ROWS.keys()];
  let cancel = (): void => undefined;
  const change = (): void => {
    server.fault = random.chance(0.3) ? null : (faults[random.below(faults.length)] ?? null);
    server.ms = random.chance(0.2) ? 400 : 10 + 60 * random.next();
    cancel = world.at(500 + 1_500 * random.next(), change, false);
  };
  change();
  return () => {
    cancel();
    server.fault = null;
    server.ms = 30;
  };
}

/** Makes requests for some seconds, in crowds that this device alone would answer late. */
async function crowd(scene: Scene, model: Model, count: number): Promise<SceneRequest[]> {
  const { random } = scene;
  const calls: SceneRequest[] = [];
  while (calls.length < count) {
    for (let left = 1 + random.below(8); left > 0; left -= 1)
      calls.push(scene.ask(model, random.chance(0.2) ? { rows: 3 } : {}));
    await scene.pass(20 + 300 * random.next());
  }
  return calls;
}

const isAnswered = ({ info }: SceneRequest): boolean => info !== null;

/** Exchanges the models of a server for others, and back, every few seconds; returns the function that ends that. */
function exchange({ world, random: own }: Scene, server: SimulatedServer): () => void {
  const random = new Random(own.below(2 ** 30));
  let cancel = (): void => undefined;
  const change = (): void => {
    server.isOther = random.chance(0.4);
    cancel = world.at(1_000 + 6_000 * random.next(), change, false);
  };
  change();
  return () => {
    cancel();
    server.isOther = false;
  };
}

/** Whether a server that is well again helps in a crowd, once its bad times are forgotten: they are halved each minute. */
async function helps(scene: Scene, model: Model): Promise<boolean> {
  for (let i = 0; i < 20; i += 1) {
    await scene.pass(MINUTE_MS);
    const crowded = Array.from({ length: 100 }, () => scene.ask(model));
    await scene.settle();
    if (crowded.some(({ info }) => info?.placement === "remote")) return true;
  }
  return false;
}

/** Plays a server that fails in every way beside this device; one that is not vouched for changes its model, too. */
function beside(verified: boolean): WorldPlan["play"] {
  return async (scene) => {
    const { random } = scene;
    const toy = { ...toyOf(scene, 2), hasGolden: !verified };
    const server = serve(scene, [toy]);
    const hedge = random.chance(0.5);
    const models = { m2: { verified } };
    const remote = { endpoints: [URL_A], models, costMs: 20, hedge, timeoutMs: 2_000 };
    await scene.open({ placement: "auto", remote });
    const model = await scene.load(toy);
    if (!verified) await scene.until(() => server.infers >= 2, MINUTE_MS);
    await scene.pass(2_000);
    const ends = verified ? [] : [exchange(scene, server)];
    // One that does not fail otherwise gets more requests.
    const calls = verified ? [] : await crowd(scene, model, 120);
    ends.push(disturb(scene, server));
    calls.push(...(await crowd(scene, model, 120)));
    await scene.settle();
    for (const end of ends) end();
    const lost = calls.filter((call) => !isAnswered(call)).map(({ code }) => code);
    scene.expect(lost.length === 0, `beside this device requests were rejected: ${lost.join(", ")}`);
    scene.expect(await helps(scene, model), "a server that is well again gets no requests in a crowd");
  };
}

/** The worlds. */
export const SERVERS: readonly WorldPlan[] = [
  {
    name: "a server that fails in every way, beside this device",
    about: "servers",
    device: () => ({ cores: 2 }),
    play: beside(true),
  },
  {
    name: "this device fails, beside a server",
    about: "servers",
    device: () => ({ cores: 2 }),
    async play(scene) {
      const { random, faults } = scene;
      const toy = toyOf(scene, 2);
      serve(scene, [toy]);
      await scene.open({ placement: "auto", remote: { endpoints: [URL_A], models: { m2: { verified: true } } } });
      const model = await scene.load(toy);
      await scene.pass(2_000);
      const calls: SceneRequest[] = [];
      for (let i = 0; i < 4; i += 1) {
        const isBroken = random.chance(0.5);
        faults.maxRows = () => (isBroken ? 0 : Infinity);
        calls.push(...(await scene.askEvery(model, 200 * random.next(), 20)));
        await scene.settle();
      }
      faults.maxRows = () => Infinity;
      const lost = calls.filter((call) => !isAnswered(call)).map(({ code }) => code);
      scene.expect(lost.length === 0, `beside a server requests were rejected: ${lost.join(", ")}`);
      await scene.pass(BACK_MS);
      // A device that failed is tried with one request in 20, and once a minute.
      const [last] = await scene.askEvery(model, 3_000, 60).then((x) => x.slice(-1));
      await scene.settle();
      scene.expect(last?.info?.placement === "local", "the model does not come back to this device");
    },
  },
  {
    name: "placement local beside a server",
    about: "servers",
    device: () => ({ cores: 2 }),
    async play(scene) {
      const { random, faults } = scene;
      const toy = toyOf(scene, 2);
      const server = serve(scene, [toy]);
      await scene.open({ remote: { endpoints: [URL_A], models: { m2: { verified: true } }, hedge: true } });
      const model = await scene.load(toy, { placement: "local" });
      faults.maxRows = () => (random.chance(0.2) ? 0 : Infinity);
      await scene.askEvery(model, 100, 30, { isPossible: false });
      faults.maxRows = () => Infinity;
      await scene.askEvery(model, 100, 10);
      await scene.settle();
      scene.expect(server.infers === 0, `${server.infers} requests left this device with placement local`);
    },
  },
  {
    name: "unsure answers go to a larger model, whose server fails in every way",
    about: "servers",
    device: () => ({ cores: 2 }),
    async play(scene) {
      const { random } = scene;
      const [small, large] = [
        { ...toyOf(scene, 2), hasClasses: true },
        { ...toyOf(scene, 5), hasClasses: true },
      ];
      const server = serve(scene, [small, large]);
      const waitMs = 300;
      const cascade = { bundle: scene.publish(large), escalateBelow: 0.9, waitMs };
      const models = { m2: { verified: true, cascade }, m5: { verified: true } };
      const remote = { endpoints: [URL_A], models, costMs: HOUR_MS, hedge: random.chance(0.5) };
      await scene.open({ placement: "auto", remote });
      const model = await scene.load(small);
      await scene.until(() => model.backend === "wasm", 60_000);
      await scene.pass(5_000);
      const end = disturb(scene, server);
      const calls = await scene.askEvery(model, 150, 80, () => ({ isSure: random.chance(0.5) }));
      await scene.settle();
      end();
      const lost = calls.filter((call) => !isAnswered(call)).map(({ code }) => code);
      scene.expect(lost.length === 0, `requests with an answer of this device were rejected: ${lost.join(", ")}`);
      const escalated = (call: SceneRequest | undefined): boolean => call?.info?.why.code === "escalated";
      scene.expect(!calls.some((x) => x.isSure && escalated(x)), "a sure answer was sent");
      const slowest = Math.max(...calls.map(({ calledMs, settledMs }) => (settledMs ?? Infinity) - calledMs));
      scene.expect(slowest < waitMs + 1_500, `an unsure answer waited ${slowest.toFixed(0)} ms`);
      await scene.pass(BACK_MS);
      // The first one may start its worker, be late for that, and so have the next one wait for a minute.
      let isBack = false;
      for (let i = 0; i < 200 && !isBack; i += 1) {
        const [call] = await scene.askEvery(model, 3_000, 1);
        isBack = escalated(call);
      }
      await scene.settle();
      scene.expect(isBack, "a server that is well again gets no unsure answers");
    },
  },
  {
    name: "a server that is checked by its golden, fails and changes its model, beside this device",
    about: "servers",
    device: () => ({ cores: 2 }),
    play: beside(false),
  },
  {
    name: "two servers that are checked by their golden, and change their models",
    about: "servers",
    device: () => ({ cores: 2 }),
    async play(scene) {
      const toy = { ...toyOf(scene, 2), hasGolden: true };
      const servers = [serve(scene, [toy]), serve(scene, [toy], URL_B)];
      await scene.open({ placement: "remote", remote: { endpoints: [URL_A, URL_B], timeoutMs: 2_000 } });
      const model = await scene.load(toy);
      // Without a fault either one answers; what the other model answers is refused.
      const end = servers.map((server) => exchange(scene, server));
      await scene.askEvery(model, 150, 200, () => ({ rows: scene.random.chance(0.2) ? 3 : 1, isPossible: false }));
      for (const each of end) each();
      await scene.settle();
      await scene.pass(BACK_MS);
      await scene.askEvery(model, 300, 20);
      await scene.settle();
      const lost = scene.calls.filter((call) => call.isPossible && !isAnswered(call)).map(({ code }) => code);
      scene.expect(lost.length === 0, `servers that are well again did not answer: ${lost.join(", ")}`);
    },
  },
];
