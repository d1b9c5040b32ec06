// The gateway over real HTTP, in front of a real server for bundles.
import { mkdtempSync, rmSync } from "node:fs";
import { request } from "node:http";
import type { IncomingHttpHeaders, RequestListener } from "node:http";
import { connect, createServer } from "node:net";
import type { AddressInfo, Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { describe as describeModel } from "../compress/bundle/describe.ts";
import { writeBundle } from "../compress/bundle/pack.ts";
import { startServer as startHttp } from "../compress/check/local-server.ts";
import { connectRemote } from "../remote/index.ts";
import { twoLayers } from "../test-support/compress/fixtures.ts";
import { startGateway } from "./gateway.ts";
import type { GatewayOptions } from "./gateway.ts";
import { startServer } from "./server.ts";
import type { RunningServer } from "./server.ts";

const ORIGIN = "https://app.example";
let folder: string;
let server: RunningServer;
const started: { close(): Promise<void> }[] = [];
const bareServers: Server[] = [];

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "selvedge-gateway-test-"));
  const model = twoLayers({ opset: 17, inputs: 64, units: 96, outputs: 4 });
  const variants = [{ id: "f32", needs: [], files: [{ path: "model.onnx", model }] }];
  await writeBundle(folder, { model: await describeModel(model, "layers.onnx", undefined), variants });
  server = await startServer({ bundles: [folder], port: 0, lanes: 1, threads: 1, logLevel: "silent" });
  await server.ready;
}, 120_000);

afterAll(async () => {
  await Promise.all([...started, server].map((x) => x.close()));
  for (const each of bareServers) each.close();
  rmSync(folder, { recursive: true, force: true });
}, 60_000);

async function start(more: Partial<GatewayOptions> = {}): Promise<string> {
  const options = { upstream: server.url, port: 0, origins: [ORIGIN], logLevel: "silent" } as const;
  const running = await startGateway({ ...options, ...more });
  started.push(running);
  return running.url;
}

/** Starts a server that is none of ours; returns its address. */
async function other(listener: RequestListener): Promise<string> {
  const made = await startHttp(listener);
  started.push(made);
  return made.origin;
}

const x = { dtype: "float32", dims: [1, 64], data: new Float32Array(64).fill(0.5) } as const;

test.each(["always", "never"] as const)("answers are those of the server behind it (binary: %s)", async (binary) => {
  const [own, through] = await Promise.all(
    [server.url, await start()].map(async (url) => {
      const model = await connectRemote({ endpoints: [url], binary }).model("layers");
      const [input] = model.metadata.inputs;
      return model.infer({ [input?.name ?? ""]: x });
    }),
  );
  expect(through?.outputs).toEqual(own?.outputs);
  expect(through?.info.isBinary).toBe(binary === "always");
});

test("a compressed request is passed on as it is", async () => {
  const model = await connectRemote({ endpoints: [await start()], gzip: true }).model("layers");
  const { outputs } = await model.infer({ [model.metadata.inputs[0]?.name ?? ""]: x });
  expect(Object.keys(outputs)).toHaveLength(1);
});

test("a listed origin reads answers and errors, and another one is refused before the server sees it", async () => {
  const url = await start();
  const good = await fetch(`${url}/v2/models/layers`, { headers: { origin: ORIGIN } });
  expect([good.status, good.headers.get("access-control-allow-origin")]).toEqual([200, ORIGIN]);
  const wrong = await fetch(`${url}/v2/models/none`, { headers: { origin: ORIGIN } });
  expect([wrong.status, wrong.headers.get("access-control-allow-origin")]).toEqual([404, ORIGIN]);
  const preflight = await fetch(`${url}/v2/models/layers/infer`, { method: "OPTIONS", headers: { origin: ORIGIN } });
  expect([preflight.status, preflight.headers.get("access-control-allow-headers")]).toEqual([
    204,
    expect.stringContaining("inference-header-content-length"),
  ]);
  const foreign = await fetch(`${url}/v2`, { headers: { origin: "https://evil.example" } });
  expect(foreign.status).toBe(403);
});

test("the token is needed, and stays at the gateway", async () => {
  const seen: (string | undefined)[] = [];
  const upstream = await other(({ headers }, reply) => {
    seen.push(headers.authorization);
    reply.end("{}");
  });
  const url = await start({ upstream, token: "secret" });
  expect((await fetch(`${url}/v2`)).status).toBe(401);
  expect((await fetch(`${url}/v2`, { headers: { authorization: "Bearer secret" } })).status).toBe(200);
  expect(seen).toEqual([undefined]);
});

