// The client against real HTTP servers that misbehave, with an injected clock: answers, mistakes of the caller, single
// faults. Lasting faults and several servers are client-faults.test.ts's; real engines e2e/specs/remote's.
import { describe, expect, test } from "vitest";
import type { Tensor } from "../core/tensor.ts";
import { DOUBLE, floats, sendBinary, sendJson } from "../test-support/remote/faulty-engine.ts";
import type { ServerFault } from "../test-support/remote/faulty-engine.ts";
import {
  connect,
  failureOf,
  hang,
  ONE,
  reset,
  resetMidBody,
  status,
  TWO,
  world,
  x,
} from "../test-support/remote/remote-world.ts";

describe("an answer", () => {
  test("has the outputs by name, the server, and whether bytes were sent, both ways", async () => {
    const { engine, model } = await world();
    const first = await model.infer(ONE);
    expect(first.outputs).toEqual({ y: { dtype: "float32", dims: [1, 4], data: TWO } });
    expect(first.info).toMatchObject({ endpoint: engine.url, attempts: 1, modelVersion: "1", isBinary: true });
    await model.infer(ONE);
    expect(engine.infers.map((each) => each.headers["content-type"])).toEqual([
      "application/octet-stream",
      "application/octet-stream",
    ]);
  });

  test("comes in JSON from a server that refuses bytes, which are not tried again", async () => {
    const { engine, model } = await world();
    engine.isBinary = false;
    const attempts = [];
    for (let i = 0; i < 3; i += 1) {
      const { outputs, info } = await model.infer(ONE);
      expect([outputs["y"]?.data, info.isBinary]).toEqual([TWO, false]);
      attempts.push(info.attempts);
    }
    expect(attempts).toEqual([2, 1, 1]);
    expect(engine.infers[1]?.body.toString()).toContain('"binary_data_output":false');
  });

  test("comes by bytes where the first request was refused in both forms, for a fault of its own", async () => {
    const { engine, model } = await world();
    engine.faults.push(status(400), status(400));
    expect(await failureOf(model.infer(ONE))).toMatchObject({ reason: "refused", attempts: 2 });
    expect((await model.infer(ONE)).info.isBinary).toBe(true);
  });

  test("may have numbers that JSON lacks in both directions", async () => {
    const { engine, model } = await world({ binary: "never" });
    engine.always = (response) => {
      const y = { name: "y", datatype: "FP32", shape: [1, 4], data: [null, 2, 3, 4] };
      sendJson(response, { model_name: "double", outputs: [y] });
    };
    const { outputs } = await model.infer({ x: x(NaN, 1, Infinity, -Infinity) });
    expect(outputs["y"]?.data).toEqual(Float32Array.of(NaN, 2, 3, 4));
    expect(engine.infers[0]?.body.toString()).toContain('"data":["NaN",1,"Infinity","-Infinity"]');
  });

  test("has the declared rank where the server adds an axis, and only the outputs asked for", async () => {
    const { engine, remote } = await world();
    engine.paths.set("/v2/models/rank", (response) => {
      sendJson(response, {
        ...DOUBLE,
        name: "rank",
        versions: null,
        outputs: [{ name: "y", datatype: "FP32", shape: [-1] }],
      });
    });
    engine.always = (response) => {
      const y = { name: "y", datatype: "FP32", shape: [2, 1], data: [1, 2] };
      sendJson(response, { model_name: "rank", model_version: null, outputs: [{ ...y, name: "other" }, y] });
    };
    const model = await remote.model("rank");
    expect(model.metadata.versions).toEqual([]);
    const { outputs, info } = await model.infer(ONE, { outputs: ["y"] });
    expect(outputs).toEqual({ y: { dtype: "float32", dims: [2], data: Float32Array.of(1, 2) } });
    expect(info.modelVersion).toBeNull();
  });

  test("comes from a server whose metadata list values that are no texts, which are left out", async () => {
    const { engine, remote } = await world();
    const values = ["1", 2, null, { toString: 1, valueOf: 1 }, [["3"]]];
    engine.paths.set("/v2/models/double", (response) => {
      sendJson(response, { ...DOUBLE, versions: values });
    });
    engine.paths.set("/v2", (response) => {
      sendJson(response, { name: "odd", extensions: values });
    });
    expect((await remote.model("double")).metadata.versions).toEqual(["1", "2"]);
    expect(await remote.metadata()).toMatchObject({ name: "odd", extensions: ["1", "2"] });
  });

  test("is of the input as it was when infer was called", async () => {
    const { model } = await world();
    const input = x(1, 2, 3, 4);
    const answer = model.infer({ x: input });
    (input.data as Float32Array).fill(9);
    expect((await answer).outputs["y"]?.data).toEqual(TWO);
  });

  test("comes for a request that is compressed with gzip; the length header counts what is uncompressed", async () => {
    const { engine, model } = await world({ gzip: true, binary: "always" });
    expect((await model.infer(ONE)).outputs["y"]?.data).toEqual(TWO);
    expect(engine.infers[0]?.headers["content-encoding"]).toBe("gzip");
  });

  test("is asked for with an id of printable ASCII and fresh headers each time", async () => {
    let token = 0;
    const { engine, model } = await world({
      headers: () => {
        token += 1;
        return Promise.resolve({ authorization: `Bearer ${token}` });
      },
    });
    engine.faults.push(status(401, '{"error":"expired"}'));
    await model.infer(ONE);
    expect(engine.infers.map((each) => each.headers.authorization)).toEqual(["Bearer 2", "Bearer 3"]);
    expect(engine.infers[0]?.body.toString()).toMatch(/^\{"id":"[ -~]+?","inputs"/);
    await expect(model.infer(ONE, { id: "ü" })).rejects.toThrow(TypeError);
  });
});

describe("a mistake of the caller is reported before anything is sent:", () => {
  test.each<[string, Record<string, unknown>]>([
    ["an unknown input", { x: ONE.x, z: ONE.x }],
    ["a missing input", {}],
    ["another dtype", { x: { dtype: "int32", dims: [1, 4], data: new Int32Array(4) } }],
    ["another array", { x: { dtype: "float32", dims: [1, 4], data: new Float64Array(4) } }],
    ["fewer elements than the dims", { x: { dtype: "float32", dims: [1, 4], data: new Float32Array(3) } }],
    ["another rank", { x: { dtype: "float32", dims: [4], data: new Float32Array(4) } }],
    ["another size of a fixed axis", { x: { dtype: "float32", dims: [1, 5], data: new Float32Array(5) } }],
    ["huge dims", { x: { dtype: "float32", dims: [9007199254740993, 4], data: new Float32Array(4) } }],
    ["no tensor", { x: 1 }],
  ])("%s", async (_, inputs) => {
    const { engine, model } = await world();
    const error: unknown = await model.infer(inputs as Record<string, Tensor>).catch((reason: unknown) => reason);
    expect(error instanceof TypeError || error instanceof RangeError).toBe(true);
    expect(engine.infers).toEqual([]);
  });

  test("an unknown output, which MLServer never answers", async () => {
    const { engine, model } = await world();
    await expect(model.infer(ONE, { outputs: ["z"] })).rejects.toThrow('no output "z"');
    expect(engine.infers).toEqual([]);
  });

  test("a bool that is neither 0 nor 1, and half a surrogate pair, where the model declares no inputs", async () => {
    const { engine, remote } = await world();
    engine.paths.set("/v2/models/open", (response) => {
      sendJson(response, { name: "open", versions: null, platform: "", inputs: [], outputs: [] });
    });
    const model = await remote.model("open");
    await expect(model.infer({ a: { dtype: "bool", dims: [1], data: Uint8Array.of(2) } })).rejects.toThrow(RangeError);
    await expect(model.infer({ a: { dtype: "string", dims: [1], data: ["\ud800"] } })).rejects.toThrow(TypeError);
    await expect(model.infer({ a: { ...ONE.x, dtype: "float8" } as never })).rejects.toThrow(TypeError);
    expect(engine.infers).toEqual([]);
  });

  test("names that would be other paths, and wrong options", async () => {
    const { remote, clock } = await world();
    for (const name of ["", ".", ".."]) await expect(remote.model(name)).rejects.toThrow(TypeError);
    for (const url of ["", "ftp://a", "https://user@a", "https://a?b", "/relative", 1])
      expect(() => connect([url as string], clock)).toThrow(TypeError);
    expect(() => connect([], clock)).toThrow(TypeError);
    expect(() => connect(["http://a"], clock, { timeoutMs: 0 })).toThrow(RangeError);
    expect(() => connect(["http://a"], clock, { binary: "yes" as never })).toThrow(TypeError);
  });
});

describe("a passing fault is retried:", () => {
  test.each<[string, ServerFault]>([
    ["a reset connection", reset],
    ["a reset in the body", resetMidBody],
    ["429", status(429)],
    ["503", status(503, '{"error":"Exceeds maximum queue size"}')],
    ["502 of a proxy", status(502, "<html><body>Bad gateway</body></html>")],
    [
      "a body with a length that is too small",
      (response) => {
        response.writeHead(200, { "inference-header-content-length": "3" }).end('{"model_name":"double","outputs":[]}');
      },
    ],
    [
      "another dtype than the model declares",
      (response) => {
        sendJson(response, {
          model_name: "double",
          outputs: [{ name: "y", datatype: "FP64", shape: [1, 4], data: [1, 2, 3, 4] }],
        });
      },
    ],
    [
      "another shape than the model declares",
      (response) => {
        sendJson(response, {
          model_name: "double",
          outputs: [{ name: "y", datatype: "FP32", shape: [1, 3], data: [1, 2, 3] }],
        });
      },
    ],
    [
      "another model",
      (response) => {
        sendJson(response, {
          model_name: "other",
          outputs: [{ name: "y", datatype: "FP32", shape: [1, 4], data: [1, 2, 3, 4] }],
        });
      },
    ],
    [
      "fewer bytes than announced",
      (response) => {
        const y = { name: "y", datatype: "FP32", shape: [1, 4], parameters: { binary_data_size: 16 } };
        sendBinary(response, { model_name: "double", outputs: [y] }, floats([1, 2, 3]));
      },
    ],
  ])("%s", async (_, fault) => {
    const { engine, model } = await world();
    engine.faults.push(fault);
    const { outputs, info } = await model.infer(ONE);
    expect(outputs["y"]?.data).toEqual(TWO);
    expect(info.attempts).toBe(2);
    expect(engine.infers).toHaveLength(2);
  });

  test("a version that was not asked for", async () => {
    const { engine, remote } = await world();
    const model = await remote.model("double", { version: "2" });
    expect(await failureOf(model.infer(ONE))).toMatchObject({ reason: "bad-reply", attempts: 2 });
    expect(engine.infers[0]?.path).toBe("/v2/models/double/versions/2/infer");
  });

  test("with a back-off that grows, jitter, and Retry-After followed", async () => {
    const { engine, model, clock } = await world();
    engine.faults.push(status(502), status(502), status(502), status(429, "", { "retry-after": "7" }));
    await model.infer(ONE);
    expect(clock.waits.slice(0, 3)).toEqual([100, 200, 400]);
    // The rest of the 7 s after its own back-off.
    expect(clock.waits.slice(3)).toEqual([800, 6_200]);
  });

  test("a reply that never comes, and one of a byte now and then: cancelled after their time, and sent again", async () => {
    const { engine, model, clock } = await world();
    const trickle: ServerFault = (response) => {
      response.writeHead(200);
      response.write("{");
    };
    for (const fault of [hang, trickle]) {
      engine.faults.push(fault);
      const arrived = engine.arrival();
      const answer = model.infer(ONE);
      await arrived;
      clock.advance(15_000);
      expect((await answer).outputs["y"]?.data).toEqual(TWO);
    }
    expect(clock.pending).toBe(0);
  });
});

describe("a failure that waiting does not change is reported at once:", () => {
  test.each<[string, ServerFault, string, string]>([
    ["400", status(400, '{"error":"unexpected shape for input \'x\'"}'), "refused", "unexpected shape"],
    [
      "404 as text",
      status(404, '{"error":"unknown model"}', { "content-type": "text/plain" }),
      "not-found",
      "unknown model",
    ],
    [
      "422 with a list",
      status(422, '{"detail":[{"type":"x","msg":"Input should be a list","input":"AAAA'),
      "refused",
      "Input should be a list",
    ],
    ["405 with a text", status(405, '{"detail":"Method Not Allowed"}'), "refused", "Method Not Allowed"],
    ["500 for the client's fault", status(500, "Internal Server Error"), "failed", "Internal Server Error"],
    ["501", status(501), "refused", "status 501"],
    ["403", status(403, '{"error":"restricted"}'), "denied", "restricted"],
    ["an HTML page", status(404, "<!doctype html><title>x</title>"), "not-found", "an HTML page"],
  ])("%s", async (_, fault, reason, message) => {
    const { engine, model } = await world({ binary: "always" });
    engine.always = fault;
    const failure = await failureOf(model.infer(ONE));
    expect(failure).toMatchObject({ reason, retryable: false });
    expect(failure.message).toContain(message);
    expect(engine.infers.length).toBe(reason === "denied" ? 2 : 1);
  });

  test("an error with a body of 100 MB, of which a few kilobytes are read", async () => {
    const { engine, model } = await world();
    let sent = 0;
    engine.always = (response) => {
      response.writeHead(422);
      response.write('{"detail":[{"msg":"Input should be a valid list","input":"');
      const part = Buffer.alloc(65_536, "A");
      const more = (): void => {
        while (sent < 1e8 && !response.destroyed) {
          sent += part.length;
          if (!response.write(part)) {
            response.once("drain", more);
            return;
          }
        }
      };
      more();
    };
    expect(await failureOf(model.infer(ONE))).toMatchObject({
      reason: "refused",
      message: expect.stringContaining("valid list") as string,
    });
    // In both forms.
    expect(sent).toBeLessThan(2e7);
  });

  test("a reply beyond the bound", async () => {
    const { engine, model } = await world({ maxReplyBytes: 1_000 });
    engine.always = (response) => {
      response.writeHead(200).end(Buffer.alloc(100_000, " "));
    };
    expect(await failureOf(model.infer(ONE))).toMatchObject({ reason: "too-large", attempts: 1 });
  });

  test("BF16 on a server without the binary extension", async () => {
    const { engine, remote } = await world({ binary: "never" });
    engine.paths.set("/v2/models/brain", (response) => {
      sendJson(response, { ...DOUBLE, name: "brain", inputs: [{ name: "x", datatype: "BF16", shape: [-1, 4] }] });
    });
    const model = await remote.model("brain");
    expect(await failureOf(model.infer(ONE))).toMatchObject({ reason: "no-binary" });
    expect(engine.infers).toEqual([]);
  });
});
