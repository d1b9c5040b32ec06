// IIS, configured by web.config.
import { decoded } from "../../urls.ts";
import type { HeaderChange, HostRules } from "../host-rules.ts";
import { endingsOf, markup, together } from "../syntax.ts";

/** Writes elements for web.config. */
export const iis: HostRules = {
  place: "web.config, system.webServer/httpProtocol/customHeaders",
  hasSections: true,
  header(change, { where, all }) {
    const { path } = change;
    if (path === "/*") return { where, line: elementsOf(change) };
    const at = markup(decoded(path.replace(/\/\*$/, "").slice(1)));
    // A second section for the path would make the file invalid.
    const line = together(change, all).map(elementsOf).join("");
    return {
      where: "web.config, configuration",
      line: `<location path="${at}"><system.webServer><httpProtocol><customHeaders>${line}</customHeaders></httpProtocol></system.webServer></location>`,
    };
  },
  type: ({ extension, type }) => ({
    where: "web.config, system.webServer/staticContent",
    line: `<remove fileExtension="${extension}" /><mimeMap fileExtension="${extension}" mimeType="${type}" />`,
  }),
  fallback: ({ paths }) => ({
    where: "web.config, the conditions (logicalGrouping MatchAll) of the rule that rewrites to the page",
    line: `<add input="{URL}" pattern="${endingsOf(paths).pattern}" negate="true" />`,
  }),
  compress: ({ type }) => ({
    where: "an administrator's prompt, in %windir%\\system32\\inetsrv",
    line: `appcmd set config -section:system.webServer/httpCompression /+"staticTypes.[mimeType='${type}',enabled='True']" /commit:apphost`,
  }),
};

/** Writes a header. Without the first element, one that a parent configuration adds makes the file invalid. */
function elementsOf({ name, value }: HeaderChange): string {
  return `<remove name="${name}" /><add name="${name}" value="${markup(value)}" />`;
}