test("health alone needs no token, also where a path begins like it and leads to a model", async () => {
  const seen: string[] = [];
  const upstream = await other(({ method = "", url = "" }, reply) => {
    seen.push(`${method} ${url}`);
    reply.end("{}");
  });
  const { hostname, port } = new URL(await start({ upstream, token: "secret" }));
  // `fetch` resolves dots itself.
  const statusOf = (method: string, path: string): Promise<number | undefined> =>
    new Promise((resolve, reject) => {
      const call = request({ hostname, port, method, path }, (reply) => {
        resolve(reply.resume().statusCode);
      });
      call.once("error", reject).end();
    });
  const roundabout = ["..", "%2e%2e", ".%2E", "..\\", "ready/.."].map((x) => `/v2/health/${x}/models/layers/infer`);
  for (const path of [...roundabout, "/v2/health/ready/x", "/v2/health/other"])
    for (const method of ["GET", "POST"]) expect([path, await statusOf(method, path)]).toEqual([path, 401]);
  expect(await statusOf("POST", "/v2/health/ready")).toBe(401);
  expect(seen).toEqual([]);
  for (const path of ["/v2/health/live", "/v2/health/ready?verbose"]) expect(await statusOf("GET", path)).toBe(200);
  expect(seen).toEqual(["GET /v2/health/live", "GET /v2/health/ready?verbose"]);
});

test("a server that is away is 502, a silent one 504, with JSON that the page can read", async () => {
  const headers = { origin: ORIGIN };
  const away = await fetch(`${await start({ upstream: "http://127.0.0.1:9" })}/v2`, { headers });
  expect([away.status, away.headers.get("access-control-allow-origin")]).toEqual([502, ORIGIN]);
  expect(await away.json()).toEqual({ error: expect.stringContaining("can't be reached") as string });
  const upstream = await other(() => undefined);
  const silent = await fetch(`${await start({ upstream, timeoutMs: 200 })}/v2`, { headers });
  expect(silent.status).toBe(504);
  expect(await silent.json()).toEqual({ error: "the server behind this gateway sent no answer in 200 ms" });
});

/** Starts a server whose connections answer with these bytes, in turn, and are reset after the last. */
async function bare(...answers: readonly string[]): Promise<string> {
  const made = createServer((socket) => {
    const left = [...answers];
    socket.on("error", () => undefined);
    socket.on("data", () => {
      const answer = left.shift();
      if (answer === undefined) socket.resetAndDestroy();
      else socket.write(answer);
    });
  });
  bareServers.push(made);
  await new Promise<void>((resolve) => made.listen(0, "127.0.0.1", resolve));
  return `http://127.0.0.1:${(made.address() as AddressInfo).port}`;
}

test("a connection that was kept alive and closed meanwhile is no failure, as KServe closes it after 5 s", async () => {
  const url = await start({ upstream: await bare("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}") });
  for (let i = 0; i < 4; i += 1) {
    const answer = await fetch(`${url}/v2/models/layers/infer`, { method: "POST", body: "{}" });
    expect([answer.status, await answer.text()]).toEqual([200, "{}"]);
  }
});

test("a request that may have changed something is not sent again, nor one that the server worked on", async () => {
  const seen: string[] = [];
  let workedMs = 0;
  const upstream = await other(({ url = "", socket }, reply) => {
    seen.push(url);
    if (seen.length === 1) reply.end("{}");
    else setTimeout(() => socket.resetAndDestroy(), workedMs);
  });
  const url = await start({ upstream });
  const post = async (path: string, body = "{}"): Promise<number> =>
    (await fetch(url + path, { method: "POST", body })).status;
  expect(await post("/v2/models/layers/infer")).toBe(200);
  expect(await post("/v2/models/layers/generate")).toBe(502);
  expect(seen).toHaveLength(2);
  seen.length = 0;
  // Triton keeps a sequence's state: a step that is done twice makes all later ones wrong.
  expect(await post("/v2/models/layers/infer")).toBe(200);
  expect(await post("/v2/models/layers/infer", '{"parameters":{"sequence_id":7}}')).toBe(502);
  expect(seen).toHaveLength(2);
  seen.length = 0;
  workedMs = 1_500;
  expect(await post("/v2/models/layers/infer")).toBe(200);
  expect(await post("/v2/models/layers/infer")).toBe(502);
  expect(seen).toHaveLength(2);
});

