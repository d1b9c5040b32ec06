// The pages of the site, in the order of the navigation, and their common head. It is inserted into each page when it
// is served or built, at `<!-- head -->` and `<!-- bar -->`: one place to change, and plain HTML to send. Read by
// vite.config.ts; no part of any page.

/** A page other than the front page. */
export interface Page {
  /** Its folder. */
  readonly folder: string;
  /** Its name in the navigation. */
  readonly name: string;
}

/** All pages except the front page. */
export const PAGES: readonly Page[] = [
  { folder: "ocr", name: "Read a page" },
  { folder: "camera", name: "Camera" },
  { folder: "vad", name: "Speech" },
  { folder: "spam", name: "Mail" },
  { folder: "search", name: "Search" },
  { folder: "models", name: "Models" },
  { folder: "latency", name: "Latency" },
  { folder: "scheduler", name: "Scheduler" },
  { folder: "faults", name: "Faults" },
  { folder: "offload", name: "Offload" },
];

/** Inserts the common parts; `folder` is empty for the front page. */
export function fillIn(html: string, folder: string): string {
  const home = folder === "" ? "./" : "../";
  const head = [
    '<meta charset="utf-8" />',
    '<meta name="viewport" content="width=device-width, initial-scale=1" />',
    '<meta name="color-scheme" content="light dark" />',
    `<link rel="icon" href="${home}icon.svg" type="image/svg+xml" />`,
    `<link rel="stylesheet" href="${home}style.css" />`,
  ];
  const links = PAGES.map((page) => {
    const isHere = page.folder === folder;
    return `<a href="${isHere ? "./" : `${home}${page.folder}/`}"${isHere ? ' aria-current="page"' : ""}>${page.name}</a>`;
  });
  const brand = `<a class="brand" href="${home}"${folder === "" ? ' aria-current="page"' : ""}>Selvedge</a>`;
  const bar = `<header class="bar">${brand}<nav aria-label="Pages">${links.join("")}</nav></header>`;
  return html.replace("<!-- head -->", head.join("\n    ")).replace("<!-- bar -->", bar);
}
