// The steps of an older release of this package, of schema 1, in another tab: it stores what the server sends in that
// schema in its own place, and evicts there. The names and records are those of stores/frozen/store-1.json.
import fc from "fast-check";
import { canonicalJson } from "../../core/bundle.ts";
import { addressOf, chunkName } from "../../cache/names.ts";
import type { Bytes } from "../../cache/stores/store.ts";
import { signedRelease, signatureFile } from "./publisher.ts";
import { StoreStep } from "./store-step.ts";
import { target } from "./steps.ts";
import type { ModelName, ServerAnswer } from "./publisher.ts";
import type { StoreWorld } from "./store-world.ts";

/** Steps of the older release, and of publishers for it. */
export const OLD_RELEASE_STEPS: readonly fc.Arbitrary<StoreStep>[] = [
  target.map(
    (m) =>
      new StoreStep(`publish ${m} in schema 1`, async (world) => {
        await world.publish(m, "good", 1);
        return undefined;
      }),
  ),
  fc.record({ m: target, left: fc.oneof(fc.constant(0), fc.nat(4)) }).map(
    ({ m, left }) =>
      new StoreStep(`the older release stores ${m}, all but ${left} entries`, async (world) => {
        const served = world.served.get(m);
        const { old } = world.places;
        if (old === null || served?.version.bundle.format !== 1) return undefined;
        const release = signedRelease(served);
        if (world.trust !== null && release === null) return undefined; // it refuses that
        const entries = await entriesOf(world, m, served);
        for (const [name, bytes] of entries.slice(0, entries.length - left)) {
          await old.write(name, bytes);
          world.oldEntries.add(name);
        }
        if (release !== null) world.trust?.storedByOld(m, served.version.identity, release);
        const isDamaged = served.version.chunks.some((x) => world.damaged.has(chunkName(x)));
        return left === 0 && !isDamaged ? { stored: m } : undefined;
      }),
  ),
  target.map(
    (m) =>
      new StoreStep(`the older release evicts ${m}`, async (world) => {
        const address = await addressOf(world.urlOf(m));
        const versions = world.versions.get(m) ?? [];
        const own = new Set(versions.flatMap((x) => [`bundle-${x.identity}`, ...x.chunks.map(chunkName)]));
        for (const name of (await world.places.old?.names()) ?? [])
          if (own.has(name) || name.startsWith(`source-${address}`)) await world.places.old?.remove(name);
        return { damaged: "all" };
      }),
  ),
];

/** The entries of a model, in the order in which the older release writes them. */
async function entriesOf(
  world: StoreWorld,
  name: ModelName,
  { version, signature }: ServerAnswer,
): Promise<[string, Bytes][]> {
  const url = world.urlOf(name);
  const address = await addressOf(url);
  const { identity, chunks, parts, text } = version;
  const file = world.trust === null ? null : await signatureFile({ version, signature }, name, undefined);
  const signed: unknown = file === null ? null : JSON.parse(new TextDecoder().decode(file));
  const source = canonicalJson({ url, identity, validator: null, signature: signed });
  const release = signedRelease({ version, signature });
  const none = new Uint8Array(0);
  return [
    ...(world.trust === null || release === null ? [] : [[`release-${address}-${release}`, none] as [string, Bytes]]),
    [`bundle-${identity}`, text],
    [`source-${address}-${world.tick()}`, new TextEncoder().encode(source)],
    [`used-${identity}-${world.tick()}`, none],
    ...chunks.map((chunk, i): [string, Bytes] => [chunkName(chunk), parts[i] as Bytes]),
  ];
}