test("what manages the server behind it is not passed on (serve-manage)", async () => {
  const seen: string[] = [];
  const upstream = await other(({ url = "", method = "" }, reply) => {
    seen.push(`${method} ${url}`);
    reply.end("{}");
  });
  const url = await start({ upstream });
  const ask = async (method: string, path: string): Promise<number> =>
    (await fetch(url + path, { method, ...(method === "POST" && { body: "{}" }) })).status;
  const model = "/v2/models/layers";
  for (const path of [
    ...["/v2/repository/models/layers/load", "/v2/repository/models/layers/unload", "/v2/logging"],
    ...["/v2/trace/setting", `${model}/trace/setting`, "/v2/systemsharedmemory/region/a/register", "/v2"],
    ...["/v2/cudasharedmemory/unregister", `${model}/infer/`, `${model}//infer`, "/v2/models/a/b/infer", "/v2//infer"],
  ])
    expect(await ask("POST", path), path).toBe(403);
  expect(seen).toEqual([]);
  const passed = [
    ...[`POST ${model}/infer`, `POST ${model}/versions/1/infer?x=1`, `POST ${model}/generate`],
    ...[`POST ${model}/versions/1/generate_stream`, "POST /v2/repository/index", `GET ${model}/stats`, "GET /v2"],
  ];
  for (const each of passed) {
    const [method = "", path = ""] = each.split(" ");
    expect(await ask(method, path), each).toBe(200);
  }
  expect(seen).toEqual(passed);
});

test("a server that resets each connection, or that switches protocols, is 502", async () => {
  const switching = "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n";
  for (const upstream of [await bare(), await bare(switching)])
    expect((await fetch(`${await start({ upstream })}/v2`)).status).toBe(502);
});

test("a body beyond the limit is refused, and no path leads out of the protocol", async () => {
  const seen: string[] = [];
  const upstream = await other(({ url = "" }, reply) => {
    seen.push(url);
    reply.end("{}");
  });
  const url = await start({ upstream, maxBodyBytes: 1_000 });
  const large = (body: RequestInit["body"]): Promise<Response> =>
    fetch(`${url}/v2/models/layers/infer`, { method: "POST", body, duplex: "half" } as RequestInit);
  expect((await large(new Uint8Array(2_000))).status).toBe(413);
  expect((await large(new Blob([new Uint8Array(2_000)]).stream())).status).toBe(413);
  for (const path of ["/v2/%2e%2e/metrics", "/v2/..%2fmetrics", "/metrics", "/v2x"])
    expect((await fetch(url + path)).status).toBe(404);
  expect(seen).toEqual([]);
});

test("a client that leaves ends the request to the server", async () => {
  let isClosed = false;
  const stop = new AbortController();
  const upstream = await other((_, reply) => {
    reply.once("close", () => (isClosed = true));
    // Once the request is there: an earlier end would keep it from being sent.
    stop.abort();
  });
  const url = await start({ upstream });
  const answer = fetch(`${url}/v2`, { signal: stop.signal }).catch(() => "left");
  expect(await answer).toBe("left");
  await expect.poll(() => isClosed).toBe(true);
});

test("a status that HTTP lacks is 502 with a sentence", async () => {
  const upstream = await bare("HTTP/1.1 999 Odd\r\ncontent-length: 2\r\n\r\n{}");
  const answer = await fetch(`${await start({ upstream })}/v2`, { headers: { origin: ORIGIN } });
  expect([answer.status, answer.headers.get("access-control-allow-origin")]).toEqual([502, ORIGIN]);
  expect(await answer.json()).toEqual({ error: expect.stringContaining("the status 999") as string });
});

/** Sends bytes on a connection of its own; resolves with all that comes until it is closed. */
function exchange(url: string, text: string, later = ""): Promise<string> {
  return new Promise((resolve) => {
    const { hostname, port } = new URL(url);
    let all = "";
    const socket = connect(Number(port), hostname, () => socket.write(text));
    socket.on("error", () => undefined);
    socket.on("data", (bytes) => {
      if (all === "" && later !== "") socket.write(later);
      all += bytes.toString();
    });
    socket.on("close", () => {
      resolve(all);
    });
  });
}

const HEAD = `Host: x\r\nOrigin: ${ORIGIN}\r\n`;

