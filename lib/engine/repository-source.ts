// Resolves the name of a repository to the address that the fetch worker opens (cache/repository.ts). Imported when a
// repository is loaded: the page's script has no room for it.
import { show } from "../core/check-inputs.ts";
import type { RepositorySource } from "../core/resolve-source.ts";
import { filesUrl, HUB, isRepositoryName } from "../source/hub-address.ts";
import type { HubOptions, LoadOptions, SourceOptions } from "./options.ts";

const FIELDS = ["repo", "revision", "host", "token", "dtype", "file"];

/**
 * Returns the address of a repository, and the options with its token and its pinned encoding.
 * @throws TypeError that names the field
 */
export function resolveRepository(
  source: RepositorySource,
  options: LoadOptions,
  hub: HubOptions,
  base: string,
): [string, SourceOptions] {
  const other = Object.keys(source).find((x) => !FIELDS.includes(x));
  if (other !== undefined) throw new TypeError(`source: there is no field "${other}", only ${FIELDS.join(", ")}`);
  const { repo, revision = "main", dtype, file } = source;
  const { host = hub.host ?? HUB } = source;
  if (!isRepositoryName(repo)) throw new TypeError(`repo: expected "owner/name", got ${show(repo)}`);
  if (typeof revision !== "string" || !/^[\w./-]+$/.test(revision) || revision.split("/").includes(".."))
    throw new TypeError(`revision: expected a branch, a tag or a commit, got ${show(revision)}`);
  for (const [name, value] of Object.entries({ dtype, file }))
    if (value !== undefined && typeof value !== "string")
      throw new TypeError(`${name}: expected a string, got ${show(value)}`);
  const at = hostOf(host, base);
  // The engine's token is for the engine's own hub: another host must not see it.
  const token =
    source.token ?? (source.host === undefined || at === hostOf(hub.host ?? HUB, base) ? hub.token : undefined);
  if (token !== undefined && typeof token !== "function")
    throw new TypeError("token: expected a function that returns the token, so that it is asked for when it is needed");
  const fields = new URLSearchParams({ repo, ...(file !== undefined && { file }) });
  const address = `${filesUrl(at, repo, revision)}#${fields.toString()}`;
  return [address, { ...options, variant: options.variant ?? dtype, token }];
}

/** Returns a host's absolute address without a slash at the end. */
function hostOf(host: unknown, base: string): string {
  try {
    const { protocol, href } = new URL(String(host), base || undefined);
    if (/^https?:$/.test(protocol)) return href.replace(/\/+$/, "");
  } catch {
    // handled below
  }
  throw new TypeError(`host: expected an address as "https://models.example", got ${show(host)}`);
}
