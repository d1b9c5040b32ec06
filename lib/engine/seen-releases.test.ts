// The page's record of signed releases, in localStorage: it alone protects from a rollback where nothing is stored.
import { expect, test } from "vitest";
import { bundleIdentity } from "../core/bundle.ts";
import type { BundleJson } from "../core/bundle.ts";
import { isSelvedgeError } from "../core/errors.ts";
import { sign, toBase64 } from "../core/signature.ts";
import { Random } from "../test-support/random.ts";
import { createToyBackend, TOY_CHUNK, toyBundle } from "../test-support/simulate/toy-backend.ts";
import { World } from "../test-support/simulate/world.ts";
import { createEngine } from "../create-engine.ts";

test("the page remembers the newest release of each of the models that load at once (store-race)", async () => {
  const pair = await crypto.subtle.generateKey("Ed25519", true, ["sign", "verify"]);
  const key = toBase64(await crypto.subtle.exportKey("raw", pair.publicKey));
  const models = ["a", "b", "c"];
  const files = new Map<string, string>();
  const publish = async (release: number): Promise<void> => {
    for (const model of models) {
      const json = toyBundle(model, release + 1);
      const identity = await bundleIdentity(JSON.parse(json) as BundleJson);
      const signature = await sign({ identity, model, release, expires: "2099-01-01T00:00:00.000Z" }, pair);
      files.set(`https://app.test/${model}/${TOY_CHUNK.path}`, TOY_CHUNK.content);
      files.set(`https://app.test/${model}/bundle.json`, json);
      files.set(`https://app.test/${model}/signature.json`, JSON.stringify(signature));
    }
  };
  const memo = new Map<string, string>();
  /** Loads models at once, in a page of its own; returns the reasons of refusals. */
  const visit = async (names: readonly string[]): Promise<unknown[]> => {
    const common = { random: new Random(1), gpu: null, cores: 2, drawFault: () => null, log: null };
    const world = new World({ ...common, files, createBackend: createToyBackend });
    Object.assign(world.effects, {
      memo: {
        get: (name: string) => memo.get(name) ?? null,
        set: (name: string, text: string | null) => (text === null ? memo.delete(name) : memo.set(name, text)),
      },
    });
    const engine = await createEngine({ effects: world.effects, trustedKeys: [key] });
    const loads = names.map((name) =>
      engine.load(`https://app.test/${name}/bundle.json`).then(
        () => "loaded",
        (error: unknown) => (isSelvedgeError(error) ? error.details["reason"] : error),
      ),
    );
    const outcomes = await world.finish(Promise.all(loads));
    await engine.close();
    return outcomes;
  };
  for (const release of [1, 2]) {
    await publish(release);
    expect(await visit(models)).toEqual(["loaded", "loaded", "loaded"]);
  }
  await publish(1);
  for (const model of models) expect(await visit([model])).toEqual(["older"]);
});