test("headers that Connection names are of one connection, in both directions", async () => {
  const seen: IncomingHttpHeaders[] = [];
  const upstream = await other(({ headers }, reply) => {
    seen.push(headers);
    reply.writeHead(200, { connection: "keep-alive, X-Hop", "x-hop": "1", "x-end": "2", vary: "accept-encoding" });
    reply.end("{}");
  });
  const request = `GET /v2 HTTP/1.1\r\n${HEAD}Connection: close, X-Mine\r\nX-Mine: 1\r\nX-Kept: 2\r\n\r\n`;
  const answer = await exchange(await start({ upstream }), request);
  expect([seen[0]?.["x-mine"], seen[0]?.["x-kept"]]).toEqual([undefined, "2"]);
  expect(answer).not.toMatch(/x-hop/i);
  expect(answer).toContain("x-end: 2");
  expect(answer).toContain("vary: origin, accept-encoding");
});

test("an answer has the length that the server states, also for HEAD, so that HTTP/1.0 sees where it is cut", async () => {
  const upstream = await other(({ method }, reply) => {
    reply.writeHead(200, { "content-length": "50" });
    if (method === "HEAD") reply.end();
    else reply.write("01234", () => reply.destroy());
  });
  const url = await start({ upstream });
  const cut = await exchange(url, `GET /v2 HTTP/1.0\r\n${HEAD}\r\n`);
  expect(cut).toMatch(/^HTTP\/1.1 200 [^]*content-length: 50\r\n[^]*\r\n01234$/);
  expect((await fetch(`${url}/v2`, { method: "HEAD" })).headers.get("content-length")).toBe("50");
});

test("an answer to a request without an origin varies by it too", async () => {
  const url = await start();
  for (const path of ["/v2", "/none", "/%zz"]) expect((await fetch(url + path)).headers.get("vary")).toBe("origin");
});

test("an answer that has begun gets no error of a later request on its connection", async () => {
  const upstream = await other((_, reply) => {
    reply.writeHead(200, { "content-length": "50" });
    reply.write("01234");
  });
  const answer = await exchange(await start({ upstream }), `GET /v2 HTTP/1.1\r\n${HEAD}\r\n`, "no HTTP\r\n\r\n");
  expect(answer).toMatch(/^HTTP\/1.1 200 [^]*01234/);
  expect(answer).not.toContain("HTTP/1.1 400");
});

test("an error of a later request is no answer to one that waits before it", async () => {
  const upstream = await other(({ url }, reply) => {
    if (url === "/v2/b") return;
    reply.writeHead(200);
    reply.write("01234");
  });
  const get = (path: string, version: string): string => `GET ${path} HTTP/${version}\r\n${HEAD}`;
  // The answer of HTTP/1.0 ends with its connection: anything after it becomes part of it.
  for (const version of ["1.1", "1.0"]) {
    const two = `${get("/v2/a", version)}Connection: keep-alive\r\n\r\n${get("/v2/b", "1.1")}\r\n`;
    const answer = await exchange(await start({ upstream }), two, "no HTTP\r\n\r\n");
    expect(answer).toContain("01234");
    expect(answer).not.toContain("not HTTP");
  }
  const waits = `${get("/v2/b", "1.1")}\r\nno HTTP\r\n\r\n`;
  expect(await exchange(await start({ upstream }), waits)).not.toContain("HTTP/1.1 400");
});

test("errors before a route is found can be read by a listed origin, and by no other", async () => {
  const url = await start({ maxBodyBytes: 1_000, receiveTimeoutMs: 500 });
  const cases: readonly (readonly [number, string])[] = [
    [404, `GET /none HTTP/1.1\r\n${HEAD}Connection: close\r\n\r\n`],
    [400, `GET /%zz HTTP/1.1\r\n${HEAD}Connection: close\r\n\r\n`],
    [413, `POST /v2/x HTTP/1.1\r\n${HEAD}Connection: close\r\nContent-Length: 2000\r\n\r\n${"a".repeat(2_000)}`],
    [408, `POST /v2/x HTTP/1.1\r\n${HEAD}Content-Length: 50\r\n\r\nab`],
    [400, `POST /v2/x HTTP/1.1\r\n${HEAD}Transfer-Encoding: chunked\r\n\r\nzz\r\n`],
  ];
  for (const [status, text] of cases) {
    const answer = await exchange(url, text);
    expect(answer).toContain(`HTTP/1.1 ${status} `);
    expect(answer).toContain(`access-control-allow-origin: ${ORIGIN}`);
    expect(answer).toMatch(/\{"error":"[^"]/);
    const foreign = await exchange(url, text.replace(ORIGIN, "https://evil.example"));
    expect(foreign).not.toContain("access-control-allow-origin");
  }
});
