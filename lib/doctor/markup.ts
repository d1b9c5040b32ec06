// Tags of a page's markup, as far as the checks need them. Comments hold no tags.

/** One `<script>` of a page. */
export interface ScriptTag {
  /** Attribute values by lower-case name. */
  readonly attributes: ReadonlyMap<string, string>;
  /** Text between the tags. */
  readonly text: string;
  /** Address of an external script; null for an inline one. */
  readonly url: string | null;
}

const ATTRIBUTES = `((?:[^>"']|"[^"]*"|'[^']*')*)`;
const SCRIPT = new RegExp(`<script\\b${ATTRIBUTES}>([^]*?)</script\\s*>`, "gi");

/** Returns markup without its comments; what scripts hold stays as it is. */
export function withoutComments(html: string): string {
  return html.replaceAll(/<script\b[^]*?<\/script\s*>|<!--[^]*?-->/gi, (part) => (part.startsWith("<!--") ? "" : part));
}

/** Returns the attributes of the tags of a name. */
export function tagsOf(html: string, name: string): ReadonlyMap<string, string>[] {
  const tags = withoutComments(html).matchAll(new RegExp(`<${name}\\b${ATTRIBUTES}>`, "gi"));
  return [...tags].map(([, attributes = ""]) => attributesOf(attributes));
}

/** Returns the scripts of a page at an address. */
export function scriptTags(html: string, page: string): ScriptTag[] {
  const base =
    tagsOf(html, "base")
      .find((x) => x.has("href"))
      ?.get("href") ?? page;
  return [...withoutComments(html).matchAll(SCRIPT)].map(([, given = "", text = ""]) => {
    const attributes = attributesOf(given);
    const src = attributes.get("src");
    const from = URL.canParse(base, page) ? new URL(base, page).href : page;
    return { attributes, text, url: src !== undefined && URL.canParse(src, from) ? new URL(src, from).href : null };
  });
}

/** Whether a script is a module. */
export function isModule({ attributes }: ScriptTag): boolean {
  return attributes.get("type")?.trim().toLowerCase() === "module";
}

function attributesOf(text: string): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  for (const [, name = "", ...values] of text.matchAll(
    /([^\s"'<>/=]+)(?:\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'=<>`]+)))?/g,
  )) {
    const value = values.find((x) => x !== undefined) ?? "";
    const key = name.toLowerCase();
    if (!found.has(key))
      found.set(key, value.replaceAll("&quot;", '"').replaceAll("&#39;", "'").replaceAll("&amp;", "&"));
  }
  return found;
}
