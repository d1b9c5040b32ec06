// Reads a repository of a Hugging Face hub: the commit of a revision and the list of files at it. The caller passes the
// function that fetches a small text: the fetch worker's with its watchdog and retries, Node's for the toolchain.
import { isSelvedgeError, SelvedgeError } from "../core/errors.ts";
import { filesUrl } from "./hub-address.ts";
import { objectOf, textOf } from "./json.ts";
import { readTree } from "./repository.ts";
import type { RepositoryFile } from "./repository.ts";

/** A repository of a hub. */
export interface HubRepository {
  /** Address without a slash at the end, as `https://huggingface.co`. */
  readonly host: string;
  /** As `owner/name`. */
  readonly repo: string;
  /** Branch, tag or commit. */
  readonly revision: string;
}

/** A small text, with the headers of its answer. */
export interface HubText {
  readonly text: string;
  readonly headers: Headers;
}

/** Fetches a small text; rejects with a SelvedgeError whose `details.status` is the answer's where it is no success. */
export type GetText = (url: string) => Promise<HubText>;

/** Bound on the pages of a list of files: 1,000 each. */
const PAGES_MAX = 20;
const COMMIT = /^[0-9a-f]{40}$/;

/** Whether an error says that a host has no such file. */
export function isMissing(error: unknown): boolean {
  return isSelvedgeError(error) && [404, 410].includes(Number(error.details["status"]));
}

/** Returns the commit of a revision, asking nothing for one that is a commit; null where the host states none. */
export async function readCommit({ host, repo, revision }: HubRepository, get: GetText): Promise<string | null> {
  if (COMMIT.test(revision)) return revision;
  const found = await get(`${filesUrl(host, repo, revision)}config.json`).catch((error: unknown) => {
    if (isMissing(error)) return null; // a repository without config.json, or no such revision: the list decides
    throw error;
  });
  const told = found?.headers.get("x-repo-commit") ?? "";
  if (COMMIT.test(told)) return told;
  // Across origins a proxy may hide the header.
  const info = await get(`${host}/api/models/${repo}/revision/${encodeURIComponent(revision)}`).catch(() => null);
  const sha = info === null ? null : textOf(objectOf(parsed(info.text))["sha"]);
  return sha !== null && COMMIT.test(sha) ? sha : null;
}

/**
 * Lists the files at a commit or a revision, page by page.
 * @throws SelvedgeError `bundle-invalid` where the host answers with no list
 */
export async function listFiles({ host, repo, revision }: HubRepository, get: GetText): Promise<RepositoryFile[]> {
  const files: RepositoryFile[] = [];
  let url: string | null = `${host}/api/models/${repo}/tree/${encodeURIComponent(revision)}?recursive=1`;
  for (let page = 0; url !== null && page < PAGES_MAX; page += 1) {
    const { text, headers }: HubText = await get(url);
    const list = parsed(text);
    if (!Array.isArray(list)) throw noList(url, text);
    files.push(...readTree(list));
    const next: string | undefined = /<([^>]+)>;\s*rel="next"/.exec(headers.get("link") ?? "")?.[1];
    const following: URL | null = next === undefined ? null : new URL(next, url);
    // Only pages of the same host: the token goes with the request.
    url = following?.origin === new URL(host).origin ? following.href : null;
  }
  return files;
}

/**
 * Returns the error of a hub with the fix for its status; another error as it is.
 * @param how - how the caller's user passes a token, as "pass `token`, a function that returns an access token"
 */
export function explainHub(
  error: unknown,
  { host, repo, revision }: HubRepository,
  { hasToken, how }: { readonly hasToken: boolean; readonly how: string },
): unknown {
  if (!isSelvedgeError(error)) return error;
  const texts: Readonly<Record<number, string>> = {
    401: hasToken
      ? `${host} does not accept the token for ${repo}: it is expired or wrong, or the repository does not exist.`
      : `${repo} is private or gated, or does not exist on ${host}: check the name, or ${how}.`,
    403: `${repo} is gated: accept its terms at ${host}/${repo}, and ${how} of that account with read access.`,
    // That of a file keeps its own text.
    ...(String(error.details["url"]).includes("/api/models/") && {
      404: `${host} has no ${repo} at the revision "${revision}": check the name and the revision.`,
    }),
  };
  const text = texts[Number(error.details["status"])];
  return text === undefined ? error : new SelvedgeError(error.code, text, error.details, error);
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

function noList(url: string, text: string): SelvedgeError {
  const isPage = /^\s*</.test(text);
  const message = `${url} is ${isPage ? "an HTML page" : "not JSON"}, not a list of files: is \`host\` a Hugging Face hub? For a folder on a static host pass its URL.`;
  return new SelvedgeError("bundle-invalid", message, { url, reason: isPage ? "html" : "not-json" });
}
