// How a host sends a file: as it is stored, in parts, compressed.
import type { Change, Host } from "../evidence.ts";
import { APACHE, escaped } from "./places.ts";
import type { Line } from "./places.ts";

/** Returns the line by which a path is sent as it is stored. */
export function storedFix(path: string, host: Host | null, all: readonly Change[] = []): Line {
  switch (host) {
    case "nginx":
      return {
        where: `nginx.conf, in the location that serves ${path}`,
        line: "gzip off; gunzip off; sub_filter_types none;",
      };
    case "apache":
      return {
        where: APACHE,
        line: `SetEnvIf Request_URI "^${escaped(path.replace(/\*$/, ""))}${path.endsWith("*") ? "" : "$"}" no-gzip no-brotli dont-vary`,
      };
    case "express":
      return compression([...all, { kind: "as-stored", path }]);
    default:
      return { where: "the host", line: `serve ${path} as stored: no compression, no decompression, no rewriting` };
  }
}

/** Returns the line by which parts of a file are sent. */
export function rangesFix(path: string, host: Host | null): Line {
  switch (host) {
    case "nginx":
      return { where: `nginx.conf, in the location that serves ${path}`, line: "proxy_force_ranges on;" };
    case "express":
      return {
        where: "the server",
        line: "app.use(express.static(folder));  (in place of a route that sends the file)",
      };
    case "python":
      return { where: "the command", line: "npx serve  (python -m http.server sends whole files alone)" };
    default:
      return {
        where: "the server, or a proxy or CDN before it",
        line: `answer requests of ${path} that have a Range header with status 206 and that part`,
      };
  }
}

/** Returns the line by which files of a type are compressed. */
export function compressFix(
  change: Change & { kind: "compress" },
  host: Host | null,
  all: readonly Change[] = [],
): Line {
  const { extension, type } = change;
  switch (host) {
    case "nginx":
      return {
        where:
          "nginx.conf, in the server block, in place of gzip and gzip_types there; types that another gzip_types has are added",
        line: `gzip on; gzip_types text/javascript application/javascript application/json ${type};`,
      };
    case "apache":
      return {
        where: ".htaccess (AllowOverride FileInfo; mod_filter, mod_deflate)",
        line: `AddOutputFilterByType DEFLATE ${type}`,
      };
    case "caddy":
      return {
        where: "Caddyfile",
        line: `encode {\n  zstd\n  gzip\n  match {\n    header Content-Type ${type}\n  }\n}`,
      };
    case "express":
      return compression([...all, change]);
    case "iis":
      return {
        where: "an administrator's prompt, in %windir%\\system32\\inetsrv",
        line: `appcmd set config -section:system.webServer/httpCompression /+"staticTypes.[mimeType='${type}',enabled='True']" /commit:apphost`,
      };
    default:
      return { where: "the host's compression", line: `add ${type} (${extension}) to the compressed types` };
  }
}

/** Writes Express's compression, which a server has once, with all that a report changes of it. */
function compression(all: readonly Change[]): Line {
  const stored = all.flatMap((x) =>
    x.kind !== "as-stored"
      ? []
      : x.path.endsWith("*")
        ? [`!request.path.startsWith(${JSON.stringify(x.path.slice(0, -1))})`]
        : [`request.path !== ${JSON.stringify(x.path)}`],
  );
  const types = all.flatMap((x) =>
    x.kind === "compress" ? [`response.getHeader("Content-Type") === ${JSON.stringify(x.type)}`] : [],
  );
  const packed = [...new Set(types), "compression.filter(request, response)"].join(" || ");
  const terms = [...new Set(stored), stored.length > 0 && types.length > 0 ? `(${packed})` : packed];
  return {
    where: "the server, before express.static, in place of compression()",
    line: `app.use(compression({ filter: (request, response) => ${terms.join(" && ")} }));`,
  };
}
