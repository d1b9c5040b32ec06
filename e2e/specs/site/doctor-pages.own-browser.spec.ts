// `selvedge doctor` on sites with one fault each, of pages. Needs dist/ and the bundles.
import { PAGE_SITES } from "../../doctor/page-sites.ts";
import { PAGE_TWINS } from "../../doctor/page-twins.ts";
import { testFixes, useBrowsers } from "../../doctor/use-browsers.ts";
import { sample } from "../../../lib/test-support/slice.ts";

/** A part of the sites in each run, all of them in the soak: one takes 12 seconds. */
testFixes(useBrowsers(), sample([...PAGE_SITES, ...PAGE_TWINS], 18));
