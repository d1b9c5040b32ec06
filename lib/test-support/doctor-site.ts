// For tests of the doctor: a site that a server in this process answers, and a browser whose evidence is given.
import { contentTypeOf, startServer } from "../compress/check/local-server.ts";
import { diagnose } from "../doctor/doctor.ts";
import type { DoctorBrowser } from "../doctor/browser.ts";
import type { DoctorReport } from "../doctor/doctor.ts";
import type { BrowserEvidence, Seen } from "../doctor/evidence.ts";

/** An answer of the site; status 0 closes the connection. */
export interface SiteAnswer {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
  /** Answer to a request that accepts gzip. */
  readonly packed?: { readonly headers: Readonly<Record<string, string>>; readonly body: Uint8Array };
}

/**
 * Diagnoses a site by its answers, each a body or more, by path.
 * @param shown - the browser's evidence at the site's address; default: no browser
 */
export async function examineSite(
  files: Readonly<Record<string, string | Uint8Array | SiteAnswer>>,
  shown?: (url: string) => Partial<BrowserEvidence>,
): Promise<DoctorReport> {
  const server = await startServer((request, response) => {
    const path = request.url ?? "";
    const found = files[path] ?? { status: 404 };
    const answer: SiteAnswer = typeof found === "string" || found instanceof Uint8Array ? { body: found } : found;
    const { status = 200, headers = {}, body = "", packed } = answer;
    if (status === 0) {
      request.socket.destroy();
      return;
    }
    const type = contentTypeOf(path === "/" ? "page.html" : path);
    const sent =
      packed !== undefined && /gzip/.test(request.headers["accept-encoding"] ?? "") ? packed : { headers, body };
    response.writeHead(status, { "content-type": type, etag: '"1"', ...sent.headers }).end(sent.body);
  });
  const url = `${server.origin}/`;
  try {
    const browser = shown === undefined ? "no driver" : browserOf(shown(url));
    return await diagnose(url, { project: null, browser });
  } finally {
    await server.close();
  }
}

/** A browser whose evidence is given; e2e/specs/site/doctor has real ones. */
function browserOf(shown: Partial<BrowserEvidence>): DoctorBrowser {
  const evidence: BrowserEvidence = {
    name: "Browser 1",
    isSilent: false,
    isSecureContext: true,
    isIsolated: false,
    console: [],
    errors: [],
    scriptErrors: [],
    violations: [],
    workers: [],
    hasStarted: false,
    engineFrames: [],
    seen: [],
    resources: [],
    wasmRefusal: null,
    serviceWorker: null,
    ...shown,
  };
  const page = {
    read: () => Promise.resolve(evidence),
    probe: () => Promise.resolve(),
    close: () => Promise.resolve(),
  };
  return {
    name: evidence.name,
    keepsLogin: true,
    open: () => Promise.resolve(page),
    close: () => Promise.resolve(),
  };
}

/** A request that the browser made, and its status. */
export function seen(url: string, path: string, status = 200): Seen {
  return { url: new URL(path, url).href, status, headers: {}, isFromServiceWorker: false };
}

/** Severity and name of each finding. */
export function idsOf({ findings }: DoctorReport): string[] {
  return findings.map((x) => `${x.severity} ${x.id}`);
}
