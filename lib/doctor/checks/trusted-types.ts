// Trusted Types: a page that enforces them must hand the engine a policy, and name it.
import type { DoctorCheck } from "../evidence.ts";
import { pathOf } from "../urls.ts";
import { documentOf, lines } from "./facts.ts";
import { policiesOf } from "./policy.ts";

/** Name of the policy in the lines. */
const NAME = "selvedge";

/** Finds a page that enforces Trusted Types and starts workers without a policy. */
export const trustedTypes: DoctorCheck = (evidence) => {
  const document = documentOf(evidence);
  const policies = document === undefined ? [] : policiesOf(document);
  const enforcing = policies.filter((x) => x.policy.get("require-trusted-types-for")?.some((y) => /script/.test(y)));
  if (document === undefined || enforcing.length === 0) return [];
  const { browser } = evidence;
  const thrown = (browser?.workers ?? []).filter((x) => x.thrown !== undefined && /Trusted/.test(x.thrown));
  const refused = (browser?.violations ?? []).filter((x) => x.directive === "trusted-types" && !x.isReportOnly);
  const noted = lines(evidence, /TrustedScriptURL|Trusted ?Types?\b/i);
  // Without a browser nobody knows whether the app passes a policy.
  if (thrown.length === 0 && refused.length === 0 && noted.length === 0) return [];
  const allowed = enforcing.flatMap((x) => x.policy.get("trusted-types") ?? []);
  // Without a list of names any is allowed: a new list would refuse the policies that the app has.
  const lists = policies.filter((x) => {
    const names = x.policy.get("trusted-types");
    return names !== undefined && !names.includes("*") && !names.includes(NAME);
  });
  return [
    {
      id: "trusted-types",
      severity: "error",
      message:
        "The page enforces Trusted Types, and the engine was given no policy that the page allows: no worker starts.",
      evidence: [
        `${document.url}: Content-Security-Policy: … require-trusted-types-for 'script'${allowed.length === 0 ? "" : `; trusted-types ${allowed.join(" ")}`} …`,
        ...thrown.slice(0, 1).map((x) => `new Worker: ${x.thrown ?? ""}`),
        ...refused.slice(0, 1).map((x) => `violation: trusted-types blocked ${x.blocked}`),
        ...noted,
      ],
      changes: [
        { kind: "trusted-types", isAllowed: true },
        ...lists.map(({ seen }) => {
          const path = pathOf(document.url);
          return { kind: "csp", path, directive: "trusted-types", sources: [NAME], seen } as const;
        }),
      ],
    },
  ];
};
