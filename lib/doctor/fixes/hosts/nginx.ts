// nginx, and OpenResty, which is made of it.
import type { HostRules } from "../host-rules.ts";
import { endingsOf, endsIn, escaped, inQuotes, OF_FILES, ofName } from "../syntax.ts";

/**
 * Returns where add_header stands: a location with one has none of the server block's. Of two of a name nginx sends both,
 * beside those of `expires` and of a proxied server.
 */
function blocksOf(name: string): string {
  const [has, takes] = name === "Cache-Control" ? [" or expires", " and of expires"] : ["", ""];
  return `the server block and in each location that has an add_header${has}, in place of another of that name${takes}; where a proxied server sends one, with proxy_hide_header`;
}

/** Writes lines for nginx.conf and mime.types. */
export const nginx: HostRules = {
  place: `nginx.conf, in ${blocksOf("")}`,
  hasSections: true,
  header(change, { all }) {
    const { path, name, value } = change;
    // add_header would send it beside the server's own type. `default_type` takes no variables.
    if (name === "Content-Type" && !path.endsWith("/*"))
      return {
        where: `nginx.conf, inside the location that serves ${path}; in the server block where none does`,
        // A pattern may stand in a location with one, which an exact path may not.
        line: `location ~ "^${escaped(path)}$" { default_type ${value}; types { } }`,
      };
    const always = OF_FILES.has(name) ? "" : " always";
    const blocks = blocksOf(name);
    const rules = ofName(change, all);
    const [first] = rules.filter((x) => x.path !== "/*");
    // A dollar begins a variable, and has no escape; the values of geo have no variables.
    const geo = rules.some((x) => x.value.includes("$")) ? 'geo $selvedge_dollar { default "$"; }\n' : "";
    const text = (x: string, mark: string): string =>
      mark + inQuotes(x, mark).replaceAll("$", "${selvedge_dollar}") + mark;
    if (first === undefined) {
      const mark = value.includes("'") ? '"' : "'";
      return {
        where: `nginx.conf, ${geo === "" ? "" : "geo in the http block and add_header "}in ${blocks}`,
        line: `${geo}add_header ${name} ${text(value, mark)}${always};`,
      };
    }
    // A location of its own would lose the headers of the server block, and its proxy_pass. An empty value is not sent.
    // nginx hashes the names of variables, of 46 letters at most; it takes patterns of any length.
    const words = (first.path.match(/[a-z\d]+/gi) ?? []).join("_").slice(-30);
    const variable = `$selvedge_${words}_${(name.match(/\b\w/g) ?? []).join("")}`.toLowerCase();
    // Of two add_header, a response would have both; of the patterns of a map, the first that matches holds.
    const entries = rules.map((x) => `${patternIn(x.path)} ${text(x.value, '"')};`);
    return {
      where: `nginx.conf, ${geo === "" ? "" : "geo and "}map in the http block and add_header in ${blocks}  (in the map, default "…"; keeps its value for other paths, default $upstream_http_${name.toLowerCase().replaceAll("-", "_")}; a proxied server's)`,
      line: `${geo}map $uri ${variable} { ${entries.join(" ")} }\nadd_header ${name} ${variable}${always};`,
    };
  },
  type: ({ extension, type }) => ({
    where: "mime.types (http block)",
    line: `types { ${type} ${extension.slice(1)}; }`,
  }),
  fallback({ paths }) {
    const { seen, hasBare, pattern } = endingsOf(paths);
    // Elsewhere it would have neither the root nor the headers of that location. There it comes before locations of
    // the server block, which may be for files of other endings.
    return {
      where:
        "nginx.conf, inside the location that has the root, or whose try_files or error_page leads to the page; in the server block where none does; where error_page 404 =200 leads there, with error_page 404 /404.html; inside the braces",
      line: `location ~ ${seen.length > 0 || hasBare ? endsIn(seen, hasBare) : pattern} { try_files $uri =404; }`,
    };
  },
  stored: ({ path }) => ({
    where: `nginx.conf, in the location that serves ${path}, in place of gzip and gunzip there; where that serves other files, in a copy of it for ${path}`,
    line: "gzip off; gunzip off; sub_filter_types none;",
  }),
  ranges: ({ path }) => ({ where: `nginx.conf, in the location that serves ${path}`, line: "proxy_force_ranges on;" }),
  compress: ({ type }) => ({
    where:
      "nginx.conf, in the server block, in place of gzip and gzip_types there; types that another gzip_types has are added",
    line: `gzip on; gzip_types text/javascript application/javascript application/json ${type};`,
  }),
};

/** Writes a path as the first word of an entry of a map. */
function patternIn(path: string): string {
  if (path === "/*") return "default";
  return `"~^${escaped(path.replace(/\*$/, ""))}${path.endsWith("/*") ? "" : "$"}"`;
}
