// A folder of a static host in the Hugging Face layout, and a graph with external data beside it. There is no list of
// files: the names of the layout are probed, and a small graph is read for the data that it names.
import { SelvedgeError } from "../core/errors.ts";
import { describeRepository, missingPart, REPOSITORY_SCHEMA, sizeless } from "../source/describe.ts";
import type { DescribedFile, RepositoryJson } from "../source/describe.ts";
import { DTYPE_BY_SUFFIX, folderOf, listGraphs, mayHideData } from "../source/onnx-files.ts";
import type { GraphFile } from "../source/onnx-files.ts";
import { readRepository, REPOSITORY_FILES, TOKENIZER } from "../source/repository.ts";
import { readLocations } from "./read-graph.ts";
import { get, probe, readTexts, unverified } from "./repository-net.ts";
import type { KnownRepository, Located, Probed, RepositoryNet } from "./repository-net.ts";

/** Describes a graph with its external data, from any static host. */
export async function openExternal(
  url: string,
  locations: readonly string[],
  known: KnownRepository | null,
  net: RepositoryNet,
): Promise<RepositoryJson> {
  const name = decoded(new URL(url).pathname.split("/").pop() ?? "") || "model.onnx";
  const find = async (path: string, address: string): Promise<DescribedFile> => {
    const found = await probe(address, path, net);
    if (found === null) throw missingPart(name, path);
    if (found.bytes === null || found.bytes === 0) throw sizeless(name, path);
    return { path, bytes: found.bytes, ...(await unverified(found.place, known)) };
  };
  const files = await Promise.all([
    find(name, url),
    ...locations.map((x) => find(x, new URL(x.split("/").map(encodeURIComponent).join("/"), url).href)),
  ]);
  return {
    schema: REPOSITORY_SCHEMA,
    ...{ name, version: "", licence: "unknown" },
    variants: [{ id: "model", needs: [], speed: {}, files }],
    assets: [],
    steps: { texts: {}, images: {}, decodes: {}, assets: {} },
  };
}

/** Describes a folder of a static host by probing the names of the layout. */
export async function openFolder(
  base: string,
  file: string | undefined,
  known: KnownRepository | null,
  net: RepositoryNet,
): Promise<RepositoryJson> {
  const [texts, found] = await Promise.all([readTexts(base, REPOSITORY_FILES, net), probeAll(base, file, net)]);
  const { files, locations } = await followHidden(base, found, known, net);
  const located = new Map(
    await Promise.all(files.map(async ({ place, path }) => [path, await unverified(place, known)] as const)),
  );
  const name = decoded(new URL(base).pathname.split("/").at(-2) ?? "") || new URL(base).host;
  if (!files.some((x) => x.path.endsWith(".onnx"))) throw await noGraph(base, net);
  return describeRepository({
    ...{ name, version: "", file, files, locations },
    facts: readRepository(texts),
    locate: (x) => located.get(x.path) as Located,
  });
}

/**
 * Returns the error for a folder without a graph. Only such a folder is asked for a bundle's description: in another one the
 * request would cost the first load a round trip, and the page's console a 404.
 */
async function noGraph(base: string, net: RepositoryNet): Promise<SelvedgeError> {
  const text = (await isBundle(base, net))
    ? `${base} is the folder of a bundle: pass the URL of its description, ${base}bundle.json.`
    : `${base} has no onnx/model.onnx, nor a form of it: pass the URL of the folder that holds config.json and onnx/, or name the graph by \`file\`.`;
  return new SelvedgeError("model-invalid", text, { url: base, reason: "no-onnx" });
}

/** Whether a folder holds the description of a bundle; false where no answer says so at the first attempt. */
async function isBundle(base: string, net: RepositoryNet): Promise<boolean> {
  return get(`${base}bundle.json`, { ...net, attempts: () => Promise.resolve(1) }).then(
    ({ text }) => text.includes('"selvedge/bundle@'),
    () => false,
  );
}

/** Finds the graphs of a folder with their external data, in `onnx/` or at its top, and the tokenizer. */
async function probeAll(base: string, file: string | undefined, net: RepositoryNet): Promise<Probed[]> {
  const tokenizer = probe(`${base}${TOKENIZER}`, TOKENIZER, net);
  tokenizer.catch(() => undefined); // awaited below, unless a graph's probe fails first
  const probeIn = (path: string): Promise<Probed | null> => probe(`${base}${path}`, path, net);
  const name = file?.replace(/\.onnx$/, "") ?? "model";
  const stems = name.includes("/") ? [name] : [`onnx/${name}`, name];
  const found: Probed[] = [];
  for (const stem of stems) {
    const graphs = await Promise.all(Object.keys(DTYPE_BY_SUFFIX).map((suffix) => probeIn(`${stem}${suffix}.onnx`)));
    found.push(...graphs.filter((x) => x !== null));
    if (found.length > 0) break;
  }
  const data = await Promise.all(found.map(({ path }) => probeData(base, path, net)));
  const own = await tokenizer;
  return [...found, ...data.flat(), ...(own === null ? [] : [own])];
}

/** Reads small graphs whose names lead to no external data, and finds the files that they name. */
async function followHidden(
  base: string,
  found: readonly Probed[],
  known: KnownRepository | null,
  net: RepositoryNet,
): Promise<{ files: Probed[]; locations: Map<string, readonly string[]> }> {
  const paths = found.map((x) => x.path);
  const files = new Map(found.map((x) => [x.path, x]));
  const locations = new Map<string, readonly string[]>();
  const follow = async (graph: GraphFile): Promise<void> => {
    // A folder has no list, so any file may lie beside the graph; names are believed, since each look costs a request.
    if (
      graph.data.length > 0 ||
      !mayHideData(graph, files.get(graph.path)?.bytes ?? null, [...paths, `${folderOf(graph.path)}any`])
    )
      return;
    const { sha256 } = await unverified((files.get(graph.path) as Probed).place, known);
    const own =
      known?.locations.get(sha256) ?? (await readLocations(new Blob([(await get(`${base}${graph.path}`, net)).bytes])));
    if (own.length === 0) return;
    locations.set(graph.path, own);
    for (const path of own.map((x) => `${folderOf(graph.path)}${x}`)) {
      const data = files.get(path) ?? (await probe(`${base}${path}`, path, net));
      if (data !== null) files.set(path, data);
    }
  };
  await Promise.all(listGraphs(paths).map(follow));
  return { files: [...files.values()], locations };
}

/** Bound on the files of external data of a graph: a host may answer to every name. */
const PARTS_MAX = 1_000;

/** Finds the external data of a graph by its names. */
async function probeData(base: string, path: string, net: RepositoryNet): Promise<Probed[]> {
  const probeIn = (name: string): Promise<Probed | null> => probe(`${base}${name}`, name, net);
  const [first, torch] = await Promise.all([probeIn(`${path}_data`), probeIn(`${path}.data`)]);
  const found = [first, torch].filter((x) => x !== null);
  for (let i = 1, more = first; more !== null && i < PARTS_MAX; i += 1) {
    more = await probeIn(`${path}_data_${i}`);
    if (more !== null) found.push(more);
  }
  return found;
}

/** Decodes a part of an address; one that is no UTF-8 stays as it is. */
function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
